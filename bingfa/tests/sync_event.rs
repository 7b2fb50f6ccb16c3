//! `bingfa::sync::Event` on every carrier.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bingfa::queue::{Queue, Select};
use bingfa::sync::{Arc, Event};
use bingfa::{thread, time};

use common::crew::on_every_carrier;
use common::{Flag, SHORT, block_on, was_cancelled};

#[test]
fn set_wakes_all_even_if_it_is_cleared_at_once() {
    on_every_carrier(|crew| {
        let event = Arc::new(Event::new());
        let members: Vec<_> = (0..40)
            .map(|_| {
                let event = event.clone();
                crew.spawn(move || event.wait())
            })
            .collect();
        for member in &members {
            member.until_in("event");
        }
        event.set();
        event.clear();
        for member in members {
            member.join().unwrap();
        }
        assert!(!event.is_set());
        assert!(!event.wait_timeout(Duration::ZERO));
    });
}

#[test]
fn nobody_waits_while_it_is_set() {
    on_every_carrier(|crew| {
        let event = Arc::new(Event::new());
        event.set();
        event.set();
        assert!(event.is_set());
        let member = {
            let event = event.clone();
            crew.spawn(move || {
                event.wait();
                event.wait_deadline(Instant::now())
            })
        };
        assert!(member.join().unwrap());
        block_on(event.wait_async());
        event.clear();
        assert!(!event.wait_deadline(Instant::now()));
    });
}

#[test]
fn waits_end_when_their_time_is_over() {
    on_every_carrier(|crew| {
        let event = Arc::new(Event::new());
        let member = {
            let event = event.clone();
            crew.spawn(move || {
                assert!(!event.wait_timeout(SHORT));
                assert!(time::timeout(SHORT, || event.wait()).is_err());
            })
        };
        member.join().unwrap();
        let cancelled = {
            let event = event.clone();
            crew.spawn_coroutine(move || event.wait())
        };
        cancelled.until_in("event");
        cancelled.cancel();
        assert!(was_cancelled(&cancelled.join()));
        event.set();
        assert!(event.wait_timeout(SHORT));
    });
}

/// One side sets, the other waits and clears, with a count of its own: nothing is missed.
#[test]
fn what_was_done_before_a_set_is_seen_by_who_clears() {
    const ROUNDS: usize = 200;
    on_every_carrier(|crew| {
        let (event, made) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
        let makers: Vec<_> = (0..2)
            .map(|_| {
                let (event, made) = (event.clone(), made.clone());
                crew.spawn(move || {
                    for _ in 0..ROUNDS {
                        made.fetch_add(1, SeqCst);
                        event.set();
                        thread::yield_now();
                    }
                })
            })
            .collect();
        let taker = {
            let (event, made) = (event.clone(), made.clone());
            crew.spawn(move || {
                let mut seen = 0;
                while seen < 2 * ROUNDS {
                    event.wait();
                    event.clear();
                    seen = made.load(SeqCst);
                }
            })
        };
        for maker in makers {
            maker.join().unwrap();
        }
        taker.join().unwrap();
    });
}

/// Waiters that give up at the moment of a `set`, and ones that do not.
#[test]
fn no_wake_up_is_lost_at_the_moment_of_a_timeout_or_cancel() {
    on_every_carrier(|crew| {
        let event = Arc::new(Event::new());
        for round in 0..200 {
            let limit = Duration::from_micros(round % 50);
            let spawn = |limit: Option<Duration>| {
                let event = event.clone();
                crew.spawn_coroutine(move || match limit {
                    Some(limit) => drop(event.wait_timeout(limit)),
                    None => event.wait(),
                })
            };
            let (late, cancelled) = (spawn(Some(limit)), spawn(None));
            let stays = {
                let event = event.clone();
                crew.spawn(move || event.wait())
            };
            stays.until_in("event");
            if round % 2 == 0 {
                cancelled.cancel();
            }
            event.set();
            event.clear();
            cancelled.cancel();
            late.join().unwrap();
            let _ = cancelled.join();
            stays.join().unwrap();
        }
    });
}

#[test]
fn a_future_is_over_once_the_event_was_set() {
    let event = Event::new();
    let mut context = Context::from_waker(Waker::noop());
    let mut waits = Box::pin(event.wait_async());
    let mut leaves = Box::pin(event.wait_async());
    assert!(waits.as_mut().poll(&mut context).is_pending());
    assert!(leaves.as_mut().poll(&mut context).is_pending());
    drop(leaves);
    assert!(waits.as_mut().poll(&mut context).is_pending());
    event.set();
    event.clear();
    assert!(waits.as_mut().poll(&mut context).is_ready());
    assert!(!event.wait_timeout(Duration::ZERO));
}

#[test]
fn async_tasks_wait_with_the_others() {
    on_every_carrier(|crew| {
        let event = Arc::new(Event::new());
        let task = {
            let event = event.clone();
            std::thread::spawn(move || block_on(event.wait_async()))
        };
        let member = {
            let event = event.clone();
            crew.spawn(move || event.wait())
        };
        member.until_in("event");
        event.set();
        member.join().unwrap();
        task.join().unwrap();
    });
}

#[test]
fn a_select_waits_for_it() {
    on_every_carrier(|crew| {
        let (event, queue) = (Arc::new(Event::new()), Queue::<u32>::unbounded());
        let queue = Arc::new(queue);
        let first_over = Flag::new();
        let member = {
            let (event, queue, first_over) = (event.clone(), queue.clone(), first_over.clone());
            crew.spawn(move || {
                let (mut item, mut set) = (queue.get_async(), event.wait_async());
                let won = Select::new().arm(&mut item).arm(&mut set).wait();
                assert_eq!(won, 1);
                first_over.set();
                // And the other arm is none the worse for it.
                let won = Select::new().arm(&mut item).wait();
                (won, item.take().unwrap())
            })
        };
        member.until_in("select");
        event.set();
        event.clear(); // the select was woken, and knows why
        first_over.wait();
        member.until_in("select");
        queue.put(7).unwrap();
        assert_eq!(member.join().unwrap(), (0, 7));
        let mut set = event.wait_async();
        assert_eq!(Select::new().arm(&mut set).wait_timeout(SHORT), None);
    });
}
