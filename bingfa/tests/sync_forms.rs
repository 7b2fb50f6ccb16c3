//! The rarer forms of waits: owned guards and permits with time limits, condition variables
//! with owned guards, sends to a bounded `mpsc` channel with a limit, lazy values by `&mut`.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bingfa::sync::mpsc::{self, SendTimeoutError};
use bingfa::sync::{
    Arc, ArcMutexGuard, BoundedSemaphore, Condvar, LazyLock, Mutex, RwLock, Semaphore, TryLockError,
};
use bingfa::thread;

use common::crew::on_every_carrier;
use common::{LONG, SHORT, block_on, cancel_and_join};

fn soon() -> Instant {
    Instant::now() + SHORT
}

fn late() -> Instant {
    Instant::now() + LONG
}

/// Poisons what it takes.
fn panics<G>(take: impl FnOnce() -> G) {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _guard = take();
        std::panic::resume_unwind(Box::new("quietly"));
    }));
    assert!(result.is_err());
}

#[test]
fn owned_locks_have_limits_of_time() {
    on_every_carrier(|crew| {
        let lock = Arc::new(Mutex::new(0));
        let held = lock.lock_arc_timeout(SHORT).unwrap();
        for late in [
            lock.lock_arc_timeout(SHORT),
            lock.lock_arc_deadline(soon()),
            lock.lock_arc_deadline(Instant::now()),
        ] {
            assert!(matches!(late, Err(TryLockError::WouldBlock)));
        }
        let waiters = [
            crew.spawn({
                let lock = lock.clone();
                move || *lock.lock_arc_timeout(LONG).unwrap() += 1
            }),
            crew.spawn({
                let lock = lock.clone();
                move || *lock.lock_arc_deadline(late()).unwrap() += 1
            }),
        ];
        for waiter in &waiters {
            waiter.until_in("lock");
        }
        // Let go by somebody else.
        crew.spawn(move || drop(held)).join().unwrap();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(*lock.lock_arc_timeout(Duration::MAX).unwrap(), 2);

        panics(|| lock.lock_arc());
        let poisoned = lock.lock_arc_timeout(LONG);
        assert!(matches!(poisoned, Err(TryLockError::Poisoned(_))));
    });
}

#[test]
fn owned_read_and_write_locks_have_limits_of_time() {
    on_every_carrier(|crew| {
        let lock = Arc::new(RwLock::new(0));
        let reads = lock.read_arc_timeout(SHORT).unwrap();
        let reads_too = lock.read_arc_deadline(soon()).unwrap();
        for late in [
            lock.write_arc_timeout(SHORT),
            lock.write_arc_deadline(soon()),
        ] {
            assert!(matches!(late, Err(TryLockError::WouldBlock)));
        }
        let writer = crew.spawn({
            let lock = lock.clone();
            move || *lock.write_arc_timeout(LONG).unwrap() += 1
        });
        writer.until_in("write lock");
        crew.spawn(move || drop((reads, reads_too))).join().unwrap();
        writer.join().unwrap();

        let mut writes = lock.write_arc_deadline(late()).unwrap();
        for late in [lock.read_arc_timeout(SHORT), lock.read_arc_deadline(soon())] {
            assert!(matches!(late, Err(TryLockError::WouldBlock)));
        }
        let reader = crew.spawn({
            let lock = lock.clone();
            move || *lock.read_arc_deadline(late()).unwrap()
        });
        reader.until_in("read lock");
        *writes += 1;
        drop(writes);
        assert_eq!(reader.join().unwrap(), 2);

        panics(|| lock.write_arc());
        let poisoned = lock.read_arc_timeout(LONG);
        assert!(matches!(poisoned, Err(TryLockError::Poisoned(_))));
        drop(poisoned); // with the guard in it
        let poisoned = lock.write_arc_deadline(late());
        assert!(matches!(poisoned, Err(TryLockError::Poisoned(_))));
    });
}

#[test]
fn owned_permits_have_limits_of_time() {
    on_every_carrier(|crew| {
        let slots = Arc::new(Semaphore::new(2));
        let one = slots.acquire_arc_timeout(SHORT).unwrap();
        let other = slots.acquire_arc_deadline(soon()).unwrap();
        assert!(slots.acquire_arc_timeout(SHORT).is_none());
        assert!(slots.acquire_arc_deadline(soon()).is_none());
        assert!(slots.acquire_many_arc_timeout(2, SHORT).is_none());
        assert!(slots.acquire_many_arc_deadline(2, soon()).is_none());
        let waiter = crew.spawn({
            let slots = slots.clone();
            move || slots.acquire_many_arc_timeout(2, LONG).unwrap()
        });
        waiter.until_in("permit");
        crew.spawn(move || drop((one, other))).join().unwrap();
        let both = waiter.join().unwrap();
        assert_eq!((both.num_permits(), slots.available_permits()), (2, 0));
        drop(both);
        let both = slots.acquire_many_arc_deadline(2, late()).unwrap();
        drop(both);
        assert_eq!(slots.available_permits(), 2);
    });
}

#[test]
fn owned_permits_of_a_bounded_semaphore() {
    on_every_carrier(|crew| {
        let slots = Arc::new(BoundedSemaphore::new(3));
        let two = slots.acquire_many_arc(2);
        assert_eq!(two.num_permits(), 2);
        assert!(slots.try_acquire_many_arc(2).is_none());
        assert!(slots.acquire_many_arc_timeout(2, SHORT).is_none());
        assert!(slots.acquire_many_arc_deadline(2, soon()).is_none());
        let one = slots.acquire_arc_timeout(SHORT).unwrap();
        assert!(slots.acquire_arc_timeout(SHORT).is_none());
        assert!(slots.acquire_arc_deadline(soon()).is_none());
        let waiter = thread::spawn({
            let slots = slots.clone();
            move || block_on(slots.acquire_many_arc_async(3)).num_permits()
        });
        drop(one);
        crew.spawn(move || drop(two)).join().unwrap();
        assert_eq!(waiter.join().unwrap(), 3);
        assert_eq!(slots.acquire_arc_deadline(late()).unwrap().num_permits(), 1);
        let many = slots.acquire_many_arc_timeout(2, LONG).unwrap();
        assert_eq!(many.num_permits(), 2);
        drop(many);
        drop(slots.acquire_many_arc_deadline(3, late()).unwrap());

        // Forgotten ones can be put back, and no more than those.
        slots.try_acquire_many_arc(2).unwrap().forget();
        slots.release(2).unwrap();
        assert!(slots.release(1).is_err());
        assert_eq!(slots.available_permits(), 3);
    });
}

#[test]
#[should_panic(expected = "4 permits of a semaphore with 3")]
fn more_owned_permits_than_the_bound_can_never_be_had() {
    drop(Arc::new(BoundedSemaphore::new(3)).acquire_many_arc(4));
}

#[test]
fn a_condition_is_waited_for_with_an_owned_guard() {
    on_every_carrier(|crew| {
        let (jobs, changed) = (Arc::new(Mutex::new(0)), Arc::new(Condvar::new()));
        let guard = jobs.lock_arc().unwrap(); // taken here, used there
        let taker = crew.spawn({
            let changed = changed.clone();
            move || {
                let mut jobs = changed.wait_arc_while(guard, |jobs| *jobs == 0).unwrap();
                *jobs -= 1;
                jobs
            }
        });
        taker.until_in("condition");
        *jobs.lock().unwrap() = 2;
        changed.notify_one();
        let guard = taker.join().unwrap(); // and it came back locked
        assert!(jobs.try_lock().is_err());
        assert!(Arc::ptr_eq(ArcMutexGuard::mutex(&guard), &jobs));
        drop(guard);
        assert_eq!(*jobs.lock().unwrap(), 1);

        let guards = || jobs.lock_arc().unwrap();
        let (guard, result) = changed.wait_arc_timeout(guards(), SHORT).unwrap();
        assert!(result.timed_out());
        let (guard, result) = changed.wait_arc_deadline(guard, soon()).unwrap();
        assert!(result.timed_out());
        let never = changed.wait_arc_timeout_while(guard, SHORT, |_| true);
        let (guard, result) = never.unwrap();
        assert!(result.timed_out());
        let never = changed.wait_arc_deadline_while(guard, soon(), |_| true);
        let (guard, result) = never.unwrap();
        assert!(result.timed_out());
        let at_once = changed.wait_arc_timeout_while(guard, SHORT, |jobs| *jobs != 1);
        assert!(!at_once.unwrap().1.timed_out());
    });
}

#[test]
fn a_wait_with_an_owned_guard_ends_by_notification_within_its_limit() {
    on_every_carrier(|crew| {
        let (jobs, changed) = (Arc::new(Mutex::new(0)), Arc::new(Condvar::new()));
        let taker = crew.spawn({
            let (jobs, changed) = (jobs.clone(), changed.clone());
            move || {
                let guard = jobs.lock_arc().unwrap();
                let waited = changed.wait_arc_deadline_while(guard, late(), |jobs| *jobs == 0);
                waited.unwrap().1.timed_out()
            }
        });
        taker.until_in("condition");
        // With the mutex held, so that the waiter is moved to its queue.
        let mut guard = jobs.lock_arc().unwrap();
        *guard = 1;
        changed.notify_all();
        drop(guard);
        assert!(!taker.join().unwrap());
    });
}

#[test]
fn a_poisoned_mutex_is_an_error_of_the_wait_with_an_owned_guard() {
    let (lock, changed) = (Arc::new(Mutex::new(0)), Condvar::new());
    panics(|| lock.lock());
    let guard = lock.lock_arc().unwrap_err().into_inner();
    let error = changed.wait_arc_timeout(guard, SHORT).unwrap_err();
    let (guard, result) = error.into_inner();
    assert!(result.timed_out());
    lock.clear_poison();
    assert!(changed.wait_arc_timeout(guard, SHORT).is_ok());
    assert!(lock.try_lock().is_ok());
}

#[bingfa::test]
fn a_cancelled_wait_with_an_owned_guard_unwinds_without_the_mutex() {
    let (jobs, changed) = (Arc::new(Mutex::new(0)), Arc::new(Condvar::new()));
    let waiter = bingfa::coroutine::spawn({
        let (jobs, changed) = (jobs.clone(), changed.clone());
        move || drop(changed.wait_arc_while(jobs.lock_arc().unwrap(), |_| true))
    });
    common::until_in(&waiter, "condition");
    cancel_and_join(waiter);
    assert!(jobs.try_lock().is_ok());
    assert_eq!(Arc::strong_count(&jobs), 1, "the guard's share is gone");
}

#[bingfa::test]
fn two_mutexes_are_too_many_for_owned_guards_as_well() {
    let (one, other) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let changed = Arc::new(Condvar::new());
    let waiter = bingfa::coroutine::spawn({
        let (one, changed) = (one.clone(), changed.clone());
        move || drop(changed.wait_arc(one.lock_arc().unwrap()))
    });
    common::until_in(&waiter, "condition");
    let guard = other.lock_arc().unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| changed.wait_arc(guard)));
    assert!(result.is_err());
    other.clear_poison();
    assert!(other.try_lock().is_ok(), "unlocked by the unwind");
    changed.notify_one();
    waiter.join().unwrap();
}

/// What a multi-threaded executor asks of a task.
fn can_move<F: Future + Send>(future: F) -> F {
    future
}

#[test]
fn async_tasks_wait_for_conditions_with_guards_that_can_move() {
    on_every_carrier(|crew| {
        let (jobs, changed) = (Arc::new(Mutex::new(0)), Arc::new(Condvar::new()));
        let done = Arc::new(AtomicUsize::new(0));
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let (jobs, changed, done) = (jobs.clone(), changed.clone(), done.clone());
                thread::spawn(move || {
                    block_on(can_move(async {
                        let jobs = jobs.lock_arc_async().await.unwrap();
                        let waited = changed.wait_arc_while_async(jobs, |jobs| *jobs == 0);
                        *waited.await.unwrap() -= 1;
                        done.fetch_add(1, SeqCst);
                    }));
                })
            })
            .collect();
        let giver = crew.spawn({
            let (jobs, changed) = (jobs.clone(), changed.clone());
            move || {
                for _ in 0..3 {
                    *jobs.lock().unwrap() += 1;
                    changed.notify_one();
                }
            }
        });
        giver.join().unwrap();
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!((done.load(SeqCst), *jobs.lock().unwrap()), (3, 0));
    });
}

#[test]
fn a_dropped_task_passes_its_notification_on() {
    let (jobs, changed) = (Arc::new(Mutex::new(0)), Condvar::new());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut waits = || {
        let guard = jobs.lock_arc().unwrap();
        let mut wait = Box::pin(can_move(changed.wait_arc_async(guard)));
        assert!(wait.as_mut().poll(&mut context).is_pending());
        wait
    };
    let (first, mut second) = (waits(), waits());
    assert!(jobs.try_lock().is_ok(), "unlocked while they wait");
    changed.notify_one();
    drop(first);
    assert!(second.as_mut().poll(&mut context).is_ready());
    drop(second);
    assert!(jobs.try_lock().is_ok());
}

#[test]
fn deadlines_around_conditions() {
    on_every_carrier(|crew| {
        let (jobs, changed) = (Arc::new(Mutex::new(0)), Arc::new(Condvar::new()));
        let waited = changed.wait_deadline_while(jobs.lock().unwrap(), soon(), |jobs| *jobs == 0);
        assert!(waited.unwrap().1.timed_out());
        let taker = crew.spawn({
            let (jobs, changed) = (jobs.clone(), changed.clone());
            move || {
                let guard = jobs.lock().unwrap();
                let waited = changed.wait_deadline_while(guard, late(), |jobs| *jobs == 0);
                waited.unwrap().1.timed_out()
            }
        });
        taker.until_in("condition");
        *jobs.lock().unwrap() = 1;
        changed.notify_one();
        assert!(!taker.join().unwrap());
    });
}

#[test]
#[allow(deprecated)]
fn milliseconds_as_in_old_programs() {
    let (lock, changed) = (Mutex::new(0), Condvar::new());
    let (guard, in_time) = changed.wait_timeout_ms(lock.lock().unwrap(), 1).unwrap();
    assert!(!in_time);
    drop(guard);
    thread::scope(|s| {
        let guard = lock.lock().unwrap();
        s.spawn(|| {
            let _guard = lock.lock().unwrap(); // once the other waits
            changed.notify_one();
        });
        assert!(changed.wait_timeout_ms(guard, 3_600_000).unwrap().1);
    });
    panics(|| lock.lock());
    let guard = lock.lock().unwrap_err().into_inner();
    assert!(changed.wait_timeout_ms(guard, 1).is_err());
}

#[test]
fn sends_to_a_bounded_mpsc_channel_have_limits_of_time() {
    on_every_carrier(|crew| {
        let (sender, receiver) = mpsc::sync_channel(1);
        sender.send_timeout(1, SHORT).unwrap();
        let late_ones = [
            sender.send_timeout(2, SHORT),
            sender.send_deadline(2, soon()),
            sender.send_deadline(2, Instant::now()),
        ];
        assert_eq!(late_ones, [Err(SendTimeoutError::Timeout(2)); 3]);
        let waiter = crew.spawn({
            let sender = sender.clone();
            move || {
                sender.send_deadline(2, late()).unwrap();
                sender.send_timeout(3, Duration::MAX).unwrap();
            }
        });
        waiter.until_in("send");
        for n in 1..=3 {
            assert_eq!(receiver.recv(), Ok(n));
        }
        waiter.join().unwrap();

        sender.send(4).unwrap();
        let waiter = crew.spawn(move || sender.send_timeout(5, LONG).unwrap_err());
        waiter.until_in("send");
        drop(receiver);
        let error = waiter.join().unwrap();
        assert_eq!(error, SendTimeoutError::Disconnected(5));
        assert_eq!(error.into_inner(), 5);
    });
}

#[bingfa::test]
fn a_lazy_value_by_exclusive_reference() {
    let mut list = LazyLock::new(|| vec![1]);
    assert_eq!(LazyLock::get(&list), None);
    assert_eq!(LazyLock::get_mut(&mut list), None);
    LazyLock::force_mut(&mut list).push(2);
    list.push(3);
    assert_eq!(LazyLock::get(&list), Some(&vec![1, 2, 3]));
    LazyLock::get_mut(&mut list).unwrap().clear();
    assert!(list.is_empty());

    let mut broken = LazyLock::<u32, _>::new(|| std::panic::resume_unwind(Box::new("quietly")));
    for _ in 0..2 {
        let forced = catch_unwind(AssertUnwindSafe(|| *LazyLock::force_mut(&mut broken)));
        assert!(forced.is_err());
        assert_eq!(LazyLock::get(&broken), None);
        assert_eq!(LazyLock::get_mut(&mut broken), None);
    }
}
