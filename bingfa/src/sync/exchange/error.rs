//! Why a queue did not do what it was asked to: small, and with the item given back.

use std::error::Error;
use std::fmt;

/// The queue is closed: nothing goes in any more, or nothing is left in it. Gives back the
/// item of a `put`.
#[doc(alias = "ShutDown")]
#[doc(alias = "QueueShutDown")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Closed<T = ()>(pub T);

/// Why [`try_put`](crate::queue::QueueOf::try_put) or
/// [`put_timeout`](crate::queue::QueueOf::put_timeout) gave the item back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutError<T> {
    /// At capacity, for as long as the caller was ready to wait: a retry may succeed.
    #[doc(alias = "queue.Full")]
    Full(T),
    /// Closed: no retry will succeed.
    Closed(T),
}

/// Why [`try_get`](crate::queue::QueueOf::try_get) or
/// [`get_timeout`](crate::queue::QueueOf::get_timeout) gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetError {
    /// Nothing there, for as long as the caller was ready to wait: a retry may succeed.
    #[doc(alias = "queue.Empty")]
    Empty,
    /// Closed, and nothing is left: no retry will succeed.
    Closed,
}

/// [`task_done`](crate::queue::QueueOf::task_done) was called more often than items were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyDone(pub(crate) ());

/// What [`join_timeout`](crate::queue::QueueOf::join_timeout) gave up on: so many items
/// were not yet reported done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished(pub usize);

impl<T> Closed<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> PutError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            PutError::Full(item) | PutError::Closed(item) => item,
        }
    }

    /// True if a retry may succeed.
    pub fn is_full(&self) -> bool {
        matches!(self, PutError::Full(_))
    }

    /// Whether the queue was closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, PutError::Closed(_))
    }
}

impl GetError {
    /// True if a retry may succeed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, GetError::Empty)
    }

    /// Whether the queue was closed, and nothing was left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, GetError::Closed)
    }
}

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed(..)")
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::Full(_) => "Full(..)",
            PutError::Closed(_) => "Closed(..)",
        })
    }
}

const CLOSED: &str = "the queue is closed";

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLOSED)
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::Full(_) => "the queue is full",
            PutError::Closed(_) => CLOSED,
        })
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GetError::Empty => "the queue is empty",
            GetError::Closed => "the queue is closed and empty",
        })
    }
}

impl fmt::Display for TooManyDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done was called more often than items were put into the queue")
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items of the queue were not reported done", self.0)
    }
}

impl<T> Error for Closed<T> {}
impl<T> Error for PutError<T> {}
impl Error for GetError {}
impl Error for TooManyDone {}
impl Error for Unfinished {}

impl<T> From<Closed<T>> for PutError<T> {
    fn from(closed: Closed<T>) -> Self {
        PutError::Closed(closed.0)
    }
}

impl From<Closed> for GetError {
    fn from(_: Closed) -> Self {
        GetError::Closed
    }
}

/// Why a send to a channel with a time limit gave the message back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// No room for so long (in a rendezvous: nobody to take it).
    Timeout(T),
    /// No receiver is left.
    Disconnected(T),
}

impl<T> SendTimeoutError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(message) | SendTimeoutError::Disconnected(message) => message,
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "timed out waiting for room in a channel",
            SendTimeoutError::Disconnected(_) => "sending on a closed channel",
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}

impl<T> From<PutError<T>> for SendTimeoutError<T> {
    fn from(error: PutError<T>) -> Self {
        match error {
            PutError::Full(message) => SendTimeoutError::Timeout(message),
            PutError::Closed(message) => SendTimeoutError::Disconnected(message),
        }
    }
}
