//! The channels on every carrier: the checks of all ways.

mod common;

use std::time::Duration;

use bingfa::queue::{self, Receiver, Sender};
use bingfa::sync::mpsc::{self, RecvTimeoutError};
use bingfa::time::timeout;
use common::ways::{Gets, Item, Law, Puts, conforms};

const SEND: &str = "send";
const RECV: &str = "recv";

/// What a receive with a limit has said; the limit is `None`.
fn within(received: Result<Item, RecvTimeoutError>) -> Option<Option<Item>> {
    match received {
        Ok(item) => Some(Some(item)),
        Err(RecvTimeoutError::Disconnected) => Some(None),
        Err(RecvTimeoutError::Timeout) => None,
    }
}

impl Puts for Sender<Item> {
    const WAIT: &'static str = SEND;

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
    const WAIT: &'static str = RECV;

    fn another(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn get(&self) -> Option<Item> {
        self.recv().ok()
    }

    fn get_within(&self, limit: Duration) -> Option<Option<Item>> {
        within(self.recv_timeout(limit))
    }

    async fn get_async(&self) -> Option<Item> {
        self.recv_async().await.ok()
    }

    fn abandon(self) {}
}

/// Never full, so it never waits.
impl Puts for mpsc::Sender<Item> {
    const WAIT: &'static str = SEND;

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
    const WAIT: &'static str = SEND;

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
    const WAIT: &'static str = RECV;

    fn another(&self) -> Option<Self> {
        None
    }

    fn get(&self) -> Option<Item> {
        self.recv().ok()
    }

    fn get_within(&self, limit: Duration) -> Option<Option<Item>> {
        within(self.recv_timeout(limit))
    }

    async fn get_async(&self) -> Option<Item> {
        self.recv_async().await.ok()
    }

    fn abandon(self) {}
}

#[test]
fn channels() {
    for capacity in [1, 60] {
        conforms(Law::First, Some(capacity), || queue::bounded(capacity));
    }
    conforms(Law::First, Some(0), queue::rendezvous);
    conforms(Law::First, None, queue::unbounded);
}

#[test]
fn mpsc() {
    conforms(Law::First, None, mpsc::channel);
    for capacity in [0, 1, 60] {
        conforms(Law::First, Some(capacity), || mpsc::sync_channel(capacity));
    }
}
