//! Selects with puts that meet selects with gets: at a rendezvous and in a queue of one place,
//! by limits, cancels and dropped futures about when they are served.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bingfa::queue::{Queue, Selecting};
use bingfa::select;
use bingfa::thread;
use common::crew::{Member, on_every_carrier};
use common::ledger::{Dice, Item, Ledger, poll_and_drop};
use common::{Flag, LONG, labelled, was_cancelled};

type Pair = Arc<[Queue<Item>; 2]>;

fn pair(capacity: usize) -> Pair {
    Arc::new(std::array::from_fn(|_| Queue::bounded(capacity)))
}

/// Puts one item into one of the two; whether it did.
fn put(queues: &Pair, ledger: &Arc<Ledger>, limit: Duration) -> bool {
    select! {
        put(queues[0], ledger.item(0)) -> done => done.is_ok(),
        put(queues[1], ledger.item(0)) -> done => done.is_ok(),
        timeout(limit) => false,
    }
}

/// The same as a future, which is dropped at some time.
fn put_and_drop(queues: &Pair, ledger: &Arc<Ledger>, dice: &mut Dice) {
    let items = [ledger.item(0), ledger.item(0)];
    let numbers = [items[0].number(), items[1].number()];
    let [first, second] = items;
    poll_and_drop(
        async {
            let mut first = pin!(queues[0].put_async(first));
            let mut second = pin!(queues[1].put_async(second));
            Selecting::new()
                .arm(first.as_mut())
                .arm(second.as_mut())
                .await
        },
        dice,
    );
    let sent = numbers.into_iter().filter(|n| !ledger.was_dropped(*n));
    let sent = sent.count();
    assert!(sent < 2, "both arms were served");
    ledger.note(sent == 1);
}

/// Gets an item from one of the two, the other way round; whether there was one.
fn get(queues: &Pair, limit: Duration) -> bool {
    let item = select! {
        get(queues[1]) -> item => item,
        get(queues[0]) -> item => item,
        timeout(limit) => return false,
    };
    item.expect("nobody closes them").got();
    true
}

fn get_and_drop(queues: &Pair, dice: &mut Dice) {
    let get = async {
        let mut first = pin!(queues[1].get_async());
        let mut second = pin!(queues[0].get_async());
        match Selecting::new()
            .arm(first.as_mut())
            .arm(second.as_mut())
            .await
        {
            0 => first.await,
            _ => second.await,
        }
    };
    if let Some(item) = poll_and_drop(get, dice) {
        item.expect("nobody closes them").got();
    }
}

#[test]
fn whoever_gives_up_when_it_is_served_loses_and_doubles_nothing() {
    const ROUNDS: usize = 150;
    on_every_carrier(|crew| {
        for capacity in [0, 1] {
            let queues = pair(capacity);
            let ledger = Ledger::new(1 << 18);
            let all_put = Flag::new();
            let putters = [0, 1].map(|seed| {
                let (queues, ledger) = (queues.clone(), ledger.clone());
                crew.spawn(move || {
                    let mut dice = Dice::new(seed);
                    for _ in 0..ROUNDS {
                        if dice.below(2) == 0 {
                            ledger.note(put(&queues, &ledger, dice.moment()));
                        } else {
                            put_and_drop(&queues, &ledger, &mut dice);
                        }
                    }
                })
            });
            let getters = [2, 3].map(|seed| {
                let (queues, all_put) = (queues.clone(), all_put.clone());
                crew.spawn(move || {
                    let mut dice = Dice::new(seed);
                    while !all_put.is_set() {
                        if dice.below(2) == 0 {
                            get(&queues, dice.moment());
                        } else {
                            get_and_drop(&queues, &mut dice);
                        }
                    }
                })
            });
            let mut dice = Dice::new(4);
            while !putters.iter().all(Member::is_finished) {
                let putter = {
                    let (queues, ledger) = (queues.clone(), ledger.clone());
                    crew.spawn_coroutine(move || {
                        for _ in 0..30 {
                            ledger.note(put(&queues, &ledger, LONG));
                        }
                    })
                };
                let getter = {
                    let queues = queues.clone();
                    crew.spawn_coroutine(move || while get(&queues, LONG) {})
                };
                thread::sleep(10 * dice.moment());
                putter.cancel();
                getter.cancel();
                for outcome in [putter.join(), getter.join()] {
                    assert!(outcome.is_ok() || was_cancelled(&outcome));
                }
            }
            putters.into_iter().for_each(|one| one.join().unwrap());
            all_put.set();
            getters.into_iter().for_each(|one| one.join().unwrap());
            while get(&queues, Duration::ZERO) {}
            labelled(&format!("{capacity} places"), || ledger.settle());
        }
    });
}

#[test]
fn without_a_limit_all_meet_in_the_end() {
    const ROUNDS: usize = 200;
    on_every_carrier(|crew| {
        for capacity in [0, 1] {
            let queues = pair(capacity);
            let ledger = Ledger::new(1 << 12);
            let putters = [0; 3].map(|_| {
                let (queues, ledger) = (queues.clone(), ledger.clone());
                crew.spawn(move || {
                    (0..ROUNDS).for_each(|_| ledger.note(put(&queues, &ledger, LONG)))
                })
            });
            let getters = [0; 3].map(|_| {
                let queues = queues.clone();
                crew.spawn(move || (0..ROUNDS).all(|_| get(&queues, LONG)))
            });
            putters.into_iter().for_each(|one| one.join().unwrap());
            assert!(getters.into_iter().all(|one| one.join().unwrap()));
            assert_eq!(ledger.sent(), 3 * ROUNDS);
            ledger.settle();
        }
    });
}

/// One puts into the first or gets from the second, the other the other way round: they
/// meet at either, but never at both.
#[test]
fn crosswise_each_meeting_is_at_one_of_two_places() {
    const ROUNDS: usize = 500;
    on_every_carrier(|crew| {
        let queues = pair(0);
        let ledger = Ledger::new(1 << 12);
        let players = [0, 1].map(|out| {
            let (queues, ledger) = (queues.clone(), ledger.clone());
            crew.spawn(move || {
                for _ in 0..ROUNDS {
                    select! {
                        put(queues[out], ledger.item(out)) -> done => ledger.note(done.is_ok()),
                        get(queues[1 - out]) -> item => { item.unwrap().got(); }
                    }
                }
            })
        });
        players.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(ledger.sent(), ROUNDS);
        ledger.settle();
    });
}

/// Each would put or get, whichever comes first, at the same place.
#[test]
fn equal_selects_meet_each_other_and_not_themselves() {
    const ROUNDS: usize = 500;
    on_every_carrier(|crew| {
        let queue = Arc::new(Queue::bounded(0));
        let ledger = Ledger::new(1 << 12);
        let players = [0, 1].map(|player| {
            let (queue, ledger) = (queue.clone(), ledger.clone());
            crew.spawn(move || {
                for _ in 0..ROUNDS {
                    select! {
                        put(queue, ledger.item(player)) -> done => ledger.note(done.is_ok()),
                        get(queue) -> item => assert_eq!(item.unwrap().got().0, 1 - player),
                    }
                }
            })
        });
        players.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(ledger.sent(), ROUNDS);
        ledger.settle();
    });
}
