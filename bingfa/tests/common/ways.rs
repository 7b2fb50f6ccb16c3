//! What all queues and channels have in common, as one set of checks.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bingfa::sync::Mutex;
use bingfa::thread;

use super::crew::{Crew, Member, on_every_carrier};
use super::ends::{Gets, Puts};
use super::ledger::{Dice, Item, Ledger, poll_and_drop};
use super::{Flag, LONG, SHORT, block_on, labelled, was_cancelled};

/// In which order the items leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    First,
    Last,
    Smallest,
}

fn put_in_mode(puts: &impl Puts, mode: usize, item: Item) -> bool {
    match mode % 3 {
        0 => puts.put(item),
        1 => puts.put_within(item, SHORT),
        _ => block_on(puts.put_async(item)),
    }
}

/// `None` at the end.
fn get_in_mode(gets: &impl Gets, mode: usize) -> Option<Item> {
    match mode % 3 {
        0 => gets.get(),
        1 => loop {
            if let Some(got) = gets.get_within(SHORT) {
                return got;
            }
        },
        _ => block_on(gets.get_async()),
    }
}

/// Up to three, as far as there may be several.
fn several<G: Gets>(gets: G) -> Vec<G> {
    let others = [gets.another(), gets.another()];
    std::iter::once(gets)
        .chain(others.into_iter().flatten())
        .collect()
}

fn ended<T>(members: Vec<Member<T>>) -> Vec<T> {
    members.into_iter().map(|m| m.join().unwrap()).collect()
}

// -- checks ----------------------------------------------------------------------------

/// Checks a way with so much room on every carrier.
pub fn conforms<P: Puts, G: Gets>(law: Law, capacity: Option<usize>, make: impl Fn() -> (P, G)) {
    on_every_carrier(|crew| {
        let check = |what, check: &dyn Fn()| labelled(&format!("{capacity:?}, {what}"), check);
        check("traffic", &|| traffic(crew, law, capacity, make()));
        check("order", &|| order(crew, law, capacity, make()));
        check("limits", &|| limits(capacity, make()));
        check("closing", &|| closing(crew, make()));
        check("abandoning", &|| abandoning(crew, capacity, make()));
        check("one task", &|| one_task(make()));
        check("brute force", &|| brute_force(crew, make()));
    });
}

/// Three that put and three that get, each by turns in every way to wait.
fn traffic<P: Puts, G: Gets>(crew: &Crew, law: Law, capacity: Option<usize>, (puts, gets): (P, G)) {
    const EACH: usize = 60;
    let ledger = Ledger::new(1 << 16);
    let getters: Vec<_> = several(gets)
        .into_iter()
        .enumerate()
        .map(|(role, gets)| {
            crew.spawn(move || {
                let mut all = Vec::new();
                while let Some(item) = get_in_mode(&gets, role + all.len()) {
                    all.push(item.got());
                }
                all
            })
        })
        .collect();
    let putters: Vec<_> = (0..3)
        .map(|role| {
            let (puts, ledger) = (puts.clone(), ledger.clone());
            crew.spawn(move || {
                let mut sent = 0;
                for mode in role.. {
                    let done = put_in_mode(&puts, mode, ledger.item(role));
                    ledger.note(done);
                    sent += usize::from(done);
                    if sent == EACH {
                        break;
                    }
                }
            })
        })
        .collect();
    ended(putters);
    puts.close();
    for got in ended(getters) {
        // Directly from hand to hand there is no other order than that of the puts.
        if law != Law::Last || capacity == Some(0) {
            for producer in 0..3 {
                assert!(got.iter().filter(|one| one.0 == producer).is_sorted());
            }
        }
    }
    assert_eq!(ledger.sent(), 3 * EACH);
    ledger.settle();
}

/// First all is put, then all is got.
fn order<P: Puts, G: Gets>(crew: &Crew, law: Law, capacity: Option<usize>, (puts, gets): (P, G)) {
    let each = capacity.map_or(20, |room| room / 3);
    let ledger = Ledger::new(1024);
    let putters: Vec<_> = (0..3)
        .map(|role| {
            let (puts, ledger) = (puts.clone(), ledger.clone());
            crew.spawn(move || {
                for mode in 0..each {
                    let done = put_in_mode(&puts, mode, ledger.item(role));
                    assert!(done, "there is room");
                    ledger.note(done);
                }
            })
        })
        .collect();
    ended(putters);
    puts.close();
    let getters: Vec<_> = several(gets)
        .into_iter()
        .map(|gets| {
            crew.spawn(move || {
                let items = (0..).map_while(|mode| get_in_mode(&gets, mode));
                items.map(Item::got).collect::<Vec<_>>()
            })
        })
        .collect();
    for got in ended(getters) {
        let of = |producer| {
            got.iter()
                .filter(move |one| one.0 == producer)
                .map(|one| one.1)
        };
        match law {
            Law::First => assert!((0..3).all(|producer| of(producer).is_sorted())),
            Law::Last => assert!((0..3).all(|producer| of(producer).is_sorted_by(|a, b| a > b))),
            Law::Smallest => assert!(got.iter().map(|one| one.1).is_sorted()),
        }
    }
    assert_eq!(ledger.sent(), 3 * each);
    ledger.settle();
}

/// Who gives up in time has done nothing.
fn limits<P: Puts, G: Gets>(capacity: Option<usize>, (puts, gets): (P, G)) {
    let ledger = Ledger::new(1024);
    for limit in [Duration::ZERO, SHORT] {
        assert!(gets.get_within(limit).is_none());
        for _ in 0..capacity.unwrap_or(5) {
            let done = puts.put_within(ledger.item(0), limit);
            assert!(done, "there is room");
            ledger.note(done);
        }
        if capacity.is_some() {
            assert!(!puts.put_within(ledger.item(0), limit));
        }
        for _ in 0..capacity.unwrap_or(5) {
            let item = gets.get_within(limit).expect("there is one");
            item.expect("nobody has closed it").got();
        }
        assert!(gets.get_within(limit).is_none());
    }
    puts.close();
    assert!(gets.get_within(LONG).expect("the end").is_none());
    ledger.settle();
}

/// The end reaches everybody who waits for an item, however it waits.
fn closing<P: Puts, G: Gets>(crew: &Crew, (puts, gets): (P, G)) {
    let getters: Vec<_> = several(gets)
        .into_iter()
        .enumerate()
        .map(|(mode, gets)| {
            let wait = if mode == 2 { "park" } else { G::WAIT };
            let member = crew.spawn(move || match mode {
                0 => gets.get().is_none(),
                1 => gets.get_within(LONG).expect("the end").is_none(),
                _ => block_on(gets.get_async()).is_none(),
            });
            member.until_in(wait);
            member
        })
        .collect();
    puts.close();
    assert!(ended(getters).into_iter().all(|at_the_end| at_the_end));
}

/// The end reaches everybody who waits for room, however it waits.
fn abandoning<P: Puts, G: Gets>(crew: &Crew, capacity: Option<usize>, (puts, gets): (P, G)) {
    let Some(capacity) = capacity else { return };
    let ledger = Ledger::new(1024);
    for _ in 0..capacity {
        assert!(puts.put(ledger.item(0)));
    }
    let putters: Vec<_> = (0..3)
        .map(|mode| {
            let (puts, item) = (puts.clone(), ledger.item(mode));
            let wait = if mode == 2 { "park" } else { P::WAIT };
            let member = crew.spawn(move || match mode {
                0 => puts.put(item),
                1 => puts.put_within(item, LONG),
                _ => block_on(puts.put_async(item)),
            });
            member.until_in(wait);
            member
        })
        .collect();
    gets.abandon();
    assert!(ended(putters).into_iter().all(|sent| !sent));
    assert!(!puts.put(ledger.item(0)));
    drop(puts);
    ledger.settle(); // all of them dropped, none got
}

/// Two futures of one task that meet.
fn one_task<P: Puts, G: Gets>((puts, gets): (P, G)) {
    let ledger = Ledger::new(1024);
    let put = {
        let ledger = ledger.clone();
        async move {
            for _ in 0..100 {
                let done = puts.put_async(ledger.item(0)).await;
                assert!(done);
                ledger.note(done);
            }
            puts.close();
        }
    };
    let get = async {
        let mut count = 0;
        while let Some(item) = gets.get_async().await {
            item.got();
            count += 1;
        }
        count
    };
    assert_eq!(block_on(both(put, get)).1, 100);
    ledger.settle();
}

/// Polls both until both are ready.
pub async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(context)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(context)
        {
            second = Some(output);
        }
        if first.is_some() && second.is_some() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    (first.unwrap(), second.unwrap())
}

/// Waits that are over at about the moment when they are served: by a limit, by a cancel, or
/// because their future is dropped.
fn brute_force<P: Puts, G: Gets>(crew: &Crew, (puts, gets): (P, G)) {
    const ROUNDS: usize = 120;
    let ledger = Ledger::new(1 << 18);
    let all_put = Flag::new();
    let putters: Vec<_> = (0..2)
        .map(|role| {
            let (puts, ledger) = (puts.clone(), ledger.clone());
            crew.spawn(move || {
                let mut dice = Dice::new(role);
                for _ in 0..ROUNDS {
                    put_briefly(&puts, &ledger, &mut dice);
                }
            })
        })
        .collect();
    let mut gets = several(gets);
    // Also of a way that has only one: by turns.
    let shared = Arc::new(Mutex::new(gets.pop().expect("there is one")));
    let getters: Vec<_> = gets
        .into_iter()
        .enumerate()
        .map(|(role, gets)| {
            let all_put = all_put.clone();
            crew.spawn(move || {
                let mut dice = Dice::new(7 + role);
                while !all_put.is_set() {
                    get_briefly(&gets, &mut dice);
                }
            })
        })
        .collect();
    let mut dice = Dice::new(99);
    while !putters.iter().all(Member::is_finished) {
        let getter = {
            let shared = shared.clone();
            crew.spawn_coroutine(move || {
                let gets = shared.lock().unwrap();
                while let Some(item) = gets.get() {
                    item.got();
                }
            })
        };
        let putter = {
            let (puts, ledger) = (puts.clone(), ledger.clone());
            crew.spawn_coroutine(move || {
                for _ in 0..30 {
                    ledger.note(puts.put(ledger.item(2)));
                }
            })
        };
        thread::sleep(10 * dice.moment());
        putter.cancel();
        getter.cancel();
        for outcome in [putter.join(), getter.join()] {
            assert!(outcome.is_ok() || was_cancelled(&outcome));
        }
        let gets = shared.lock().unwrap();
        for _ in 0..10 {
            get_briefly(&*gets, &mut dice);
        }
    }
    ended(putters);
    all_put.set();
    ended(getters);
    while let Some(item) = shared.lock().unwrap().get_within(Duration::ZERO) {
        item.expect("nobody has closed it").got();
    }
    ledger.settle();
}

fn put_briefly(puts: &impl Puts, ledger: &Arc<Ledger>, dice: &mut Dice) {
    let item = ledger.item(0);
    let number = item.number();
    let done = if dice.below(2) == 0 {
        Some(puts.put_within(item, dice.moment()))
    } else {
        poll_and_drop(puts.put_async(item), dice)
    };
    // Whoever drops a future does not hear whether its item was taken.
    ledger.note(done.unwrap_or_else(|| !ledger.was_dropped(number)));
}

fn get_briefly(gets: &impl Gets, dice: &mut Dice) {
    let got = if dice.below(2) == 0 {
        gets.get_within(dice.moment())
    } else {
        poll_and_drop(gets.get_async(), dice)
    };
    if let Some(item) = got {
        item.expect("nobody has closed it").got();
    }
}
