//! `loom` models of the exchange: who waits, who serves, and who gives up at that moment.

use std::ptr::NonNull;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::node::{End, Hold, Node};
use super::order::Fifo;
use super::state::{Entered, Line};
use super::{Exchange, GetError, PutError};
use crate::park::select::Claim;

/// Wakes a waiter of a model.
#[derive(Clone)]
pub(super) struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    fn ring(self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.0.0.lock().unwrap();
        while !*rung {
            rung = self.0.1.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// In place of the short lock, which has a model of its own: loom runs through the orders of
/// a lock that blocks in seconds, through those of one that spins in hours.
pub(super) struct Lock<S>(Mutex<S>);

impl<S> Lock<S> {
    pub(super) fn new(state: S) -> Self {
        Self(Mutex::new(state))
    }

    pub(super) fn lock(&self) -> loom::sync::MutexGuard<'_, S> {
        self.0.lock().unwrap()
    }

    pub(super) fn lock_patiently(&self) -> loom::sync::MutexGuard<'_, S> {
        self.lock()
    }
}

impl Hold for Bell {
    fn hold(self) -> Self {
        self
    }

    fn own(self) -> Self {
        self
    }
}

type Model = Exchange<Fifo<u32>, Bell>;

/// A lost wake-up is a deadlock, which loom reports. `patient`: waits to be served;
/// otherwise gives up as soon as it has to wait, as a timeout or cancel may make it.
fn stay(model: &Model, line: Line, node: &mut Node<u32, Bell>, patient: bool) -> Option<End> {
    loop {
        node.reset();
        let bell = Bell::new();
        let node = NonNull::from(&mut *node);
        // SAFETY: not left before the wait has ended.
        match unsafe { model.enter(line, node, || bell.clone()) } {
            Entered::Served(woken) => {
                if let Some(bell) = woken {
                    bell.ring();
                }
                return Some(End::Served);
            }
            Entered::Closed => return Some(End::Closed),
            Entered::Waits => {}
        }
        let end = loop {
            // SAFETY: ours.
            if let Some(end) = unsafe { node.as_ref() }.end() {
                break Some(end);
            }
            if !patient {
                // SAFETY: ours, and it has entered.
                break unsafe { model.leave(line, node) };
            }
            bell.wait();
        };
        if end != Some(End::Retry) {
            return end;
        }
    }
}

fn put(model: &Model, item: u32, patient: bool) -> Result<(), PutError<u32>> {
    let mut slot = Some(item);
    if model.put_quickly(&mut slot) {
        return Ok(());
    }
    let mut node = Node::new(slot);
    let end = stay(model, Line::Puts, &mut node, patient);
    let item = node.own(|inside| inside.item.take());
    match (end, item) {
        (Some(End::Served), None) => Ok(()),
        (Some(End::Closed), Some(item)) => Err(PutError::Closed(item)),
        (None, Some(item)) => Err(PutError::Full(item)),
        (end, item) => panic!("{end:?} {item:?}"),
    }
}

fn get(model: &Model, patient: bool) -> Result<u32, GetError> {
    if let Some(item) = model.get_quickly() {
        return Ok(item);
    }
    let mut node = Node::new(None);
    let end = stay(model, Line::Gets, &mut node, patient);
    let item = node.own(|inside| inside.item.take());
    match (end, item) {
        (Some(End::Served), Some(item)) => Ok(item),
        (Some(End::Closed), None) => Err(GetError::Closed),
        (None, None) => Err(GetError::Empty),
        (end, item) => panic!("{end:?} {item:?}"),
    }
}

fn close(model: &Model, drain: bool) {
    let (_, woken) = model.all(|state| state.close(drain));
    woken.into_iter().for_each(Bell::ring);
}

fn left(model: &Model) -> Vec<u32> {
    std::iter::from_fn(|| get(model, false).ok()).collect()
}

#[test]
fn every_item_arrives() {
    for capacity in [Some(0), Some(1), None] {
        loom::model(move || {
            let model = Arc::new(Model::new(capacity));
            let putter = {
                let model = model.clone();
                thread::spawn(move || {
                    put(&model, 1, true).unwrap();
                    put(&model, 2, true).unwrap();
                })
            };
            assert_eq!(get(&model, true), Ok(1));
            assert_eq!(get(&model, true), Ok(2));
            putter.join().unwrap();
        });
    }
}

#[test]
fn two_gets_share_two_items() {
    for capacity in [Some(0), Some(1)] {
        loom::model(move || {
            let model = Arc::new(Model::new(capacity));
            let getter = {
                let model = model.clone();
                thread::spawn(move || get(&model, true).unwrap())
            };
            let putter = {
                let model = model.clone();
                thread::spawn(move || {
                    put(&model, 1, true).unwrap();
                    put(&model, 2, true).unwrap();
                })
            };
            let here = get(&model, true).unwrap();
            let there = getter.join().unwrap();
            putter.join().unwrap();
            assert_eq!(here + there, 3);
        });
    }
}

#[test]
fn a_get_that_gives_up_takes_the_item_or_leaves_it() {
    for capacity in [Some(0), Some(1)] {
        loom::model(move || {
            let model = Arc::new(Model::new(capacity));
            let getter = {
                let model = model.clone();
                thread::spawn(move || get(&model, false))
            };
            let put = put(&model, 7, false);
            let got = getter.join().unwrap();
            let left = left(&model);
            let count = usize::from(got.is_ok()) + left.len() + usize::from(put.is_err());
            assert_eq!(count, 1, "{got:?} {put:?} {left:?}");
        });
    }
}

#[test]
fn a_put_that_gives_up_does_not_take_the_room_of_the_next() {
    loom::model(|| {
        let model = Arc::new(Model::new(Some(0)));
        let quitter = {
            let model = model.clone();
            thread::spawn(move || put(&model, 1, false))
        };
        let putter = {
            let model = model.clone();
            thread::spawn(move || put(&model, 2, true))
        };
        let first = get(&model, true).unwrap();
        let gave_up = quitter.join().unwrap().is_err();
        if first == 1 {
            assert!(!gave_up);
            assert_eq!(get(&model, true), Ok(2));
        } else {
            assert!(gave_up);
        }
        putter.join().unwrap().unwrap();
    });
}

#[test]
fn closing_ends_waits_and_gives_items_back() {
    for (capacity, drain) in [(Some(0), false), (Some(1), false), (Some(1), true)] {
        loom::model(move || {
            let model = Arc::new(Model::new(capacity));
            let putter = {
                let model = model.clone();
                thread::spawn(move || {
                    let first = put(&model, 1, true);
                    let second = put(&model, 2, true);
                    usize::from(first.is_ok()) + usize::from(second.is_ok())
                })
            };
            let closer = {
                let model = model.clone();
                thread::spawn(move || close(&model, drain))
            };
            let mut got = 0;
            while get(&model, true).is_ok() {
                got += 1;
            }
            closer.join().unwrap();
            let put = putter.join().unwrap();
            if drain {
                assert!(got <= put);
            } else {
                assert_eq!(got, put);
            }
        });
    }
}

#[test]
fn a_join_waits_for_the_last_report() {
    loom::model(|| {
        let model = Arc::new(Model::new(None));
        put(&model, 1, true).unwrap();
        put(&model, 2, true).unwrap();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let model = model.clone();
                thread::spawn(move || {
                    let woken = model.all(|state| state.done()).unwrap();
                    woken.into_iter().for_each(Bell::ring);
                })
            })
            .collect();
        let end = stay(&model, Line::Joins, &mut Node::new(None), true);
        assert_eq!(end, Some(End::Served));
        assert_eq!(model.all(|state| state.unfinished()), 0);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// One stay of a select with gets in both: the item that it was served, if any.
fn select(models: [&Model; 2], patient: bool) -> Option<u32> {
    let claim = Claim::new();
    let bell = Bell::new();
    let mut nodes = [Node::new(None), Node::new(None)];
    let mut enlisted = 0;
    for (index, model) in models.iter().enumerate() {
        let node = &mut nodes[index];
        node.own(|inside| {
            inside.waiter = Some(bell.clone());
            inside.claim = Some((NonNull::from(&claim), index as u32));
        });
        let node = NonNull::from(node);
        let waits = model.all(|state| {
            let waits = !state.is_ready(Line::Gets, &claim);
            if waits {
                // SAFETY: taken out below.
                unsafe { state.enlist(Line::Gets, node) };
            }
            waits
        });
        if !waits {
            break;
        }
        enlisted += 1;
    }
    if patient && enlisted == 2 {
        bell.wait();
    }
    let winner = claim.give_up();
    let mut served = None;
    for index in 0..enlisted {
        // SAFETY: ours, and enlisted there.
        let end = unsafe { models[index].leave(Line::Gets, NonNull::from(&mut nodes[index])) };
        if end.is_some() {
            assert_eq!(winner, Some(index as u32), "served without the claim");
            served = nodes[index].own(|inside| inside.item.take());
        }
    }
    assert_eq!(winner.is_some(), served.is_some());
    served
}

#[test]
fn of_two_arms_one_is_served_and_the_other_keeps_its_item() {
    for patient in [false, true] {
        loom::model(move || {
            let models = Arc::new([Model::new(Some(1)), Model::new(Some(1))]);
            let putters: Vec<_> = (0..2)
                .map(|index| {
                    let models = models.clone();
                    thread::spawn(move || put(&models[index], index as u32, true).unwrap())
                })
                .collect();
            let served = select([&models[0], &models[1]], patient);
            for putter in putters {
                putter.join().unwrap();
            }
            let mut all: Vec<_> = served.into_iter().collect();
            all.extend(left(&models[0]));
            all.extend(left(&models[1]));
            all.sort_unstable();
            assert_eq!(all, [0, 1]);
        });
    }
}
