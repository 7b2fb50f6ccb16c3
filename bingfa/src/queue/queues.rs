//! [`Queue`], [`LifoQueue`] and [`PriorityQueue`]: one type over three orders.

use std::fmt;
use std::time::{Duration, Instant};

use super::{
    Closed, Fifo, Get, GetError, Join, Lifo, Order, Priority, Put, PutError, TooManyDone,
    Unfinished,
};
use crate::sync::exchange::Exchange;

/// A queue: first in, first out. Its methods are those of [`QueueOf`].
///
/// # Examples
/// ```
/// use bingfa::queue::Queue;
///
/// let queue = Queue::bounded(2);
/// queue.put("a")?;
/// queue.put("b")?;
/// assert!(queue.is_full());
/// assert_eq!(queue.try_put("c").unwrap_err().into_inner(), "c");
/// assert_eq!(queue.get(), Ok("a"));
/// # Ok::<(), bingfa::queue::Closed<&str>>(())
/// ```
#[doc(alias = "JoinableQueue")]
pub type Queue<T> = QueueOf<Fifo<T>>;

/// A queue: last in, first out. Its methods are those of [`QueueOf`].
///
/// # Examples
/// ```
/// use bingfa::queue::LifoQueue;
///
/// let queue = LifoQueue::unbounded();
/// queue.put(1)?;
/// queue.put(2)?;
/// assert_eq!(queue.get(), Ok(2));
/// # Ok::<(), bingfa::queue::Closed<i32>>(())
/// ```
#[doc(alias = "stack")]
pub type LifoQueue<T> = QueueOf<Lifo<T>>;

/// A queue: the smallest first, equal ones in the order in which they came. Its methods are
/// those of [`QueueOf`].
///
/// Items are compared while the queue is locked, so `Ord` must not use the queue, nor wait. If
/// it panics the queue stays as it was, and the item of a `put` is dropped.
///
/// # Examples
/// ```
/// use bingfa::queue::PriorityQueue;
///
/// let queue = PriorityQueue::unbounded();
/// for item in [(7, "late"), (1, "lqz"), (3, "soon")] {
///     queue.put(item)?;
/// }
/// assert_eq!(queue.get(), Ok((1, "lqz")));
/// # Ok::<(), bingfa::queue::Closed<(i32, &str)>>(())
/// ```
#[doc(alias = "heapq")]
pub type PriorityQueue<T> = QueueOf<Priority<T>>;

/// What [`Queue`], [`LifoQueue`] and [`PriorityQueue`] are and can do; `O` is the order.
///
/// Shared by reference; every method may be called by any carrier.
pub struct QueueOf<O: Order> {
    exchange: Exchange<O>,
}

impl<O: Order> fmt::Debug for QueueOf<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<O: Order> Default for QueueOf<O> {
    fn default() -> Self {
        Self::unbounded()
    }
}

impl<O: Order> QueueOf<O> {
    /// With room for `capacity` items, or for all with `None`.
    ///
    /// With `Some(0)` it is a rendezvous: a `put` waits until its item is taken. (In Python a
    /// `maxsize` of 0 is what `None` is here.)
    pub fn new(capacity: Option<usize>) -> Self {
        Self {
            exchange: Exchange::new(capacity),
        }
    }

    /// With room for `capacity` items; 0 makes a rendezvous.
    #[doc(alias = "maxsize")]
    pub fn bounded(capacity: usize) -> Self {
        Self::new(Some(capacity))
    }

    /// With room for all.
    pub fn unbounded() -> Self {
        Self::new(None)
    }

    /// Puts `item` into the queue; waits for room.
    ///
    /// Suspends only the caller: a coroutine gives its worker to others, a plain thread sleeps
    /// in the kernel. Those who wait are served in the order in which they came.
    ///
    /// # Errors
    /// [`Closed`] with the item if the queue is closed, before or during the wait.
    ///
    /// # Panics
    /// If a comparison of a [`PriorityQueue`]'s items panics.
    ///
    /// # Cancellation
    /// A cancelled waiter drops its item, which was in the queue at no time. If it was taken at
    /// that same moment the put has succeeded, and a later wait raises the cancel.
    ///
    /// # Examples
    /// ```
    /// # use bingfa::queue::Queue;
    /// let queue = Queue::unbounded();
    /// queue.put(5).unwrap();
    /// queue.close();
    /// assert_eq!(queue.put(6).unwrap_err().into_inner(), 6);
    /// ```
    #[track_caller]
    #[inline(always)]
    pub fn put(&self, item: O::Item) -> Result<(), Closed<O::Item>> {
        self.exchange
            .put(item, None, &"queue put")
            .map_err(|error| Closed(error.into_inner()))
    }

    /// As [`put`](Self::put), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`PutError::Full`] with the item if there was no room in that time; [`PutError::Closed`]
    /// as for `put`.
    ///
    /// # Cancellation
    /// As for `put`.
    #[track_caller]
    pub fn put_timeout(&self, item: O::Item, limit: Duration) -> Result<(), PutError<O::Item>> {
        let deadline = Instant::now().checked_add(limit);
        self.exchange.put(item, deadline, &"queue put")
    }

    /// As [`put`](Self::put), but waits at most until `deadline`.
    ///
    /// # Errors
    /// As for [`put_timeout`](Self::put_timeout).
    ///
    /// # Cancellation
    /// As for `put`.
    #[track_caller]
    pub fn put_deadline(&self, item: O::Item, deadline: Instant) -> Result<(), PutError<O::Item>> {
        self.exchange.put(item, Some(deadline), &"queue put")
    }

    /// Puts `item` into the queue if that needs no wait.
    ///
    /// # Errors
    /// [`PutError::Full`] with the item if there is no room (in a rendezvous: if nobody waits for
    /// an item); [`PutError::Closed`] with the item if the queue is closed.
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: O::Item) -> Result<(), PutError<O::Item>> {
        self.exchange.try_put(item)
    }

    /// As [`put`](Self::put), for `async` code; also an arm of a [`Select`](super::Select).
    ///
    /// # Errors
    /// As for `put`.
    ///
    /// # Cancellation
    /// See [`Put`].
    pub fn put_async(&self, item: O::Item) -> Put<'_, O> {
        Put::new(&self.exchange, item)
    }

    /// Takes the item that is next; waits for one.
    ///
    /// Suspends only the caller, as [`put`](Self::put). Those who wait are served in the order in
    /// which they came.
    ///
    /// # Errors
    /// [`Closed`] once the queue is closed and empty.
    ///
    /// # Panics
    /// If a comparison of a [`PriorityQueue`]'s items panics; nothing is taken then.
    ///
    /// # Cancellation
    /// A cancelled waiter takes nothing. If it was given an item at that same moment it returns
    /// the item, and a later wait raises the cancel.
    #[track_caller]
    #[inline(always)]
    pub fn get(&self) -> Result<O::Item, Closed> {
        self.exchange
            .get(None, &"queue get")
            .map_err(|_| Closed(()))
    }

    /// As [`get`](Self::get), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`GetError::Empty`] if no item came in that time; [`GetError::Closed`] as for `get`.
    ///
    /// # Cancellation
    /// As for `get`.
    ///
    /// # Examples
    /// ```
    /// # use bingfa::queue::{GetError, Queue};
    /// # use std::time::Duration;
    /// let queue = Queue::<u8>::unbounded();
    /// assert_eq!(queue.get_timeout(Duration::from_millis(1)), Err(GetError::Empty));
    /// ```
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<O::Item, GetError> {
        let deadline = Instant::now().checked_add(limit);
        self.exchange.get(deadline, &"queue get")
    }

    /// As [`get`](Self::get), but waits at most until `deadline`.
    ///
    /// # Errors
    /// As for [`get_timeout`](Self::get_timeout).
    ///
    /// # Cancellation
    /// As for `get`.
    #[track_caller]
    pub fn get_deadline(&self, deadline: Instant) -> Result<O::Item, GetError> {
        self.exchange.get(Some(deadline), &"queue get")
    }

    /// Takes the item that is next if that needs no wait.
    ///
    /// # Errors
    /// [`GetError::Empty`] if there is none (in a rendezvous: if nobody waits to put one);
    /// [`GetError::Closed`] if the queue is closed, too.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<O::Item, GetError> {
        self.exchange.try_get()
    }

    /// As [`get`](Self::get), for `async` code; also an arm of a [`Select`](super::Select).
    ///
    /// # Errors
    /// As for `get`.
    ///
    /// # Cancellation
    /// See [`Get`].
    pub fn get_async(&self) -> Get<'_, O> {
        Get::new(&self.exchange)
    }

    /// How many items are in the queue right now; those of waiting puts do not count.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.exchange.len()
    }

    /// True if nothing is in the queue right now.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if there is no room right now; always of a rendezvous, never of an unbounded queue.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.capacity().is_some_and(|limit| self.len() >= limit)
    }

    /// How many items there is room for; `None`: for all.
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Option<usize> {
        self.exchange.capacity()
    }

    /// Says that an item which was taken has been worked on. [`join`](Self::join) waits for
    /// one such call for each item that was put.
    ///
    /// # Errors
    /// [`TooManyDone`] if there were more calls than items.
    ///
    /// # Examples
    /// ```
    /// # use bingfa::queue::Queue;
    /// let queue = Queue::unbounded();
    /// queue.put("111").unwrap();
    /// queue.get().unwrap();
    /// queue.task_done()?;
    /// queue.join();
    /// assert!(queue.task_done().is_err());
    /// # Ok::<(), bingfa::queue::TooManyDone>(())
    /// ```
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        self.exchange.task_done()
    }

    /// How many items were put and not yet reported by [`task_done`](Self::task_done).
    #[doc(alias = "unfinished_tasks")]
    pub fn unfinished(&self) -> usize {
        self.exchange.unfinished()
    }

    /// Waits until every item that was put has been taken and reported by
    /// [`task_done`](Self::task_done). Others may put meanwhile.
    ///
    /// # Cancellation
    /// A cancelled waiter leaves; the counting goes on.
    #[track_caller]
    pub fn join(&self) {
        // Without a deadline there is no other end.
        let _ = self.exchange.join(None);
    }

    /// As [`join`](Self::join), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`Unfinished`] with the number of items that were not reported in that time.
    ///
    /// # Cancellation
    /// As for `join`.
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<(), Unfinished> {
        self.exchange.join(Instant::now().checked_add(limit))
    }

    /// As [`join`](Self::join), but waits at most until `deadline`.
    ///
    /// # Errors
    /// As for [`join_timeout`](Self::join_timeout).
    ///
    /// # Cancellation
    /// As for `join`.
    #[track_caller]
    pub fn join_deadline(&self, deadline: Instant) -> Result<(), Unfinished> {
        self.exchange.join(Some(deadline))
    }

    /// As [`join`](Self::join), for `async` code; also an arm of a [`Select`](super::Select).
    pub fn join_async(&self) -> Join<'_, O> {
        Join::new(&self.exchange)
    }

    /// Lets nothing in any more. What is in the queue can still be taken; then gets fail and
    /// iterations end. Puts that wait fail at once, with their items.
    pub fn close(&self) {
        self.shutdown(false);
    }

    /// As [`close`](Self::close); with `immediate` also drops what is in the queue and counts
    /// it as done, so that gets fail at once.
    #[doc(alias = "close")]
    pub fn shutdown(&self, immediate: bool) {
        self.exchange.close(immediate);
    }

    /// True once the queue was closed or shut down.
    #[doc(alias = "is_shutdown")]
    pub fn is_closed(&self) -> bool {
        self.exchange.is_closed()
    }

    /// Takes items until the queue is closed and empty, waiting for each.
    ///
    /// # Cancellation
    /// As for [`get`](Self::get).
    pub fn iter(&self) -> Iter<'_, O> {
        Iter(self)
    }

    /// Takes the items that are there without waiting.
    pub fn try_iter(&self) -> TryIter<'_, O> {
        TryIter(self)
    }
}

impl<O: Order> Extend<O::Item> for &QueueOf<O> {
    /// Puts all items, waiting for room; what comes after the queue was closed is dropped.
    fn extend<I: IntoIterator<Item = O::Item>>(&mut self, items: I) {
        for item in items {
            if self.put(item).is_err() {
                return;
            }
        }
    }
}

impl<O: Order> FromIterator<O::Item> for QueueOf<O> {
    /// An unbounded queue of these items.
    fn from_iter<I: IntoIterator<Item = O::Item>>(items: I) -> Self {
        let queue = Self::unbounded();
        (&queue).extend(items);
        queue
    }
}

/// Takes items until the queue is closed and empty; see [`QueueOf::iter`].
#[derive(Debug)]
pub struct Iter<'a, O: Order>(&'a QueueOf<O>);

/// Takes the items that are there; see [`QueueOf::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, O: Order>(&'a QueueOf<O>);

/// Takes what is left in a queue that nobody else has any more.
#[derive(Debug)]
pub struct IntoIter<O: Order>(QueueOf<O>);

impl<O: Order> Iterator for Iter<'_, O> {
    type Item = O::Item;

    #[track_caller]
    fn next(&mut self) -> Option<O::Item> {
        self.0.get().ok()
    }
}

impl<O: Order> Iterator for TryIter<'_, O> {
    type Item = O::Item;

    fn next(&mut self) -> Option<O::Item> {
        self.0.try_get().ok()
    }
}

impl<O: Order> Iterator for IntoIter<O> {
    type Item = O::Item;

    fn next(&mut self) -> Option<O::Item> {
        self.0.try_get().ok()
    }
}

impl<'a, O: Order> IntoIterator for &'a QueueOf<O> {
    type Item = O::Item;
    type IntoIter = Iter<'a, O>;

    fn into_iter(self) -> Iter<'a, O> {
        self.iter()
    }
}

impl<O: Order> IntoIterator for QueueOf<O> {
    type Item = O::Item;
    type IntoIter = IntoIter<O>;

    fn into_iter(self) -> IntoIter<O> {
        IntoIter(self)
    }
}
