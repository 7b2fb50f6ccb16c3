//! The ends of a channel: counted, so that it closes when all of one kind are gone.
//!
//! # Memory ordering
//! As with a reference count: the decrements are `AcqRel`, so that the last one sees what
//! the others did; increments are relaxed, as there is an end already.

use std::sync::{
    Arc, Weak,
    atomic::{
        AtomicUsize,
        Ordering::{AcqRel, Relaxed},
    },
};

use super::{Exchange, Fifo};

struct Channel<T> {
    exchange: Exchange<Fifo<T>>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// A sending end. When the last one goes, the exchange closes.
pub(crate) struct SendEnd<T>(Arc<Channel<T>>);

/// A receiving end. When the last one goes, the exchange closes and drops what is in it.
pub(crate) struct ReceiveEnd<T>(Arc<Channel<T>>);

/// A sending end that does not count.
pub(crate) struct WeakEnd<T>(Weak<Channel<T>>);

/// A new channel.
pub(crate) fn channel<T>(capacity: Option<usize>) -> (SendEnd<T>, ReceiveEnd<T>) {
    let channel = Arc::new(Channel {
        exchange: Exchange::new(capacity),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (SendEnd(channel.clone()), ReceiveEnd(channel))
}

impl<T> SendEnd<T> {
    #[inline(always)]
    pub(crate) fn exchange(&self) -> &Exchange<Fifo<T>> {
        &self.0.exchange
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn downgrade(&self) -> WeakEnd<T> {
        WeakEnd(Arc::downgrade(&self.0))
    }
}

impl<T> ReceiveEnd<T> {
    #[inline(always)]
    pub(crate) fn exchange(&self) -> &Exchange<Fifo<T>> {
        &self.0.exchange
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> WeakEnd<T> {
    /// An end that counts, unless none is left.
    pub(crate) fn upgrade(&self) -> Option<SendEnd<T>> {
        let channel = self.0.upgrade()?;
        channel
            .senders
            .fetch_update(AcqRel, Relaxed, |count| (count > 0).then_some(count + 1))
            .ok()?;
        Some(SendEnd(channel))
    }
}

impl<T> Clone for SendEnd<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Relaxed);
        Self(self.0.clone())
    }
}

impl<T> Clone for ReceiveEnd<T> {
    fn clone(&self) -> Self {
        self.0.receivers.fetch_add(1, Relaxed);
        Self(self.0.clone())
    }
}

impl<T> Clone for WeakEnd<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Drop for SendEnd<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, AcqRel) == 1 {
            self.0.exchange.close(false);
        }
    }
}

impl<T> Drop for ReceiveEnd<T> {
    fn drop(&mut self) {
        if self.0.receivers.fetch_sub(1, AcqRel) == 1 {
            self.0.exchange.close(true);
        }
    }
}
