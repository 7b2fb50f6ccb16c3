//! Deadlocks among locks: seen when they arise, and nothing else is taken for one. What is
//! written to standard error is looked at from outside: those tests run in a child.

mod common;

use std::any::Any;
use std::panic::Location;
use std::sync::Barrier;
use std::sync::mpsc;
use std::time::Duration;

use bingfa::observe::{self, Deadlock};
use bingfa::sync::{Arc, Condvar, Mutex, Once, ReentrantLock, RwLock};
use bingfa::{Runtime, coroutine, thread, time};
use common::{LONG, SHORT, Watchdog, assert_well, in_child, runtime, stderr, until};

/// What runs one of those who deadlock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum On {
    Thread,
    /// Of the one runtime or the other.
    Coroutine(usize),
}
use On::{Coroutine, Thread};

/// Runtimes to put coroutines on: the first has one worker.
struct Runtimes([Runtime; 2]);

impl Runtimes {
    fn new() -> Self {
        let io = common::backends()[0];
        Self([runtime(io, 1), runtime(io, 2)])
    }

    /// Runs `f`; whether it panicked is sent to `ends`.
    #[track_caller]
    fn spawn(&self, on: On, name: &str, ends: &Ends, f: impl FnOnce() + Send + 'static) {
        let (name, sender) = (name.to_owned(), ends.0.clone());
        let run = {
            let name = name.clone();
            move || {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
                let _ = sender.send((name, result.err()));
            }
        };
        match on {
            Thread => drop(thread::Builder::new().name(name).spawn(run).unwrap()),
            Coroutine(which) => {
                let builder = coroutine::Builder::new().name(name);
                drop(self.0[which].run(|| builder.spawn(run).unwrap()));
            }
        }
    }
}

type End = (String, Option<Box<dyn Any + Send>>);

/// How those who were spawned have ended.
struct Ends(mpsc::Sender<End>, mpsc::Receiver<End>);

impl Ends {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self(sender, receiver)
    }

    /// Waits for `count` ends: the message of the only panic among them, and whose it was.
    #[track_caller]
    fn only_panic(&self, count: usize) -> (String, String) {
        let ends: Vec<End> = (0..count).map(|_| self.1.recv().unwrap()).collect();
        let mut panics = ends
            .into_iter()
            .filter_map(|(name, end)| Some((name, end?)));
        let (name, payload) = panics.next().expect("nobody has panicked");
        assert!(panics.next().is_none(), "a second panic");
        let message = payload.downcast_ref::<String>().expect("a message");
        (name, message.clone())
    }
}

/// A barrier that suspends coroutines, also those that share a thread.
struct Meeting(bingfa::sync::Barrier);

impl Meeting {
    fn new(of: usize) -> Arc<Self> {
        Arc::new(Self(bingfa::sync::Barrier::new(of)))
    }

    fn wait(&self) {
        self.0.wait();
    }
}

/// Each holds one lock of a ring and wants the next one's.
fn ring(carriers: &[On], ends: &Ends) -> Runtimes {
    let runtimes = Runtimes::new();
    let locks: Vec<_> = carriers.iter().map(|_| Arc::new(Mutex::new(()))).collect();
    let meeting = Meeting::new(carriers.len());
    for (index, on) in carriers.iter().enumerate() {
        let mine = locks[index].clone();
        let next = locks[(index + 1) % locks.len()].clone();
        let meeting = meeting.clone();
        runtimes.spawn(*on, &format!("eater-{index}"), ends, move || {
            // Poisoned, if the one who panics has held it.
            let _mine = mine.lock();
            meeting.wait();
            let _next = next.lock();
        });
    }
    runtimes
}

const CASES: [&[On]; 8] = [
    &[Thread, Thread],
    &[Coroutine(0), Coroutine(0)],
    &[Coroutine(1), Coroutine(1)],
    &[Coroutine(0), Coroutine(1)],
    &[Thread, Coroutine(0)],
    &[Thread, Thread, Thread],
    &[Coroutine(0), Coroutine(0), Coroutine(1)],
    &[Thread, Coroutine(0), Coroutine(1), Thread, Coroutine(0)],
];

#[test]
fn the_last_of_a_ring_panics_and_the_others_go_on() {
    observe::on_deadlock(Deadlock::Panic);
    for case in CASES {
        let _dog = Watchdog::new(&format!("{case:?}"));
        let ends = Ends::new();
        let _runtimes = ring(case, &ends);
        let (last, report) = ends.only_panic(case.len());
        assert!(
            report.contains(&format!("{} threads or coroutines", case.len())),
            "{report}"
        );
        for (index, on) in case.iter().enumerate() {
            let kind = if *on == Thread { "thread" } else { "coroutine" };
            let name = format!("\n  {kind} 'eater-{index}' (id ");
            assert_eq!(report.matches(&name).count(), 1, "{report}");
        }
        assert_eq!(
            report.matches(" holds Mutex 0x").count(),
            case.len(),
            "{report}"
        );
        let waits = format!("(lock) at {}:", Location::caller().file());
        assert_eq!(report.matches(&waits).count(), case.len(), "{report}");
        assert_eq!(
            report.matches("spawned at ").count(),
            case.len(),
            "{report}"
        );
        assert!(report.contains(&last), "{last} is not in it: {report}");
    }
}

/// Nobody knows where it was spawned.
#[test]
fn a_thread_of_std_is_told_by_where_it_was_first_seen() {
    observe::on_deadlock(Deadlock::Panic);
    let (line, report) = std::thread::spawn(|| {
        let lock = Mutex::new(());
        let line = line!() + 1;
        let _held = lock.lock().unwrap();
        let again = std::panic::AssertUnwindSafe(|| drop(lock.lock()));
        let panic = std::panic::catch_unwind(again).unwrap_err();
        (line, *panic.downcast::<String>().unwrap())
    })
    .join()
    .unwrap();
    let seen = format!("(first seen at {}:{line}:", file!());
    assert!(report.contains(&seen), "{report}");
}

/// The report that a child wrote, and that it wrote one only.
#[track_caller]
fn only_report(output: &std::process::Output) -> String {
    assert_well(output);
    let err = stderr(output);
    assert_eq!(err.matches("bingfa: deadlock").count(), 1, "{err}");
    err
}

/// Waits until so many with such a name are blocked in `what`.
fn until_blocked(name: &str, count: usize, what: &str) {
    until(|| {
        let waits = |carrier: &observe::Carrier| {
            let info = &carrier.info;
            info.name.as_deref().is_some_and(|it| it.starts_with(name))
                && info.state == observe::State::Blocked
                && info.last_wait.is_some_and(|wait| wait.what == what)
        };
        observe::snapshot().into_iter().filter(waits).count() == count
    });
}

#[test]
fn by_default_there_is_one_report_and_they_wait_on() {
    let name = "by_default_there_is_one_report_and_they_wait_on";
    let output = in_child(name, &[("BINGFA_DEADLOCK", "")], || {
        let ends = Ends::new();
        let _runtimes = ring(&[Thread, Coroutine(0), Coroutine(1)], &ends);
        // The last to wait has said so before it is blocked.
        until_blocked("eater", 3, "lock");
        assert!(ends.1.try_recv().is_err());
        std::process::exit(0);
    });
    let Some(output) = output else { return };
    let report = only_report(&output);
    assert!(report.contains("thread 'eater-0'"), "{report}");
    assert!(report.contains("coroutine 'eater-2'"), "{report}");
}

#[test]
fn switched_off_nothing_is_said() {
    let name = "switched_off_nothing_is_said";
    let output = in_child(name, &[("BINGFA_DEADLOCK", "off")], || {
        let ends = Ends::new();
        let _runtimes = ring(&[Thread, Coroutine(0)], &ends);
        until_blocked("eater", 2, "lock");
        std::process::exit(0);
    });
    let Some(output) = output else { return };
    assert_well(&output);
    assert!(
        !stderr(&output).contains("bingfa: deadlock"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_unknown_setting_is_said_and_panic_can_be_had_by_the_environment() {
    let name = "an_unknown_setting_is_said_and_panic_can_be_had_by_the_environment";
    let body = || {
        let lock = Mutex::new(());
        let _guard = lock.lock();
        let late = lock.lock_timeout(SHORT); // no deadlock, but a wait: the setting is read
        assert!(late.is_err());
        thread::scope(|s| {
            let other = s.spawn(|| drop(lock.lock()));
            until(|| {
                observe::snapshot()
                    .iter()
                    .any(|carrier| carrier.held_by.is_some())
            });
            drop(_guard);
            other.join().unwrap();
        });
        if std::env::var("BINGFA_DEADLOCK").unwrap() == "panic" {
            let twice = thread::spawn(|| {
                let lock = Mutex::new(());
                let _guard = lock.lock();
                drop(lock.lock());
            });
            assert!(twice.join().is_err());
        }
    };
    for (setting, said) in [("maybe", true), ("panic", false)] {
        let Some(output) = in_child(name, &[("BINGFA_DEADLOCK", setting)], body) else {
            return;
        };
        assert_well(&output);
        assert_eq!(
            stderr(&output).contains("BINGFA_DEADLOCK=maybe is unknown"),
            said
        );
    }
}

/// The message with which `f` panics.
#[track_caller]
fn panic_of(on: On, f: impl FnOnce() + Send + 'static) -> String {
    observe::on_deadlock(Deadlock::Panic);
    let _dog = Watchdog::new("a deadlock");
    let (runtimes, ends) = (Runtimes::new(), Ends::new());
    runtimes.spawn(on, "lonely", &ends, f);
    ends.only_panic(1).1
}

#[test]
fn who_locks_twice_waits_for_himself() {
    for on in [Thread, Coroutine(0)] {
        let report = panic_of(on, || {
            let lock = Mutex::new(());
            let _guard = lock.lock();
            let _again = lock.lock();
        });
        assert!(report.contains("by its own holder"), "{report}");
        assert!(report.contains("'lonely'"), "{report}");

        for second in [
            |lock: &RwLock<()>| drop(lock.read()),
            |lock: &RwLock<()>| drop(lock.write()),
        ] {
            let report = panic_of(on, move || {
                let lock = RwLock::new(());
                let _guard = lock.write();
                second(&lock);
            });
            assert!(report.contains("RwLock"), "{report}");
        }
    }
}

#[test]
fn writers_and_other_locks_take_part() {
    for on in [Thread, Coroutine(0)] {
        observe::on_deadlock(Deadlock::Panic);
        let _dog = Watchdog::new(&format!("{on:?}"));
        let (runtimes, ends) = (Runtimes::new(), Ends::new());
        let meeting = Meeting::new(4);
        let locks = Arc::new((RwLock::new(()), RwLock::new(()), ReentrantLock::new(())));
        let once = Arc::new(Once::new());
        let join = |name, f: fn(&RwLock<()>, &RwLock<()>, &ReentrantLock<()>, &Once, &Meeting)| {
            let (locks, once, meeting) = (locks.clone(), once.clone(), meeting.clone());
            runtimes.spawn(on, name, &ends, move || {
                f(&locks.0, &locks.1, &locks.2, &once, &meeting);
            });
        };
        join("writer", |a, b, _, _, meeting| {
            let _a = a.write();
            meeting.wait();
            let _b = b.read();
        });
        join("other writer", |_, b, owned, _, meeting| {
            let _b = b.write();
            meeting.wait();
            let _owned = owned.lock();
        });
        join("owner", |_, _, owned, once, meeting| {
            let _owned = owned.lock();
            let _again = owned.lock(); // may be
            meeting.wait();
            once.call_once_force(|_| ());
        });
        join("initialiser", |a, _, _, once, meeting| {
            once.call_once(|| {
                meeting.wait();
                drop(a.write());
            });
        });
        let (_, report) = ends.only_panic(4);
        for kind in ["RwLock", "ReentrantLock", "Once"] {
            assert!(report.contains(&format!(" holds {kind} 0x")), "{report}");
            assert!(
                report.contains(&format!(" waits for {kind} 0x")),
                "{report}"
            );
        }
        assert!(report.contains("(read lock)"), "{report}");
    }
}

#[test]
fn who_is_notified_and_wants_the_mutex_back_takes_part() {
    for on in [Thread, Coroutine(0), Coroutine(1)] {
        observe::on_deadlock(Deadlock::Panic);
        let _dog = Watchdog::new(&format!("{on:?}"));
        let (runtimes, ends) = (Runtimes::new(), Ends::new());
        let shared = Arc::new((Mutex::new(()), Mutex::new(false), Condvar::new()));
        let waiter = shared.clone();
        runtimes.spawn(on, "waiter", &ends, move || {
            let (held, ready, changed) = &*waiter;
            let _held = held.lock();
            let mut ready = ready
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            while !*ready {
                ready = changed
                    .wait(ready)
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
            }
        });
        until_blocked("waiter", 1, "condition");
        let taker = shared.clone();
        runtimes.spawn(on, "taker", &ends, move || {
            let (held, ready, _) = &*taker;
            *ready.lock().unwrap() = true;
            let _ready = ready.lock();
            drop(held.lock());
        });
        until_blocked("taker", 1, "lock");
        // Only now the first begins to wait for what the second holds.
        shared.2.notify_all();
        let (last, report) = ends.only_panic(2);
        assert_eq!(last, "waiter", "{report}");
        assert!(report.contains("'taker'"), "{report}");
    }
}

/// Panics would end it; nothing of it is a deadlock.
#[bingfa::test]
fn what_ends_by_itself_is_none() {
    observe::on_deadlock(Deadlock::Panic);
    let lock = Mutex::new(());
    let guard = lock.lock().unwrap();
    assert!(lock.lock_timeout(SHORT).is_err());
    assert!(time::timeout(SHORT, || drop(lock.lock())).is_err());
    // Neither is a circle through such a wait.
    let other = Mutex::new(());
    let held = Barrier::new(2);
    thread::scope(|s| {
        let limited = s.spawn(|| {
            let _other = other.lock().unwrap();
            held.wait();
            assert!(lock.lock_timeout(SHORT).is_err());
        });
        held.wait();
        drop(other.lock().unwrap());
        limited.join().unwrap();
    });
    drop(guard);

    let reentrant = ReentrantLock::new(());
    let _once = reentrant.lock();
    let _twice = reentrant.lock();
}

#[test]
fn a_cancel_ends_a_deadlock_that_was_reported() {
    let name = "a_cancel_ends_a_deadlock_that_was_reported";
    let output = in_child(name, &[("BINGFA_DEADLOCK", "report")], || {
        let runtime = runtime(common::backends()[0], 1);
        runtime.run(|| {
            let lock: Arc<Mutex<()>> = Arc::default();
            for _ in 0..2 {
                let lock = lock.clone();
                let twice = coroutine::spawn(move || {
                    let _guard = lock.lock();
                    let _again = lock.lock();
                });
                common::until_in(&twice, "lock");
                common::cancel_and_join(twice);
            }
        });
    });
    let Some(output) = output else { return };
    assert_well(&output);
    // Each is a deadlock of its own.
    assert_eq!(
        stderr(&output).matches("bingfa: deadlock").count(),
        2,
        "{}",
        stderr(&output)
    );
}

/// The cancelled one can only leave when it runs again, which is after the other has queued.
#[test]
fn who_was_cancelled_and_has_not_run_since_is_no_part_of_one() {
    let name = "who_was_cancelled_and_has_not_run_since_is_no_part_of_one";
    let output = in_child(name, &[("BINGFA_DEADLOCK", "report")], || {
        runtime(common::backends()[0], 1).run(|| {
            let (first, second) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
            let held = second.lock().unwrap();
            let other = coroutine::spawn_local({
                let (first, second) = (first.clone(), second.clone());
                move || {
                    let _first = first.lock().unwrap();
                    drop(second.lock());
                }
            });
            while first.try_lock().is_ok() {
                coroutine::yield_now();
            }
            other.cancel();
            drop(first.lock().unwrap());
            drop(held);
        });
    });
    let Some(output) = output else { return };
    assert_well(&output);
    let said = stderr(&output);
    assert!(!said.contains("bingfa: deadlock"), "{said}");
}

/// Enough for a mixture.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

/// Three locks in a legal order, taken by everybody all the time, with condition variables and
/// limits between: a false report would be a panic.
#[test]
fn heavy_use_in_a_legal_order_is_none() {
    observe::on_deadlock(Deadlock::Panic);
    let _dog = Watchdog::new("heavy use");
    let runtimes = Runtimes::new();
    let locks: Arc<[Mutex<u64>; 3]> = Arc::default();
    let rw = Arc::new(RwLock::new(0));
    let changed = Arc::new(Condvar::new());
    let rounds = if cfg!(debug_assertions) { 400 } else { 4000 };
    let work = |seed: u64| {
        let (locks, rw, changed) = (locks.clone(), rw.clone(), changed.clone());
        move || {
            let mut random = Random(seed);
            for _ in 0..rounds {
                let first = random.below(3);
                let mut outer = locks[first].lock().unwrap();
                *outer += 1;
                if random.below(4) == 0 {
                    coroutine::try_current().map_or_else(std::thread::yield_now, |_| {
                        coroutine::yield_now();
                    });
                }
                if let Some(second) = locks.get(first + 1 + random.below(2)) {
                    match random.below(8) {
                        0 => drop(second.lock_timeout(SHORT)),
                        _ => *second.lock().unwrap() += 1,
                    }
                }
                if random.below(2) == 0 {
                    *rw.write().unwrap() += 1;
                } else {
                    assert!(*rw.read().unwrap() < u64::MAX);
                }
                if first == 0 {
                    changed.notify_all();
                    if random.below(4) == 0 {
                        drop(
                            changed
                                .wait_timeout(outer, Duration::from_micros(100))
                                .unwrap(),
                        );
                    }
                }
            }
        }
    };
    let ends = Ends::new();
    let carriers = [Thread, Coroutine(0), Coroutine(1)];
    for seed in 0..24 {
        let on = carriers[seed % 3];
        runtimes.spawn(on, &format!("worker-{seed}"), &ends, work(seed as u64));
    }
    for _ in 0..24 {
        let (name, end) = ends.1.recv().unwrap();
        assert!(
            end.is_none(),
            "{name}: {:?}",
            end.unwrap().downcast_ref::<String>()
        );
    }
}

#[test]
fn who_unwinds_already_does_not_panic_again() {
    let name = "who_unwinds_already_does_not_panic_again";
    let output = in_child(name, &[("BINGFA_DEADLOCK", "panic")], || {
        let lock: Arc<Mutex<()>> = Arc::default();
        let inner = lock.clone();
        thread::Builder::new()
            .name("unwinder".into())
            .spawn(move || {
                let _guard = inner.lock();
                let _late = common::OnDrop(|| drop(inner.lock()));
                panic!("on purpose");
            })
            .unwrap();
        until_blocked("unwinder", 1, "lock");
        std::process::exit(0);
    });
    let Some(output) = output else { return };
    only_report(&output);
}

#[test]
fn a_snapshot_shows_who_holds_what_is_waited_for() {
    let _dog = Watchdog::new("a snapshot");
    let runtimes = Runtimes::new();
    let lock: Arc<Mutex<()>> = Arc::default();
    let guard = lock.lock().unwrap();
    let ends = Ends::new();
    let waiting = lock.clone();
    runtimes.spawn(Coroutine(0), "patient", &ends, move || drop(waiting.lock()));
    let me = thread::current().id().as_u64();
    until(|| {
        let all = observe::snapshot();
        let patient = all
            .iter()
            .find(|it| it.info.name.as_deref() == Some("patient"));
        patient.is_some_and(|it| it.held_by == Some(me))
    });
    drop(guard);
    assert!(ends.1.recv().unwrap().1.is_none());
    let sleeper = thread::Builder::new().name("sleeper".into());
    sleeper.spawn(|| thread::sleep(LONG)).unwrap();
    until_blocked("sleeper", 1, "sleep");
}

/// Where what is waited for is a lock between processes.
#[test]
fn locks_between_processes_are_part_of_it() {
    use bingfa::process;
    observe::on_deadlock(Deadlock::Panic);
    for case in [
        [Thread, Thread],
        [Coroutine(0), Coroutine(0)],
        [Thread, Coroutine(1)],
    ] {
        let _dog = Watchdog::new(&format!("between processes, {case:?}"));
        let (ends, runtimes) = (Ends::new(), Runtimes::new());
        let meeting = Meeting::new(2);
        let (shared, own) = (process::Mutex::new(()).unwrap(), Arc::new(Mutex::new(())));
        let written = process::RwLock::new(0u8).unwrap();
        {
            let (shared, own, meeting) = (shared.clone(), own.clone(), meeting.clone());
            runtimes.spawn(case[0], "one", &ends, move || {
                let _own = own.lock();
                meeting.wait();
                let _shared = shared.lock();
            });
        }
        runtimes.spawn(case[1], "other", &ends, move || {
            let _shared = shared.lock();
            meeting.wait();
            let _own = own.lock();
        });
        let (_, report) = ends.only_panic(2);
        for part in ["process lock 0x", "Mutex 0x", "'one'", "'other'"] {
            assert!(report.contains(part), "{part}: {report}");
        }

        let meeting = Meeting::new(2);
        let second = process::ReentrantLock::new(0u8).unwrap();
        {
            let (written, second, meeting) = (written.clone(), second.clone(), meeting.clone());
            runtimes.spawn(case[0], "writer", &ends, move || {
                let _written = written.write();
                meeting.wait();
                let _second = second.lock();
            });
        }
        runtimes.spawn(case[1], "reader", &ends, move || {
            let _second = second.lock();
            meeting.wait();
            let _read = written.read();
        });
        let (_, report) = ends.only_panic(2);
        assert!(report.contains("process::RwLock 0x"), "{report}");
    }
}

#[test]
fn a_process_lock_that_its_holder_locks_again() {
    use bingfa::process;
    let _dog = Watchdog::new("twice");
    observe::on_deadlock(Deadlock::Panic);
    for on in [Thread, Coroutine(0)] {
        let (ends, runtimes) = (Ends::new(), Runtimes::new());
        let lock = process::Mutex::new(()).unwrap();
        runtimes.spawn(on, "twice", &ends, move || {
            let _one = lock.lock();
            let _two = lock.lock();
        });
        let (_, report) = ends.only_panic(1);
        assert!(report.contains("waited for by its own holder"), "{report}");
    }
}

#[bingfa::test]
fn a_snapshot_says_which_process_holds_a_lock() {
    use bingfa::process::{self, Event};
    let _dog = Watchdog::new("snapshot");
    let (lock, held) = (process::Mutex::new(()).unwrap(), Event::new().unwrap());
    let args = (lock.clone(), held.clone());
    let child = process::spawn(args, |(lock, held): (process::Mutex, Event)| {
        let _guard = lock.lock().unwrap();
        held.set();
        std::thread::sleep(LONG);
    });
    held.wait();
    let waiter = coroutine::spawn({
        let lock = lock.clone();
        move || lock.lock_timeout(LONG).is_err()
    });
    let id = waiter.id().as_u64();
    let seen = || {
        let all = observe::snapshot();
        let of = all.into_iter().find(|carrier| carrier.info.id == id);
        of.and_then(|carrier| Some((carrier.held_by_process?, carrier.held_by)))
    };
    until(|| seen().is_some());
    assert_eq!(seen(), Some((child.pid(), None)));
    child.kill().unwrap();
    child.join().unwrap_err();
    assert!(waiter.join().unwrap(), "the lock is poisoned");

    // And by this process: its carrier, too.
    lock.clear_poison();
    let guard = lock.lock().unwrap();
    let waiter = thread::spawn({
        let lock = lock.clone();
        move || drop(lock.lock())
    });
    let id = waiter.thread().id().as_u64();
    let seen = || {
        let all = observe::snapshot();
        let of = all.into_iter().find(|carrier| carrier.info.id == id);
        of.and_then(|carrier| Some((carrier.held_by_process?, carrier.held_by.is_some())))
    };
    until(|| seen().is_some());
    assert_eq!(seen(), Some((std::process::id(), true)));
    drop(guard);
    waiter.join().unwrap();
}
