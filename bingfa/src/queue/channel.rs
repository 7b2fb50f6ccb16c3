//! Channels: a queue with two kinds of ends, which closes when all ends of one kind are gone.

#![allow(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::park::select::{Selectable, Ticket};
use crate::sync::exchange::ends::{self, ReceiveEnd, SendEnd, WeakEnd};
use crate::sync::exchange::{Fifo, Get, GetError, Put, PutError, SendTimeoutError};

/// The sending end of a channel. Clones send into the same channel; it may also be shared
/// by reference.
///
/// When the last one is dropped, receivers get what is left, and then that the channel is
/// disconnected.
pub struct Sender<T>(SendEnd<T>);

/// The receiving end of a channel. Clones compete for the messages; it may also be shared
/// by reference.
///
/// When the last one is dropped, what is left is dropped, too, and sends fail.
pub struct Receiver<T>(ReceiveEnd<T>);

/// A sender that does not keep its channel connected; see [`Sender::downgrade`].
pub struct WeakSender<T>(WeakEnd<T>);

// As std's: a panic leaves nothing half done in them.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

fn channel<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = ends::channel(capacity);
    (Sender(sender), Receiver(receiver))
}

/// A channel with room for `capacity` messages; with 0, each is handed from a sender to a
/// receiver.
///
/// # Examples
/// ```
/// use bingfa::{coroutine, queue};
///
/// let (sender, receiver) = queue::bounded(1);
/// coroutine::spawn(move || {
///     for n in 0..3 {
///         sender.send(n).unwrap();
///     }
/// });
/// assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
/// ```
#[doc(alias = "sync_channel")]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel(Some(capacity))
}

/// A channel with room for all: sending never waits.
#[doc(alias = "channel")]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(None)
}

/// A channel without room: each message is handed from a sender to a receiver, and both wait
/// for each other.
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    channel(Some(0))
}

/// `try_recv`'s and `recv_timeout`'s errors say the same.
fn timeout_error(error: GetError) -> RecvTimeoutError {
    match error {
        GetError::Empty => RecvTimeoutError::Timeout,
        GetError::Closed => RecvTimeoutError::Disconnected,
    }
}

impl<T> Sender<T> {
    /// Sends a message; waits for room.
    ///
    /// Suspends only the caller. Those who wait are served in the order in which they came.
    ///
    /// # Errors
    /// [`SendError`] with the message if all receivers are gone, before or during the wait.
    ///
    /// # Cancellation
    /// A cancelled waiter drops its message, which was never sent. If it was taken at that same
    /// moment it counts as sent, and a later wait raises the cancel.
    #[doc(alias = "put")]
    #[track_caller]
    #[inline(always)]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0
            .exchange()
            .put(message, None, &"send")
            .map_err(|error| SendError(error.into_inner()))
    }

    /// As [`send`](Self::send), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the message.
    ///
    /// # Cancellation
    /// As for `send`.
    #[track_caller]
    pub fn send_timeout(&self, message: T, limit: Duration) -> Result<(), SendTimeoutError<T>> {
        let deadline = Instant::now().checked_add(limit);
        Ok(self.0.exchange().put(message, deadline, &"send")?)
    }

    /// As [`send`](Self::send), but waits at most until `deadline`.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the message.
    ///
    /// # Cancellation
    /// As for `send`.
    #[track_caller]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        Ok(self.0.exchange().put(message, Some(deadline), &"send")?)
    }

    /// Sends a message if that needs no wait.
    ///
    /// # Errors
    /// [`TrySendError`] with the message if there is no room or all receivers are gone.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0
            .exchange()
            .try_put(message)
            .map_err(|error| match error {
                PutError::Full(message) => TrySendError::Full(message),
                PutError::Closed(message) => TrySendError::Disconnected(message),
            })
    }

    /// As [`send`](Self::send), for `async` code; also an arm of a [`Select`](super::Select).
    ///
    /// # Errors
    /// As for `send`.
    pub fn send_async(&self, message: T) -> Sending<'_, T> {
        Sending(Put::new(self.0.exchange(), message))
    }

    /// A sender that does not keep the channel connected.
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.downgrade())
    }
}

impl<T> WeakSender<T> {
    /// A sender again, unless the channel is disconnected by now: no sender is left.
    pub fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

impl<T> Receiver<T> {
    /// Receives a message; waits for one.
    ///
    /// Suspends only the caller. Those who wait are served in the order in which they came.
    ///
    /// # Errors
    /// [`RecvError`] once all senders are gone and no message is left.
    ///
    /// # Cancellation
    /// A cancelled waiter takes nothing. If it was given a message at that same moment it
    /// returns the message, and a later wait raises the cancel.
    #[doc(alias = "get")]
    #[track_caller]
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.exchange().get(None, &"recv").map_err(|_| RecvError)
    }

    /// As [`recv`](Self::recv), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    ///
    /// # Cancellation
    /// As for `recv`.
    #[track_caller]
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
        self.0
            .exchange()
            .get(Instant::now().checked_add(limit), &"recv")
            .map_err(timeout_error)
    }

    /// As [`recv`](Self::recv), but waits at most until `deadline`.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    ///
    /// # Cancellation
    /// As for `recv`.
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.0
            .exchange()
            .get(Some(deadline), &"recv")
            .map_err(timeout_error)
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`].
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.exchange().try_get().map_err(|error| match error {
            GetError::Empty => TryRecvError::Empty,
            GetError::Closed => TryRecvError::Disconnected,
        })
    }

    /// As [`recv`](Self::recv), for `async` code; also an arm of a [`Select`](super::Select).
    ///
    /// # Errors
    /// As for `recv`.
    pub fn recv_async(&self) -> Receiving<'_, T> {
        Receiving(Get::new(self.0.exchange()))
    }

    /// Receives messages until the channel is disconnected, waiting for each.
    pub fn iter(&self) -> ReceiverIter<'_, T> {
        ReceiverIter(self)
    }

    /// Receives the messages that are there, without waiting.
    pub fn try_iter(&self) -> ReceiverTryIter<'_, T> {
        ReceiverTryIter(self)
    }
}

/// What both ends can tell of their channel.
macro_rules! both_ends {
    ($($name:ident),*) => {$(
        impl<T> $name<T> {
            /// How many messages are in the channel right now.
            pub fn len(&self) -> usize {
                self.0.exchange().len()
            }

            /// True if no message is in the channel right now.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// True if there is no room right now; always of a rendezvous.
            pub fn is_full(&self) -> bool {
                self.capacity().is_some_and(|limit| self.len() >= limit)
            }

            /// How many messages there is room for; `None`: for all.
            pub fn capacity(&self) -> Option<usize> {
                self.0.exchange().capacity()
            }

            /// True once all ends of one kind are gone.
            pub fn is_disconnected(&self) -> bool {
                self.0.exchange().is_closed()
            }

            /// Whether both are ends of the same channel.
            pub fn same_channel(&self, other: &Self) -> bool {
                self.0.is_same(&other.0)
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("len", &self.len())
                    .field("capacity", &self.capacity())
                    .finish_non_exhaustive()
            }
        }
    )*};
}
both_ends!(Sender, Receiver);

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakSender(..)")
    }
}

/// A send under way: to be awaited, or to be an arm of a [`Select`](super::Select).
///
/// # Cancellation
/// Dropped before its message was taken it drops the message.
#[derive(Debug)]
#[must_use = "a send does nothing until it is awaited or selected"]
pub struct Sending<'a, T>(Put<'a, Fifo<T>>);

/// A receive under way: to be awaited, or to be an arm of a [`Select`](super::Select).
///
/// # Cancellation
/// Dropped before it is ready it takes nothing; a message that it was just given goes back to
/// the head of the channel (or to the next that waits).
#[derive(Debug)]
#[must_use = "a receive does nothing until it is awaited or selected"]
pub struct Receiving<'a, T>(Get<'a, Fifo<T>>);

impl<T> Sending<'_, T> {
    /// How the send went, once a select says that this arm has won.
    ///
    /// # Errors
    /// [`TrySendError`] with the message if all receivers are gone, or the arm has not won.
    pub fn take(self) -> Result<(), TrySendError<T>> {
        self.0.take().map_err(|error| match error {
            PutError::Full(message) => TrySendError::Full(message),
            PutError::Closed(message) => TrySendError::Disconnected(message),
        })
    }
}

impl<T> Receiving<'_, T> {
    /// The message, once a select says that this arm has won.
    ///
    /// # Errors
    /// [`TryRecvError`] if all senders are gone, or the arm has not won.
    pub fn take(self) -> Result<T, TryRecvError> {
        self.0.take().map_err(|error| match error {
            GetError::Empty => TryRecvError::Empty,
            GetError::Closed => TryRecvError::Disconnected,
        })
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the field is pinned as its owner is, and never moved out of it.
        let put = unsafe { self.map_unchecked_mut(|this| &mut this.0) };
        put.poll(context)
            .map(|put| put.map_err(|closed| SendError(closed.0)))
    }
}

impl<T> Future for Receiving<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the field is pinned as its owner is, and never moved out of it.
        let get = unsafe { self.map_unchecked_mut(|this| &mut this.0) };
        get.poll(context).map(|got| got.map_err(|_| RecvError))
    }
}

macro_rules! by_what_it_wraps {
    ($($name:ident),*) => {$(
        impl<T> Selectable for $name<'_, T> {
            fn attempt(&mut self) -> bool {
                self.0.attempt()
            }

            fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
                self.0.enlist(ticket)
            }

            fn delist(&mut self) -> bool {
                self.0.delist()
            }
        }
    )*};
}
by_what_it_wraps!(Sending, Receiving);

/// Receives until the channel is disconnected; see [`Receiver::iter`].
#[derive(Debug)]
pub struct ReceiverIter<'a, T>(&'a Receiver<T>);

/// Receives what is there; see [`Receiver::try_iter`].
#[derive(Debug)]
pub struct ReceiverTryIter<'a, T>(&'a Receiver<T>);

/// Receives until the channel is disconnected, and owns the receiver.
#[derive(Debug)]
pub struct ReceiverIntoIter<T>(Receiver<T>);

impl<T> Iterator for ReceiverIter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> Iterator for ReceiverTryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

impl<T> Iterator for ReceiverIntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = ReceiverIter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = ReceiverIntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        ReceiverIntoIter(self)
    }
}
