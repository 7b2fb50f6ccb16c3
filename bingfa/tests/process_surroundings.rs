//! `process::spawn`: what a child sees of its parent's surroundings, and what it does not.

mod common;

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};

use bingfa::io;
use bingfa::process;
use common::family::{Desk, METHODS, child, children, spawning, zygote};
use common::{Watchdog, assert_well};

#[test]
fn a_program_that_spawns_nothing_has_nothing() {
    child("a_program_that_spawns_nothing_has_nothing", || {
        let handlers = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("SigCgt"));
            u64::from_str_radix(line.unwrap().split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        let sigchld = 1 << (libc::SIGCHLD - 1);
        let status = || fs::read_to_string("/proc/self/status").unwrap();
        assert_eq!(handlers(&status()) & sigchld, 0);
        assert_eq!(children(), []);
        assert!(thread_names().iter().all(|name| name != "bingfa-keeper"));

        process::spawn((), |()| ()).join().unwrap();
        assert_eq!(handlers(&status()) & sigchld, 0);
        assert!(thread_names().iter().any(|name| name == "bingfa-keeper"));
        let names: Vec<_> = children().into_iter().map(|child| child.1).collect();
        assert_eq!(names, ["bingfa-zygote"]);
    });
}

fn thread_names() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")));
    names.flatten().map(|name| name.trim().into()).collect()
}

/// What a process sees of its surroundings.
fn surroundings((): ()) -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().to_owned()
    };
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    // SAFETY: takes no pointers.
    let group = unsafe { libc::getpgrp() };
    let inode = |fd: i32| {
        fs::read_link(format!("/proc/self/fd/{fd}"))
            .map_or_else(|_| "closed".to_owned(), |path| path.display().to_string())
    };
    vec![
        std::env::current_dir().unwrap().display().to_string(),
        format!("{:?}", std::env::var("BINGFA_TEST_LATE")),
        field("Umask"),
        field("Cpus_allowed"),
        field("NoNewPrivs"),
        format!("{} {}", limit.rlim_cur, limit.rlim_max),
        group.to_string(),
        inode(0),
        inode(1),
    ]
}

#[test]
fn a_child_sees_its_parents_surroundings_as_they_are() {
    child("a_child_sees_its_parents_surroundings_as_they_are", || {
        let look = || {
            let own = surroundings(());
            for method in METHODS {
                let childs = spawning(method).spawn((), surroundings).unwrap();
                assert_eq!(childs.join().unwrap(), own, "{method:?}");
            }
            own
        };
        let before = look(); // and the zygote is there
        let desk = Desk::new("surroundings");
        std::env::set_current_dir(&desk.0).unwrap();
        let input = fs::File::create(desk.file("input")).unwrap();
        // SAFETY: one test in this process; the calls take no pointers, or valid ones.
        unsafe {
            std::env::set_var("BINGFA_TEST_LATE", "yes");
            libc::umask(0o077);
            let mut cpus: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(0, &mut cpus);
            assert_eq!(
                libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus),
                0
            );
            let limit = libc::rlimit {
                rlim_cur: 200,
                rlim_max: 300,
            };
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
            assert_eq!(libc::setpgid(0, 0), 0);
            assert_eq!(libc::dup2(input.as_raw_fd(), 0), 0);
        }
        let after = look();
        for (before, after) in before.iter().zip(&after).take(4) {
            assert_ne!(before, after);
        }
        // What was given up is given up for children, too.
        // SAFETY: takes no pointers.
        let renounced = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert_eq!(renounced, 0);
        assert!(look().contains(&"NoNewPrivs:\t1".to_owned()));
        // SAFETY: takes no pointers; this process reads no input.
        unsafe { libc::close(0) };
        assert_eq!(look()[7], "closed");
        std::env::set_current_dir("/").unwrap();
    });
}

/// Whoever gives up root gives it up for children, too: the zygote of before is gone.
#[test]
fn users_that_were_given_up_stay_given_up() {
    // SAFETY: takes no pointers.
    if unsafe { libc::getuid() } != 0 {
        return; // there is nothing to give up
    }
    child("users_that_were_given_up_stay_given_up", || {
        let users = |()| {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let of = |name: &str| {
                status
                    .lines()
                    .find(|l| l.starts_with(name))
                    .map(String::from)
            };
            (of("Uid:"), of("Gid:"), of("Groups:"))
        };
        let root = process::spawn((), users).join().unwrap();
        let old = zygote();
        // SAFETY: the list is readable; the others take no pointers. libc tells all threads.
        unsafe {
            assert_eq!(libc::setgroups(1, &raw const NOBODY), 0);
            assert_eq!(libc::setresgid(NOBODY, NOBODY, NOBODY), 0);
            assert_eq!(libc::setresuid(NOBODY, NOBODY, NOBODY), 0);
        }
        static NOBODY: u32 = 65534;
        for method in METHODS {
            let child = spawning(method).spawn((), users).unwrap().join().unwrap();
            assert_eq!(child, users(()), "{method:?}");
            assert_ne!(child, root);
        }
        assert_ne!(zygote(), old);
    });
}

#[test]
fn a_thread_in_a_sandbox_of_its_own_may_not_spawn() {
    child("a_thread_in_a_sandbox_of_its_own_may_not_spawn", || {
        process::spawn((), |()| ()).join().unwrap();
        // Allows everything, but it is a filter.
        let mut allow = libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        };
        let program = libc::sock_fprog {
            len: 1,
            filter: &raw mut allow,
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
        for method in METHODS {
            let error = spawning(method).spawn((), |()| ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains("seccomp"), "{error}");
        }
    });
}

fn descriptors((): ()) -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let target = fs::read_link(entry.path()).unwrap_or_default();
            format!("{:?} {}", entry.file_name(), target.display())
        })
        // The directory itself, while it is read.
        .filter(|line| !line.contains("/fd"))
        .collect();
    all.sort();
    all
}

#[test]
fn descriptors_are_not_inherited() {
    child("descriptors_are_not_inherited", || {
        let leak = || {
            let (a, b) = std::io::pipe().unwrap();
            for fd in [a.as_fd(), b.as_fd()] {
                // SAFETY: takes no pointers.
                unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) };
            }
            (a, b)
        };
        let _before = leak();
        for round in 0..2 {
            for method in METHODS {
                let seen = spawning(method)
                    .spawn((), descriptors)
                    .unwrap()
                    .join()
                    .unwrap();
                // Standard input, output and error, the socket of its job, and the memory of
                // its family.
                assert_eq!(seen.len(), 5, "{method:?} {round}: {seen:?}");
                assert!(seen[3].starts_with("\"3\" socket:"), "{seen:?}");
                assert!(seen[4].contains("memfd:bingfa-family"), "{seen:?}");
            }
            std::mem::forget(leak());
        }
        // Its own children and commands do not have the socket either.
        let below = process::spawn((), |()| {
            let shell = Command::new("sh")
                .args(["-c", "ls /proc/self/fd | wc -l"])
                .output();
            let grandchild = process::spawn((), descriptors).join().unwrap();
            (
                String::from_utf8(shell.unwrap().stdout).unwrap(),
                grandchild,
            )
        });
        let (shell, grandchild) = below.join().unwrap();
        assert_eq!(shell.trim(), "4", "0, 1, 2 and the directory");
        assert_eq!(grandchild.len(), 5, "{grandchild:?}");
    });
}

#[test]
fn a_program_whose_file_was_replaced_still_spawns_itself() {
    let _dog = Watchdog::new("replaced");
    let name = "a_program_whose_file_was_replaced_still_spawns_itself";
    if std::env::var_os("BINGFA_TEST_REPLACED").is_some() {
        let own = std::env::current_exe().unwrap();
        fs::remove_file(&own).unwrap();
        fs::write(&own, "#!/bin/sh\necho another program; exit 77\n").unwrap();
        for method in METHODS {
            let child = spawning(method).spawn(20, |n: u32| n + 1).unwrap();
            assert_eq!(child.join().unwrap(), 21, "{method:?}");
        }
        return;
    }
    let desk = Desk::new("replaced");
    let copy = desk.file("program");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let run = || {
        let mut command = Command::new(&copy);
        command.args([name, "--exact", "--nocapture"]);
        command
            .env("BINGFA_TEST_REPLACED", "1")
            .stdin(Stdio::null())
            .output()
    };
    // A fork of this process, made by another test, may still have the copy open for writing.
    let mut output = run();
    while output
        .as_ref()
        .is_err_and(|e| e.kind() == io::ErrorKind::ExecutableFileBusy)
    {
        output = run();
    }
    let output = output.unwrap();
    assert_well(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

/// Signals that the zygote must not see, a child must.
#[test]
fn a_child_gets_its_signals() {
    let _dog = Watchdog::new("signals");
    for method in METHODS {
        let mask = spawning(method).spawn((), |()| {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let blocked = status.lines().find(|line| line.starts_with("SigBlk"));
            blocked
                .unwrap()
                .split_whitespace()
                .nth(1)
                .unwrap()
                .to_owned()
        });
        assert_eq!(mask.unwrap().join().unwrap(), "0000000000000000");
        // As in every Rust program, a broken pipe is an error and no signal.
        let broken = spawning(method).spawn((), |()| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            drop(reader);
            writer.write_all(b"x").unwrap_err().kind() == io::ErrorKind::BrokenPipe
        });
        assert!(broken.unwrap().join().unwrap());
    }
}
