//! `process::spawn` when things die, and what is left behind: nothing.

mod common;

use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bingfa::process::{self, Builder};
use bingfa::{io, thread};
use common::family::{Desk, METHODS, child, children, idle, kill, leave, spawning, zygote};
use common::usage::Usage;
use common::{Watchdog, in_child, labelled, until};

/// A descriptor of a process that is known to run.
fn open(pid: i32) -> OwnedFd {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(fd >= 0, "{pid}: {}", std::io::Error::last_os_error());
    // SAFETY: new and ours.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn has_ended(process: &OwnedFd) -> bool {
    io::readable(process, std::time::Instant::now()).is_ok()
}

#[test]
fn daemons_die_with_a_parent_that_is_killed_and_others_do_not() {
    let _dog = Watchdog::new("daemons");
    let desk = Desk::new("daemons");
    let parent = process::spawn(desk.file("pids"), |pids: PathBuf| {
        let daemons = METHODS.map(|method| spawning(method).daemon(true).spawn((), idle).unwrap());
        let others = METHODS.map(|method| spawning(method).spawn((), idle).unwrap());
        let mut all: Vec<_> = daemons.iter().map(|child| child.pid()).collect();
        all.push(zygote().unwrap() as u32);
        all.extend(others.iter().map(|child| child.pid()));
        let all: Vec<_> = all.iter().map(u32::to_string).collect();
        leave(&pids, &all.join(" "));
        idle(());
    });
    let pids = desk.read("pids");
    let pids: Vec<i32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    let processes: Vec<_> = pids.iter().map(|&pid| open(pid)).collect();
    assert!(processes.iter().all(|process| !has_ended(process)));
    parent.kill().unwrap();
    assert!(parent.join().unwrap_err().to_string().contains("SIGKILL"));
    let (mortal, immortal) = processes.split_at(3);
    for process in mortal {
        io::readable(process, None).unwrap();
    }
    assert!(immortal.iter().all(|process| !has_ended(process)));
    pids[3..].iter().for_each(|&pid| kill(pid));
}

#[test]
fn a_daemon_outlives_the_thread_that_spawned_it() {
    let _dog = Watchdog::new("thread");
    for method in METHODS {
        let spawner = std::thread::spawn(move || spawning(method).daemon(true).spawn((), idle));
        let daemon = spawner.join().unwrap().unwrap();
        // A whole life of another process later:
        assert_eq!(process::spawn(1, |n: u8| n).join().unwrap(), 1);
        assert!(daemon.is_alive());
        daemon.kill().unwrap();
        assert!(daemon.join().is_err());
    }
}

/// The desk of a process that is about to exit.
fn exit_desk() -> PathBuf {
    std::env::var_os("BINGFA_TEST_DESK").unwrap().into()
}

/// Runs before the wait for children at exit, which was registered before it.
extern "C" fn exit_begins() {
    leave(&exit_desk().join("begins"), "");
}

/// Runs after that wait.
extern "C" fn exit_goes_on() {
    for method in METHODS {
        assert!(exit_desk().join(format!("{method:?}")).exists());
    }
    leave(&exit_desk().join("went on"), "");
}

#[test]
fn at_exit_children_are_waited_for_and_daemons_are_not() {
    let name = "at_exit_children_are_waited_for_and_daemons_are_not";
    let desk = Desk::new("exit");
    let path = desk.0.display().to_string();
    let output = in_child(name, &[("BINGFA_TEST_DESK", &path)], || {
        let desk = exit_desk();
        // SAFETY: registers a function that does not unwind: a panic in it aborts.
        unsafe { libc::atexit(exit_goes_on) };
        for method in METHODS {
            // The handle is dropped: the process waits all the same.
            let file = desk.join(format!("{method:?}"));
            let late = spawning(method).spawn(file, |file: PathBuf| {
                until(|| file.with_file_name("begins").exists());
                leave(&file, "done");
            });
            drop(late.unwrap());
            let daemon = spawning(method).daemon(true).spawn((), idle).unwrap();
            leave(
                &desk.join(format!("{method:?}-daemon")),
                &daemon.pid().to_string(),
            );
        }
        // SAFETY: as above.
        unsafe { libc::atexit(exit_begins) };
        std::process::exit(0);
    });
    let Some(output) = output else { return };
    assert!(output.status.success(), "{}", common::stderr(&output));
    assert!(desk.file("went on").exists());
    for method in METHODS {
        let pid = desk.read(&format!("{method:?}-daemon"));
        // Its death is on its way, and whoever has adopted it may not have reaped it.
        until(|| match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.rsplit_once(") ").unwrap().1.starts_with('Z'),
            Err(_) => true,
        });
    }
}

#[test]
fn nobody_joins_and_no_zombies_are_left() {
    child("nobody_joins_and_no_zombies_are_left", || {
        let long = std::env::var_os("BINGFA_TEST_LONG").is_some();
        let count = if long { 10_000 } else { 300 };
        let mut kept = Vec::new();
        for n in 0..count {
            let method = METHODS[usize::from(n % 10 == 9)];
            let child = spawning(method).spawn(n, |n: usize| n).unwrap();
            if n % 3 == 0 {
                kept.push(child); // a handle that is not used does not matter either
            }
            // As many at once as the descriptors allow.
            until(|| process::active_children().len() < 100);
        }
        until(|| process::active_children().is_empty());
        let left = children();
        assert!(
            left.iter().all(|(_, name, _)| name == "bingfa-zygote") && left.len() == 1,
            "{left:?}"
        );
        for (i, child) in kept.into_iter().enumerate() {
            assert_eq!(child.join().unwrap(), 3 * i);
        }
    });
}

#[test]
fn a_zygote_that_was_killed_is_replaced() {
    child("a_zygote_that_was_killed_is_replaced", || {
        assert_eq!(process::spawn(1, |n: u8| n).join().unwrap(), 1);
        let first = zygote().unwrap();
        let bystander = process::spawn((), idle);
        kill(first);
        for n in 0..3 {
            assert_eq!(process::spawn(n, |n: u8| n).join().unwrap(), n);
        }
        let second = zygote().unwrap();
        assert_ne!(first, second);
        assert!(bystander.is_alive());
        bystander.kill().unwrap();
        assert!(bystander.join().is_err());
        // Only those that run: the first zygote is no zombie.
        until(|| children().len() == 1);
    });
}

/// Every child that `spawn` has promised runs, once; every one that it has not, does not.
#[test]
fn a_zygote_killed_at_any_moment_loses_and_doubles_nothing() {
    child(
        "a_zygote_killed_at_any_moment_loses_and_doubles_nothing",
        || {
            let desk = Desk::new("kills");
            let log = desk.file("log");
            fs::write(&log, "").unwrap();
            let (over, promised, kills, mistaken) = (
                AtomicBool::new(false),
                AtomicUsize::new(0),
                AtomicUsize::new(0),
                AtomicUsize::new(0),
            );
            thread::scope(|scope| {
                let killer = scope.spawn(|| {
                    let mut nap = 1;
                    while !over.load(SeqCst) {
                        if let Some(pid) = zygote() {
                            // Any moment of a spawn, one after the other.
                            nap = nap * 7 % 1009;
                            std::thread::sleep(Duration::from_micros(200 + nap));
                            kill(pid);
                            kills.fetch_add(1, SeqCst);
                        }
                    }
                });
                let spawners: Vec<_> = (0..2)
                    .map(|_| {
                        scope.spawn(|| {
                            for _ in 0..60 {
                                let child = Builder::new().spawn(log.clone(), |log: PathBuf| {
                                    let mut log =
                                        fs::File::options().append(true).open(log).unwrap();
                                    log.write_all(b"x").unwrap();
                                });
                                match child {
                                    Ok(child) => {
                                        promised.fetch_add(1, SeqCst);
                                        if let Err(error) = child.join() {
                                            // A copy bears the zygote's name at first.
                                            assert!(
                                                error.to_string().contains("SIGKILL"),
                                                "{error}"
                                            );
                                            mistaken.fetch_add(1, SeqCst);
                                        }
                                    }
                                    Err(error) => {
                                        assert!(error.to_string().contains("zygote"), "{error}");
                                    }
                                }
                            }
                        })
                    })
                    .collect();
                let ended: Vec<_> = spawners.into_iter().map(|spawner| spawner.join()).collect();
                over.store(true, SeqCst);
                killer.join().unwrap();
                ended.into_iter().for_each(|end| end.unwrap());
            });
            assert!(kills.load(SeqCst) > 0);
            assert!(promised.load(SeqCst) > 0);
            until(|| process::active_children().is_empty());
            let ran = fs::read(&log).unwrap().len();
            let promised = promised.load(SeqCst);
            assert!(
                ran <= promised && ran + mistaken.load(SeqCst) >= promised,
                "{ran} {promised}"
            );
            // No child that nobody knows of is left behind.
            until(|| children().iter().all(|child| child.1 == "bingfa-zygote"));
        },
    );
}

#[test]
fn a_child_killed_at_any_moment_is_an_error_that_says_so() {
    let _dog = Watchdog::new("kills");
    let mut nap = 1;
    let mut killed = 0;
    for method in METHODS {
        for _ in 0..60 {
            let child = spawning(method)
                .spawn(vec![7u8; 5000], |v: Vec<u8>| v)
                .unwrap();
            nap = nap * 7 % 1009;
            std::thread::sleep(Duration::from_micros(nap));
            child.kill().unwrap();
            let who = format!("process {} (pid {}) ", child.name(), child.pid());
            match child.join() {
                Ok(back) => assert_eq!(back, [7; 5000]),
                Err(error) => {
                    killed += 1;
                    let text = error.to_string();
                    assert!(text.starts_with(&who) && text.contains("SIGKILL"), "{text}");
                }
            }
        }
    }
    assert!(killed > 0);
}

/// A program that ignores SIGCHLD, or waits for any child, takes the exit status away; results
/// come all the same.
#[test]
fn others_that_reap_do_no_harm() {
    child("others_that_reap_do_no_harm", || {
        // SAFETY: sets a disposition, no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        for method in METHODS {
            let good = spawning(method).spawn(2, |n: u32| n * 2).unwrap();
            assert_eq!(good.join().unwrap(), 4);
            let bad = spawning(method).spawn((), idle).unwrap();
            bad.kill().unwrap();
            let error = bad.join().unwrap_err();
            assert_eq!(error.exit_status(), None);
            assert!(error.to_string().contains("SIGCHLD is ignored"), "{error}");
        }
        assert_eq!(process::active_children().len(), 0);
    });
}

/// The zygote's copies are whole: libc knows the thread's number, and the death of an owner of
/// a robust mutex is seen. (A raw `clone` alone gets both wrong.)
#[test]
fn a_copy_is_known_to_libc_and_to_the_kernel() {
    let _dog = Watchdog::new("robust");
    let desk = Desk::new("robust");
    let path = desk.file("mutex");
    let len = size_of::<libc::pthread_mutex_t>();
    fs::write(&path, vec![0; len]).unwrap();
    let mutex = map(&path);
    // SAFETY: the mapping is large enough, and nobody else uses it yet.
    unsafe {
        let mut attributes: libc::pthread_mutexattr_t = std::mem::zeroed();
        libc::pthread_mutexattr_init(&raw mut attributes);
        libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED);
        libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST);
        assert_eq!(libc::pthread_mutex_init(mutex, &raw const attributes), 0);
    }
    for method in METHODS {
        let owner = spawning(method).spawn(path.clone(), |path: PathBuf| {
            let mutex = map(&path);
            // SAFETY: initialised by the parent.
            assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, 0);
            // In glibc: the lock word holds the thread's number.
            // SAFETY: the word is readable.
            let word = unsafe { mutex.cast::<u32>().read_volatile() } & 0x3fff_ffff;
            // SAFETY: takes no pointers.
            let tid = unsafe { libc::gettid() } as u32;
            // SAFETY: takes no pointers.
            let reached = unsafe { libc::pthread_kill(libc::pthread_self(), 0) };
            assert_eq!((word, reached), (tid, 0));
            // SAFETY: takes no pointers.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        });
        assert!(
            owner
                .unwrap()
                .join()
                .unwrap_err()
                .to_string()
                .contains("SIGKILL")
        );
        // SAFETY: initialised above.
        unsafe {
            assert_eq!(
                libc::pthread_mutex_trylock(mutex),
                libc::EOWNERDEAD,
                "{method:?}"
            );
            libc::pthread_mutex_consistent(mutex);
            libc::pthread_mutex_unlock(mutex);
        }
    }
}

fn map(path: &Path) -> *mut libc::pthread_mutex_t {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    // SAFETY: a new mapping of a file of this length.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<libc::pthread_mutex_t>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED);
    at.cast()
}

#[test]
fn children_leave_nothing_behind() {
    child("children_leave_nothing_behind", || {
        for method in METHODS {
            labelled(&format!("{method:?}"), || {
                let round = || {
                    let mut some: Vec<_> = (0..5)
                        .map(|n| {
                            spawning(method)
                                .spawn(vec![n; 1000], |v: Vec<u8>| v)
                                .unwrap()
                        })
                        .collect();
                    some.pop().unwrap().kill().unwrap();
                    drop(some.pop());
                    for child in some {
                        assert_eq!(child.join().unwrap().len(), 1000);
                    }
                    until(|| process::active_children().is_empty());
                };
                (0..3).for_each(|_| round());
                let before = Usage::settled();
                (0..10).for_each(|_| round());
                let after = Usage::settled();
                assert_eq!(after.descriptors, before.descriptors);
                after.assert_no_more_than(&before, "spawns");
            });
        }
    });
}

#[test]
fn a_child_that_is_killed_while_it_is_given_much_or_gives_much_is_named() {
    child(
        "a_child_that_is_killed_while_it_is_given_much_or_gives_much_is_named",
        || {
            const LEN: usize = 48 << 20;
            let argument = "x".repeat(LEN);
            for method in METHODS {
                spawning(method).spawn((), |()| ()).unwrap().join().unwrap();
            }
            let before = Usage::settled();
            let mut killed = 0;
            for round in 0..24u32 {
                let method = METHODS[round as usize % 2];
                let child = spawning(method).spawn(argument.clone(), |text: String| text);
                let child = child.unwrap();
                // At some moment between the first byte to it and the last byte from it.
                std::thread::sleep(Duration::from_millis(u64::from(round * 5)));
                child.kill().unwrap();
                let pid = child.pid().to_string();
                match child.join() {
                    Ok(text) => assert_eq!(text.len(), LEN),
                    Err(error) => {
                        let why = error.to_string();
                        assert!(why.contains(&pid) && why.contains("SIGKILL"), "{why}");
                        killed += 1;
                    }
                }
            }
            assert!(killed > 0);
            let after = Usage::settled();
            // The allocator keeps something of what was that large; a lost transfer is larger.
            let lost = after.rss_kib.saturating_sub(before.rss_kib) > LEN >> 10;
            assert!(!lost, "from {before:?} to {after:?}");
            let rss_kib = before.rss_kib;
            Usage { rss_kib, ..after }.assert_no_more_than(&before, "killed children");
        },
    );
}

#[test]
fn without_descriptors_spawn_is_an_error_and_works_again_later() {
    child(
        "without_descriptors_spawn_is_an_error_and_works_again_later",
        || {
            assert_eq!(process::spawn(1, |n: u8| n).join().unwrap(), 1);
            let limit = libc::rlimit {
                rlim_cur: 64,
                rlim_max: 64,
            };
            // SAFETY: `limit` is readable.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
            let mut files = Vec::new();
            while let Ok(file) = fs::File::open("/dev/null") {
                files.push(file);
            }
            // From none to so many as one spawn needs at most, at any step of it.
            let mut worked = 0;
            for _ in 0..20 {
                for method in METHODS {
                    match Builder::new().start_method(method).spawn(2, |n: u8| n) {
                        Ok(child) => {
                            assert_eq!(child.join().unwrap(), 2);
                            worked += 1;
                        }
                        Err(error) => {
                            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}")
                        }
                    }
                }
                files.pop();
            }
            assert!(worked > 0);
            until(|| children().len() == 1);
        },
    );
}

#[test]
fn a_fork_of_a_process_with_children_may_not_spawn() {
    child("a_fork_of_a_process_with_children_may_not_spawn", || {
        assert_eq!(process::spawn(1, |n: u8| n).join().unwrap(), 1);
        // SAFETY: the copy only calls what needs no lock that another thread may hold (the
        // keeper sleeps), and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let refused = Builder::new()
                .spawn(1, |n: u8| n)
                .is_err_and(|error| error.to_string().contains("fork()"));
            let none = process::active_children().is_empty();
            // SAFETY: ends the copy.
            unsafe { libc::_exit(if refused && none { 42 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: `status` is writable.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 42);
    });
}
