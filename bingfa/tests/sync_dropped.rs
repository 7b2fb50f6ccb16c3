//! Futures of condition variables, events and barriers that are dropped about when they are
//! served: what was meant for them reaches somebody else.

mod common;

use std::sync::Arc;

use bingfa::sync::{Barrier, Condvar, Event, Mutex};
use bingfa::thread;
use common::crew::{Crew, Member, on_every_carrier};
use common::ledger::{Dice, poll_and_drop};
use common::{Flag, until};

/// `N` of the crew that poll a future and drop it, again and again.
fn droppers<const N: usize, F, M>(crew: &Crew, stop: &Flag, make: M) -> [Member<()>; N]
where
    F: Future,
    M: Fn() -> F + Clone + Send + 'static,
{
    std::array::from_fn(|seed| {
        let (stop, make) = (stop.clone(), make.clone());
        crew.spawn(move || {
            let mut dice = Dice::new(seed);
            while !stop.is_set() {
                drop(poll_and_drop(make(), &mut dice));
                thread::yield_now();
            }
        })
    })
}

fn end<const N: usize>(stop: &Flag, droppers: [Member<()>; N]) {
    stop.set();
    droppers.into_iter().for_each(|one| one.join().unwrap());
}

/// Were a notification lost, the one that stays would wait for ever.
#[test]
fn a_condvar_s_notification_reaches_who_stays() {
    const ROUNDS: usize = 300;
    on_every_carrier(|crew| {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let stop = Flag::new();
        let droppers: [_; 2] = {
            let pair = pair.clone();
            droppers(crew, &stop, move || {
                let pair = pair.clone();
                async move {
                    let count = pair.0.lock_async().await.unwrap();
                    let mut count = pair.1.wait_async(count).await.unwrap();
                    // Notified, and still here: so it is the one that is served.
                    if *count > 0 {
                        *count -= 1;
                    }
                }
            })
        };
        let stays = {
            let (pair, stop) = (pair.clone(), stop.clone());
            crew.spawn(move || {
                loop {
                    let count = pair.0.lock().unwrap();
                    let waits = |count: &mut i32| *count == 0 && !stop.is_set();
                    let mut count = pair.1.wait_while(count, waits).unwrap();
                    if *count == 0 {
                        return;
                    }
                    *count -= 1;
                }
            })
        };
        for _ in 0..ROUNDS {
            *pair.0.lock().unwrap() += 1;
            pair.1.notify_one();
            until(|| *pair.0.lock().unwrap() == 0);
        }
        end(&stop, droppers);
        let count = pair.0.lock().unwrap(); // so that it waits, or sees the flag
        pair.1.notify_all();
        drop(count);
        stays.join().unwrap();
    });
}

#[test]
fn an_event_reaches_who_stays() {
    const ROUNDS: usize = 300;
    on_every_carrier(|crew| {
        let events = Arc::new([Event::new(), Event::new()]);
        let stop = Flag::new();
        let droppers: [_; 2] = {
            let events = events.clone();
            droppers(crew, &stop, move || {
                let events = events.clone();
                async move {
                    events[0].wait_async().await;
                    events[1].wait_async().await;
                }
            })
        };
        // To and fro, and cleared at once: who waited then is woken all the same.
        let stays = {
            let events = events.clone();
            crew.spawn(move || {
                for _ in 0..ROUNDS {
                    events[0].wait();
                    events[0].clear();
                    events[1].set();
                }
            })
        };
        for _ in 0..ROUNDS {
            events[0].set();
            events[1].wait();
            events[1].clear();
        }
        stays.join().unwrap();
        end(&stop, droppers);
    });
}

/// Arrivals that are taken back neither fill a round nor are missing in one.
#[test]
fn a_barrier_counts_who_stays() {
    const ROUNDS: usize = 200;
    on_every_carrier(|crew| {
        let barrier = Arc::new(Barrier::new(3));
        let stop = Flag::new();
        let droppers: [_; 1] = {
            let barrier = barrier.clone();
            droppers(crew, &stop, move || {
                let barrier = barrier.clone();
                async move { barrier.wait_async().await }
            })
        };
        let stays = {
            let barrier = barrier.clone();
            crew.spawn(move || {
                let led = (0..ROUNDS).filter(|_| barrier.wait().is_leader());
                led.count()
            })
        };
        let mut led = 0;
        for _ in 0..ROUNDS {
            led += usize::from(barrier.wait().is_leader());
        }
        assert!(
            led + stays.join().unwrap() <= ROUNDS,
            "two leaders of a round"
        );
        end(&stop, droppers);
        // Nobody's arrival is left behind, and none was taken back twice.
        let two = [0; 2].map(|_| {
            let barrier = barrier.clone();
            let member = crew.spawn(move || barrier.wait().is_leader());
            member.until_in("barrier");
            member
        });
        assert!(barrier.wait().is_leader());
        assert!(two.into_iter().all(|one| !one.join().unwrap()));
    });
}
