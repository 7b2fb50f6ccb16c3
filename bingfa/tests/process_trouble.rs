//! `process::spawn` when things die, and what is left behind: nothing.

mod common;

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bingfa::process::{self, Builder, StartMethod};
use bingfa::{io, thread};
use common::usage::Usage;
use common::{LONG, Watchdog, assert_well, in_child, labelled, until};

const METHODS: [StartMethod; 2] = [StartMethod::Zygote, StartMethod::Exec];

fn spawning(method: StartMethod) -> Builder {
    let builder = Builder::new().start_method(method);
    builder.env("RUST_BACKTRACE", "0")
}

/// Runs for ever.
fn idle((): ()) {
    std::thread::sleep(LONG);
}

/// A test in a process of its own.
#[track_caller]
fn child(name: &str, test: impl FnOnce()) {
    if let Some(output) = in_child(name, &[], test) {
        assert_well(&output);
    }
}

/// A directory for files through which processes tell each other what they have done.
struct Desk(PathBuf);

impl Desk {
    fn new(name: &str) -> Desk {
        let path = std::env::temp_dir().join(format!("bingfa-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Desk(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Waits for a note and reads it.
    fn read(&self, name: &str) -> String {
        let path = self.file(name);
        until(|| path.exists());
        fs::read_to_string(path).unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Leaves a note; whoever sees it sees all of it.
fn leave(path: &Path, note: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, note).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// All children of this process, with their names as `ps` shows them and their states.
fn children() -> Vec<(i32, String, char)> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let list = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        for pid in list.split_whitespace() {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            let (head, tail) = stat.rsplit_once(") ").unwrap();
            let name = head.split_once('(').unwrap().1.to_owned();
            all.push((pid.parse().unwrap(), name, tail.chars().next().unwrap()));
        }
    }
    all
}

fn zygote() -> Option<i32> {
    let found = children().into_iter().find(|c| c.1 == "bingfa-zygote");
    found.map(|(pid, ..)| pid)
}

fn kill(pid: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

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

#[test]
fn at_exit_children_are_waited_for_and_daemons_are_not() {
    let name = "at_exit_children_are_waited_for_and_daemons_are_not";
    let desk = Desk::new("exit");
    let path = desk.0.display().to_string();
    let output = in_child(name, &[("BINGFA_TEST_DESK", &path)], || {
        let desk = PathBuf::from(std::env::var("BINGFA_TEST_DESK").unwrap());
        for method in METHODS {
            // The handle is dropped: the process waits all the same.
            let file = desk.join(format!("{method:?}"));
            let late = spawning(method).spawn(file, |file: PathBuf| {
                std::thread::sleep(Duration::from_millis(200));
                leave(&file, "done");
            });
            drop(late.unwrap());
            let daemon = spawning(method).daemon(true).spawn((), idle).unwrap();
            leave(
                &desk.join(format!("{method:?}-daemon")),
                &daemon.pid().to_string(),
            );
        }
        std::process::exit(0);
    });
    let Some(output) = output else { return };
    assert!(output.status.success(), "{}", common::stderr(&output));
    for method in METHODS {
        assert!(desk.file(&format!("{method:?}")).exists(), "{method:?}");
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
