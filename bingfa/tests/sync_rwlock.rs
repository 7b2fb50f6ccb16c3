//! `bingfa::sync::RwLock` on every carrier.

mod common;

use std::time::{Duration, Instant};

use bingfa::sync::{Arc, RwLock, RwLockWriteGuard, TryLockError};
use bingfa::{coroutine, thread, time};

use common::crew::on_every_carrier;
use common::{LONG, SHORT, block_on, was_cancelled};

#[test]
fn writers_exclude_everybody() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new((0_u64, 0_u64)));
        let members: Vec<_> = (0..8)
            .map(|number| {
                let lock = lock.clone();
                crew.spawn(move || {
                    for round in 0..150 {
                        if number % 2 == 0 {
                            let mut both = lock.write().unwrap();
                            both.0 += 1;
                            if round % 7 == 0 {
                                thread::yield_now();
                            }
                            both.1 += 1;
                        } else {
                            let both = lock.read().unwrap();
                            let before = both.0;
                            assert_eq!(before, both.1);
                            if round % 7 == 0 {
                                thread::yield_now();
                            }
                            assert_eq!(before, both.0);
                        }
                    }
                })
            })
            .collect();
        for member in members {
            member.join().unwrap();
        }
        assert_eq!(*lock.read().unwrap(), (600, 600));
    });
}

#[test]
fn readers_share_until_a_writer_waits() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(0));
        let first = lock.read().unwrap();
        let reader = {
            let lock = lock.clone();
            crew.spawn(move || *lock.read().unwrap())
        };
        assert_eq!(reader.join().unwrap(), 0, "readers share");
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        let writer = {
            let lock = lock.clone();
            crew.spawn(move || *lock.write().unwrap() += 1)
        };
        writer.until_in("write lock");
        assert!(lock.try_read().is_err(), "the writer is not to starve");
        let late = {
            let lock = lock.clone();
            crew.spawn(move || *lock.read().unwrap())
        };
        late.until_in("read lock");
        drop(first);
        writer.join().unwrap();
        assert_eq!(late.join().unwrap(), 1, "after the writer");
    });
}

#[test]
fn readers_behind_a_writer_that_gives_up_get_in() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(0));
        let held = lock.read().unwrap();
        let writer = {
            let lock = lock.clone();
            crew.spawn_coroutine(move || *lock.write().unwrap() += 1)
        };
        writer.until_in("write lock");
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let lock = lock.clone();
                crew.spawn(move || *lock.read().unwrap())
            })
            .collect();
        for reader in &readers {
            reader.until_in("read lock");
        }
        writer.cancel();
        assert!(was_cancelled(&writer.join()));
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 0);
        }
        drop(held);
        assert!(!lock.is_poisoned());
        drop(lock.try_write().unwrap());
    });
}

#[test]
fn waits_end_when_their_time_is_over() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(()));
        let held = lock.read().unwrap();
        let writer = {
            let lock = lock.clone();
            crew.spawn(move || lock.write_timeout(SHORT).is_err())
        };
        assert!(writer.join().unwrap());
        drop(lock.read_deadline(Instant::now()).unwrap());
        drop(held);
        let held = lock.write().unwrap();
        let reader = {
            let lock = lock.clone();
            crew.spawn(move || {
                lock.read_timeout(SHORT).is_err()
                    && time::timeout(SHORT, || drop(lock.read())).is_err()
            })
        };
        assert!(reader.join().unwrap());
        drop(held);
        drop(lock.write_deadline(Instant::now()).unwrap());
    });
}

#[test]
fn only_a_panicking_writer_poisons() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(1));
        let with = |f: fn(&RwLock<i32>)| {
            let lock = lock.clone();
            crew.spawn_coroutine(move || f(&lock))
        };
        let reader = with(|lock| {
            let _guard = lock.read().unwrap();
            std::panic::resume_unwind(Box::new("quietly"));
        });
        assert!(reader.join().is_err());
        let cancelled = with(|lock| {
            let _guard = lock.write().unwrap();
            coroutine::sleep(LONG);
        });
        cancelled.until_in("sleep");
        cancelled.cancel();
        assert!(was_cancelled(&cancelled.join()));
        assert!(!lock.is_poisoned());
        let writer = with(|lock| {
            let _guard = lock.write().unwrap();
            std::panic::resume_unwind(Box::new("quietly"));
        });
        assert!(writer.join().is_err());
        assert!(lock.is_poisoned());
        assert!(lock.read().is_err() && lock.write().is_err());
        assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
        lock.clear_poison();
        assert_eq!(*lock.read().unwrap(), 1);
    });
}

#[test]
fn a_downgrade_lets_readers_in_and_no_writer() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(0));
        let mut held = lock.write().unwrap();
        let reader = {
            let lock = lock.clone();
            crew.spawn(move || *lock.read().unwrap())
        };
        reader.until_in("read lock");
        let writer = {
            let lock = lock.clone();
            crew.spawn(move || *lock.write().unwrap() += 1)
        };
        writer.until_in("write lock");
        *held = 5;
        let held = RwLockWriteGuard::downgrade(held);
        assert_eq!(reader.join().unwrap(), 5);
        assert_eq!(*held, 5);
        drop(held);
        writer.join().unwrap();
        assert_eq!(*lock.read().unwrap(), 6);
    });
}

#[test]
fn owned_guards_go_to_other_carriers() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(0));
        let mut guard = lock.write_arc().unwrap();
        assert!(lock.try_read_arc().is_err());
        let member = crew.spawn(move || {
            *guard += 1;
            bingfa::sync::ArcRwLockWriteGuard::downgrade(guard)
        });
        let guard = member.join().unwrap();
        assert_eq!(*guard, 1);
        assert_eq!(*lock.read_arc().unwrap(), 1);
        drop(guard);
        drop(lock.try_write_arc().unwrap());
        assert_eq!(Arc::strong_count(&lock), 1);
    });
}

#[test]
fn async_tasks_take_part() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(0));
        let task = {
            let lock = lock.clone();
            std::thread::spawn(move || {
                block_on(async {
                    for _ in 0..100 {
                        *lock.write_async().await.unwrap() += 1;
                        assert!(*lock.read_async().await.unwrap() > 0);
                        *lock.write_arc_async().await.unwrap() += 1;
                        assert!(*lock.read_arc_async().await.unwrap() > 0);
                    }
                })
            })
        };
        let member = {
            let lock = lock.clone();
            crew.spawn(move || {
                for _ in 0..100 {
                    let mut guard = lock.write().unwrap();
                    thread::yield_now();
                    *guard += 1;
                }
            })
        };
        member.join().unwrap();
        task.join().unwrap();
        assert_eq!(*lock.read().unwrap(), 300);
    });
}

/// Whoever is served just when it gives up has the lock, or has passed it on.
#[test]
fn nothing_is_lost_at_the_moment_of_a_timeout_or_cancel() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(0_u64));
        for round in 0..200 {
            let limit = Duration::from_micros(round % 50);
            let before = *lock.read().unwrap();
            let held = (round % 3 == 0).then(|| lock.read().unwrap());
            let written = held.is_none().then(|| lock.write().unwrap());
            let late = {
                let lock = lock.clone();
                crew.spawn(move || lock.write_timeout(limit).map(|mut n| *n += 1).is_ok())
            };
            let late_reader = {
                let lock = lock.clone();
                crew.spawn(move || drop(lock.read_timeout(limit)))
            };
            let cancelled = {
                let lock = lock.clone();
                crew.spawn_coroutine(move || *lock.write().unwrap() += 1)
            };
            let reader = {
                let lock = lock.clone();
                crew.spawn(move || drop(lock.read().unwrap()))
            };
            let writer = {
                let lock = lock.clone();
                crew.spawn(move || *lock.write().unwrap() += 1)
            };
            let begun = Instant::now();
            while begun.elapsed() < limit {
                thread::yield_now();
            }
            if round % 2 == 0 {
                cancelled.cancel();
            }
            drop((held, written));
            cancelled.cancel();
            let got = u64::from(late.join().unwrap()) + u64::from(cancelled.join().is_ok());
            late_reader.join().unwrap();
            reader.join().unwrap();
            writer.join().unwrap();
            assert_eq!(*lock.try_write().unwrap(), before + got + 1);
        }
    });
}

#[test]
fn what_std_offers_is_here() {
    static LOCK: RwLock<i32> = RwLock::new(5);
    assert_eq!(
        format!("{LOCK:?}"),
        "RwLock { data: 5, poisoned: false, .. }"
    );
    let guard = LOCK.write().unwrap();
    assert_eq!(format!("{guard:?} {guard}"), "5 5");
    assert_eq!(
        format!("{LOCK:?}"),
        "RwLock { data: <locked>, poisoned: false, .. }"
    );
    drop(guard);
    let mut lock = RwLock::from(7);
    *lock.get_mut().unwrap() += 1;
    assert_eq!(lock.into_inner().unwrap(), 8);
    assert_eq!(*RwLock::<i32>::default().read().unwrap(), 0);
}
