//! `bingfa::sync::Barrier` on every carrier.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bingfa::sync::{Arc, Barrier};
use bingfa::{thread, time};

use common::crew::on_every_carrier;
use common::{SHORT, block_on, was_cancelled};

#[test]
fn all_meet_round_after_round_and_one_leads() {
    const MEMBERS: usize = 5;
    const ROUNDS: usize = 50;
    on_every_carrier(|crew| {
        let barrier = Arc::new(Barrier::new(MEMBERS));
        let (arrivals, leaders) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let members: Vec<_> = (0..MEMBERS)
            .map(|_| {
                let (barrier, arrivals) = (barrier.clone(), arrivals.clone());
                let leaders = leaders.clone();
                crew.spawn(move || {
                    for round in 1..=ROUNDS {
                        arrivals.fetch_add(1, SeqCst);
                        let result = barrier.wait();
                        leaders.fetch_add(usize::from(result.is_leader()), SeqCst);
                        assert!(
                            arrivals.load(SeqCst) >= round * MEMBERS,
                            "one was left behind"
                        );
                    }
                })
            })
            .collect();
        for member in members {
            member.join().unwrap();
        }
        assert_eq!(leaders.load(SeqCst), ROUNDS);
    });
}

#[test]
fn many_are_let_through() {
    on_every_carrier(|crew| {
        let barrier = Arc::new(Barrier::new(51));
        let members: Vec<_> = (0..50)
            .map(|_| {
                let barrier = barrier.clone();
                crew.spawn(move || barrier.wait().is_leader())
            })
            .collect();
        for member in &members {
            member.until_in("barrier");
        }
        assert!(barrier.wait().is_leader(), "the last who comes");
        for member in members {
            assert!(!member.join().unwrap());
        }
    });
}

#[test]
fn who_leaves_early_takes_its_arrival_back() {
    on_every_carrier(|crew| {
        let barrier = Arc::new(Barrier::new(2));
        let late = {
            let barrier = barrier.clone();
            crew.spawn(move || {
                barrier.wait_timeout(SHORT).is_none()
                    && barrier.wait_deadline(Instant::now()).is_none()
                    && time::timeout(SHORT, || barrier.wait()).is_err()
            })
        };
        assert!(late.join().unwrap());
        let cancelled = {
            let barrier = barrier.clone();
            crew.spawn_coroutine(move || barrier.wait())
        };
        cancelled.until_in("barrier");
        cancelled.cancel();
        assert!(was_cancelled(&cancelled.join()));
        {
            let mut future = Box::pin(barrier.wait_async());
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
        let stays = {
            let barrier = barrier.clone();
            crew.spawn(move || barrier.wait().is_leader())
        };
        stays.until_in("barrier"); // it would not wait if an arrival had been left behind
        assert!(barrier.wait().is_leader());
        assert!(!stays.join().unwrap());
    });
}

/// Of those who give up just as the last comes, each either met the others or is not counted.
#[test]
fn a_round_is_never_short_of_anybody() {
    on_every_carrier(|crew| {
        let barrier = Arc::new(Barrier::new(2));
        for round in 0..200 {
            let limit = Duration::from_micros(round % 50);
            let late = {
                let barrier = barrier.clone();
                crew.spawn(move || barrier.wait_timeout(limit).is_some())
            };
            let cancelled = {
                let barrier = barrier.clone();
                crew.spawn_coroutine(move || barrier.wait().is_leader())
            };
            let begun = Instant::now();
            while begun.elapsed() < limit {
                thread::yield_now();
            }
            cancelled.cancel();
            let met = usize::from(barrier.wait_timeout(limit).is_some())
                + usize::from(late.join().unwrap())
                + usize::from(cancelled.join().is_ok());
            assert!(met == 0 || met == 2, "{met} in round {round}");
        }
        // And nobody's arrival is left behind.
        assert!(barrier.wait_timeout(Duration::ZERO).is_none());
    });
}

#[test]
fn async_tasks_meet_the_others() {
    on_every_carrier(|crew| {
        let barrier = Arc::new(Barrier::new(2));
        let task = {
            let barrier = barrier.clone();
            std::thread::spawn(move || {
                block_on(async {
                    let mut led = 0;
                    for _ in 0..50 {
                        led += usize::from(barrier.wait_async().await.is_leader());
                    }
                    led
                })
            })
        };
        let member = {
            let barrier = barrier.clone();
            crew.spawn(move || (0..50).filter(|_| barrier.wait().is_leader()).count())
        };
        assert_eq!(member.join().unwrap() + task.join().unwrap(), 50);
    });
}

#[test]
fn what_std_offers_is_here() {
    static NOBODY: Barrier = Barrier::new(0);
    assert!(NOBODY.wait().is_leader() && Barrier::new(1).wait().is_leader());
    assert_eq!(format!("{NOBODY:?}"), "Barrier { .. }");
    let result = NOBODY.wait();
    assert_eq!(
        format!("{result:?}"),
        "BarrierWaitResult { is_leader: true }"
    );
}
