//! The twin of [`std::sync::mpsc`]: channels with many senders and one receiver.
//!
//! Names, signatures and error types are std's (the types are the very same). A wait suspends
//! only its caller; ends may belong to threads, coroutines and async tasks in any mix. For
//! several receivers, or to select among channels, see [`queue`](crate::queue).
//!
//! # Examples
//! ```
//! use bingfa::{coroutine, sync::mpsc};
//!
//! let (sender, receiver) = mpsc::channel();
//! for n in 0..3 {
//!     let sender = sender.clone();
//!     coroutine::spawn(move || sender.send(n));
//! }
//! drop(sender);
//! assert_eq!(receiver.iter().sum::<i32>(), 3);
//! ```

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::pin;
use std::time::{Duration, Instant};

#[doc(no_inline)]
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

pub use super::exchange::SendTimeoutError;
use super::exchange::ends::{self, ReceiveEnd, SendEnd};
use super::exchange::{Get, GetError, Put, PutError};

/// The sending end of a [`channel`]: sending never waits.
pub struct Sender<T>(SendEnd<T>);

/// The sending end of a [`sync_channel`]: sending waits for room.
pub struct SyncSender<T>(SendEnd<T>);

/// The receiving end.
pub struct Receiver<T> {
    end: ReceiveEnd<T>,
    /// One receiver at a time, as with std.
    _not_sync: PhantomData<Cell<()>>,
}

// As std's: a panic leaves nothing half done in them.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for SyncSender<T> {}
impl<T> RefUnwindSafe for SyncSender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

/// A channel with room for all messages.
///
/// # Examples
/// ```
/// let (sender, receiver) = bingfa::sync::mpsc::channel();
/// sender.send(1).unwrap();
/// assert_eq!(receiver.recv(), Ok(1));
/// ```
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = ends::channel(None);
    (Sender(sender), Receiver::new(receiver))
}

/// A channel with room for `bound` messages. With 0 each is handed over directly: a send
/// waits until its message is received.
///
/// # Examples
/// ```
/// let (sender, receiver) = bingfa::sync::mpsc::sync_channel(1);
/// sender.send(1).unwrap();
/// assert!(sender.try_send(2).is_err());
/// assert_eq!(receiver.recv(), Ok(1));
/// ```
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = ends::channel(Some(bound));
    (SyncSender(sender), Receiver::new(receiver))
}

impl<T> Sender<T> {
    /// Sends a message. Never waits.
    ///
    /// # Errors
    /// [`SendError`] with the message if the receiver is gone.
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0
            .exchange()
            .try_put(t)
            .map_err(|error| SendError(error.into_inner()))
    }
}

impl<T> SyncSender<T> {
    /// Sends a message; waits for room. Those who wait are served in the order in which they came.
    ///
    /// # Errors
    /// [`SendError`] with the message if the receiver is gone, before or during the wait.
    ///
    /// # Cancellation
    /// A cancelled waiter drops its message, which was never sent. If it was taken at that same
    /// moment it counts as sent, and a later wait raises the cancel.
    #[track_caller]
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0
            .exchange()
            .put(t, None, &"send")
            .map_err(|error| SendError(error.into_inner()))
    }

    /// As [`send`](Self::send), but waits for at most `timeout`. (Unstable in std.)
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the message.
    ///
    /// # Cancellation
    /// As for `send`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::sync::mpsc::{SendTimeoutError, sync_channel};
    ///
    /// let (sender, receiver) = sync_channel(1);
    /// sender.send_timeout(1, Duration::from_millis(1)).unwrap();
    /// let late = sender.send_timeout(2, Duration::from_millis(1));
    /// assert_eq!(late, Err(SendTimeoutError::Timeout(2)));
    /// drop(receiver);
    /// let gone = sender.send_timeout(2, Duration::from_millis(1));
    /// assert_eq!(gone, Err(SendTimeoutError::Disconnected(2)));
    /// ```
    #[track_caller]
    pub fn send_timeout(&self, t: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        let deadline = Instant::now().checked_add(timeout);
        Ok(self.0.exchange().put(t, deadline, &"send")?)
    }

    /// As [`send`](Self::send), but waits at most until `deadline`.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the message.
    ///
    /// # Cancellation
    /// As for `send`.
    #[track_caller]
    pub fn send_deadline(&self, t: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        Ok(self.0.exchange().put(t, Some(deadline), &"send")?)
    }

    /// As [`send`](Self::send), for `async` code.
    ///
    /// # Errors
    /// As for `send`.
    ///
    /// # Cancellation
    /// Dropped before the message was taken, the future drops the message.
    pub async fn send_async(&self, t: T) -> Result<(), SendError<T>> {
        let mut put = pin!(Put::new(self.0.exchange(), t));
        poll_fn(|context| put.as_mut().poll(context))
            .await
            .map_err(|closed| SendError(closed.0))
    }

    /// Sends a message if that needs no wait.
    ///
    /// # Errors
    /// [`TrySendError`] with the message if there is no room or the receiver is gone.
    pub fn try_send(&self, t: T) -> Result<(), TrySendError<T>> {
        self.0.exchange().try_put(t).map_err(|error| match error {
            PutError::Full(t) => TrySendError::Full(t),
            PutError::Closed(t) => TrySendError::Disconnected(t),
        })
    }
}

impl<T> Receiver<T> {
    fn new(end: ReceiveEnd<T>) -> Self {
        Self {
            end,
            _not_sync: PhantomData,
        }
    }

    /// Receives a message; waits for one.
    ///
    /// # Errors
    /// [`RecvError`] once all senders are gone and no message is left.
    ///
    /// # Cancellation
    /// A cancelled waiter takes nothing. If it was given a message at that same moment it
    /// returns the message, and a later wait raises the cancel.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.end
            .exchange()
            .get(None, &"recv")
            .map_err(|_| RecvError)
    }

    /// As [`recv`](Self::recv), but waits for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    ///
    /// # Cancellation
    /// As for `recv`.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// As [`recv`](Self::recv), but waits at most until `deadline`. (Unstable in std.)
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    ///
    /// # Cancellation
    /// As for `recv`.
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    #[track_caller]
    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        self.end
            .exchange()
            .get(deadline, &"recv")
            .map_err(|error| match error {
                GetError::Empty => RecvTimeoutError::Timeout,
                GetError::Closed => RecvTimeoutError::Disconnected,
            })
    }

    /// As [`recv`](Self::recv), for `async` code.
    ///
    /// # Errors
    /// As for `recv`.
    ///
    /// # Cancellation
    /// Dropped before it is ready, the future takes nothing; a message that it was just given
    /// goes back to the head of the channel.
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        let mut get = pin!(Get::new(self.end.exchange()));
        poll_fn(|context| get.as_mut().poll(context))
            .await
            .map_err(|_| RecvError)
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`].
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.end.exchange().try_get().map_err(|error| match error {
            GetError::Empty => TryRecvError::Empty,
            GetError::Closed => TryRecvError::Disconnected,
        })
    }

    /// Receives messages until all senders are gone, waiting for each.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { rx: self }
    }

    /// Receives the messages that are there, without waiting.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { rx: self }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// Receives until all senders are gone; see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

/// Receives what is there; see [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

/// Receives until all senders are gone, and owns the receiver.
#[derive(Debug)]
pub struct IntoIter<T> {
    rx: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.rx.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.rx.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { rx: self }
    }
}
