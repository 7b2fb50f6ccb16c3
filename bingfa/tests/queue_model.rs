//! Histories of queue operations against a model that is plainly right.

use std::collections::VecDeque;
use std::time::Duration;

use bingfa::queue::{Fifo, GetError, Lifo, Order, Priority, PutError, QueueOf};
use proptest::prelude::*;

/// Compares by the key alone, so that the order of equals can be seen.
#[derive(Clone, Copy, Debug)]
struct Item(u8, usize);
impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Item {}
impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[derive(Clone, Debug)]
enum Step {
    TryPut(u8),
    PutTimeout(u8),
    TryGet,
    GetTimeout,
    TaskDone,
    Join,
    Close,
    Shutdown,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..4u8).prop_map(Step::TryPut),
        2 => (0..4u8).prop_map(Step::PutTimeout),
        10 => Just(Step::TryGet),
        2 => Just(Step::GetTimeout),
        6 => Just(Step::TaskDone),
        2 => Just(Step::Join),
        1 => Just(Step::Close),
        1 => Just(Step::Shutdown),
    ]
}

/// What a queue is, written down as simply as can be.
struct Model {
    items: VecDeque<Item>,
    capacity: Option<usize>,
    closed: bool,
    unfinished: usize,
    /// Where the next item is.
    next: fn(&VecDeque<Item>) -> usize,
}

impl Model {
    fn put(&mut self, item: Item) -> Result<(), PutError<Item>> {
        if self.closed {
            return Err(PutError::Closed(item));
        }
        if self.capacity.is_some_and(|limit| self.items.len() >= limit) {
            return Err(PutError::Full(item));
        }
        self.items.push_back(item);
        self.unfinished += 1;
        Ok(())
    }

    fn get(&mut self) -> Result<Item, GetError> {
        if self.items.is_empty() {
            return Err(if self.closed {
                GetError::Closed
            } else {
                GetError::Empty
            });
        }
        Ok(self.items.remove((self.next)(&self.items)).unwrap())
    }
}

/// `Item`'s equality is about keys alone.
fn whole<E>(result: Result<Item, E>) -> Result<(u8, usize), E> {
    result.map(|item| (item.0, item.1))
}

fn check<O: Order<Item = Item>>(
    capacity: Option<usize>,
    steps: &[Step],
    next: fn(&VecDeque<Item>) -> usize,
) -> Result<(), TestCaseError> {
    let queue = QueueOf::<O>::new(capacity);
    let mut model = Model {
        items: VecDeque::new(),
        capacity,
        closed: false,
        unfinished: 0,
        next,
    };
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::TryPut(key) => {
                let item = Item(key, number);
                prop_assert_eq!(queue.try_put(item), model.put(item));
            }
            Step::PutTimeout(key) => {
                let item = Item(key, number);
                prop_assert_eq!(queue.put_timeout(item, Duration::ZERO), model.put(item));
            }
            Step::TryGet => prop_assert_eq!(whole(queue.try_get()), whole(model.get())),
            Step::GetTimeout => {
                prop_assert_eq!(whole(queue.get_timeout(Duration::ZERO)), whole(model.get()));
            }
            Step::TaskDone => {
                prop_assert_eq!(queue.task_done().is_ok(), model.unfinished > 0);
                model.unfinished = model.unfinished.saturating_sub(1);
            }
            Step::Join => {
                let left = queue
                    .join_timeout(Duration::ZERO)
                    .map_or_else(|u| u.0, |()| 0);
                prop_assert_eq!(left, model.unfinished);
            }
            Step::Close => {
                queue.close();
                model.closed = true;
            }
            Step::Shutdown => {
                queue.shutdown(true);
                model.closed = true;
                // Reports of items that were never taken may have come before.
                model.unfinished = model.unfinished.saturating_sub(model.items.len());
                model.items.clear();
            }
        }
        prop_assert_eq!(queue.len(), model.items.len());
        prop_assert_eq!(queue.is_empty(), model.items.is_empty());
        prop_assert_eq!(queue.is_closed(), model.closed);
        prop_assert_eq!(queue.unfinished(), model.unfinished);
        let full = capacity.is_some_and(|limit| model.items.len() >= limit);
        prop_assert_eq!(queue.is_full(), full);
    }
    let left: Vec<_> = queue.try_iter().map(|item| (item.0, item.1)).collect();
    let expected: Vec<_> = std::iter::from_fn(|| whole(model.get()).ok()).collect();
    prop_assert_eq!(left, expected);
    Ok(())
}

fn capacity() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![Just(None), (0..6usize).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fifo(capacity in capacity(), steps in prop::collection::vec(step(), 0..200)) {
        check::<Fifo<_>>(capacity, &steps, |_| 0)?;
    }

    #[test]
    fn lifo(capacity in capacity(), steps in prop::collection::vec(step(), 0..200)) {
        check::<Lifo<_>>(capacity, &steps, |items| items.len() - 1)?;
    }

    #[test]
    fn priority(capacity in capacity(), steps in prop::collection::vec(step(), 0..200)) {
        check::<Priority<_>>(capacity, &steps, |items| {
            (0..items.len()).min_by_key(|&i| (items[i].0, items[i].1)).unwrap()
        })?;
    }
}
