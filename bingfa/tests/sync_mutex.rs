//! `bingfa::sync::Mutex` on every carrier.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bingfa::sync::{Arc, Mutex, TryLockError};
use bingfa::{coroutine, thread, time};

use common::crew::on_every_carrier;
use common::{LONG, SHORT, block_on, was_cancelled};

const MEMBERS: u64 = 8;
const ROUNDS: u64 = 200;

#[test]
fn it_excludes() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(0));
        let members: Vec<_> = (0..MEMBERS)
            .map(|_| {
                let lock = lock.clone();
                crew.spawn(move || {
                    for round in 0..ROUNDS {
                        let mut count = lock.lock().unwrap();
                        let before = *count;
                        if round % 7 == 0 {
                            thread::yield_now();
                        }
                        *count = before + 1;
                    }
                })
            })
            .collect();
        for member in members {
            member.join().unwrap();
        }
        assert_eq!(*lock.lock().unwrap(), MEMBERS * ROUNDS);
    });
}

#[test]
fn a_waiter_gets_it_when_it_is_free() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(1));
        let guard = lock.lock().unwrap();
        let waiter = {
            let lock = lock.clone();
            crew.spawn(move || *lock.lock().unwrap())
        };
        waiter.until_in("lock");
        assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        drop(guard);
        assert_eq!(waiter.join().unwrap(), 1);
        assert_eq!(*lock.try_lock().unwrap(), 1);
    });
}

#[test]
fn a_waiter_that_is_too_late_says_so() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(()));
        let guard = lock.lock().unwrap();
        let waiter = {
            let lock = lock.clone();
            crew.spawn(move || {
                let begun = Instant::now();
                let late = lock.lock_timeout(SHORT).is_err();
                (late, begun.elapsed() >= SHORT)
            })
        };
        assert_eq!(waiter.join().unwrap(), (true, true));
        let past = Instant::now() - SHORT;
        assert!(lock.lock_deadline(past).is_err());
        drop(guard);
        assert!(lock.lock_deadline(past).is_ok(), "free, so taken at once");
        assert!(lock.lock_timeout(Duration::MAX).is_ok());
        drop(lock.lock().unwrap());
    });
}

#[test]
fn a_timeout_around_it_ends_the_wait() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(()));
        let guard = lock.lock().unwrap();
        let waiter = {
            let lock = lock.clone();
            crew.spawn(move || time::timeout(SHORT, || drop(lock.lock())).is_err())
        };
        assert!(waiter.join().unwrap());
        drop(guard);
        assert!(!lock.is_poisoned());
        drop(lock.try_lock().unwrap());
    });
}

#[test]
fn a_cancelled_waiter_leaves_the_queue_and_poisons_nothing() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(()));
        let guard = lock.lock().unwrap();
        let spawn = || {
            let lock = lock.clone();
            crew.spawn_coroutine(move || drop(lock.lock().unwrap()))
        };
        let (first, second) = (spawn(), spawn());
        first.until_in("lock");
        second.until_in("lock");
        first.cancel();
        assert!(was_cancelled(&first.join()));
        drop(guard);
        second.join().unwrap();
        assert!(!lock.is_poisoned());
    });
}

#[test]
fn a_cancelled_holder_unlocks_and_does_not_poison() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(()));
        let holder = {
            let lock = lock.clone();
            crew.spawn_coroutine(move || {
                let _guard = lock.lock().unwrap();
                coroutine::sleep(LONG);
            })
        };
        holder.until_in("sleep");
        let waiter = {
            let lock = lock.clone();
            crew.spawn(move || drop(lock.lock().unwrap()))
        };
        waiter.until_in("lock");
        holder.cancel();
        assert!(was_cancelled(&holder.join()));
        waiter.join().unwrap();
        assert!(!lock.is_poisoned());
    });
}

#[test]
fn a_panic_poisons() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(3));
        let panics = {
            let lock = lock.clone();
            crew.spawn(move || {
                let _guard = lock.lock().unwrap();
                std::panic::resume_unwind(Box::new("quietly"));
            })
        };
        assert!(panics.join().is_err());
        assert!(lock.is_poisoned());
        assert_eq!(*lock.lock().unwrap_err().into_inner(), 3);
        assert!(matches!(lock.try_lock(), Err(TryLockError::Poisoned(_))));
        assert!(matches!(
            lock.lock_timeout(LONG),
            Err(TryLockError::Poisoned(_))
        ));
        // Waiting for a poisoned lock works as well.
        let guard = lock.lock().unwrap_err().into_inner();
        let waiter = {
            let lock = lock.clone();
            crew.spawn(move || lock.lock().is_err())
        };
        waiter.until_in("lock");
        drop(guard);
        assert!(waiter.join().unwrap());
        lock.clear_poison();
        assert_eq!(*lock.lock().unwrap(), 3);
    });
}

#[test]
fn a_guard_made_during_a_panic_does_not_poison() {
    struct LocksInDrop<'a>(&'a Mutex<i32>);
    impl Drop for LocksInDrop<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(0));
        let panics = {
            let lock = lock.clone();
            crew.spawn(move || {
                let _locks = LocksInDrop(&lock);
                std::panic::resume_unwind(Box::new("quietly"));
            })
        };
        assert!(panics.join().is_err());
        assert_eq!(*lock.lock().unwrap(), 1);
    });
}

/// A neighbour that waits in a destructor while it panics must not make others poison
/// what they hold.
#[test]
fn a_neighbour_that_panics_does_not_poison() {
    struct SleepsInDrop(coroutine::Coroutine);
    impl Drop for SleepsInDrop {
        fn drop(&mut self) {
            self.0.unpark();
            coroutine::sleep(SHORT);
        }
    }
    common::on_one_thread(|| {
        let lock = Mutex::new(());
        let me = coroutine::current();
        let guard = lock.lock().unwrap();
        let neighbour = coroutine::spawn_local(move || {
            let _sleeps = SleepsInDrop(me);
            std::panic::resume_unwind(Box::new("quietly"));
        });
        coroutine::park();
        assert!(std::thread::panicking(), "the neighbour is in mid-unwind");
        drop(guard);
        assert!(!lock.is_poisoned());
        // One's own panic does, also while the neighbour's goes on.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = lock.lock().unwrap();
            std::panic::resume_unwind(Box::new("quietly"));
        }));
        assert!(lock.is_poisoned());
        assert!(neighbour.join().is_err());
    });
}

#[test]
fn owned_guards_go_to_other_carriers() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(0));
        let mut guard = lock.lock_arc().unwrap();
        assert!(lock.try_lock_arc().is_err());
        let member = crew.spawn(move || *guard += 1);
        member.join().unwrap();
        assert_eq!(*lock.try_lock_arc().unwrap(), 1);
    });
}

#[test]
fn async_tasks_take_part() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(0));
        let task = {
            let lock = lock.clone();
            std::thread::spawn(move || {
                block_on(async {
                    for _ in 0..ROUNDS {
                        *lock.lock_async().await.unwrap() += 1;
                        *lock.lock_arc_async().await.unwrap() += 1;
                    }
                })
            })
        };
        let member = {
            let lock = lock.clone();
            crew.spawn(move || {
                for _ in 0..2 * ROUNDS {
                    let mut guard = lock.lock().unwrap();
                    thread::yield_now();
                    *guard += 1;
                }
            })
        };
        member.join().unwrap();
        task.join().unwrap();
        assert_eq!(*lock.lock().unwrap(), 4 * ROUNDS);
    });
}

#[test]
fn a_future_that_is_dropped_leaves_the_queue() {
    let lock = Mutex::new(());
    let guard = lock.lock().unwrap();
    let mut waiting = Box::pin(lock.lock_async());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(waiting);
    drop(guard);
    drop(lock.try_lock().unwrap());
    // And passes on what it was given without having seen it.
    let guard = lock.lock().unwrap();
    let mut first = Box::pin(lock.lock_async());
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = Box::pin(lock.lock_async());
    assert!(second.as_mut().poll(&mut context).is_pending());
    drop(guard);
    drop(first);
    assert!(second.as_mut().poll(&mut context).is_ready());
    drop(second);
    drop(lock.try_lock().unwrap());
}

/// Whoever is served just when its time is over, or when it is cancelled, has the lock or
/// has passed it on. The moments are swept until all ends have been seen.
#[test]
fn nothing_is_lost_at_the_moment_of_a_timeout_or_cancel() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(0_u64));
        for round in 0..300 {
            let limit = Duration::from_micros(round % 60);
            let guard = lock.lock().unwrap();
            let late = {
                let lock = lock.clone();
                crew.spawn(move || lock.lock_timeout(limit).map(|mut n| *n += 1).is_ok())
            };
            let cancelled = {
                let lock = lock.clone();
                crew.spawn_coroutine(move || *lock.lock().unwrap() += 1)
            };
            let stays = {
                let lock = lock.clone();
                crew.spawn(move || *lock.lock().unwrap() += 1)
            };
            let before = *guard;
            let begun = Instant::now();
            while begun.elapsed() < limit {
                thread::yield_now();
            }
            if round % 2 == 0 {
                cancelled.cancel();
                drop(guard);
            } else {
                drop(guard);
                cancelled.cancel();
            }
            let got = u64::from(late.join().unwrap()) + u64::from(cancelled.join().is_ok());
            stays.join().unwrap();
            assert_eq!(*lock.lock().unwrap(), before + got + 1);
        }
    });
}

/// A waiter is bypassed a limited number of times.
#[test]
fn nobody_starves() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(false));
        let hog = {
            let lock = lock.clone();
            crew.spawn(move || {
                loop {
                    let over = lock.lock().unwrap();
                    if *over {
                        break;
                    }
                    thread::yield_now(); // whoever waits runs, and finds it taken
                }
            })
        };
        let waiter = {
            let lock = lock.clone();
            crew.spawn(move || *lock.lock().unwrap() = true)
        };
        waiter.join().unwrap();
        hog.join().unwrap();
    });
}

#[test]
fn what_std_offers_is_here() {
    static LOCK: Mutex<i32> = Mutex::new(5);
    assert_eq!(
        format!("{LOCK:?}"),
        "Mutex { data: 5, poisoned: false, .. }"
    );
    let guard = LOCK.lock().unwrap();
    assert_eq!(format!("{guard:?} {guard}"), "5 5");
    assert_eq!(
        format!("{LOCK:?}"),
        "Mutex { data: <locked>, poisoned: false, .. }"
    );
    drop(guard);
    let mut lock = Mutex::from(7);
    *lock.get_mut().unwrap() += 1;
    assert_eq!(lock.into_inner().unwrap(), 8);
    assert_eq!(*Mutex::<i32>::default().lock().unwrap(), 0);
    let unsized_lock: &Mutex<[i32]> = &Mutex::new([1, 2]);
    unsized_lock.lock().unwrap()[0] = 3;
    assert_eq!(*unsized_lock.lock().unwrap(), [3, 2]);

    let lock = Mutex::new(1);
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.lock();
        std::panic::resume_unwind(Box::new("quietly"));
    }));
    assert_eq!(format!("{lock:?}"), "Mutex { data: 1, poisoned: true, .. }");
    assert_eq!(lock.into_inner().unwrap_err().into_inner(), 1);
}

#[test]
fn what_may_be_sent_and_shared() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Mutex<std::cell::Cell<i32>>>();
    sync::<Mutex<std::cell::Cell<i32>>>();
    sync::<bingfa::sync::MutexGuard<'_, i32>>();
    send::<bingfa::sync::ArcMutexGuard<i32>>();
    sync::<bingfa::sync::ArcMutexGuard<i32>>();
}
