//! Why a queue between processes did not do what it was asked to.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::shm::last;

/// The process that was the last to let go of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last(last::Last);

impl Last {
    pub(super) fn new(last: last::Last) -> Last {
        Last(last)
    }

    /// Its number; it may be another process's by now.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid.unsigned_abs()
    }

    /// Whether the process has ended; else it has dropped its handles.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.0.lives
    }

    /// How it has ended; `None` if it has not, or if nobody who saw it was its parent.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.status.map(ExitStatus::from_raw)
    }
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid();
        match self.exit_status() {
            _ if !self.has_ended() => write!(f, "process {pid}, which has dropped it"),
            Some(status) => write!(f, "process {pid}, which has ended: {status}"),
            None => write!(f, "process {pid}, which has ended"),
        }
    }
}

/// Nothing goes in any more, or nothing is left and nothing can come: the queue was closed, or
/// no other process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "ShutDown")]
#[doc(alias = "QueueShutDown")]
pub struct Closed {
    pub(super) last: Option<Last>,
    pub(super) by_hand: bool,
}

impl Closed {
    /// The process that was the last to let go of the queue, if any has.
    #[must_use]
    pub fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            Some(last) if !self.by_hand => {
                write!(f, "no other process has the queue; the last was {last}")
            }
            _ => f.write_str("the queue is closed"),
        }
    }
}

impl Error for Closed {}

/// Why a queue gave the item back: what [`queue::PutError`](crate::queue::PutError) says of one in
/// a process, by the same names, and more.
pub enum PutError<T> {
    /// At capacity, for as long as the caller was ready to wait: a retry may succeed.
    #[doc(alias = "queue.Full")]
    Full(T),
    /// The queue was closed: no retry will succeed. Or it is full, and no other process has it: a
    /// retry succeeds if another gets it, or a carrier of this one makes room.
    Closed(T, Closed),
    /// It cannot be encoded, or there is no memory for it.
    Refused(T, io::Error),
}

impl<T> PutError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            PutError::Full(item) | PutError::Closed(item, _) | PutError::Refused(item, _) => item,
        }
    }

    /// Whether it was full.
    pub fn is_full(&self) -> bool {
        matches!(self, PutError::Full(_))
    }

    /// Whether nobody could make room, or the queue was closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, PutError::Closed(..))
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Full(_) => f.write_str("Full(..)"),
            PutError::Closed(_, why) => write!(f, "Closed(.., {why:?})"),
            PutError::Refused(_, why) => write!(f, "Refused(.., {why:?})"),
        }
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Full(_) => f.write_str("the queue is full"),
            PutError::Closed(_, why) => why.fmt(f),
            PutError::Refused(_, why) => write!(f, "the item cannot be put into the queue: {why}"),
        }
    }
}

impl<T> Error for PutError<T> {}

/// Why a queue gave nothing: what [`queue::GetError`](crate::queue::GetError) says of one in a
/// process, by the same names, and more.
#[derive(Debug)]
pub enum GetError {
    /// Nothing there, for as long as the caller was ready to wait: a retry may succeed.
    #[doc(alias = "queue.Empty")]
    Empty,
    /// The queue was closed, and nothing is left: no retry will succeed. Or it is empty, and no
    /// other process has it: a retry succeeds if another gets it, or a carrier of this one puts
    /// something in.
    Closed(Closed),
    /// An item was taken, and cannot be decoded: it is gone. It counts as taken, so
    /// [`task_done`](super::Queue::task_done) is due for it.
    Invalid(io::Error),
}

impl GetError {
    /// Whether it was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, GetError::Empty)
    }

    /// Whether nothing could come any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, GetError::Closed(_))
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetError::Empty => f.write_str("the queue is empty"),
            GetError::Closed(why) => write!(f, "the queue is empty, and {why}"),
            GetError::Invalid(why) => write!(f, "the item: {why}"),
        }
    }
}

impl Error for GetError {}

/// What [`join`](super::Queue::join) found: a process has ended, or has let go of the queue,
/// with items that it had taken and not reported done; or nobody is left to take what is in the
/// queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abandoned {
    /// The last process that had taken some; or the last that could have.
    pub pid: u32,
    /// How many items. Of those that were taken: by all such processes, since this was last told.
    pub items: u64,
    /// The last process, if they were left in the queue.
    last: Option<Last>,
}

impl Abandoned {
    pub(super) fn taken(pid: u32, items: u64) -> Abandoned {
        let last = None;
        Abandoned { pid, items, last }
    }

    pub(super) fn left(last: Last, items: u64) -> Abandoned {
        Abandoned {
            pid: last.pid(),
            items,
            last: Some(last),
        }
    }

    /// Whether they had been taken, and count as done now; else they are in the queue.
    #[must_use]
    pub fn were_taken(&self) -> bool {
        self.last.is_none()
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Abandoned { pid, items, last } = self;
        match last {
            None => write!(
                f,
                "{items} items were taken and never done: process {pid} has ended with them"
            ),
            Some(last) => write!(
                f,
                "{items} items are in the queue, and nobody is left to take them; the last was {last}"
            ),
        }
    }
}

impl Error for Abandoned {}

/// Why [`join_timeout`](super::Queue::join_timeout) did not come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjoined {
    /// So many items were not done in time.
    Unfinished(u64),
    /// See there.
    Abandoned(Abandoned),
}

impl fmt::Display for Unjoined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unjoined::Unfinished(items) => {
                write!(f, "{items} items of the queue were not reported done")
            }
            Unjoined::Abandoned(abandoned) => abandoned.fmt(f),
        }
    }
}

impl Error for Unjoined {}
