//! `bingfa::sync::ReentrantLock` on every carrier.

mod common;

use std::cell::Cell;

use bingfa::sync::{Arc, ReentrantLock};
use bingfa::{coroutine, thread};

use common::crew::on_every_carrier;
use common::{SHORT, was_cancelled};

#[test]
fn its_owner_locks_it_again_and_others_wait() {
    on_every_carrier(|crew| {
        let lock = Arc::new(ReentrantLock::new(Cell::new(0)));
        let outer = lock.lock();
        let inner = lock.try_lock().unwrap();
        inner.set(1);
        let again = lock.lock_timeout(SHORT).unwrap();
        let other = {
            let lock = lock.clone();
            crew.spawn(move || {
                assert!(lock.try_lock().is_none());
                lock.lock().get()
            })
        };
        let late = {
            let lock = lock.clone();
            crew.spawn(move || lock.lock_timeout(SHORT).is_none())
        };
        assert!(late.join().unwrap());
        other.until_in("reentrant lock");
        drop(outer);
        drop(again);
        inner.set(2);
        drop(inner);
        assert_eq!(other.join().unwrap(), 2);
    });
}

#[test]
fn coroutines_of_one_thread_are_different_owners() {
    common::on_one_thread(|| {
        let lock = ReentrantLock::new(());
        let guard = lock.lock();
        coroutine::scope(|s| {
            let other = s.spawn_local(|| lock.try_lock().is_none());
            assert!(other.join().unwrap());
        });
        drop(guard);
    });
}

#[test]
fn it_excludes() {
    on_every_carrier(|crew| {
        let lock = Arc::new(ReentrantLock::new(Cell::new(0)));
        let members: Vec<_> = (0..6)
            .map(|_| {
                let lock = lock.clone();
                crew.spawn(move || {
                    for round in 0..100 {
                        let count = lock.lock();
                        let before = count.get();
                        if round % 5 == 0 {
                            thread::yield_now();
                        }
                        lock.lock().set(before + 1);
                    }
                })
            })
            .collect();
        for member in members {
            member.join().unwrap();
        }
        assert_eq!(lock.lock().get(), 600);
    });
}

#[test]
fn a_cancelled_waiter_leaves_and_a_panic_does_not_poison() {
    on_every_carrier(|crew| {
        let lock = Arc::new(ReentrantLock::new(()));
        let guard = lock.lock();
        let waiter = {
            let lock = lock.clone();
            crew.spawn_coroutine(move || drop(lock.lock()))
        };
        waiter.until_in("reentrant lock");
        waiter.cancel();
        assert!(was_cancelled(&waiter.join()));
        drop(guard);
        let panics = {
            let lock = lock.clone();
            crew.spawn(move || {
                let (_one, _two) = (lock.lock(), lock.lock());
                std::panic::resume_unwind(Box::new("quietly"));
            })
        };
        assert!(panics.join().is_err());
        drop(lock.try_lock().unwrap());
    });
}

#[test]
fn what_std_offers_is_here() {
    static LOCK: ReentrantLock<i32> = ReentrantLock::new(5);
    let guard = LOCK.lock();
    assert_eq!(format!("{LOCK:?}"), "ReentrantLock { data: 5, .. }");
    assert_eq!(format!("{guard:?} {guard}"), "5 5");
    drop(guard);
    let mut lock = ReentrantLock::from(1);
    *lock.get_mut() += 1;
    assert_eq!(lock.into_inner(), 2);
}
