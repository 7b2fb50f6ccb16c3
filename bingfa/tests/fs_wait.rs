//! What waits in `bingfa::fs` holds no worker, and ends as the module says.

mod common;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bingfa::fs::{self, File};
use bingfa::io::{ErrorKind, Read, Write};
use bingfa::os::unix::fs::FileExt;
use bingfa::sync::Arc;
use bingfa::{coroutine, time};

use common::crew::on_every_carrier;
use common::{
    Flag, SHORT, Watchdog, backends, cancel_and_join, on_both, on_one_thread, runtime, until_in,
    was_cancelled,
};

/// A path that nobody else uses; what is there goes with it.
struct Path(PathBuf);

impl Path {
    fn new() -> Path {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("bingfa-fs-wait-{}-{number}", std::process::id());
        Path(std::env::temp_dir().join(name))
    }

    /// With a FIFO there.
    fn fifo() -> Path {
        let path = Path::new();
        let made = std::process::Command::new("mkfifo").arg(&path.0).status();
        assert!(made.expect("mkfifo is in coreutils").success());
        path
    }

    fn open(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .open(&self.0)
            .unwrap()
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_two_ends_of_a_fifo_meet_and_talk() {
    on_every_carrier(|crew| {
        let path = Path::fifo();
        let there = path.0.clone();
        let reader = crew.spawn(move || {
            let mut fifo = File::open(there).unwrap();
            let mut text = Vec::new();
            fifo.read_to_end(&mut text).unwrap();
            text
        });
        let mut writer = File::options().write(true).open(&path.0).unwrap();
        // More than a FIFO holds, so that both wait for each other.
        let data: Vec<u8> = (0..300_000).map(|i| i as u8).collect();
        writer.write_all(&data).unwrap();
        drop(writer);
        assert!(reader.join().unwrap() == data);
    });
}

#[test]
fn opens_that_wait_for_somebody_do_not_stop_others() {
    let _dog = Watchdog::new("200 opens");
    on_one_thread(|| {
        let path = Path::fifo();
        let open = || {
            let there = path.0.clone();
            coroutine::spawn_local(move || File::open(there).unwrap())
        };
        let readers: Vec<_> = (0..200).map(|_| open()).collect();
        until_in(&readers[199], "open");
        assert!(fs::exists(&path.0).unwrap(), "behind them all");
        let writer = File::options().write(true).open(&path.0).unwrap();
        for reader in readers {
            drop(reader.join().unwrap());
        }
        drop(writer);
    });
}

#[test]
fn a_coroutine_that_opens_reads_or_locks_leaves_its_thread_to_others() {
    on_one_thread(|| {
        let path = Path::fifo();
        let there = path.0.clone();
        let opener = coroutine::spawn_local(move || File::open(there).unwrap());
        until_in(&opener, "open");
        let mut writer = File::options().write(true).open(&path.0).unwrap();
        let mut fifo = opener.join().unwrap();
        let reader = coroutine::spawn_local(move || {
            let mut byte = [0];
            fifo.read_exact(&mut byte).unwrap();
            byte[0]
        });
        until_in(&reader, "poll");
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), b'x');

        let file = Path::new();
        let (mine, theirs) = (
            File::create(&file.0).unwrap(),
            File::create(&file.0).unwrap(),
        );
        mine.lock().unwrap();
        let waiter = coroutine::spawn_local(move || theirs.lock().unwrap());
        until_in(&waiter, "sleep");
        mine.unlock().unwrap();
        waiter.join().unwrap();
    });
}

#[test]
fn a_terminal_that_takes_no_more_holds_no_thread() {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    const SIZE: usize = 200_000;
    on_one_thread(|| {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let screen = openpt(flags).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let terminal = ioctl_tiocgptpeer(&screen, flags).unwrap();
        let mut modes = tcgetattr(&terminal).unwrap();
        modes.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &modes).unwrap();

        let mut own = File::from(terminal.try_clone().unwrap());
        let writer = coroutine::spawn_local(move || own.write_all(&[b'x'; SIZE]).unwrap());
        until_in(&writer, "write");
        let mut shown = vec![0; SIZE];
        File::from(screen).read_exact(&mut shown).unwrap();
        assert!(shown.iter().all(|byte| *byte == b'x'));
        writer.join().unwrap();
    });
}

#[test]
fn waits_for_fifos_and_locks_are_cut_short() {
    on_both(|| {
        let path = Path::fifo();
        let fifo = path.open(); // both ends, so there is never an end of file
        assert!(time::timeout(SHORT, || (&fifo).read(&mut [0])).is_err());
        let full = time::timeout(SHORT, || (&fifo).write_all(&[0; 1 << 20]));
        assert!(full.is_err());

        let file = Path::new();
        let (mine, theirs) = (
            File::create(&file.0).unwrap(),
            File::create(&file.0).unwrap(),
        );
        mine.lock().unwrap();
        assert!(time::timeout(SHORT, || theirs.lock()).is_err());
        assert!(time::timeout(SHORT, || theirs.lock_shared()).is_err());
        mine.unlock().unwrap();
        theirs.lock().unwrap();
    });
    on_both(|| {
        let path = Path::fifo();
        let mut fifo = path.open();
        let reader = coroutine::spawn(move || fifo.read(&mut [0]));
        until_in(&reader, "poll");
        cancel_and_join(reader);
    });
}

#[test]
fn an_operation_that_has_begun_completes_before_a_cancel_acts() {
    on_both(|| {
        let path = Path::fifo();
        let opened = Flag::new();
        let (there, after) = (path.0.clone(), opened.clone());
        let opener = coroutine::spawn(move || {
            let fifo = File::open(there).unwrap();
            after.set();
            coroutine::park();
            drop(fifo);
        });
        until_in(&opener, "open");
        opener.cancel();
        assert!(!opened.is_set());
        let writer = File::options().write(true).open(&path.0).unwrap();
        assert!(was_cancelled(&opener.join()));
        assert!(opened.is_set());
        drop(writer);
    });
}

#[test]
fn a_cancel_that_came_before_lets_no_operation_begin() {
    on_both(|| {
        let path = Path::new();
        let (there, go) = (path.0.clone(), Flag::new());
        let going = go.clone();
        let writer = coroutine::spawn(move || {
            going.wait();
            fs::write(there, "text")
        });
        writer.cancel();
        go.set();
        assert!(was_cancelled(&writer.join()));
        assert!(!path.0.exists());
    });
}

/// Whenever the cancel comes, each write is there as a whole or not at all.
#[test]
fn a_cancelled_writer_leaves_whole_writes() {
    const SIZE: usize = 2 << 20;
    on_both(|| {
        let path = Path::new();
        let file = Arc::new(File::create_new(&path.0).unwrap());
        for round in 0..8 {
            let (file, begun) = (file.clone(), Flag::new());
            let begin = begun.clone();
            let writer = coroutine::spawn(move || {
                for step in 0_u8.. {
                    begin.set();
                    let data = vec![step; SIZE];
                    assert_eq!(file.write_at(&data, 0).unwrap(), SIZE);
                    if step % 4 == 3 {
                        file.sync_data().unwrap();
                    }
                }
            });
            begun.wait();
            for _ in 0..round * 5 {
                coroutine::sleep(SHORT / 20);
            }
            cancel_and_join(writer);
            let text = fs::read(&path.0).unwrap();
            assert!(text.len() == SIZE || text.is_empty(), "{}", text.len());
            assert!(text.iter().all(|byte| *byte == text[0]), "half a write");
        }
    });
}

#[test]
fn what_never_waits_says_so() {
    on_both(|| {
        let path = Path::fifo();
        let mut options = File::options();
        options.read(true).write(true);
        options.custom_flags(0o4000); // O_NONBLOCK
        let fifo = options.open(&path.0).unwrap();
        let nothing = (&fifo).read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        let no_place = fifo.read_at(&mut [0], 0).unwrap_err();
        assert_eq!(no_place.kind(), ErrorKind::NotSeekable);
        // A stored file has everything at once, so the flag means nothing to it.
        let stored = Path::new();
        let file = options.create(true).open(&stored.0).unwrap();
        file.write_all_at(&vec![1; 3 << 20], 0).unwrap();
        file.sync_all().unwrap();
        let mut read = vec![0; 3 << 20];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read.iter().all(|byte| *byte == 1));
    });
}

#[test]
fn a_destructor_of_a_cancelled_coroutine_may_still_save() {
    struct Save(PathBuf);
    impl Drop for Save {
        fn drop(&mut self) {
            let mut file = File::create(&self.0).unwrap();
            file.write_all(b"saved").unwrap();
            file.sync_all().unwrap();
        }
    }
    on_both(|| {
        let path = Path::new();
        let there = path.0.clone();
        let waiter = coroutine::spawn(move || {
            let _save = Save(there);
            coroutine::park();
        });
        until_in(&waiter, "park");
        cancel_and_join(waiter);
        assert_eq!(fs::read(&path.0).unwrap(), b"saved");
    });
}

/// Many carriers save, read and write in place while half of them are cut short at any moment:
/// nobody's buffer ends up in another's file, and whatever is seen is whole.
#[test]
fn files_stay_whole_when_whoever_writes_them_is_cut_short() {
    const BLOCK: usize = 8192;
    const BLOCKS: u64 = 8;
    let is_whole = |text: &[u8]| text.len() == BLOCK && text.iter().all(|b| *b == text[0]);
    for io in backends() {
        let _dog = Watchdog::new(&format!("{io:?}"));
        let (blocks, saved) = (Path::new(), Arc::new(Path::new()));
        fs::write(&blocks.0, vec![0; BLOCK * BLOCKS as usize]).unwrap();
        fs::write(&saved.0, [0; BLOCK]).unwrap();
        let file = File::options().write(true).open(&blocks.0).unwrap();
        let file = Arc::new(file);
        let writer = |number: u64| {
            let (file, saved) = (file.clone(), saved.clone());
            move || {
                let mut chance = number * 7919;
                let draft = Path(saved.0.with_extension(number.to_string()));
                for _ in 0..30 {
                    chance = chance.wrapping_mul(6364136223846793005).wrapping_add(1);
                    let text = [(chance >> 40) as u8; BLOCK];
                    let step = || match chance >> 62 {
                        0 => {
                            fs::write(&draft.0, text).unwrap();
                            fs::rename(&draft.0, &saved.0).unwrap();
                        }
                        1 => assert!(is_whole(&fs::read(&saved.0).unwrap())),
                        _ => {
                            let place = (chance >> 50) % BLOCKS * BLOCK as u64;
                            assert_eq!(file.write_at(&text, place).unwrap(), BLOCK);
                            file.sync_data().unwrap();
                        }
                    };
                    let limit = Duration::from_micros((chance >> 33) % 3000);
                    // Cut short or not: the next step begins where no operation is under way.
                    let _ = time::timeout(limit, step);
                }
            }
        };
        runtime(io, 2).run(|| {
            let writers: Vec<_> = (0..24).map(|n| coroutine::spawn(writer(n))).collect();
            for writer in writers.iter().step_by(2) {
                coroutine::sleep(SHORT / 10);
                writer.cancel();
            }
            for (number, writer) in writers.into_iter().enumerate() {
                let ended = writer.join();
                let cancelled = was_cancelled(&ended);
                assert!(ended.is_ok() || number % 2 == 0 && cancelled, "{ended:?}");
            }
        });
        assert!(is_whole(&fs::read(&saved.0).unwrap()));
        let blocks = fs::read(&blocks.0).unwrap();
        assert_eq!(blocks.len(), BLOCK * BLOCKS as usize);
        assert!(blocks.chunks(BLOCK).all(is_whole));
    }
}
