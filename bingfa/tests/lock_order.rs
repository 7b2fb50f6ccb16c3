//! Locks that are taken in opposite orders are seen although nothing hangs, and nothing else is
//! taken for that. What is written to standard error is looked at from outside, in a child.

mod common;

use std::cell::RefCell;
use std::panic::Location;
use std::process::Output;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bingfa::observe::{self, LockOrder};
use bingfa::sync::{
    Arc, Condvar, Mutex, MutexGuard, ReentrantLock, ReentrantLockGuard, RwLock, RwLockReadGuard,
    RwLockWriteGuard,
};
use bingfa::{Runtime, coroutine, thread};
use common::{SHORT, Watchdog, assert_well, in_child, runtime, stderr};

/// What takes some locks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum On {
    Thread,
    Coroutine,
}
use On::{Coroutine, Thread};

/// Runs `f` to its end, on a carrier of its own; the message of its panic. Threads get the name.
fn run(on: On, name: &str, f: impl FnOnce() + Send) -> Result<(), String> {
    let result = match on {
        Thread => thread::scope(|s| {
            let builder = thread::Builder::new().name(name.to_owned());
            builder.spawn_scoped(s, f).unwrap().join()
        }),
        Coroutine => {
            runtime(common::backends()[0], 1).run(|| coroutine::scope(|s| s.spawn(f).join()))
        }
    };
    result.map_err(|payload| payload.downcast_ref::<String>().unwrap().clone())
}

/// Each carrier beside each.
const PAIRS: [[On; 2]; 4] = [
    [Thread, Thread],
    [Thread, Coroutine],
    [Coroutine, Thread],
    [Coroutine, Coroutine],
];

/// A way to take a lock.
#[derive(Clone, Copy, Debug)]
enum How {
    Lock,
    Reenter,
    Read,
    Write,
}
const HOWS: [How; 4] = [How::Lock, How::Reenter, How::Read, How::Write];

#[derive(Default)]
struct Locks {
    mutex: Mutex<()>,
    reentrant: ReentrantLock<()>,
    rw: RwLock<()>,
}

#[expect(dead_code, reason = "guards are there to be dropped")]
enum Guard<'a> {
    Lock(MutexGuard<'a, ()>),
    Reenter(ReentrantLockGuard<'a, ()>),
    Read(RwLockReadGuard<'a, ()>),
    Write(RwLockWriteGuard<'a, ()>),
}

impl Locks {
    fn take(&self, how: How) -> Guard<'_> {
        match how {
            How::Lock => Guard::Lock(self.mutex.lock().unwrap()),
            How::Reenter => Guard::Reenter(self.reentrant.lock()),
            How::Read => Guard::Read(self.rw.read().unwrap()),
            How::Write => Guard::Write(self.rw.write().unwrap()),
        }
    }
}

impl How {
    fn of(self) -> &'static str {
        match self {
            How::Lock => "Mutex",
            How::Reenter => "ReentrantLock",
            How::Read | How::Write => "RwLock",
        }
    }

    fn wait(self) -> &'static str {
        match self {
            How::Lock => "lock",
            How::Reenter => "reentrant lock",
            How::Read => "read lock",
            How::Write => "write lock",
        }
    }
}

#[test]
fn every_kind_of_lock_takes_part_on_every_carrier() {
    observe::on_lock_order(LockOrder::Panic);
    for pair in PAIRS {
        for first in HOWS {
            for second in HOWS {
                let _dog = Watchdog::new(&format!("{pair:?} {first:?} {second:?}"));
                let (a, b) = (Locks::default(), Locks::default());
                let there = run(pair[0], "there", || {
                    let _a = a.take(first);
                    drop(b.take(second));
                });
                assert_eq!(there, Ok(()));
                let report = run(pair[1], "back", || {
                    let _b = b.take(second);
                    drop(a.take(first));
                })
                .unwrap_err();
                assert!(
                    report.contains("two locks are taken in opposite orders"),
                    "{report}"
                );
                let lines: Vec<_> = report.lines().collect();
                assert_eq!(lines.len(), 3, "{report}");
                let steps = [
                    ("there", pair[0], first, second),
                    ("back", pair[1], second, first),
                ];
                for (line, (name, on, had, wanted)) in lines[1..].iter().zip(steps) {
                    let who = match on {
                        Thread => format!("  thread '{name}' (id "),
                        Coroutine => "  coroutine ".into(),
                    };
                    assert!(line.starts_with(&who), "{report}");
                    let file = Location::caller().file();
                    for (verb, how) in [("had", had), ("took", wanted)] {
                        let (of, wait) = (how.of(), how.wait());
                        let words: Vec<_> = line.split(&format!(" {verb} {of} 0x")).collect();
                        assert_eq!(words.len(), 2, "{report}");
                        assert!(
                            words[1].contains(&format!("({wait} at {file}:")),
                            "{report}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_circle_of_more_than_two_is_seen() {
    observe::on_lock_order(LockOrder::Panic);
    for [on, other] in PAIRS {
        let forks: [Mutex<()>; 5] = Default::default();
        let eat = |left: usize| {
            let _left = forks[left].lock().unwrap();
            drop(forks[(left + 1) % 5].lock().unwrap());
        };
        for philosopher in 0..4 {
            assert_eq!(run(on, "one of four", || eat(philosopher)), Ok(()));
        }
        let report = run(other, "the fifth", || eat(4)).unwrap_err();
        assert!(report.contains("taken in a circle"), "{report}");
        let (four, fifth) = (
            report.matches("  thread 'one of four'").count(),
            report.matches("  thread 'the fifth'").count(),
        );
        let expected = |who, count| if who == Thread { count } else { 0 };
        assert_eq!(
            (four, fifth),
            (expected(on, 4), expected(other, 1)),
            "{report}"
        );
    }
}

#[bingfa::test]
fn one_order_is_fine() {
    observe::on_lock_order(LockOrder::Panic);
    let (a, b, c) = (Locks::default(), Locks::default(), Locks::default());
    for how in HOWS {
        for _ in 0..2 {
            let _a = a.take(how);
            let _b = b.take(how);
            drop(c.take(how));
        }
        let _b = b.take(how);
        drop(c.take(how));
    }
}

#[bingfa::test]
fn guards_may_go_in_any_order() {
    observe::on_lock_order(LockOrder::Panic);
    let (a, b, c) = (Mutex::new(()), Mutex::new(()), RwLock::new(()));
    let first = a.lock().unwrap();
    let second = b.try_lock().unwrap();
    drop(first);
    let third = c.read().unwrap(); // after b, but not after a
    drop(second);
    drop(third);

    let third = c.write().unwrap();
    drop(a.lock().unwrap());
    drop(third);

    let third = c.read().unwrap();
    let refused = std::panic::catch_unwind(|| drop(b.lock()));
    assert!(refused.is_err());
    drop(third);
    assert!(b.try_lock().is_ok());
}

#[bingfa::test]
fn what_is_tried_counts_as_held_but_not_as_wanted() {
    observe::on_lock_order(LockOrder::Panic);
    let try_both = |a: &Locks, b: &Locks| {
        let _a = (
            a.mutex.lock().unwrap(),
            a.reentrant.lock(),
            a.rw.write().unwrap(),
        );
        drop((
            b.mutex.try_lock().unwrap(),
            b.mutex.lock_timeout(SHORT).is_err(),
        ));
        drop(b.mutex.lock_timeout(SHORT).unwrap());
        drop(b.reentrant.try_lock().unwrap());
        drop(b.reentrant.lock_timeout(SHORT).unwrap());
        drop(b.rw.try_read().unwrap());
        drop(b.rw.read_timeout(SHORT).unwrap());
        drop(b.rw.try_write().unwrap());
        drop(b.rw.write_timeout(SHORT).unwrap());
    };
    let (a, b) = (Locks::default(), Locks::default());
    try_both(&a, &b);
    try_both(&b, &a);

    let held: [fn(&Locks, &Mutex<()>); 6] = [
        |a, b| drop((a.mutex.try_lock().unwrap(), b.lock())),
        |a, b| drop((a.mutex.lock_timeout(SHORT).unwrap(), b.lock())),
        |a, b| drop((a.reentrant.try_lock().unwrap(), b.lock())),
        |a, b| drop((a.rw.try_read().unwrap(), b.lock())),
        |a, b| drop((a.rw.try_write().unwrap(), b.lock())),
        |a, b| drop((a.rw.read_timeout(SHORT).unwrap(), b.lock())),
    ];
    for (index, both) in held.into_iter().enumerate() {
        let (a, b) = (Locks::default(), Mutex::new(()));
        both(&a, &b);
        let _b = b.lock();
        let refused = std::panic::catch_unwind(|| match index {
            0 | 1 => drop(a.mutex.lock()),
            2 => drop(a.reentrant.lock()),
            _ => drop(a.rw.read()),
        });
        assert!(refused.is_err(), "{index}");
    }
}

#[bingfa::test]
fn who_gave_up_does_not_hold() {
    observe::on_lock_order(LockOrder::Panic);
    let (a, b) = (Arc::new(Mutex::new(())), Mutex::new(()));
    let others = a.lock_arc(); // nobody's
    assert!(a.try_lock().is_err());
    assert!(a.lock_timeout(SHORT).is_err());
    drop(b.lock());
    drop(others);
    let _b = b.lock();
    drop(a.lock()); // the first order of the two
}

#[bingfa::test]
fn locking_again_is_no_order_but_reading_again_is() {
    observe::on_lock_order(LockOrder::Panic);
    let (a, b) = (ReentrantLock::new(()), Mutex::new(()));
    let outer = a.lock();
    let inner = b.lock();
    drop((a.lock(), a.try_lock(), a.lock_timeout(SHORT)));
    drop((inner, outer));

    let lock = RwLock::new(());
    let _reader = lock.read().unwrap();
    drop(lock.try_read().unwrap());
    let refused = std::panic::catch_unwind(|| drop(lock.read())).unwrap_err();
    let report = refused.downcast_ref::<String>().unwrap();
    assert!(
        report.contains("locked for reading again by its reader"),
        "{report}"
    );
    assert_eq!(report.lines().count(), 2, "{report}");
}

#[bingfa::test]
fn a_condition_gives_its_mutex_up_and_takes_it_last() {
    observe::on_lock_order(LockOrder::Panic);
    let (a, b, turn) = (Mutex::new(()), Mutex::new(()), Condvar::new());
    let outer = a.lock().unwrap();
    let inner = b.lock().unwrap();
    drop(turn.wait_timeout(inner, SHORT).unwrap().0); // b after a, still
    let inner = b.lock().unwrap();
    let waits = std::panic::AssertUnwindSafe(|| {
        drop(turn.wait_timeout(outer, SHORT)); // a after b
    });
    let report = std::panic::catch_unwind(waits).unwrap_err();
    assert!(
        report
            .downcast_ref::<String>()
            .unwrap()
            .contains("opposite orders")
    );
    assert!(a.is_poisoned());
    drop(inner);
    assert!(
        a.try_lock()
            .is_err_and(|error| matches!(error, bingfa::sync::TryLockError::Poisoned(_)))
    );
}

#[bingfa::test]
fn a_lock_that_is_made_later_is_another_one() {
    observe::on_lock_order(LockOrder::Panic);
    for round in 0..4 {
        // In the same place each time.
        let locks = [Locks::default(), Locks::default()];
        for how in HOWS {
            let _first = locks[round % 2].take(how);
            drop(locks[(round + 1) % 2].take(how));
        }
    }
}

#[test]
fn a_guard_that_another_coroutine_drops_is_not_held_any_more() {
    observe::on_lock_order(LockOrder::Panic);
    static LOCK: RwLock<()> = RwLock::new(());
    runtime(common::backends()[0], 1).run(|| {
        let given = Rc::new(RefCell::new(Some(LOCK.read().unwrap())));
        let taken = given.clone();
        coroutine::spawn_local(move || drop(taken.take()))
            .join()
            .unwrap();
        let other = Mutex::new(());
        drop(other.lock());
        let _other = other.lock();
        drop(LOCK.write());
    });
}

#[test]
fn what_was_locked_before_anybody_watched_can_be_unlocked() {
    let name = "what_was_locked_before_anybody_watched_can_be_unlocked";
    let output = in_child(name, &[], || {
        let locks = [Locks::default(), Locks::default()];
        let nested = |a: &Locks, b: &Locks| {
            for how in HOWS {
                let _a = a.take(how);
                drop(b.take(how));
            }
        };
        {
            let _guards = (
                locks[0].take(How::Lock),
                locks[0].take(How::Reenter),
                locks[0].take(How::Read),
            );
            observe::on_lock_order(LockOrder::Report);
            drop(locks[0].take(How::Reenter));
            drop(locks[0].rw.try_read().unwrap());
            assert!(locks[0].mutex.try_lock().is_err());
        }
        nested(&locks[0], &locks[1]);
        let guard = locks[0].take(How::Write);
        observe::on_lock_order(LockOrder::Off);
        drop(guard);
        nested(&locks[1], &locks[0]);
        observe::on_lock_order(LockOrder::Panic);
        nested(&locks[0], &locks[1]);
    });
    assert!(output.is_none_or(|output| reports(&output) == 0));
}

#[test]
fn a_free_lock_is_not_refused_while_somebody_begins_or_ends_to_watch() {
    let name = "a_free_lock_is_not_refused_while_somebody_begins_or_ends_to_watch";
    let output = in_child(name, &[], || {
        let done = AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(|| {
                while !done.load(Relaxed) {
                    observe::on_lock_order(LockOrder::Report);
                    observe::on_lock_order(LockOrder::Off);
                }
            });
            let locks = Locks::default();
            let refused = (0..100_000).find(|_| {
                let free = locks.mutex.try_lock().is_ok()
                    && locks.rw.try_read().is_ok()
                    && locks.rw.try_write().is_ok();
                !free
            });
            done.store(true, Relaxed);
            assert_eq!(refused, None);
        });
    });
    assert!(output.is_none_or(|output| reports(&output) == 0));
}

/// How many reports a child wrote that ended well.
#[track_caller]
fn reports(output: &Output) -> usize {
    assert_well(output);
    stderr(output).matches("bingfa: lock order").count()
}

/// The same two lines, with other locks each time.
fn both_orders() {
    let (a, b) = (Mutex::new(()), Mutex::new(()));
    for (first, second) in [(&a, &b), (&b, &a), (&a, &b)] {
        let _first = first.lock();
        drop(second.lock());
    }
}

#[test]
fn one_report_for_two_places_and_everything_goes_on() {
    let name = "one_report_for_two_places_and_everything_goes_on";
    let output = in_child(name, &[("BINGFA_LOCK_ORDER", "report")], || {
        for _ in 0..3 {
            both_orders();
            runtime(common::backends()[0], 1).run(both_orders);
        }
    });
    let Some(output) = output else { return };
    assert_eq!(reports(&output), 1, "{}", stderr(&output));
}

#[test]
fn nobody_watches_unless_told_to() {
    let name = "nobody_watches_unless_told_to";
    for (setting, said) in [("", 0), ("off", 0), ("report", 1), ("soon", 0)] {
        let output = in_child(name, &[("BINGFA_LOCK_ORDER", setting)], both_orders);
        let Some(output) = output else { return };
        assert_eq!(reports(&output), said, "{}", stderr(&output));
        let unknown = stderr(&output).contains("BINGFA_LOCK_ORDER=soon is unknown");
        assert_eq!(unknown, setting == "soon");
    }
}

#[test]
fn a_runtime_can_have_orders_watched() {
    let name = "a_runtime_can_have_orders_watched";
    let output = in_child(name, &[("BINGFA_LOCK_ORDER", "")], || {
        let builder = Runtime::builder().workers(1).lock_order(LockOrder::Report);
        builder.build().unwrap().run(both_orders);
    });
    let Some(output) = output else { return };
    assert_eq!(reports(&output), 1, "{}", stderr(&output));
}

#[test]
fn watched_locks_do_what_locks_do() {
    observe::on_lock_order(LockOrder::Panic);
    const TURNS: usize = 300;
    let _dog = Watchdog::new("contended");
    let total = Mutex::new((0, 0));
    let changed = Condvar::new();
    let table = RwLock::new(0);
    let add = || {
        for turn in 0..TURNS {
            let mut sums = total.lock().unwrap();
            sums.0 += 1;
            let mut value = table.write().unwrap();
            *value += 1;
            let value = RwLockWriteGuard::downgrade(value);
            if turn % 8 == 0 && coroutine::is_coroutine() {
                coroutine::yield_now();
            }
            drop(sums);
            assert!(*value > 0);
            drop(value);
            changed.notify_all();
            assert!(*table.read().unwrap() > 0);
        }
        total.lock().unwrap().1 += 1;
        changed.notify_all();
    };
    let runtime = runtime(common::backends()[0], 2);
    thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(add);
        }
        s.spawn(|| {
            let all = |sums: &mut (usize, usize)| sums.1 < 6;
            drop(changed.wait_while(total.lock().unwrap(), all).unwrap());
        });
        runtime.run(|| {
            coroutine::scope(|s| {
                for _ in 0..3 {
                    s.spawn(add);
                }
            });
        });
    });
    assert_eq!(*total.lock().unwrap(), (6 * TURNS, 6));
    assert_eq!(*table.read().unwrap(), 6 * TURNS);
}
