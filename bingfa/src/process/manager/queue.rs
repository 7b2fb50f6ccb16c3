//! Proxies of queues.

use std::borrow::Borrow;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{late, patience, unexpected};
use super::protocol::{Bytes, Kind, Patience, QueueOp, Reply, Request};
use super::proxy::sealed;
use super::{Client, Proxy};
use crate::process::wire::Encoded;

/// A queue that a manager keeps: [`Client::queue`].
///
/// An item is in it, or with exactly one consumer: one whose `get` was cancelled, or that died
/// before its `get` returned, has not taken it.
#[doc(alias = "JoinableQueue")]
#[derive(Debug)]
pub struct Queue<T>(PhantomData<fn() -> T>);

impl<T> sealed::Sealed for Queue<T> {
    const KIND: Kind = Kind::Queue;
}

impl Client {
    /// Makes a queue for at most `capacity` items; `None`: for any number.
    ///
    /// # Errors
    /// `InvalidInput` if the capacity is 0; if the manager has ended.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, manager::{Manager, Proxy, Queue}};
    ///
    /// let manager = Manager::new()?;
    /// let (jobs, results) = (manager.queue::<u32>(None)?, manager.queue(None)?);
    /// process::spawn((jobs.clone(), results.clone()), |(jobs, results): (Proxy<Queue<u32>>, _)| {
    ///     let n = jobs.get().unwrap();
    ///     Proxy::<Queue<u32>>::put(&results, n * n).unwrap();
    ///     jobs.task_done().unwrap();
    /// });
    /// jobs.put(7)?;
    /// assert_eq!(results.get()?, 49);
    /// jobs.join()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.Queue")]
    #[doc(alias = "SyncManager.JoinableQueue")]
    pub fn queue<T>(&self, capacity: Option<usize>) -> io::Result<Proxy<Queue<T>>> {
        let request = Request::CreateQueue(capacity.map(|capacity| capacity as u64));
        let id = self.ask(&request, Vec::new(), None)?.number()?;
        Ok(Proxy::new(self.clone(), id))
    }
}

/// Not at all.
const NOW: Patience = Some(0);

impl<T: Serialize + DeserializeOwned> Proxy<Queue<T>> {
    /// Puts an item in, waiting for room.
    ///
    /// # Errors
    /// `InvalidInput` if it cannot be encoded; if the queue or its manager is gone.
    ///
    /// # Cancellation
    /// A cancelled put may have put the item in.
    pub fn put(&self, item: impl Borrow<T>) -> io::Result<()> {
        self.put_within(item.borrow(), None)
    }

    /// As [`put`](Self::put), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if it is full until then; as for `put`.
    ///
    /// # Cancellation
    /// A cancelled put may have put the item in.
    #[doc(alias = "queue.Full")]
    pub fn put_timeout(&self, item: impl Borrow<T>, limit: Duration) -> io::Result<()> {
        self.put_within(item.borrow(), patience(limit))
    }

    /// As [`put`](Self::put), but does not wait for room.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it is full; as for `put`.
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: impl Borrow<T>) -> io::Result<()> {
        self.put_within(item.borrow(), NOW)
    }

    /// Waits for an item and takes it out.
    ///
    /// # Errors
    /// `InvalidData` if it is no `T` (it is used up); if the queue or its manager is gone.
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    pub fn get(&self) -> io::Result<T> {
        self.get_within(None)
    }

    /// As [`get`](Self::get), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if it is empty until then; as for `get`.
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    #[doc(alias = "queue.Empty")]
    pub fn get_timeout(&self, limit: Duration) -> io::Result<T> {
        self.get_within(patience(limit))
    }

    /// As [`get`](Self::get), but does not wait for an item.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it is empty; as for `get`.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> io::Result<T> {
        self.get_within(NOW)
    }

    fn put_within(&self, item: &T, limit: Patience) -> io::Result<()> {
        let Encoded { bytes, fds, .. } = self.client.encode(item)?;
        let request = Request::Queue(self.id, QueueOp::Put(Bytes(&bytes), limit));
        if self.client.ask(&request, fds, limit)?.done()? {
            return Ok(());
        }
        Err(late(limit, "the queue is full"))
    }

    fn get_within(&self, limit: Patience) -> io::Result<T> {
        self.client.stay(limit)?; // who takes an item is to report it done
        let request = Request::Queue(self.id, QueueOp::Get(limit));
        let mut answer = self.client.ask(&request, Vec::new(), limit)?;
        if matches!(answer.reply()?, Reply::TooLate) {
            return Err(late(limit, "the queue is empty"));
        }
        answer.acknowledge()?;
        let item = answer.value()?;
        item.ok_or_else(|| unexpected(&Reply::Absent))
    }

    /// Reports that an item which was taken out has been dealt with.
    ///
    /// # Errors
    /// `InvalidInput` if that was said of all items already; if the queue or its manager is
    /// gone.
    pub fn task_done(&self) -> io::Result<()> {
        let request = Request::Queue(self.id, QueueOp::TaskDone);
        self.client
            .ask(&request, Vec::new(), None)?
            .done()
            .map(drop)
    }

    /// Waits until all items that were put in have been reported done.
    ///
    /// # Errors
    /// If a process has ended, or dropped all its proxies, before it reported done what it had
    /// taken: it names the process and the number of items. If the queue or its manager is
    /// gone.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub fn join(&self) -> io::Result<()> {
        self.join_within(None)
    }

    /// As [`join`](Self::join), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if items are unfinished by then; as for `join`.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub fn join_timeout(&self, limit: Duration) -> io::Result<()> {
        self.join_within(patience(limit))
    }

    fn join_within(&self, limit: Patience) -> io::Result<()> {
        let request = Request::Queue(self.id, QueueOp::Join(limit));
        if self.client.ask(&request, Vec::new(), limit)?.done()? {
            return Ok(());
        }
        Err(late(limit, "the queue is not finished"))
    }

    /// The number of items in it, at this moment.
    ///
    /// # Errors
    /// If the queue or its manager is gone.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> io::Result<usize> {
        self.count(QueueOp::Len)
    }

    /// Whether it is empty, at this moment.
    ///
    /// # Errors
    /// If the queue or its manager is gone.
    pub fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// The number of items that were put in and not yet reported done.
    ///
    /// # Errors
    /// If the queue or its manager is gone.
    pub fn unfinished(&self) -> io::Result<usize> {
        self.count(QueueOp::Unfinished)
    }

    fn count(&self, op: QueueOp<'_>) -> io::Result<usize> {
        let answer = self
            .client
            .ask(&Request::Queue(self.id, op), Vec::new(), None)?;
        Ok(answer.number()? as usize)
    }
}
