//! What a manager keeps for which processes wait, beside queues and plain locks: semaphores,
//! condition variables, barriers and locks that can be locked again.

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use bingfa::process::manager::{
    Barrier, BoundedSemaphore, Condvar, Event, Lock, Manager, Proxy, ReentrantLock, Semaphore,
    Value,
};
use bingfa::{coroutine, process, thread, time};
use common::{LONG, SHORT, Watchdog, until};

#[bingfa::test]
fn semaphores() {
    let _dog = Watchdog::new("semaphores");
    let manager = Manager::new().unwrap();
    let slots = manager.semaphore(2).unwrap();
    let one = slots.acquire().unwrap();
    assert_eq!(one.num_permits(), 1);
    let two = slots.acquire_timeout(LONG).unwrap();
    assert_eq!(
        slots.try_acquire().unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let late = slots.acquire_timeout(SHORT).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    let waiter = thread::spawn({
        let slots = slots.clone();
        move || slots.acquire_many(2).unwrap().num_permits()
    });
    drop(one);
    two.forget().unwrap();
    slots.add_permits(1).unwrap();
    assert_eq!(waiter.join().unwrap(), 2);
    until(|| slots.available_permits().unwrap() == 2);
    let all = slots.try_acquire_many(2).unwrap();
    assert!(slots.acquire_many_timeout(2, SHORT).is_err());
    drop(all);
    let error = slots.add_permits(usize::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    // Removed, with somebody waiting.
    let taken = slots.acquire_many(2).unwrap();
    let waiter = thread::spawn({
        let slots = slots.clone();
        move || slots.acquire_many(3).unwrap_err().kind()
    });
    slots.clone().remove_object().unwrap();
    assert_eq!(waiter.join().unwrap(), ErrorKind::NotFound);
    assert_eq!(slots.acquire().unwrap_err().kind(), ErrorKind::NotFound);
    drop(taken);
}

#[bingfa::test]
fn bounded_semaphores() {
    let _dog = Watchdog::new("bounded semaphores");
    let manager = Manager::new().unwrap();
    let slots = manager.bounded_semaphore(2).unwrap();
    let error = slots.acquire_many(3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(
        slots.release(1).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    slots.acquire().unwrap().forget().unwrap();
    let child = process::spawn(slots.clone(), |slots: Proxy<BoundedSemaphore>| {
        slots.release(1).unwrap();
        slots.release(1).is_err()
    });
    assert!(child.join().unwrap());
    assert_eq!(slots.available_permits().unwrap(), 2);
    manager.publish("slots", &slots).unwrap();
    assert!(manager.open::<Semaphore>("slots").is_err());
    drop(manager.open::<BoundedSemaphore>("slots").unwrap());
}

#[bingfa::test]
fn the_permits_of_the_dead_are_given_back() {
    let _dog = Watchdog::new("permits of the dead");
    let manager = Manager::new().unwrap();
    let (slots, taken) = (manager.semaphore(3).unwrap(), manager.event().unwrap());
    let args = (slots.clone(), taken.clone());
    let child = process::spawn(args, |(slots, taken): (Proxy<Semaphore>, Proxy<Event>)| {
        let _two = slots.acquire_many(2).unwrap();
        slots.acquire().unwrap().forget().unwrap();
        taken.set().unwrap();
        std::thread::sleep(LONG);
    });
    taken.wait().unwrap();
    let waiter = thread::spawn({
        let slots = slots.clone();
        move || slots.acquire_many(2).unwrap().num_permits()
    });
    child.kill().unwrap();
    assert_eq!(waiter.join().unwrap(), 2);
    child.join().unwrap_err();
    until(|| slots.available_permits().unwrap() == 2);
}

#[bingfa::test]
fn who_ends_early_takes_no_permit_along() {
    let _dog = Watchdog::new("ends early");
    let manager = Manager::new().unwrap();
    let slots = manager.semaphore(1).unwrap();
    for _ in 0..20 {
        let permit = slots.acquire().unwrap();
        let waiter = thread::spawn({
            let slots = slots.clone();
            move || {
                drop(time::timeout(Duration::from_micros(300), || {
                    slots.acquire()
                }))
            }
        });
        drop(permit);
        waiter.join().unwrap();
    }
    drop(slots.acquire_timeout(LONG).unwrap());
}

#[bingfa::test]
fn reentrant_locks() {
    let _dog = Watchdog::new("reentrant locks");
    let manager = Manager::new().unwrap();
    let lock = manager.reentrant_lock().unwrap();
    let first = lock.lock().unwrap();
    let second = lock.try_lock().unwrap();
    drop(first);
    let other = thread::spawn({
        let lock = lock.clone();
        move || {
            assert_eq!(lock.try_lock().unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(lock.lock_timeout(SHORT).is_err());
        }
    });
    other.join().unwrap();
    drop(second);
    let child = process::spawn(lock.clone(), |lock: Proxy<ReentrantLock>| -> () {
        let _outer = lock.lock().unwrap();
        drop(lock.lock().unwrap());
        std::process::abort();
    });
    let pid = child.pid();
    child.join().unwrap_err();
    let poisoned = loop {
        match lock.lock() {
            Ok(guard) => drop(guard), // the manager has not seen it yet
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        poisoned.contains(&format!("process {pid} has ended")),
        "{poisoned}"
    );
    lock.clear_poison().unwrap();
    drop(lock.lock().unwrap());
    manager.publish("lock", &lock).unwrap();
    assert!(manager.open::<Lock>("lock").is_err());
}

type Stage = (Proxy<Lock>, Proxy<Condvar>, Proxy<Value<u32>>);

fn stage(manager: &Manager) -> Stage {
    let lock = manager.lock().unwrap();
    (lock, manager.condvar().unwrap(), manager.value(0).unwrap())
}

#[bingfa::test]
fn conditions() {
    let _dog = Watchdog::new("conditions");
    let manager = Manager::new().unwrap();
    let (lock, changed, value) = stage(&manager);
    // Each waits for its own turn.
    let children: Vec<_> = (1..=3)
        .map(|turn| {
            let args = (lock.clone(), changed.clone(), value.clone());
            process::spawn(
                (turn, args),
                |(turn, (lock, changed, value)): (u32, Stage)| {
                    let before = || Ok(value.get()? < turn);
                    let guard = changed.wait_while(lock.lock().unwrap(), before).unwrap();
                    value.set(turn + 1).unwrap();
                    changed.notify_all().unwrap();
                    drop(guard);
                },
            )
        })
        .collect();
    let guard = lock.lock().unwrap();
    value.set(1).unwrap();
    changed.notify_all().unwrap();
    let guard = changed.wait_while(guard, || Ok(value.get()? < 4)).unwrap();
    assert_eq!(lock.try_lock().unwrap_err().kind(), ErrorKind::WouldBlock);
    for child in children {
        child.join().unwrap();
    }
    let (guard, timed) = changed.wait_timeout(guard, SHORT).unwrap();
    assert!(timed.timed_out());
    let waited = changed
        .wait_timeout_while(guard, SHORT, || Ok(true))
        .unwrap();
    assert!(waited.1.timed_out());
    let waited = changed
        .wait_timeout_while(waited.0, LONG, || Ok(false))
        .unwrap();
    assert!(!waited.1.timed_out());

    let other = Manager::new().unwrap();
    let error = other.condvar().unwrap().wait(waited.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    drop(lock.try_lock().unwrap());

    // Removed: an error, and the lock is free.
    let guard = lock.lock().unwrap();
    changed.clone().remove_object().unwrap();
    assert_eq!(changed.wait(guard).unwrap_err().kind(), ErrorKind::NotFound);
    drop(lock.lock_timeout(LONG).unwrap());
}

#[bingfa::test]
fn a_notification_outlives_the_waiter_that_had_it() {
    let _dog = Watchdog::new("notification");
    let manager = Manager::new().unwrap();
    let (lock, changed, value) = stage(&manager);
    let wait = |(lock, changed, value): Stage| {
        let guard = lock.lock().unwrap();
        value.update(1, |n, more| *n += more).unwrap();
        drop(changed.wait(guard).unwrap());
    };
    let args = || (lock.clone(), changed.clone(), value.clone());
    let first = process::spawn(args(), wait);
    until(|| value.get().unwrap() == 1);
    let second = process::spawn(args(), wait);
    until(|| value.get().unwrap() == 2);
    // Both wait once the lock is free.
    let guard = lock.lock().unwrap();
    changed.notify_one().unwrap();
    // The first was notified, and is killed before it can have the lock.
    first.kill().unwrap();
    first.join().unwrap_err();
    drop(guard);
    second.join().unwrap();

    // Cancelled ones take none along, either.
    let guard = lock.lock().unwrap();
    assert!(time::timeout(SHORT, || changed.wait(guard).map(drop)).is_err());
    let third = process::spawn(args(), wait);
    until(|| value.get().unwrap() == 3);
    drop(lock.lock().unwrap());
    changed.notify_one().unwrap();
    third.join().unwrap();
}

#[test]
fn a_cancel_that_is_pending_when_a_wait_begins_poisons_nothing() {
    let _dog = Watchdog::new("a cancel before the wait");
    for io in common::backends() {
        common::runtime(io, 1).run(|| {
            let manager = Manager::new().unwrap();
            let (lock, changed, _) = stage(&manager);
            let waiter = coroutine::spawn_local({
                let lock = lock.clone();
                move || {
                    let guard = lock.lock().unwrap();
                    coroutine::shield(coroutine::park);
                    drop(changed.wait(guard));
                }
            });
            while lock.try_lock().is_ok() {
                coroutine::yield_now();
            }
            waiter.cancel();
            waiter.unpark();
            assert!(waiter.join().is_err());
            drop(lock.lock().unwrap());
        });
    }
}

#[bingfa::test]
fn barriers() {
    let _dog = Watchdog::new("barriers");
    let manager = Manager::new().unwrap();
    let barrier = manager.barrier(3).unwrap();
    assert!(barrier.wait_timeout(SHORT).unwrap().is_none());
    for _ in 0..3 {
        let others: Vec<_> = (0..2)
            .map(|_| {
                process::spawn(barrier.clone(), |barrier: Proxy<Barrier>| {
                    (0..3)
                        .filter(|_| barrier.wait().unwrap().is_leader())
                        .count()
                })
            })
            .collect();
        let own = (0..3)
            .filter(|_| barrier.wait().unwrap().is_leader())
            .count();
        // They return, which breaks nothing.
        let leads = others.into_iter().map(|other| other.join().unwrap());
        assert_eq!(leads.sum::<usize>() + own, 3);
    }
    assert!(!barrier.is_broken().unwrap());
    assert!(manager.barrier(0).unwrap().wait().unwrap().is_leader());

    let waiter = thread::spawn({
        let barrier = barrier.clone();
        move || barrier.wait().unwrap_err().kind()
    });
    assert!(barrier.wait_timeout(SHORT).unwrap().is_none());
    barrier.remove_object().unwrap();
    assert_eq!(waiter.join().unwrap(), ErrorKind::NotFound);
}

#[bingfa::test]
fn a_barrier_breaks_when_one_that_has_come_will_not_come_again() {
    let _dog = Watchdog::new("broken barrier");
    let manager = Manager::new().unwrap();
    for number in 0..3 {
        let barrier = manager.barrier(2).unwrap();
        let child = process::spawn((number, barrier.clone()), |(number, barrier)| {
            let barrier: Proxy<Barrier> = barrier;
            barrier.wait().unwrap();
            match number {
                0 => std::thread::sleep(LONG), // to be killed
                1 => std::process::exit(3),
                _ => panic!("as asked to"),
            }
        });
        barrier.wait().unwrap();
        let waiter = thread::spawn({
            let barrier = barrier.clone();
            move || barrier.wait().unwrap_err().to_string()
        });
        let pid = child.pid();
        if number == 0 {
            child.kill().unwrap();
        }
        let text = waiter.join().unwrap();
        child.join().unwrap_err();
        assert!(
            text.contains(&format!("broken barrier: process {pid} has ended")),
            "{text}"
        );
        assert!(barrier.is_broken().unwrap());
        assert!(barrier.wait().is_err());
        barrier.reset().unwrap();
        assert!(barrier.wait_timeout(SHORT).unwrap().is_none());
    }
}
