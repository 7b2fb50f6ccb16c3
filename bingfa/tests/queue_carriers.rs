//! The queues on every carrier: the checks of all ways, and reports of work done.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bingfa::queue::{Fifo, Lifo, Order, Priority, QueueOf, SimpleQueue, Unfinished};
use common::crew::on_every_carrier;
use common::ledger::Item;
use common::ways::{Law, conforms};
use common::{LONG, SHORT, block_on, labelled};

fn with_any_capacity<O: Order<Item = Item> + Send + 'static>(law: Law) {
    for capacity in [Some(0), Some(1), Some(60), None] {
        conforms(law, capacity, || {
            let queue = Arc::new(QueueOf::<O>::new(capacity));
            (queue.clone(), queue)
        });
    }
}

#[test]
fn queue() {
    with_any_capacity::<Fifo<_>>(Law::First);
}

#[test]
fn lifo_queue() {
    with_any_capacity::<Lifo<_>>(Law::Last);
}

#[test]
fn priority_queue() {
    with_any_capacity::<Priority<_>>(Law::Smallest);
}

#[test]
fn simple_queue() {
    conforms(Law::First, None, || {
        let queue = Arc::new(SimpleQueue::new());
        (queue.clone(), queue)
    });
}

/// A join is over when all is done and not before, however it waits.
fn joins<O: Order<Item = usize> + Send + 'static>() {
    const COUNT: usize = 60;
    on_every_carrier(|crew| {
        for capacity in [Some(0), Some(1), None] {
            labelled(&format!("{capacity:?}"), || {
                let queue = Arc::new(QueueOf::<O>::new(capacity));
                assert!(queue.task_done().is_err());
                let done = Arc::new(AtomicUsize::new(0));
                let workers = [0; 2].map(|_| {
                    let (queue, done) = (queue.clone(), done.clone());
                    crew.spawn(move || {
                        for _ in queue.iter() {
                            done.fetch_add(1, SeqCst);
                            queue.task_done().unwrap();
                        }
                    })
                });
                // One item that nobody reports for now: the joins really wait.
                let held = Arc::new(QueueOf::<O>::new(None));
                held.put(COUNT).unwrap();
                let waits = |wait, what: fn(&QueueOf<O>)| {
                    let held = held.clone();
                    let member = crew.spawn(move || what(&held));
                    member.until_in(wait);
                    member
                };
                let joiners = [
                    waits("queue join", QueueOf::join),
                    waits("queue join", |queue| queue.join_timeout(LONG).unwrap()),
                    waits("park", |queue| block_on(queue.join_async())),
                ];
                assert_eq!(held.join_timeout(SHORT), Err(Unfinished(1)));
                assert_eq!(held.get(), Ok(COUNT));
                assert!(joiners.iter().all(|joiner| !joiner.is_finished()));
                held.task_done().unwrap();
                joiners
                    .into_iter()
                    .for_each(|joiner| joiner.join().unwrap());
                assert!(held.task_done().is_err());

                for round in 1..=3 {
                    for n in 0..COUNT {
                        queue.put(n).unwrap();
                    }
                    match round {
                        1 => queue.join(),
                        2 => queue.join_timeout(LONG).unwrap(),
                        _ => block_on(queue.join_async()),
                    }
                    assert_eq!(done.load(SeqCst), round * COUNT);
                }
                queue.close();
                workers.into_iter().for_each(|w| w.join().unwrap());
            });
        }
    });
}

#[test]
fn joins_wait_for_the_last_report() {
    joins::<Fifo<_>>();
    joins::<Lifo<_>>();
    joins::<Priority<_>>();
}
