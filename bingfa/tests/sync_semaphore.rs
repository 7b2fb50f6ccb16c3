//! `bingfa::sync::{Semaphore, BoundedSemaphore}` on every carrier.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bingfa::sync::{Arc, BoundedSemaphore, Mutex, Semaphore};
use bingfa::{thread, time};

use common::crew::{Crew, Member, on_every_carrier};
use common::{SHORT, block_on, was_cancelled};

/// One that takes `count` permits, notes it, and gives them back.
fn taker(
    crew: &Crew,
    semaphore: &Arc<Semaphore>,
    count: usize,
    served: &Arc<Mutex<Vec<usize>>>,
) -> Member<()> {
    let (semaphore, served) = (semaphore.clone(), served.clone());
    crew.spawn_coroutine(move || {
        let _permits = semaphore.acquire_many(count);
        served.lock().unwrap().push(count);
    })
}

#[test]
fn so_many_are_inside_and_no_more() {
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(3));
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let members: Vec<_> = (0..8)
            .map(|_| {
                let (semaphore, inside, most) = (semaphore.clone(), inside.clone(), most.clone());
                crew.spawn(move || {
                    for round in 0..50 {
                        let count = 1 + round % 3;
                        let permit = semaphore.acquire_many(count);
                        let now = inside.fetch_add(count, SeqCst) + count;
                        most.fetch_max(now, SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(count, SeqCst);
                        drop(permit);
                    }
                })
            })
            .collect();
        for member in members {
            member.join().unwrap();
        }
        assert!(most.load(SeqCst) <= 3);
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn first_come_first_served_also_who_asks_for_many() {
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(2));
        let served = Arc::new(Mutex::new(Vec::new()));
        let held = semaphore.acquire();
        let many = taker(crew, &semaphore, 2, &served);
        many.until_in("permit");
        let one = taker(crew, &semaphore, 1, &served);
        one.until_in("permit");
        assert_eq!(semaphore.available_permits(), 1);
        assert!(semaphore.try_acquire().is_none(), "others came first");
        drop(held);
        many.join().unwrap();
        one.join().unwrap();
        assert_eq!(*served.lock().unwrap(), [2, 1]);
    });
}

#[test]
fn those_behind_one_that_gives_up_are_served() {
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(2));
        let served = Arc::new(Mutex::new(Vec::new()));
        let held = semaphore.acquire();
        let many = taker(crew, &semaphore, 2, &served);
        many.until_in("permit");
        let one = taker(crew, &semaphore, 1, &served);
        one.until_in("permit");
        many.cancel();
        assert!(was_cancelled(&many.join()));
        one.join().unwrap(); // though nothing was given back
        drop(held);
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn waits_end_when_their_time_is_over() {
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(0));
        let member = {
            let semaphore = semaphore.clone();
            crew.spawn(move || {
                assert!(semaphore.acquire_timeout(SHORT).is_none());
                assert!(semaphore.acquire_deadline(Instant::now()).is_none());
                assert!(semaphore.acquire_many_timeout(2, SHORT).is_none());
                assert!(time::timeout(SHORT, || semaphore.acquire().forget()).is_err());
            })
        };
        member.join().unwrap();
        semaphore.add_permits(1);
        assert!(semaphore.acquire_timeout(SHORT).is_some());
        assert!(semaphore.acquire_many_deadline(1, Instant::now()).is_some());
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn many_waiters_are_served_at_once() {
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(0));
        let members: Vec<_> = (0..50)
            .map(|_| {
                let semaphore = semaphore.clone();
                crew.spawn(move || semaphore.acquire().forget())
            })
            .collect();
        for member in &members {
            member.until_in("permit");
        }
        semaphore.add_permits(52);
        for member in members {
            member.join().unwrap();
        }
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn owned_permits_go_to_other_carriers() {
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(3));
        let permit = semaphore.acquire_many_arc(2);
        let one = semaphore.try_acquire_arc().unwrap();
        assert!(semaphore.try_acquire_arc().is_none());
        assert_eq!((permit.num_permits(), one.num_permits()), (2, 1));
        crew.spawn(move || drop(permit)).join().unwrap();
        one.forget();
        assert_eq!(semaphore.available_permits(), 2);
        assert_eq!(Arc::strong_count(&semaphore), 1);
    });
}

#[test]
fn async_tasks_take_part() {
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(1));
        let task = {
            let semaphore = semaphore.clone();
            std::thread::spawn(move || {
                block_on(async {
                    for _ in 0..50 {
                        drop(semaphore.acquire_async().await);
                        drop(semaphore.acquire_arc_async().await);
                    }
                })
            })
        };
        let member = {
            let semaphore = semaphore.clone();
            crew.spawn(move || {
                for _ in 0..50 {
                    let _permit = semaphore.acquire();
                    thread::yield_now();
                }
            })
        };
        member.join().unwrap();
        task.join().unwrap();
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// Whoever is served just when it gives up has the permits, or others have them.
#[test]
fn no_permit_is_lost_at_the_moment_of_a_timeout_or_cancel() {
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(3));
        for round in 0..200 {
            let limit = Duration::from_micros(round % 50);
            let held = semaphore.acquire_many(2);
            let late = {
                let semaphore = semaphore.clone();
                crew.spawn(move || drop(semaphore.acquire_many_timeout(2, limit)))
            };
            let cancelled = {
                let semaphore = semaphore.clone();
                crew.spawn_coroutine(move || drop(semaphore.acquire_many(3)))
            };
            let stays = {
                let semaphore = semaphore.clone();
                crew.spawn(move || drop(semaphore.acquire()))
            };
            let begun = Instant::now();
            while begun.elapsed() < limit {
                thread::yield_now();
            }
            if round % 2 == 0 {
                cancelled.cancel();
            }
            drop(held);
            cancelled.cancel();
            late.join().unwrap();
            let _ = cancelled.join();
            stays.join().unwrap();
            let all = semaphore.try_acquire_many(3);
            assert!(all.is_some(), "round {round}: {semaphore:?}");
        }
    });
}

/// The same for futures that are dropped at any moment.
#[test]
fn a_dropped_future_loses_no_permit() {
    use std::task::{Context, Waker};
    on_every_carrier(|crew| {
        let semaphore = Arc::new(Semaphore::new(1));
        for round in 0..200 {
            let held = semaphore.acquire();
            let mut future = Box::pin(semaphore.acquire_async());
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
            let stays = {
                let semaphore = semaphore.clone();
                crew.spawn(move || drop(semaphore.acquire()))
            };
            if round % 2 == 0 {
                stays.until_in("permit");
            }
            drop(held); // the future is served
            drop(future);
            stays.join().unwrap();
            assert_eq!(semaphore.available_permits(), 1);
        }
    });
}

#[test]
fn a_bounded_one_takes_back_what_was_forgotten_and_no_more() {
    on_every_carrier(|crew| {
        static SEMAPHORE: BoundedSemaphore = BoundedSemaphore::new(2);
        assert!(SEMAPHORE.release(1).is_err());
        let held = SEMAPHORE.acquire();
        assert!(SEMAPHORE.release(1).is_err(), "its guard will do it");
        SEMAPHORE.acquire().forget();
        let waits = crew.spawn(|| drop(SEMAPHORE.acquire()));
        waits.until_in("permit");
        assert!(SEMAPHORE.try_acquire().is_none());
        assert!(SEMAPHORE.acquire_timeout(SHORT).is_none());
        assert!(SEMAPHORE.release(2).is_err());
        SEMAPHORE.release(1).unwrap();
        waits.join().unwrap();
        let error = SEMAPHORE.release(1).unwrap_err();
        assert!(error.to_string().contains("more permits"));
        drop(held);
        assert_eq!(SEMAPHORE.available_permits(), 2);
        drop(block_on(SEMAPHORE.acquire_many_async(2)));

        let shared = Arc::new(BoundedSemaphore::new(1));
        let permit = shared.acquire_arc();
        assert!(shared.try_acquire_arc().is_none());
        crew.spawn(move || permit.forget()).join().unwrap();
        shared.release(1).unwrap();
        assert_eq!(
            format!("{shared:?}"),
            "BoundedSemaphore { available_permits: 1, bound: 1, .. }"
        );
    });
}

#[test]
#[should_panic(expected = "3 permits of a semaphore with 2")]
fn more_than_the_bound_can_never_be_had() {
    drop(BoundedSemaphore::new(2).acquire_many(3));
}

#[test]
#[should_panic(expected = "too many permits")]
fn there_is_a_limit_to_permits() {
    Semaphore::new(Semaphore::MAX_PERMITS).add_permits(1);
}
