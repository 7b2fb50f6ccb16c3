//! Histories of gets and puts that wait, are cancelled, or are dropped, against a model.
//!
//! All happens on one worker, step by step: after each step everybody has ended or waits.

mod common;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bingfa::coroutine::{self, JoinHandle, State};
use bingfa::queue::{self, Fifo, Lifo, Order, Priority, QueueOf, SimpleQueue};
use common::ends::{Gets, Puts};
use common::ledger::{Item, Ledger};
use common::ways::Law;
use common::{labelled, until, was_cancelled};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[derive(Clone, Debug)]
enum Step {
    TryPut(usize),
    TryGet,
    Put(usize),
    Get,
    PutFuture(usize),
    GetFuture,
    /// Of those that are there, one is cancelled or dropped.
    End(usize),
    /// Of those that are there, one is polled if it is a future.
    Poll(usize),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..4usize;
    let one = || 0..1000usize;
    prop_oneof![
        4 => key().prop_map(Step::TryPut),
        4 => Just(Step::TryGet),
        5 => key().prop_map(Step::Put),
        5 => Just(Step::Get),
        5 => key().prop_map(Step::PutFuture),
        5 => Just(Step::GetFuture),
        5 => one().prop_map(Step::End),
        5 => one().prop_map(Step::Poll),
        1 => Just(Step::Close),
    ]
}

/// How a put or get has ended: the item by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Put(bool),
    Got(Option<usize>),
}

/// What a way is, written down as simply as can be. Everybody has an id.
struct Model {
    law: Law,
    capacity: usize,
    closed: bool,
    /// Key, place among equals, and number of each item.
    store: Vec<(usize, i64, usize)>,
    last_place: i64,
    first_place: i64,
    gets: VecDeque<usize>,
    puts: VecDeque<(usize, usize, usize)>,
    ended: HashMap<usize, Outcome>,
}

impl Model {
    fn add(&mut self, key: usize, number: usize) {
        self.last_place += 1;
        self.store.push((key, self.last_place, number));
    }

    fn put(&mut self, id: usize, key: usize, number: usize) {
        if self.closed {
            self.ended.insert(id, Outcome::Put(false));
        } else if let Some(get) = self.gets.pop_front() {
            self.ended.insert(get, Outcome::Got(Some(number)));
            self.ended.insert(id, Outcome::Put(true));
        } else if self.store.len() < self.capacity {
            self.add(key, number);
            self.ended.insert(id, Outcome::Put(true));
        } else {
            self.puts.push_back((id, key, number));
        }
    }

    fn get(&mut self, id: usize) {
        let next = match self.law {
            Law::First => self.store.iter().min_by_key(|item| item.1),
            Law::Last => self.store.iter().max_by_key(|item| item.1),
            Law::Smallest => self.store.iter().min(),
        };
        if let Some(&next) = next {
            self.store.retain(|item| *item != next);
            self.ended.insert(id, Outcome::Got(Some(next.2)));
            if self.store.len() < self.capacity
                && let Some((put, key, number)) = self.puts.pop_front()
            {
                self.add(key, number);
                self.ended.insert(put, Outcome::Put(true));
            }
        } else if let Some((put, _, number)) = self.puts.pop_front() {
            self.ended.insert(put, Outcome::Put(true));
            self.ended.insert(id, Outcome::Got(Some(number)));
        } else if self.closed {
            self.ended.insert(id, Outcome::Got(None));
        } else {
            self.gets.push_back(id);
        }
    }

    /// It waits no longer. An item that it was given and did not take goes to the next, or back to
    /// where it is the first among its equals.
    fn leave(&mut self, id: usize, keys: &[usize]) {
        self.gets.retain(|get| *get != id);
        self.puts.retain(|put| put.0 != id);
        if let Some(Outcome::Got(Some(number))) = self.ended.remove(&id) {
            if let Some(get) = self.gets.pop_front() {
                self.ended.insert(get, Outcome::Got(Some(number)));
            } else if self.law == Law::Last {
                self.add(keys[number], number);
            } else {
                self.first_place -= 1;
                self.store.push((keys[number], self.first_place, number));
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        for (put, ..) in self.puts.drain(..) {
            self.ended.insert(put, Outcome::Put(false));
        }
        for get in self.gets.drain(..) {
            self.ended.insert(get, Outcome::Got(None));
        }
    }
}

/// One that is under way.
enum Doer {
    Coroutine(JoinHandle<Outcome>),
    Future(Pin<Box<dyn Future<Output = Outcome>>>),
}

struct History<P, G> {
    /// `None`: dropped, which is how some are closed.
    puts: Option<P>,
    gets: G,
    ledger: Arc<Ledger>,
    model: Model,
    /// By number of the item.
    keys: Vec<usize>,
    ids: usize,
    /// With their ids, and whether they put.
    doers: Vec<(usize, bool, Doer)>,
}

fn got(item: Option<Item>) -> Outcome {
    Outcome::Got(item.map(|item| item.got().1))
}

/// Polls once, with a waker that does nothing.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

impl<P: Puts, G: Gets> History<P, G> {
    fn item(&mut self, key: usize) -> Item {
        let item = self.ledger.keyed(key);
        assert_eq!(item.number(), self.keys.len());
        self.keys.push(key);
        item
    }

    fn id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    fn another(&self) -> G {
        self.gets.another().expect("there may be several")
    }

    /// Compares an outcome with the model's.
    fn ends(&mut self, id: usize, outcome: Outcome) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.model.ended.remove(&id), Some(outcome));
        self.ledger.note(outcome == Outcome::Put(true));
        Ok(())
    }

    fn step(&mut self, step: &Step, closes_by_drop: bool) -> Result<(), TestCaseError> {
        match *step {
            Step::TryPut(key) | Step::Put(key) | Step::PutFuture(key) => {
                let Some(puts) = self.puts.clone() else {
                    return Ok(());
                };
                let (id, item) = (self.id(), self.item(key));
                self.model.put(id, key, item.number());
                match step {
                    Step::TryPut(_) => {
                        let done = puts.put_within(item, Duration::ZERO);
                        if self.model.ended.contains_key(&id) {
                            self.ends(id, Outcome::Put(done))?;
                        } else {
                            self.model.leave(id, &self.keys);
                            prop_assert!(!done);
                        }
                    }
                    Step::Put(_) => {
                        let put = coroutine::spawn_local(move || Outcome::Put(puts.put(item)));
                        self.doers.push((id, true, Doer::Coroutine(put)));
                    }
                    _ => {
                        self.begin(
                            id,
                            true,
                            async move { Outcome::Put(puts.put_async(item).await) },
                        )?
                    }
                }
            }
            Step::TryGet => {
                let id = self.id();
                self.model.get(id);
                match self.gets.get_within(Duration::ZERO) {
                    Some(item) => self.ends(id, got(item))?,
                    None => {
                        prop_assert!(!self.model.ended.contains_key(&id));
                        self.model.leave(id, &self.keys);
                    }
                }
            }
            Step::Get => {
                let (id, gets) = (self.id(), self.another());
                self.model.get(id);
                let get = coroutine::spawn_local(move || got(gets.get()));
                self.doers.push((id, false, Doer::Coroutine(get)));
            }
            Step::GetFuture => {
                let (id, gets) = (self.id(), self.another());
                self.model.get(id);
                self.begin(id, false, async move { got(gets.get_async().await) })?;
            }
            Step::End(which) if !self.doers.is_empty() => {
                let which = which % self.doers.len();
                self.end(which)?;
            }
            Step::Poll(which) if !self.doers.is_empty() => {
                let which = which % self.doers.len();
                if let (id, _, Doer::Future(future)) = &mut self.doers[which] {
                    let id = *id;
                    match poll_once(future.as_mut()) {
                        Poll::Ready(outcome) => {
                            self.ends(id, outcome)?;
                            self.doers.remove(which);
                        }
                        Poll::Pending => prop_assert!(!self.model.ended.contains_key(&id)),
                    }
                }
            }
            Step::End(_) | Step::Poll(_) => {}
            Step::Close => {
                if !closes_by_drop {
                    let puts = self.puts.clone();
                    puts.expect("is kept").close();
                    self.model.close();
                } else if self.doers.iter().all(|doer| !doer.1)
                    && let Some(puts) = self.puts.take()
                {
                    puts.close();
                    self.model.close();
                }
            }
        }
        self.settle()
    }

    /// A future begins with its first poll.
    fn begin(
        &mut self,
        id: usize,
        puts: bool,
        future: impl Future<Output = Outcome> + 'static,
    ) -> Result<(), TestCaseError> {
        let mut future: Pin<Box<dyn Future<Output = Outcome>>> = Box::pin(future);
        match poll_once(future.as_mut()) {
            Poll::Ready(outcome) => self.ends(id, outcome)?,
            Poll::Pending => self.doers.push((id, puts, Doer::Future(future))),
        }
        Ok(())
    }

    /// Cancels or drops it.
    fn end(&mut self, which: usize) -> Result<(), TestCaseError> {
        let (id, _, doer) = self.doers.remove(which);
        match doer {
            Doer::Coroutine(handle) => {
                handle.cancel();
                prop_assert!(was_cancelled(&handle.join())); // it waited, or it would be gone
            }
            Doer::Future(future) => {
                drop(future);
                let done = self.model.ended.get(&id) == Some(&Outcome::Put(true));
                self.ledger.note(done);
            }
        }
        self.model.leave(id, &self.keys);
        Ok(())
    }

    /// Lets all run until they wait or have ended; those have ended that should.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let coroutines = self.doers.iter().filter_map(|doer| match &doer.2 {
            Doer::Coroutine(handle) => Some(handle),
            Doer::Future(_) => None,
        });
        let coroutines: Vec<_> = coroutines.collect();
        until(|| {
            let blocked: Vec<_> = coroutine::enumerate()
                .into_iter()
                .filter(|info| info.state == State::Blocked)
                .map(|info| info.id)
                .collect();
            let settled = |handle: &&JoinHandle<_>| {
                handle.is_finished() || blocked.contains(&handle.id().as_u64())
            };
            coroutines.iter().all(settled)
        });
        for (id, puts, doer) in std::mem::take(&mut self.doers) {
            match doer {
                Doer::Coroutine(handle) if handle.is_finished() => {
                    let outcome = handle.join().expect("nobody panics or is cancelled");
                    self.ends(id, outcome)?;
                }
                waits => {
                    let ended = self.model.ended.contains_key(&id);
                    prop_assert!(!ended || matches!(waits, Doer::Future(_)), "{} waits", id);
                    self.doers.push((id, puts, waits));
                }
            }
        }
        Ok(())
    }
}

fn check<P: Puts, G: Gets>(
    law: Law,
    capacity: Option<usize>,
    (puts, gets): (P, G),
    steps: &[Step],
    closes_by_drop: bool,
) -> Result<(), TestCaseError> {
    let mut history = History {
        puts: Some(puts),
        gets,
        ledger: Ledger::new(steps.len()),
        model: Model {
            law,
            capacity: capacity.unwrap_or(usize::MAX),
            closed: false,
            store: Vec::new(),
            last_place: 0,
            first_place: 0,
            gets: VecDeque::new(),
            puts: VecDeque::new(),
            ended: HashMap::new(),
        },
        keys: Vec::new(),
        ids: 0,
        doers: Vec::new(),
    };
    for step in steps {
        history.step(step, closes_by_drop)?;
    }
    while !history.doers.is_empty() {
        history.end(0)?;
        history.settle()?;
    }
    while !history.model.store.is_empty() {
        history.step(&Step::TryGet, closes_by_drop)?;
    }
    history.step(&Step::TryGet, closes_by_drop)?;
    history.ledger.settle();
    Ok(())
}

fn capacity() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![Just(None), (0..4usize).prop_map(Some)]
}

/// Random histories on the only worker of a runtime.
fn histories<P: Puts, G: Gets>(
    law: Law,
    capacities: impl Strategy<Value = Option<usize>>,
    closes_by_drop: bool,
    make: impl Fn(Option<usize>) -> (P, G) + Send,
) {
    let config = ProptestConfig {
        failure_persistence: None,
        cases: 128,
        ..ProptestConfig::default()
    };
    let steps = prop::collection::vec(step(), 0..80);
    let input = (capacities, steps);
    let backend = common::backends()[0]; // queues do not touch it
    let runtime = common::runtime(backend, 1);
    labelled("histories", || {
        let ended = TestRunner::new(config).run(&input, |(capacity, steps)| {
            runtime.run(|| check(law, capacity, make(capacity), &steps, closes_by_drop))
        });
        ended.unwrap_or_else(|failure| panic!("{failure}"));
    });
}

fn of_queues<O: Order<Item = Item> + Send + 'static>(law: Law) {
    histories(law, capacity(), false, |capacity| {
        let queue = Arc::new(QueueOf::<O>::new(capacity));
        (queue.clone(), queue)
    });
}

#[test]
fn queue() {
    of_queues::<Fifo<_>>(Law::First);
}

#[test]
fn lifo_queue() {
    of_queues::<Lifo<_>>(Law::Last);
}

#[test]
fn priority_queue() {
    of_queues::<Priority<_>>(Law::Smallest);
}

#[test]
fn simple_queue() {
    histories(Law::First, Just(None), false, |_| {
        let queue = Arc::new(SimpleQueue::new());
        (queue.clone(), queue)
    });
}

#[test]
fn channel() {
    histories(Law::First, capacity(), true, |capacity| match capacity {
        None => queue::unbounded(),
        Some(capacity) => queue::bounded(capacity),
    });
}
