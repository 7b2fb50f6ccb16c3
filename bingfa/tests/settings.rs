//! Settings that are wrong, or that this machine denies.

mod common;

use std::panic::catch_unwind;

use bingfa::coroutine::{self, Builder};
use bingfa::io::{Read, Write};
use bingfa::os::unix::net::UnixStream;
use bingfa::{IoBackend, Runtime};
use common::{assert_well, in_child, stderr};

#[test]
fn impossible_numbers_of_workers_are_refused() {
    for workers in [0, 65, usize::MAX] {
        let error = Runtime::builder()
            .name("odd")
            .workers(workers)
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(
            text.contains("'odd'") && text.contains("between 1 and 64"),
            "{text}"
        );
    }
    assert_eq!(
        Runtime::builder()
            .workers(64)
            .build()
            .unwrap()
            .info()
            .workers,
        64
    );
}

#[test]
fn wrong_variables_are_errors_that_say_what_they_want() {
    let name = "wrong_variables_are_errors_that_say_what_they_want";
    for (variable, value, wanted) in [
        ("BINGFA_WORKERS", "x", "between 1 and 64"),
        ("BINGFA_WORKERS", "0", "between 1 and 64"),
        ("BINGFA_WORKERS", "-1", "between 1 and 64"),
        ("BINGFA_WORKERS", "", "between 1 and 64"),
        ("BINGFA_IO", "nonsense", "\"uring\", \"epoll\", \"auto\""),
    ] {
        let output = in_child(name, &[(variable, value)], || {
            let error = Runtime::builder().build().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            let again = Builder::new().spawn(|| ()).unwrap_err();
            assert_eq!(again.to_string(), error.to_string());
            // What cannot give an error panics with it, wherever it is called.
            for outcome in [
                catch_unwind(|| bingfa::run(|| ())),
                catch_unwind(|| drop(coroutine::spawn(|| ()))),
                catch_unwind(|| coroutine::scope(|s| drop(s.spawn(|| ())))),
            ] {
                let message = *outcome.unwrap_err().downcast::<String>().unwrap();
                assert!(message.contains(&error.to_string()), "{message}");
            }
            eprintln!("[{error}]");
        });
        let Some(output) = output else { return };
        assert_well(&output);
        let text = stderr(&output);
        assert!(
            text.contains(&format!("[{variable}=")) && text.contains(wanted),
            "{text}"
        );
    }
}

#[test]
fn where_io_uring_is_denied_epoll_serves() {
    let name = "where_io_uring_is_denied_epoll_serves";
    let output = in_child(name, &[("BINGFA_IO", "auto")], || {
        deny_io_uring();
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let info = runtime.info();
        assert_eq!(info.io_backend, "epoll");
        assert!(info.io_reason.contains("io_uring is denied"), "{info}");
        runtime.run(|| {
            let (mut a, mut b) = UnixStream::pair().unwrap();
            let echo = coroutine::spawn(move || {
                let mut byte = [0];
                b.read_exact(&mut byte).unwrap();
                b.write_all(&byte).unwrap();
            });
            a.write_all(b"!").unwrap();
            let mut byte = [0];
            a.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"!");
            echo.join().unwrap();
        });
        let demanded = Runtime::builder().io(IoBackend::Uring).build().unwrap_err();
        assert!(demanded.to_string().contains("denied"), "{demanded}");
    });
    let Some(output) = output else { return };
    assert_well(&output);
}

/// `io_uring_setup` fails with EPERM from now on, as under Docker's default profile.
fn deny_io_uring() {
    let statement = |code: u32, k: u32, jf: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_io_uring_setup as u32,
            1,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            0,
        ),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program is valid for the call, which copies it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
            0
        );
    }
}
