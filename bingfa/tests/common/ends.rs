//! The two ends of each queue and channel, as one pair of traits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bingfa::queue::{GetError, Order, QueueOf, Receiver, Sender, SimpleQueue};
use bingfa::sync::mpsc::{self, RecvTimeoutError};
use bingfa::time::timeout;

use super::ledger::Item;

/// Where items are put; a put that fails drops its item.
pub trait Puts: Clone + Send + 'static {
    /// What a snapshot says of one that waits.
    const WAIT: &'static str;
    fn put(&self, item: Item) -> bool;
    fn put_within(&self, item: Item, limit: Duration) -> bool;
    fn put_async(&self, item: Item) -> impl Future<Output = bool>;
    /// Ends the waits for items, when all are got.
    fn close(self);
}

/// Where items are got.
pub trait Gets: Sized + Send + 'static {
    const WAIT: &'static str;
    /// One more, if there may be several.
    fn another(&self) -> Option<Self>;
    /// `None` at the end.
    fn get(&self) -> Option<Item>;
    /// The outer `None` is for the limit.
    fn get_within(&self, limit: Duration) -> Option<Option<Item>>;
    fn get_async(&self) -> impl Future<Output = Option<Item>>;
    /// Ends the waits for room.
    fn abandon(self);
}

// -- queues ---------------------------------------------------------------------------

impl<O: Order<Item = Item> + Send + 'static> Puts for Arc<QueueOf<O>> {
    const WAIT: &'static str = "queue put";

    fn put(&self, item: Item) -> bool {
        QueueOf::put(self, item).is_ok()
    }

    fn put_within(&self, item: Item, limit: Duration) -> bool {
        self.put_timeout(item, limit).is_ok()
    }

    async fn put_async(&self, item: Item) -> bool {
        QueueOf::put_async(self, item).await.is_ok()
    }

    fn close(self) {
        QueueOf::close(&self);
    }
}

/// What a get with a limit has said; the limit is `None`.
fn within(got: Result<Item, GetError>) -> Option<Option<Item>> {
    match got {
        Ok(item) => Some(Some(item)),
        Err(GetError::Closed) => Some(None),
        Err(GetError::Empty) => None,
    }
}

impl<O: Order<Item = Item> + Send + 'static> Gets for Arc<QueueOf<O>> {
    const WAIT: &'static str = "queue get";

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn get(&self) -> Option<Item> {
        QueueOf::get(self).ok()
    }

    fn get_within(&self, limit: Duration) -> Option<Option<Item>> {
        within(self.get_timeout(limit))
    }

    async fn get_async(&self) -> Option<Item> {
        QueueOf::get_async(self).await.ok()
    }

    fn abandon(self) {
        QueueOf::close(&self);
    }
}

/// Never full, so its puts never wait.
impl Puts for Arc<SimpleQueue<Item>> {
    const WAIT: &'static str = "queue put";

    fn put(&self, item: Item) -> bool {
        SimpleQueue::put(self, item).is_ok()
    }

    fn put_within(&self, item: Item, _: Duration) -> bool {
        SimpleQueue::put(self, item).is_ok()
    }

    async fn put_async(&self, item: Item) -> bool {
        SimpleQueue::put(self, item).is_ok()
    }

    fn close(self) {
        SimpleQueue::close(&self);
    }
}

impl Gets for Arc<SimpleQueue<Item>> {
    const WAIT: &'static str = "queue get";

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn get(&self) -> Option<Item> {
        SimpleQueue::get(self).ok()
    }

    fn get_within(&self, limit: Duration) -> Option<Option<Item>> {
        within(self.get_timeout(limit))
    }

    async fn get_async(&self) -> Option<Item> {
        SimpleQueue::get_async(self).await.ok()
    }

    fn abandon(self) {
        SimpleQueue::close(&self);
    }
}

// -- channels -------------------------------------------------------------------------

/// What a receive with a limit has said; the limit is `None`.
fn received(received: Result<Item, RecvTimeoutError>) -> Option<Option<Item>> {
    match received {
        Ok(item) => Some(Some(item)),
        Err(RecvTimeoutError::Disconnected) => Some(None),
        Err(RecvTimeoutError::Timeout) => None,
    }
}

impl Puts for Sender<Item> {
    const WAIT: &'static str = "send";

    fn put(&self, item: Item) -> bool {
        self.send(item).is_ok()
    }

    fn put_within(&self, item: Item, limit: Duration) -> bool {
        self.send_timeout(item, limit).is_ok()
    }

    async fn put_async(&self, item: Item) -> bool {
        self.send_async(item).await.is_ok()
    }

    fn close(self) {}
}

impl Gets for Receiver<Item> {
    const WAIT: &'static str = "recv";

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn get(&self) -> Option<Item> {
        self.recv().ok()
    }

    fn get_within(&self, limit: Duration) -> Option<Option<Item>> {
        received(self.recv_timeout(limit))
    }

    async fn get_async(&self) -> Option<Item> {
        self.recv_async().await.ok()
    }

    fn abandon(self) {}
}

/// Never full, so it never waits.
impl Puts for mpsc::Sender<Item> {
    const WAIT: &'static str = "send";

    fn put(&self, item: Item) -> bool {
        self.send(item).is_ok()
    }

    fn put_within(&self, item: Item, _: Duration) -> bool {
        self.send(item).is_ok()
    }

    async fn put_async(&self, item: Item) -> bool {
        self.send(item).is_ok()
    }

    fn close(self) {}
}

impl Puts for mpsc::SyncSender<Item> {
    const WAIT: &'static str = "send";

    fn put(&self, item: Item) -> bool {
        self.send(item).is_ok()
    }

    /// As in std there is no form with a limit, but there is one for all calls.
    fn put_within(&self, item: Item, limit: Duration) -> bool {
        timeout(limit, || self.send(item)).is_ok_and(|sent| sent.is_ok())
    }

    async fn put_async(&self, item: Item) -> bool {
        self.send_async(item).await.is_ok()
    }

    fn close(self) {}
}

impl Gets for mpsc::Receiver<Item> {
    const WAIT: &'static str = "recv";

    fn another(&self) -> Option<Self> {
        None
    }

    fn get(&self) -> Option<Item> {
        self.recv().ok()
    }

    fn get_within(&self, limit: Duration) -> Option<Option<Item>> {
        received(self.recv_timeout(limit))
    }

    async fn get_async(&self) -> Option<Item> {
        self.recv_async().await.ok()
    }

    fn abandon(self) {}
}
