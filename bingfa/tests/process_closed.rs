//! Children that close all descriptors that they find: an error for who has need of one of those,
//! and no harm to what is opened next, by the same numbers.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bingfa::process::{JoinHandle, PutError, Queue};
use common::family::{Desk, METHODS, child, spawning};

/// As daemons do; then opens files in their place, which stay open.
fn close_all_and_open(files: PathBuf) {
    // SAFETY: takes no pointers; who has owned one of these finds out, which is the test.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    assert_eq!(closed, 0);
    for n in 0..30 {
        let mut file = File::create(files.join(n.to_string())).unwrap();
        file.write_all(b"mine").unwrap();
        std::mem::forget(file);
    }
}

#[track_caller]
fn ended_without_a_result<T: std::fmt::Debug>(child: JoinHandle<T>, files: &Path) {
    let pid = child.pid();
    let error = child.join().unwrap_err();
    assert_eq!(error.exit_status().unwrap().code(), Some(101), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("(pid {pid})")) && text.contains("closed all descriptors"),
        "{text}"
    );
    for n in 0..30 {
        assert_eq!(fs::read(files.join(n.to_string())).unwrap(), b"mine", "{n}");
    }
}

#[test]
fn a_child_that_has_closed_all_says_so_and_touches_no_other_file() {
    child(
        "a_child_that_has_closed_all_says_so_and_touches_no_other_file",
        || {
            for method in METHODS {
                let desk = Desk::new("closed");
                let files = desk.file("files");
                fs::create_dir(&files).unwrap();
                let queue: Queue<String> = Queue::unbounded().unwrap();
                let arguments = (queue.clone(), files.clone());
                let member = spawning(method).spawn(arguments, |(queue, files)| {
                    let (queue, files): (Queue<String>, PathBuf) = (queue, files);
                    close_all_and_open(files);
                    // There is room for this one, but not for that.
                    queue.put("short".into()).unwrap();
                    let Err(PutError::Refused(_, why)) = queue.put("x".repeat(64 << 20)) else {
                        panic!("no memory");
                    };
                    assert!(why.to_string().contains("has closed descriptor"), "{why}");
                    let why = bingfa::process::Builder::new().spawn((), |()| ());
                    let why = why.unwrap_err().to_string();
                    assert!(why.contains("has closed descriptor"), "{why}");
                    queue.put("all well".into()).unwrap();
                });
                ended_without_a_result(member.unwrap(), &files);
                assert_eq!(queue.get().unwrap(), "short");
                assert_eq!(queue.get().unwrap(), "all well");

                let stranger = spawning(method).spawn(files.clone(), |files: PathBuf| {
                    close_all_and_open(files.clone());
                    let why = Queue::<u8>::unbounded().unwrap_err().to_string();
                    assert!(why.contains("has closed descriptor"), "{why}");
                    fs::write(files.join("well"), "").unwrap();
                });
                ended_without_a_result(stranger.unwrap(), &files);
                assert!(files.join("well").exists());
            }
        },
    );
}
