//! `process::spawn`: functions in processes of their own, on both carriers.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bingfa::process::{self, Builder, JoinHandle, StartMethod};
use bingfa::{coroutine, io, thread, time};
use common::{LONG, SHORT, Watchdog, backends, cancel_and_join, runtime, until, until_in};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const METHODS: [StartMethod; 2] = [StartMethod::Zygote, StartMethod::Exec];

/// Without backtraces, which take seconds in a large binary.
fn quiet(method: StartMethod) -> Builder {
    let builder = Builder::new().start_method(method);
    builder.env("RUST_BACKTRACE", "0")
}

/// Spawns in both ways, and hands over the handles.
#[track_caller]
fn both<A, T>(args: A, f: fn(A) -> T) -> [JoinHandle<T>; 2]
where
    A: Serialize + DeserializeOwned + Clone,
    T: Serialize + DeserializeOwned,
{
    METHODS.map(|method| {
        let child = quiet(method).spawn(args.clone(), f).unwrap();
        assert_eq!(child.process().start_method(), Some(method));
        child
    })
}

/// The results of both ways, which must be the same.
#[track_caller]
fn result_of<A, T>(args: A, f: fn(A) -> T) -> T
where
    A: Serialize + DeserializeOwned + Clone,
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let [copied, fresh] = both(args, f).map(|child| child.join().unwrap());
    assert_eq!(copied, fresh);
    copied
}

/// The texts of the errors of both ways, without the names and numbers.
#[track_caller]
fn errors_of<A, T>(args: A, f: fn(A) -> T) -> Vec<String>
where
    A: Serialize + DeserializeOwned + Clone,
    T: Serialize + DeserializeOwned + Debug,
{
    let errors = both(args, f).map(|child| {
        let who = format!("process {} (pid {}) ", child.name(), child.pid());
        let error = child.join().unwrap_err().to_string();
        let what = error
            .strip_prefix(&who)
            .unwrap_or_else(|| panic!("{error}"));
        what.to_owned()
    });
    errors.to_vec()
}

/// Runs for ever.
fn idle((): ()) {
    std::thread::sleep(LONG);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    ages: BTreeMap<String, Option<u8>>,
}

impl Person {
    /// A method is a function, too: of its `self`.
    fn older(mut self) -> Person {
        self.ages.values_mut().flatten().for_each(|age| *age += 1);
        self
    }
}

#[bingfa::test]
fn a_function_runs_in_another_process() {
    let _dog = Watchdog::new("spawn");
    let pids = both((), |()| std::process::id());
    for child in pids {
        assert_ne!(child.pid(), std::process::id());
        assert_eq!(child.pid(), child.join().unwrap());
    }
    let lqz = Person {
        name: "lqz".into(),
        ages: [("now".into(), Some(19)), ("then".into(), None)].into(),
    };
    assert_eq!(result_of(lqz.clone(), Person::older), lqz.older());
    result_of((), |()| ());
}

#[bingfa::test]
fn memory_is_not_shared() {
    static AGE: AtomicU32 = AtomicU32::new(18);
    AGE.store(20, SeqCst);
    let seen = result_of((), |()| {
        let before = AGE.load(SeqCst);
        AGE.store(16, SeqCst);
        before
    });
    assert_eq!(seen, 18, "as at the start of the program");
    assert_eq!(AGE.load(SeqCst), 20);
}

#[bingfa::test]
fn large_values_go_both_ways() {
    let _dog = Watchdog::new("large");
    let args: Vec<u64> = (0..200_000).collect();
    for child in both(args, |v: Vec<u64>| -> Vec<u64> {
        v.into_iter().rev().collect()
    }) {
        let back = child.join().unwrap();
        assert!(back.into_iter().eq((0..200_000).rev()));
    }
}

/// A child that never reads its arguments holds up nobody, and its death is noticed.
#[bingfa::test]
fn a_child_is_joined_while_others_ask_for_it() {
    for len in [0, 7, 3 << 20] {
        for child in both(len, |len: usize| "x".repeat(len)) {
            let asked = child.process().clone();
            let asks = std::thread::spawn(move || while asked.is_alive() {});
            assert_eq!(child.join().unwrap().len(), len);
            asks.join().unwrap();
        }
    }
}

#[bingfa::test]
fn a_child_that_is_stopped_does_not_hold_up_spawn() {
    let _dog = Watchdog::new("stopped");
    let child = process::spawn((), idle);
    child.process().signal(libc::SIGSTOP).unwrap();
    let large = process::spawn(vec![0u8; 1_000_000], |v: Vec<u8>| v.len());
    assert_eq!(large.join().unwrap(), 1_000_000);
    assert!(child.is_alive());
    child.kill().unwrap();
    assert!(child.join().is_err());
}

#[bingfa::test]
fn the_spawner_is_the_parent_and_nests() {
    let _dog = Watchdog::new("nested");
    let me = std::process::id();
    // Its own parent, its parent's pid and name as it was told, and the same of its child.
    fn family(depth: u32) -> Vec<(u32, u32, u32, String)> {
        let parent = process::parent().unwrap();
        let mut all = vec![(
            std::process::id(),
            std::os::unix::process::parent_id(),
            parent.pid(),
            parent.name().to_owned(),
        )];
        if depth > 0 {
            for child in both(depth - 1, family) {
                let pid = child.pid();
                let mut below = child.join().unwrap();
                assert_eq!(below[0].0, pid);
                all.append(&mut below);
            }
        }
        all
    }
    for child in both(1, family) {
        let name = child.name().to_owned();
        let all = child.join().unwrap();
        assert_eq!(all.len(), 3);
        let (pid, parent, told, main) = &all[0];
        assert_eq!((*parent, *told, &**main), (me, me, "main"));
        for grandchild in &all[1..] {
            assert_eq!((grandchild.1, grandchild.2), (*pid, *pid));
            assert_eq!(grandchild.3, name);
        }
    }
}

#[bingfa::test]
fn names_are_given_or_made_up() {
    let _dog = Watchdog::new("names");
    let one = process::spawn((), |()| process::current().name().to_owned());
    let two = process::spawn((), |()| process::current().name().to_owned());
    assert_ne!(one.name(), two.name());
    assert!(one.name().starts_with("Process-"), "{}", one.name());
    for child in [one, two] {
        assert_eq!(child.name().to_owned(), child.join().unwrap());
    }
    let named = Builder::new().name("process01".into()).daemon(true);
    let named = named.spawn((), |()| {
        let title = std::fs::read_to_string("/proc/self/comm").unwrap();
        (process::current().is_daemon(), title)
    });
    let named = named.unwrap();
    assert_eq!(named.name(), "process01");
    assert!(named.process().is_daemon());
    assert_eq!(named.join().unwrap(), (true, "process01\n".into()));
    assert!(!process::current().is_daemon());
}

#[bingfa::test]
fn a_panic_comes_back_with_its_message_and_place() {
    let _dog = Watchdog::new("panic");
    for child in both(7, |n: u32| -> u32 { panic!("no {n}") }) {
        let line = line!() - 1;
        let pid = child.pid();
        let error = child.join().unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.pid(), pid);
        assert_eq!(error.panic_message(), Some("no 7"));
        let place = error.panic_location().unwrap();
        assert!(
            place.starts_with(&format!("{}:{line}:", file!())),
            "{place}"
        );
        assert_eq!(error.exit_status().unwrap().code(), Some(101));
        let text = error.to_string();
        assert!(
            text.contains("panicked at") && text.ends_with(": no 7"),
            "{text}"
        );
    }
    let plain = process::spawn((), |()| -> () { panic!("plain") })
        .join()
        .unwrap_err();
    assert_eq!(plain.panic_message(), Some("plain"));
    let odd = process::spawn((), |()| -> () { std::panic::panic_any(5) }).join();
    assert!(odd.unwrap_err().is_panic());
}

#[bingfa::test]
fn a_death_names_the_child_and_the_signal() {
    let _dog = Watchdog::new("death");
    let aborted = errors_of((), |()| -> () { std::process::abort() });
    for error in aborted {
        assert!(error.contains("SIGABRT"), "{error}");
    }
    for error in errors_of((), |()| -> u8 { std::process::exit(3) }) {
        assert_eq!(error, "ended without a result: exit status: 3");
    }
    for child in both((), idle) {
        assert!(child.is_alive());
        assert_eq!(child.exit_status(), None);
        let process = child.process().clone();
        process.kill().unwrap();
        let error = child.join().unwrap_err();
        assert!(error.to_string().contains("SIGKILL"), "{error}");
        assert!(!error.is_panic());
        assert!(!process.is_alive());
        let status = process.exit_status().unwrap();
        assert_eq!(status.to_string(), "signal: 9 (SIGKILL)");
        assert!(format!("{process:?}").contains("SIGKILL"), "{process:?}");
        process.kill().unwrap(); // no error, and nobody else's process
    }
    let child = process::spawn((), idle);
    child.terminate().unwrap();
    let error = child.join().unwrap_err();
    let signal = std::os::unix::process::ExitStatusExt::signal(&error.exit_status().unwrap());
    assert_eq!(signal, Some(libc::SIGTERM));
}

#[bingfa::test]
fn a_join_that_is_too_early_gives_the_handle_back() {
    let _dog = Watchdog::new("join_timeout");
    let child = process::spawn((), idle);
    let child = child.join_timeout(SHORT).unwrap_err();
    let child = child.join_timeout(Duration::ZERO).unwrap_err();
    assert!(child.is_alive() && !child.is_finished());
    child.kill().unwrap();
    assert!(child.join_timeout(LONG).unwrap().is_err());
    let child = process::spawn(1, |n: u32| n);
    assert_eq!(child.join_timeout(LONG).unwrap().unwrap(), 1);
}

#[derive(Clone, Debug)]
struct Unsendable;

impl Serialize for Unsendable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

impl<'de> Deserialize<'de> for Unsendable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Unsendable)
    }
}

#[bingfa::test]
fn what_cannot_be_sent_is_an_error_that_names_the_type() {
    let _dog = Watchdog::new("codec");
    let error = Builder::new()
        .spawn(Unsendable, |_: Unsendable| ())
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(
        error
            .to_string()
            .contains("process::Unsendable` cannot be encoded"),
        "{error}"
    );

    for error in errors_of((), |()| Unsendable) {
        assert!(
            error.contains("result") && error.contains("process::Unsendable`"),
            "{error}"
        );
    }
    // A format that does not describe itself cannot hold values of any type.
    let any = serde_json::json!({"a": 1});
    for error in errors_of(any, |_: serde_json::Value| ()) {
        assert!(error.contains("arguments: `serde_json::"), "{error}");
    }
    let any = process::spawn((), |()| serde_json::json!(1))
        .join()
        .unwrap_err();
    assert!(
        any.to_string().contains("its result: `serde_json::"),
        "{any}"
    );
    assert!(any.exit_status().unwrap().success());
}

#[bingfa::test]
fn children_that_run_are_listed() {
    let _dog = Watchdog::new("active_children");
    let child = Builder::new()
        .name("listed".into())
        .spawn((), idle)
        .unwrap();
    let listed = || {
        let all = process::active_children();
        all.into_iter().find(|c| c.pid() == child.pid())
    };
    let found = listed().unwrap();
    assert_eq!(found.name(), "listed");
    found.kill().unwrap();
    let pid = child.pid();
    assert!(child.join().is_err());
    assert!(process::active_children().iter().all(|c| c.pid() != pid));
    assert!(!found.is_alive());
}

#[bingfa::test]
fn a_sentinel_is_readable_when_the_child_has_ended() {
    let _dog = Watchdog::new("sentinel");
    let child = process::spawn((), idle);
    let before = child.process().sentinel().unwrap();
    let soon = std::time::Instant::now() + SHORT;
    assert!(io::readable(&before, soon).is_err());
    child.kill().unwrap();
    io::readable(&before, None).unwrap();
    assert!(!child.is_alive());
    io::readable(child.process().sentinel().unwrap(), None).unwrap();
    assert!(child.join().is_err());
    io::readable(&before, None).unwrap();
}

#[bingfa::test]
fn an_orphan_has_no_parent_and_a_child_sees_its_parent_die() {
    let _dog = Watchdog::new("parent");
    // The middle one spawns a grandchild and is killed; the grandchild tells through a file.
    let path = std::env::temp_dir().join(format!(
        "bingfa-orphan-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let middle = process::spawn(path.clone(), |path: std::path::PathBuf| {
        let grandchild = process::spawn(path, |path: std::path::PathBuf| {
            let parent = process::parent().unwrap();
            assert!(parent.is_alive());
            std::fs::write(&path, "up").unwrap();
            io::readable(parent.sentinel().unwrap(), None).unwrap();
            assert!(!parent.is_alive());
            until(|| process::parent().is_none());
            std::fs::write(&path, "orphan").unwrap();
        });
        grandchild.join().unwrap();
    });
    let content = |wanted: &str| std::fs::read_to_string(&path).is_ok_and(|text| text == wanted);
    until(|| content("up"));
    middle.kill().unwrap();
    assert!(middle.join().is_err());
    until(|| content("orphan"));
    std::fs::remove_file(&path).unwrap();
}

#[bingfa::test]
fn many_at_once_from_many_carriers() {
    let _dog = Watchdog::new("many");
    thread::scope(|scope| {
        for i in 0..4u64 {
            scope.spawn(move || {
                for n in 0..10 {
                    let child = process::spawn(i * 100 + n, |n: u64| n * n);
                    assert_eq!(child.join().unwrap(), (i * 100 + n).pow(2));
                }
            });
        }
    });
    let children: Vec<_> = (0..30u64)
        .map(|n| process::spawn(n, |n: u64| n * 2))
        .collect();
    let results: HashSet<_> = children.into_iter().map(|c| c.join().unwrap()).collect();
    assert_eq!(results.len(), 30);
}

/// Waiting for a child, a coroutine does not hold its worker.
#[test]
fn coroutines_of_the_worker_run_meanwhile() {
    let _dog = Watchdog::new("worker");
    for io in backends() {
        runtime(io, 1).run(|| {
            let child = process::spawn((), idle);
            let process = child.process().clone();
            let waiter = coroutine::spawn_local(move || child.join().unwrap_err().to_string());
            until_in(&waiter, "join");
            process.kill().unwrap();
            assert!(waiter.join().unwrap().contains("SIGKILL"));
        });
    }
}

#[test]
fn a_cancelled_waiter_leaves_the_child() {
    let _dog = Watchdog::new("cancel");
    for io in backends() {
        runtime(io, 1).run(|| {
            let child = process::spawn((), idle);
            let process = child.process().clone();
            let waiter = coroutine::spawn_local(move || child.join());
            until_in(&waiter, "join");
            cancel_and_join(waiter);
            assert!(process.is_alive());
            process.kill().unwrap();
            until(|| !process.is_alive());
        });
    }
}

#[bingfa::test]
fn a_timeout_ends_the_wait_on_any_carrier() {
    let _dog = Watchdog::new("timeout");
    let child = process::spawn((), idle);
    let process = child.process().clone();
    assert!(time::timeout(SHORT, || child.join()).is_err());
    assert!(process.is_alive());
    process.kill().unwrap();
    until(|| !process.is_alive());
}

#[test]
fn a_handle_is_a_future() {
    let _dog = Watchdog::new("future");
    struct Bell(mpsc::Sender<()>);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }
    let (bell, rung) = mpsc::channel();
    let waker = Waker::from(Arc::new(Bell(bell)));
    let mut child = std::pin::pin!(process::spawn(20, |n: u32| n + 1));
    let result = loop {
        match child.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => break result,
            Poll::Pending => rung.recv().unwrap(),
        }
    };
    assert_eq!(result.unwrap(), 21);
}

/// A child has its own workers, threads and coroutines, and may join its own children in them.
#[bingfa::test]
fn a_child_runs_coroutines_and_threads() {
    let _dog = Watchdog::new("runtime");
    let sum = result_of(10, |n: u64| {
        let parts: Vec<_> = (0..n).map(|i| coroutine::spawn(move || i)).collect();
        let threads: Vec<_> = (0..n).map(|i| thread::spawn(move || i)).collect();
        let nested = coroutine::spawn(|| process::spawn(5, |n: u64| n).join().unwrap());
        let coroutines: u64 = parts.into_iter().map(|part| part.join().unwrap()).sum();
        let threads: u64 = threads.into_iter().map(|part| part.join().unwrap()).sum();
        coroutines + threads + nested.join().unwrap()
    });
    assert_eq!(sum, 45 + 45 + 5);
}

fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

#[bingfa::test]
fn the_builder_changes_the_environment() {
    let _dog = Watchdog::new("environment");
    for method in METHODS {
        let builder = || Builder::new().start_method(method);
        let get = |builder: Builder, name: &str| {
            let child = builder.spawn(name.to_owned(), variable).unwrap();
            child.join().unwrap()
        };
        let set = |builder: Builder| builder.env("BINGFA_X", "1").env("BINGFA_X", "2");
        assert_eq!(get(set(builder()), "BINGFA_X").as_deref(), Some("2"));
        assert_eq!(get(set(builder()).env_remove("BINGFA_X"), "BINGFA_X"), None);
        assert!(get(builder(), "PATH").is_some());
        assert_eq!(get(builder().env_clear(), "PATH"), None);
        let cleared = set(builder().env_clear()).envs([("BINGFA_Y", "3")]);
        let count = cleared.spawn((), |()| std::env::vars_os().count()).unwrap();
        assert_eq!(count.join().unwrap(), 2);
        // What tells a child that it is one is gone from its environment.
        assert_eq!(get(builder(), "BINGFA_PROCESS"), None);
        for impossible in ["", "a=b", "a\0b"] {
            let error = builder()
                .env(impossible, "x")
                .spawn((), |()| ())
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
    assert!(std::env::var_os("BINGFA_X").is_none());
}

#[bingfa::test]
fn the_builder_sets_directory_and_affinity() {
    let _dog = Watchdog::new("directory");
    for method in METHODS {
        let builder = || Builder::new().start_method(method);
        let directory = builder()
            .current_dir("/proc")
            .spawn((), |()| std::env::current_dir().unwrap());
        let directory = directory.unwrap().join().unwrap();
        assert_eq!(directory, std::path::Path::new("/proc"));
        let nowhere = builder().current_dir("/nowhere/at/all").spawn((), |()| ());
        let error = nowhere.unwrap().join().unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");

        let cpus = |()| std::thread::available_parallelism().unwrap().get();
        let one = builder().affinity([0]).spawn((), cpus).unwrap();
        assert_eq!(one.join().unwrap(), 1);
        let none = builder().affinity([1000]).spawn((), cpus).unwrap();
        let error = none.join().unwrap_err().to_string();
        assert!(error.contains("affinity"), "{error}");
        assert!(builder().affinity([1 << 20]).spawn((), cpus).is_err());
    }
}

#[bingfa::test]
fn limits_end_a_child_that_takes_too_much() {
    let _dog = Watchdog::new("limits");
    for method in METHODS {
        let builder = || quiet(method);
        let eater = builder().memory_limit(256 << 20).spawn((), |()| {
            let mut all = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1u8; 16 << 20]));
            }
        });
        let eater: JoinHandle<()> = eater.unwrap();
        let error = eater.join().unwrap_err().to_string();
        assert!(error.contains("SIGABRT"), "{error}");
    }
    let limit = Duration::from_millis(1); // a second, as it is rounded up
    let spinner = quiet(StartMethod::default())
        .cpu_limit(limit)
        .spawn((), |()| {
            loop {
                std::hint::black_box(0);
            }
        });
    let spinner: JoinHandle<()> = spinner.unwrap();
    let error = spinner.join().unwrap_err().to_string();
    assert!(error.contains("SIGXCPU"), "{error}");
}

/// The end of a child waits for what is no daemon, and nothing that was printed is lost.
#[bingfa::test]
fn a_childs_end_is_orderly() {
    use std::io::Read;
    let _dog = Watchdog::new("end");
    for method in METHODS {
        let talker = quiet(method)
            .stdout(process::Stdio::piped())
            .spawn((), |()| {
                let late = thread::Builder::new().daemon(false);
                late.spawn(|| {
                    thread::sleep(SHORT);
                    print!("late, no newline");
                })
                .unwrap();
                print!("early, ");
            });
        let mut talker = talker.unwrap();
        let mut text = String::new();
        let mut out = talker.stdout.take().unwrap();
        out.read_to_string(&mut text).unwrap();
        assert_eq!(text, "early, late, no newline");
        talker.join().unwrap();
    }
}

#[bingfa::test]
fn a_select_waits_for_children_beside_other_things() {
    let _dog = Watchdog::new("select");
    let jobs = bingfa::queue::Queue::<u32>::unbounded();
    let mut child = process::spawn((), idle);
    let process = child.process().clone();
    let first = bingfa::select! {
        wait(child) => "child",
        get(jobs) -> _ => "job",
        timeout(SHORT) => "nothing",
    };
    assert_eq!(first, "nothing");
    process.kill().unwrap();
    let second = bingfa::select! {
        get(jobs) -> _ => "job",
        wait(child) => "child",
    };
    assert_eq!(second, "child");
    assert!(child.join().is_err());
}
