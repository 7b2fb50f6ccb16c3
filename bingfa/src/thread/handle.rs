//! Handles: who one is, and the right to another's result.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU64;
use std::os::unix::thread::{JoinHandleExt, RawPthread};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::Result;
use std::time::{Duration, Instant};

use super::launch::Handle;
use crate::park::local;
use crate::park::select::{Selectable, Ticket};
use crate::park::wait::Unparker;
use crate::registry::Entry;

/// Identifies a thread or a coroutine for as long as the process lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(NonZeroU64);

impl ThreadId {
    /// The number that snapshots and messages show.
    #[doc(alias = "get_ident")]
    #[doc(alias = "ident")]
    pub fn as_u64(&self) -> NonZeroU64 {
        self.0
    }
}

/// A carrier (a thread, or a coroutine that asked for [`current`]), as others may know it: to
/// identify and unpark it.
#[doc(alias = "current_thread")]
#[derive(Clone)]
pub struct Thread(Unparker);

// Atomics and constants, as std's: a panic leaves nothing half done in them.
impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

impl Thread {
    /// Of a thread or coroutine; never of an async task.
    pub(super) fn of(unparker: Unparker) -> Self {
        Self(unparker)
    }

    fn entry(&self) -> &Entry {
        match &self.0 {
            Unparker::Thread(record) => &record.entry,
            Unparker::Coroutine(task) => task.entry(),
            Unparker::Async(_) => unreachable!("made only from threads and coroutines"),
        }
    }

    /// Its id.
    #[doc(alias = "get_ident")]
    #[doc(alias = "ident")]
    pub fn id(&self) -> ThreadId {
        ThreadId(self.entry().id)
    }

    /// The name given to its builder; `"main"` for the main thread.
    #[doc(alias = "getName")]
    pub fn name(&self) -> Option<&str> {
        self.entry().name.as_deref()
    }

    /// Makes its current or next [`park`](super::park) return, whichever carrier it is.
    ///
    /// # Examples
    /// ```
    /// use bingfa::{coroutine, thread};
    ///
    /// let main = thread::current();
    /// coroutine::spawn(move || main.unpark());
    /// thread::park();
    /// ```
    pub fn unpark(&self) {
        self.0.unpark_user();
    }

    pub(super) fn is_current(&self) -> bool {
        match (&self.0, local::frame()) {
            (Unparker::Thread(record), None) => {
                record.entry.id == crate::park::thread::current().entry.id
            }
            (Unparker::Coroutine(task), Some(frame)) => task.entry().id == frame.task().entry().id,
            _ => false,
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The calling carrier: in a coroutine that coroutine, elsewhere the thread.
///
/// # Examples
/// ```
/// use bingfa::thread;
///
/// let child = thread::Builder::new().name("child".into()).spawn(|| {
///     thread::current().name().map(String::from)
/// })?;
/// assert_eq!(child.join().unwrap().as_deref(), Some("child"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "current_thread")]
#[doc(alias = "currentThread")]
#[doc(alias = "get_ident")]
#[must_use]
#[track_caller]
pub fn current() -> Thread {
    Thread::of(Unparker::current())
}

/// The right to a thread's result. Dropping it leaves the thread running.
///
/// Also a [`Future`] of the same result, on any executor.
pub struct JoinHandle<T>(pub(super) Handle<T>);

// A result is taken whole or not at all: a panic leaves nothing half done.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("thread", self.thread())
            .finish_non_exhaustive()
    }
}

impl<T> JoinHandle<T> {
    /// The thread, to identify and unpark it.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.0.thread()
    }

    /// Waits until the thread has ended and gives back its result.
    ///
    /// Suspends only the caller: a coroutine gives its worker back meanwhile. On a plain
    /// thread it also waits until the other's thread-locals have been dropped, as with std.
    ///
    /// # Errors
    /// The payload of its panic.
    ///
    /// # Panics
    /// If the thread is the calling one.
    ///
    /// # Cancellation
    /// A cancelled waiter detaches the thread, which goes on.
    ///
    /// # Examples
    /// ```
    /// let handle = bingfa::thread::spawn(|| "done");
    /// assert_eq!(handle.join().unwrap(), "done");
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T> {
        self.0.join()
    }

    /// As [`join`](Self::join), but waits for at most `limit`, and not for thread-locals.
    ///
    /// # Errors
    /// The handle itself, if the thread has not ended by then.
    ///
    /// # Panics
    /// If the thread is the calling one.
    ///
    /// # Cancellation
    /// A cancelled waiter detaches the thread, which goes on.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::thread;
    ///
    /// let handle = thread::spawn(thread::park);
    /// let handle = handle.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// handle.thread().unpark();
    /// assert!(handle.join().is_ok());
    /// ```
    #[track_caller]
    pub fn join_timeout(self, limit: Duration) -> std::result::Result<Result<T>, Self> {
        self.0
            .join_until(Instant::now().checked_add(limit))
            .map_err(Self)
    }

    /// True once the thread's closure has ended, so that `join` hardly waits.
    #[doc(alias = "is_alive")]
    #[doc(alias = "isAlive")]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> JoinHandleExt for JoinHandle<T> {
    fn as_pthread_t(&self) -> RawPthread {
        self.0.native().as_pthread_t()
    }

    /// Whoever has it is to join or detach the thread; its result is dropped.
    fn into_pthread_t(self) -> RawPthread {
        self.0.into_native().into_pthread_t()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

/// As an arm of a select: the thread's closure has ended, so that `join` hardly waits.
impl<T> Selectable for JoinHandle<T> {
    fn attempt(&mut self) -> bool {
        self.is_finished()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.0.completion().watch(ticket.unparker.clone())
    }

    fn delist(&mut self) -> bool {
        self.0.completion().unwatch();
        false // the next attempt sees it
    }
}
