//! [`SimpleQueue`]: a queue that is only a queue.

use std::time::{Duration, Instant};

use super::Fifo;
use super::{Closed, Get, GetError, Iter, Queue, TryIter};

/// An unbounded queue, first in, first out, that counts no tasks: `put` never waits.
///
/// # Examples
/// ```
/// use bingfa::queue::SimpleQueue;
///
/// let queue = SimpleQueue::new();
/// queue.put(1)?;
/// queue.put(2)?;
/// queue.close();
/// assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2]);
/// # Ok::<(), bingfa::queue::Closed<i32>>(())
/// ```
#[derive(Debug)]
pub struct SimpleQueue<T>(Queue<T>);

impl<T> Default for SimpleQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> SimpleQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self(Queue::unbounded())
    }

    /// Puts `item` into the queue. Never waits.
    ///
    /// # Errors
    /// [`Closed`] with the item if the queue is closed.
    #[doc(alias = "put_nowait")]
    pub fn put(&self, item: T) -> Result<(), Closed<T>> {
        self.0
            .try_put(item)
            .map_err(|error| Closed(error.into_inner()))
    }

    /// Takes the item that came first; waits for one. See [`Queue::get`].
    ///
    /// # Errors
    /// [`Closed`] once the queue is closed and empty.
    ///
    /// # Cancellation
    /// A cancelled waiter takes nothing; an item that it was given at that same moment is returned.
    #[track_caller]
    pub fn get(&self) -> Result<T, Closed> {
        self.0.get()
    }

    /// As [`get`](Self::get), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`GetError::Empty`] if no item came in that time; [`GetError::Closed`] as for `get`.
    ///
    /// # Cancellation
    /// As for `get`.
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T, GetError> {
        self.0.get_timeout(limit)
    }

    /// As [`get`](Self::get), but waits at most until `deadline`.
    ///
    /// # Errors
    /// As for [`get_timeout`](Self::get_timeout).
    ///
    /// # Cancellation
    /// As for `get`.
    #[track_caller]
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetError> {
        self.0.get_deadline(deadline)
    }

    /// Takes the item that came first if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`] if there is none; [`GetError::Closed`] if the queue is closed, too.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.0.try_get()
    }

    /// As [`get`](Self::get), for `async` code; also an arm of a [`Select`](super::Select).
    ///
    /// # Errors
    /// As for `get`.
    pub fn get_async(&self) -> Get<'_, Fifo<T>> {
        self.0.get_async()
    }

    /// How many items are in the queue right now.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if nothing is in the queue right now.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets nothing in any more. What is in the queue can still be taken; then gets fail and
    /// iterations end.
    pub fn close(&self) {
        self.0.close();
    }

    /// True once the queue was closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Takes items until the queue is closed and empty, waiting for each.
    ///
    /// # Cancellation
    /// As for [`get`](Self::get).
    pub fn iter(&self) -> Iter<'_, Fifo<T>> {
        self.0.iter()
    }

    /// Takes the items that are there without waiting.
    pub fn try_iter(&self) -> TryIter<'_, Fifo<T>> {
        self.0.try_iter()
    }
}

impl<'a, T> IntoIterator for &'a SimpleQueue<T> {
    type Item = T;
    type IntoIter = Iter<'a, Fifo<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
