//! Events, barriers and condition variables that processes share, and what happens to those who
//! wait when processes die.

mod common;

use std::time::Instant;

use bingfa::coroutine;
use bingfa::process::{self, Barrier, Condvar, Event, Mutex, Value};
use common::family::{child, flag, kill_and_join, quiet, stay, wait_here};
use common::{LONG, SHORT, cancel_and_join, on_both, on_one_thread, until, until_in};

// Event

#[test]
fn an_event_wakes_all_who_wait_in_all_processes() {
    on_both(|| {
        let (event, waiting) = (Event::new().unwrap(), Value::new(0u32).unwrap());
        let others: Vec<_> = (0..2)
            .map(|_| {
                process::spawn((event.clone(), waiting.clone()), |(event, waiting)| {
                    let (event, waiting): (Event, Value<u32>) = (event, waiting);
                    let waiters: Vec<_> = (0..3)
                        .map(|_| {
                            let event = event.clone();
                            coroutine::spawn(move || event.wait())
                        })
                        .collect();
                    waiters.iter().for_each(|w| until_in(w, "process event"));
                    waiting.update(|n| *n += 1);
                    waiters.into_iter().for_each(|w| w.join().unwrap());
                })
            })
            .collect();
        let ours = {
            let event = event.clone();
            coroutine::spawn(move || event.wait())
        };
        until_in(&ours, "process event");
        until(|| waiting.get() == 2);
        // Who waits goes on, although it is cleared again at once.
        event.set();
        event.clear();
        ours.join().unwrap();
        others.into_iter().for_each(|o| o.join().unwrap());
        assert!(!event.is_set());
        assert!(!event.wait_timeout(SHORT));
        event.set();
        event.wait();
        assert!(event.wait_deadline(Instant::now()));
    });
}

#[test]
fn a_wait_for_an_event_can_be_cut_short() {
    on_one_thread(|| {
        let event = Event::new().unwrap();
        let waiter = {
            let event = event.clone();
            coroutine::spawn_local(move || event.wait())
        };
        until_in(&waiter, "process event");
        for _ in 0..100 {
            coroutine::yield_now(); // we run, though it waits on our thread
        }
        cancel_and_join(waiter);
        assert!(bingfa::time::timeout(SHORT, || event.wait()).is_err());
    });
}

// Barrier

#[test]
fn processes_meet_round_after_round() {
    on_both(|| {
        let (barrier, sum) = (Barrier::new(5).unwrap(), Value::new(0u32).unwrap());
        fn rounds(barrier: &Barrier, sum: &Value<u32>) -> usize {
            let mut led = 0;
            for round in 1..=50 {
                sum.update(|n| *n += 1);
                led += usize::from(barrier.wait().unwrap().is_leader());
                assert_eq!(sum.get(), 5 * round); // nobody has begun the next
                barrier.wait().unwrap();
            }
            led
        }
        let others: Vec<_> = (0..3)
            .map(|_| {
                process::spawn((barrier.clone(), sum.clone()), |(barrier, sum)| {
                    rounds(&barrier, &sum)
                })
            })
            .collect();
        let ours: Vec<_> = (0..2)
            .map(|_| {
                let (barrier, sum) = (barrier.clone(), sum.clone());
                coroutine::spawn(move || rounds(&barrier, &sum))
            })
            .collect();
        let ours = ours.into_iter().map(|o| o.join().unwrap());
        let led: usize = others
            .into_iter()
            .map(|o| o.join().unwrap())
            .chain(ours)
            .sum();
        assert_eq!(led, 50);
        assert!(!barrier.is_broken()); // who returns breaks nothing
    });
}

#[test]
fn whoever_leaves_a_barrier_early_takes_its_arrival_back() {
    on_one_thread(|| {
        let barrier = Barrier::new(2).unwrap();
        assert!(barrier.wait_timeout(SHORT).unwrap().is_none());
        let waiter = {
            let barrier = barrier.clone();
            coroutine::spawn_local(move || barrier.wait().unwrap().is_leader())
        };
        until_in(&waiter, "process barrier");
        cancel_and_join(waiter);
        assert!(barrier.wait_deadline(Instant::now()).unwrap().is_none());
        assert!(bingfa::time::timeout(SHORT, || barrier.wait()).is_err());
        let waiter = {
            let barrier = barrier.clone();
            coroutine::spawn_local(move || barrier.wait().unwrap().is_leader())
        };
        until_in(&waiter, "process barrier");
        assert!(barrier.wait().unwrap().is_leader());
        assert!(!waiter.join().unwrap());
    });
    assert!(Barrier::new(usize::MAX).is_err());
}

#[test]
fn a_barrier_breaks_when_one_of_its_processes_is_killed() {
    on_both(|| {
        let (barrier, here, there) = (Barrier::new(4).unwrap(), flag(), flag());
        let lazy = process::spawn((barrier.clone(), here.clone()), |(_barrier, here)| {
            let _: &Barrier = &_barrier;
            stay(&here);
        });
        let present = process::spawn((barrier.clone(), there.clone()), |(barrier, there)| {
            let barrier: Barrier = barrier;
            wait_here(&there, "process barrier", move || {
                barrier.wait().unwrap_err();
            });
        });
        until(|| here.get() == 1 && there.get() == 1);
        let waiter = {
            let barrier = barrier.clone();
            coroutine::spawn(move || barrier.wait().unwrap_err())
        };
        until_in(&waiter, "process barrier");
        let pid = kill_and_join(lazy);
        let broken = waiter.join().unwrap();
        present.join().unwrap();
        assert_eq!((broken.pid(), broken.has_died()), (pid, true));
        let text = broken.to_string();
        assert!(text.contains(&format!("process {pid} ended")), "{text}");
        // It stays broken until somebody says that it is not.
        assert_eq!(barrier.wait().unwrap_err().pid(), pid);
        barrier.reset();
        assert!(barrier.wait_timeout(SHORT).unwrap().is_none());
        // A waiter is killed.
        let here = flag();
        let waiter = process::spawn((barrier.clone(), here.clone()), |(barrier, here)| {
            let barrier: Barrier = barrier;
            wait_here(&here, "process barrier", move || drop(barrier.wait()));
        });
        until(|| here.get() == 1);
        let pid = kill_and_join(waiter);
        assert_eq!(barrier.wait().unwrap_err().pid(), pid);
    });
}

#[test]
fn a_barrier_breaks_by_a_panic() {
    let barrier = Barrier::new(2).unwrap();
    let other = quiet()
        .spawn(barrier.clone(), |_barrier: Barrier| -> () {
            panic!("on purpose");
        })
        .unwrap();
    let pid = other.pid();
    let broken = barrier.wait().unwrap_err();
    assert_eq!((broken.pid(), broken.has_died()), (pid, false));
    other.join().unwrap_err();
    assert!(barrier.is_broken());
}

// Condvar

/// Takes one thing from the store, when there is one.
fn take(store: &Mutex<u32>, changed: &Condvar) {
    let guard = store.lock().unwrap();
    *changed.wait_while(guard, |left| *left == 0).unwrap() -= 1;
}

#[test]
fn givers_and_takers_meet_across_processes() {
    on_both(|| {
        let (store, changed) = (Mutex::new(0u32).unwrap(), Condvar::new().unwrap());
        let takers: Vec<_> = (0..3)
            .map(|_| {
                process::spawn((store.clone(), changed.clone()), |(store, changed)| {
                    let (store, changed): (Mutex<u32>, Condvar) = (store, changed);
                    let tasks: Vec<_> = (0..4)
                        .map(|_| {
                            let (store, changed) = (store.clone(), changed.clone());
                            coroutine::spawn(move || (0..25).for_each(|_| take(&store, &changed)))
                        })
                        .collect();
                    coroutine::join_all(tasks).unwrap();
                })
            })
            .collect();
        for _ in 0..300 {
            *store.lock().unwrap() += 1;
            changed.notify_one();
        }
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(*store.lock().unwrap(), 0);
    });
}

#[test]
fn a_notification_ends_the_longest_wait_and_all_of_them_all() {
    on_one_thread(|| {
        let (turn, changed) = (Mutex::new(0u32).unwrap(), Condvar::new().unwrap());
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let (turn, changed) = (turn.clone(), changed.clone());
                let waiter = coroutine::spawn_local(move || {
                    let mut guard = changed.wait(turn.lock().unwrap()).unwrap();
                    *guard += 1;
                });
                until_in(&waiter, "process condition");
                waiter
            })
            .collect();
        changed.notify_one();
        until(|| waiters[0].is_finished());
        assert_eq!(*turn.lock().unwrap(), 1);
        changed.notify_all();
        coroutine::join_all(waiters).unwrap();
        assert_eq!(*turn.lock().unwrap(), 4);
        // It is not kept for those who come later.
        changed.notify_one();
        let (_, late) = changed.wait_timeout(turn.lock().unwrap(), SHORT).unwrap();
        assert!(late.timed_out());
        let guard = turn.lock().unwrap();
        let (guard, late) = changed
            .wait_timeout_while(guard, SHORT, |n| *n == 4)
            .unwrap();
        assert!(late.timed_out() && *guard == 4);
        let (_, late) = changed
            .wait_timeout_while(guard, LONG, |n| *n == 5)
            .unwrap();
        assert!(!late.timed_out());
    });
}

#[test]
fn a_notification_is_lost_by_no_cancel_and_no_timeout() {
    on_one_thread(|| {
        let (store, changed) = (Mutex::new(0u32).unwrap(), Condvar::new().unwrap());
        let taker = || {
            let (store, changed) = (store.clone(), changed.clone());
            let taker = coroutine::spawn_local(move || take(&store, &changed));
            until_in(&taker, "process condition");
            taker
        };
        // One that leaves before.
        let (early, stays) = (taker(), taker());
        cancel_and_join(early);
        *store.lock().unwrap() += 1;
        changed.notify_one();
        stays.join().unwrap();
        // One that is notified, and waits for the mutex when it is cancelled.
        let (notified, stays) = (taker(), taker());
        let mut guard = store.lock().unwrap();
        *guard += 1;
        changed.notify_one();
        until_in(&notified, "process lock");
        cancel_and_join(notified);
        drop(guard);
        stays.join().unwrap();
        // The mutex is free.
        assert_eq!(*store.lock().unwrap(), 0);
    });
}

#[test]
fn a_notification_is_not_lost_with_a_process() {
    on_both(|| {
        let (store, changed) = (Mutex::new(0u32).unwrap(), Condvar::new().unwrap());
        let here = flag();
        let first = process::spawn(
            (store.clone(), changed.clone(), here.clone()),
            |(store, changed, here)| {
                let (store, changed): (Mutex<u32>, Condvar) = (store, changed);
                wait_here(&here, "process condition", move || take(&store, &changed));
            },
        );
        until(|| here.get() == 1);
        let second = {
            let (store, changed) = (store.clone(), changed.clone());
            coroutine::spawn(move || take(&store, &changed))
        };
        until_in(&second, "process condition");
        // The first one cannot take what it is notified of, and is killed.
        let mut guard = store.lock().unwrap();
        *guard += 1;
        changed.notify_one();
        kill_and_join(first);
        drop(guard);
        second.join().unwrap();
    });
}

#[test]
fn a_dead_owner_of_the_mutex_is_an_error_after_the_wait() {
    on_both(|| {
        let (lock, changed) = (Mutex::new(0u32).unwrap(), Condvar::new().unwrap());
        let waiter = {
            let (lock, changed) = (lock.clone(), changed.clone());
            coroutine::spawn(move || {
                let guard = lock.lock().unwrap();
                let error = changed.wait_while(guard, |n| *n == 0).unwrap_err();
                error.owner().pid()
            })
        };
        until_in(&waiter, "process condition");
        let here = flag();
        let owner = process::spawn((lock, changed, here.clone()), |(lock, _changed, here)| {
            let (lock, _changed): (Mutex<u32>, Condvar) = (lock, _changed);
            let _guard = lock.lock().unwrap();
            stay(&here);
        });
        until(|| here.get() == 1);
        assert_eq!(kill_and_join(owner), waiter.join().unwrap());
    });
}

#[test]
fn the_status_of_whoever_broke_a_barrier_is_known_to_its_parent() {
    child(
        "the_status_of_whoever_broke_a_barrier_is_known_to_its_parent",
        || {
            let barrier = Barrier::new(2).unwrap();
            let other = process::spawn(barrier.clone(), |_barrier: Barrier| -> () {
                std::process::exit(3);
            });
            let broken = barrier.wait().unwrap_err();
            assert_eq!(broken.exit_status().unwrap().code(), Some(3));
            other.join().unwrap_err();
        },
    );
}
