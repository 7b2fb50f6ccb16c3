//! `bingfa::sync::Condvar` on every carrier.

mod common;

use std::time::{Duration, Instant};

use bingfa::sync::{Arc, Condvar, Mutex};
use bingfa::{thread, time};

use common::crew::on_every_carrier;
use common::{LONG, SHORT, block_on, was_cancelled};

/// Permits that are given and taken under a condition variable.
#[derive(Default)]
struct Permits {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Permits {
    fn take(&self) {
        let count = self.count.lock().unwrap();
        *self.changed.wait_while(count, |count| *count == 0).unwrap() -= 1;
    }

    fn take_within(&self, limit: Duration) -> bool {
        let count = self.count.lock().unwrap();
        let (mut count, result) = self
            .changed
            .wait_timeout_while(count, limit, |count| *count == 0)
            .unwrap();
        assert_eq!(result.timed_out(), *count == 0);
        *count -= u64::from(!result.timed_out());
        !result.timed_out()
    }

    fn give(&self) {
        *self.count.lock().unwrap() += 1;
        self.changed.notify_one();
    }

    fn left(&self) -> u64 {
        *self.count.lock().unwrap()
    }
}

#[test]
fn a_notification_ends_a_wait() {
    on_every_carrier(|crew| {
        let permits = Arc::new(Permits::default());
        let taker = {
            let permits = permits.clone();
            crew.spawn(move || permits.take())
        };
        taker.until_in("condition");
        permits.give();
        taker.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

#[test]
fn givers_and_takers_meet() {
    const ROUNDS: u64 = 100;
    on_every_carrier(|crew| {
        let permits = Arc::new(Permits::default());
        let members: Vec<_> = (0..8)
            .map(|number| {
                let permits = permits.clone();
                crew.spawn(move || {
                    for _ in 0..ROUNDS {
                        if number % 4 < 2 {
                            permits.take();
                        } else {
                            permits.give();
                        }
                    }
                })
            })
            .collect();
        for member in members {
            member.join().unwrap();
        }
        assert_eq!(permits.left(), 0);
    });
}

#[test]
fn notify_all_ends_all_waits() {
    // The second time its caller waits with the mutex held.
    for waits in [false, true] {
        notify_all_by_the_holder(waits);
    }
}

fn notify_all_by_the_holder(waits: bool) {
    on_every_carrier(|crew| {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let waiters: Vec<_> = (0..6)
            .map(|_| {
                let gate = gate.clone();
                crew.spawn(move || {
                    let (open, changed) = &*gate;
                    let open = open.lock().unwrap();
                    drop(changed.wait_while(open, |open| !*open).unwrap());
                })
            })
            .collect();
        for waiter in &waiters {
            waiter.until_in("condition");
        }
        let mut open = gate.0.lock().unwrap();
        *open = true;
        gate.1.notify_all(); // with the mutex held: who may run before it is free has to wait
        if waits {
            (0..10).for_each(|_| thread::yield_now());
            assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        }
        drop(open);
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn waits_end_when_their_time_is_over() {
    on_every_carrier(|crew| {
        let permits = Arc::new(Permits::default());
        let taker = {
            let permits = permits.clone();
            crew.spawn(move || {
                let begun = Instant::now();
                (!permits.take_within(SHORT), begun.elapsed() >= SHORT)
            })
        };
        assert_eq!(taker.join().unwrap(), (true, true));
        let count = permits.count.lock().unwrap();
        let past = Instant::now();
        let (count, result) = permits.changed.wait_deadline(count, past).unwrap();
        assert!(result.timed_out());
        drop(permits.changed.wait_timeout(count, SHORT).unwrap());
        assert!(!permits.take_within(Duration::ZERO));
        permits.give();
        assert!(permits.take_within(Duration::ZERO));
    });
}

#[test]
fn a_cancelled_waiter_is_without_the_mutex() {
    on_every_carrier(|crew| {
        let permits = Arc::new(Permits::default());
        let spawn = || {
            let permits = permits.clone();
            crew.spawn_coroutine(move || permits.take())
        };
        let (cancelled, stays) = (spawn(), spawn());
        cancelled.until_in("condition");
        stays.until_in("condition");
        cancelled.cancel();
        assert!(was_cancelled(&cancelled.join()));
        assert!(!permits.count.is_poisoned());
        permits.give();
        stays.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

#[test]
fn a_waiter_that_is_cancelled_for_the_mutex_passes_its_notification_on() {
    on_every_carrier(|crew| {
        let permits = Arc::new(Permits::default());
        let spawn = || {
            let permits = permits.clone();
            crew.spawn_coroutine(move || permits.take())
        };
        let first = spawn();
        first.until_in("condition");
        let second = spawn();
        second.until_in("condition");
        let mut count = permits.count.lock().unwrap();
        *count += 1;
        permits.changed.notify_one(); // the first now waits for the mutex
        first.cancel();
        assert!(was_cancelled(&first.join()));
        drop(count);
        second.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

#[test]
fn a_timeout_around_it_ends_the_wait() {
    on_every_carrier(|crew| {
        let permits = Arc::new(Permits::default());
        let taker = {
            let permits = permits.clone();
            crew.spawn(move || time::timeout(SHORT, || permits.take()).is_err())
        };
        assert!(taker.join().unwrap());
        assert!(permits.count.try_lock().is_ok());
    });
}

/// One permit for each round and waiters that give up at any moment: none is lost.
#[test]
fn no_notification_is_lost_at_the_moment_of_a_timeout_or_cancel() {
    on_every_carrier(|crew| {
        let permits = Arc::new(Permits::default());
        for round in 0..200 {
            let limit = Duration::from_micros(round % 50);
            let late = {
                let permits = permits.clone();
                crew.spawn(move || permits.take_within(limit))
            };
            let taker = || {
                let permits = permits.clone();
                move || permits.take()
            };
            let cancelled = crew.spawn_coroutine(taker());
            let stays = crew.spawn(taker());
            let begun = Instant::now();
            while begun.elapsed() < limit {
                thread::yield_now();
            }
            if round % 2 == 0 {
                cancelled.cancel();
                permits.give();
            } else {
                permits.give();
                cancelled.cancel();
            }
            let took = u64::from(late.join().unwrap()) + u64::from(cancelled.join().is_ok());
            // The last one needs a permit of its own if another has taken the first.
            for _ in 0..took {
                permits.give();
            }
            stays.join().unwrap();
            assert_eq!(permits.left(), 0);
        }
    });
}

#[test]
fn async_tasks_take_part() {
    on_every_carrier(|crew| {
        let permits = Arc::new(Permits::default());
        let task = {
            let permits = permits.clone();
            std::thread::spawn(move || {
                block_on(async {
                    for _ in 0..100 {
                        let count = permits.count.lock_async().await.unwrap();
                        let mut count = permits
                            .changed
                            .wait_while_async(count, |count| *count == 0)
                            .await
                            .unwrap();
                        *count -= 1;
                    }
                })
            })
        };
        let member = {
            let permits = permits.clone();
            crew.spawn(move || {
                for _ in 0..100 {
                    permits.give();
                    thread::yield_now();
                }
            })
        };
        member.join().unwrap();
        task.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

#[test]
fn a_future_that_is_dropped_passes_its_notification_on() {
    let (mutex, changed) = (Mutex::new(()), Condvar::new());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let wait = || Box::pin(changed.wait_async(mutex.lock().unwrap()));
    let mut first = wait();
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = wait();
    assert!(second.as_mut().poll(&mut context).is_pending());
    changed.notify_one();
    drop(first);
    assert!(second.as_mut().poll(&mut context).is_ready());
    // Also when it waits for the mutex already.
    let mut first = wait();
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = wait();
    assert!(second.as_mut().poll(&mut context).is_pending());
    let held = mutex.lock().unwrap();
    changed.notify_one();
    assert!(first.as_mut().poll(&mut context).is_pending());
    drop(first);
    drop(held);
    assert!(second.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_poisoned_mutex_is_an_error_after_the_wait() {
    on_every_carrier(|crew| {
        let pair = Arc::new((Mutex::new(()), Condvar::new()));
        let waiter = {
            let pair = pair.clone();
            crew.spawn(move || pair.1.wait(pair.0.lock().unwrap()).is_err())
        };
        waiter.until_in("condition");
        let panics = {
            let pair = pair.clone();
            crew.spawn(move || {
                let _guard = pair.0.lock().unwrap();
                pair.1.notify_one();
                std::panic::resume_unwind(Box::new("quietly"));
            })
        };
        assert!(panics.join().is_err());
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn two_mutexes_at_once_are_refused() {
    on_every_carrier(|crew| {
        let shared = Arc::new((Mutex::new(()), Condvar::new()));
        let waiter = {
            let shared = shared.clone();
            crew.spawn(move || drop(shared.1.wait(shared.0.lock().unwrap())))
        };
        waiter.until_in("condition");
        let other = Mutex::new(());
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(shared.1.wait_timeout(other.lock().unwrap(), LONG));
        }));
        assert!(refused.is_err());
        assert!(!other.is_poisoned());
        shared.1.notify_all();
        waiter.join().unwrap();
        // Later, with nobody there, another one is fine.
        drop(shared.1.wait_timeout(other.lock().unwrap(), SHORT));
    });
}

#[test]
fn what_std_offers_is_here() {
    static CHANGED: Condvar = Condvar::new();
    CHANGED.notify_one();
    CHANGED.notify_all();
    assert_eq!(format!("{:?}", Condvar::default()), "Condvar { .. }");
}
