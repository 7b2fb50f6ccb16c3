//! Handles: who one is, and the right to another's result.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU64;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::Result;
use std::time::{Duration, Instant};

use crate::park::local;
use crate::park::packet::wait_done;
use crate::park::select::{Selectable, Ticket};
use crate::park::task::TaskRef;
use crate::park::wait::Unparker;
use crate::registry::State;
use crate::sched::spawn::Handle;

/// Identifies a coroutine for as long as the process lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoroutineId(NonZeroU64);

impl CoroutineId {
    /// The number that snapshots and messages show.
    pub fn as_u64(self) -> NonZeroU64 {
        self.0
    }
}

impl fmt::Display for CoroutineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A coroutine, as others may know it: to identify and unpark it.
#[derive(Clone, Debug)]
pub struct Coroutine(TaskRef);

impl Coroutine {
    /// Its id.
    pub fn id(&self) -> CoroutineId {
        CoroutineId(self.0.entry().id)
    }

    /// The name given to its builder.
    pub fn name(&self) -> Option<&str> {
        self.0.entry().name.as_deref()
    }

    /// Makes its current or next [`park`](super::park) return.
    pub fn unpark(&self) {
        Unparker::Coroutine(self.0.clone()).unpark_user();
    }
}

/// The calling coroutine.
///
/// # Panics
/// On a plain thread; see [`try_current`].
///
/// # Examples
/// ```
/// bingfa::run(|| assert_eq!(bingfa::coroutine::current().name(), Some("main")));
/// ```
#[doc(alias = "getcurrent")]
#[doc(alias = "current_task")]
#[track_caller]
pub fn current() -> Coroutine {
    try_current().expect("coroutine::current() was called outside of any coroutine")
}

/// The calling coroutine, or `None` on a plain thread.
pub fn try_current() -> Option<Coroutine> {
    local::frame().map(|frame| Coroutine(frame.task_ref()))
}

/// The right to a coroutine's result. Dropping it leaves the coroutine running.
///
/// Also a [`Future`] of the same result, on any executor.
pub struct JoinHandle<T>(pub(super) Handle<T>);

// A result is taken whole or not at all: a panic leaves nothing half done.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id().0)
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl<T> JoinHandle<T> {
    /// Waits until the coroutine has ended and gives back its result.
    ///
    /// # Errors
    /// The payload of its panic, as [`std::thread::JoinHandle::join`] gives it; if it was
    /// cancelled, `payload.is::<Cancelled>()`.
    ///
    /// # Cancellation
    /// A cancelled waiter detaches the coroutine, which goes on.
    ///
    /// # Examples
    /// ```
    /// let handle = bingfa::coroutine::spawn(|| "done");
    /// assert_eq!(handle.join().unwrap(), "done");
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T> {
        while !wait_done(self.0.completion(), &"join", None) {}
        self.0.take()
    }

    /// As [`join`](Self::join), but waits for at most `limit`.
    ///
    /// # Errors
    /// The handle itself, if the coroutine has not ended by then.
    ///
    /// # Cancellation
    /// A cancelled waiter detaches the coroutine, which goes on.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::coroutine;
    ///
    /// let handle = coroutine::spawn(coroutine::park);
    /// let handle = handle.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// handle.unpark();
    /// assert!(handle.join().is_ok());
    /// ```
    #[track_caller]
    pub fn join_timeout(self, limit: Duration) -> std::result::Result<Result<T>, Self> {
        let deadline = Instant::now().checked_add(limit);
        if wait_done(self.0.completion(), &"join", deadline) {
            Ok(self.0.take())
        } else {
            Err(self)
        }
    }

    /// True once the coroutine has ended, so that `join` does not wait.
    #[doc(alias = "is_alive")]
    #[doc(alias = "done")]
    pub fn is_finished(&self) -> bool {
        self.0.is_done()
    }

    /// Asks the coroutine to end.
    ///
    /// Its current wait, or the next one (or [`checkpoint`](super::checkpoint)), unwinds: destructors
    /// run (a `std` lock that is held gets poisoned), and `join` gives a
    /// [`Cancelled`](super::Cancelled) payload. A wait whose data arrived first returns it. A coroutine that has not
    /// started never runs. One that never waits is not disturbed, nor is a
    /// [`shield`](super::shield)ed section. If the payload is swallowed by
    /// `catch_unwind`, the next wait raises it again. Waits in destructors that a cancel
    /// runs are not cancelled, but I/O and sleeps there end after 1 s, I/O with `ECANCELED`.
    ///
    /// # Panics
    /// If the program is built with `panic = "abort"`.
    ///
    /// # Examples
    /// ```
    /// use bingfa::coroutine::{self, Cancelled};
    ///
    /// let forever = coroutine::spawn(|| loop { coroutine::park() });
    /// forever.cancel();
    /// assert!(forever.join().unwrap_err().is::<Cancelled>());
    /// ```
    #[doc(alias = "kill")]
    #[doc(alias = "throw")]
    pub fn cancel(&self) {
        if cfg!(panic = "abort") {
            panic!(
                "bingfa: cancel() has to unwind the coroutine, but this program is built with \
                 panic = \"abort\"; use panic = \"unwind\""
            );
        }
        self.0.task().cancel();
    }

    /// Makes the coroutine's current or next [`park`](super::park) return.
    pub fn unpark(&self) {
        Unparker::Coroutine(self.0.task().clone()).unpark_user();
    }

    /// The coroutine, to keep when the handle is gone.
    pub fn coroutine(&self) -> Coroutine {
        Coroutine(self.0.task().clone())
    }

    /// Its id.
    pub fn id(&self) -> CoroutineId {
        CoroutineId(self.0.task().entry().id)
    }

    /// The name given to its builder.
    pub fn name(&self) -> Option<&str> {
        self.0.task().entry().name.as_deref()
    }

    /// What it does right now; an ended one is [`State::Ready`].
    pub fn state(&self) -> State {
        let info = self.0.task().record.info();
        info.map_or(State::Ready, |info| info.state)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = &mut self.0;
        if handle.is_done()
            || !handle
                .completion()
                .watch(Unparker::Async(context.waker().clone()))
        {
            Poll::Ready(handle.take_in_place())
        } else {
            Poll::Pending
        }
    }
}

/// As an arm of a select: the coroutine has ended, so that `join` does not wait.
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

/// Joins all of `handles` and gives back their results in the same order.
///
/// # Errors
/// The payload of the first, in order, that panicked or was cancelled. All have ended by then.
///
/// # Cancellation
/// A cancelled waiter detaches those that have not been joined yet.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
///
/// let squares = (0..10).map(|i| coroutine::spawn(move || i * i));
/// assert_eq!(coroutine::join_all(squares).unwrap().iter().sum::<i32>(), 285);
/// ```
#[doc(alias = "joinall")]
#[doc(alias = "gather")]
#[track_caller]
pub fn join_all<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Result<Vec<T>> {
    // All are spawned before the first is waited for, even from a lazy iterator.
    let handles: Vec<_> = handles.into_iter().collect();
    let results: Vec<_> = handles.into_iter().map(JoinHandle::join).collect();
    results.into_iter().collect()
}
