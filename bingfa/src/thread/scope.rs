//! Threads that borrow from their parent.
//!
//! # Invariants
//! 1. `scope` does not return or unwind before `running` is 0, whatever happens: neither
//!    cancels, timeouts nor the suspension check end the wait at its end.
//! 2. A thread counts in `running` from before it is made until it has finished with its
//!    closure and with what is left of its result (`launch`, invariant 1). A kept handle
//!    cannot outlive the scope's lifetime.

#![allow(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::thread::Result;
use std::time::{Duration, Instant};

use super::launch::{Handle, Plan, launch};
use super::{Builder, Thread};
use crate::park::select::{Selectable, Ticket};
use crate::park::wait::{Unparker, about_to_wait, wait_until};

/// What the threads of a scope share with it.
pub(super) struct ScopeData {
    running: AtomicUsize,
    panicked: AtomicBool,
    parent: Unparker,
}

impl ScopeData {
    pub(super) fn started(&self) {
        self.running.fetch_add(1, SeqCst);
    }

    /// A thread panicked and nobody will join it.
    pub(super) fn panicked(&self) {
        self.panicked.store(true, SeqCst);
    }

    /// The last thing that is heard of a thread.
    pub(super) fn ended(&self) {
        if self.running.fetch_sub(1, SeqCst) == 1 {
            self.parent.unpark();
        }
    }
}

/// Spawns threads that may borrow from the caller; see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    // Invariant in both lifetimes, as std's: a shorter 'scope would let a thread borrow
    // what ends inside the scope.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.data.running)
            .field("panicked", &self.data.panicked)
            .finish_non_exhaustive()
    }
}

// Atomics and constants, as std's: a panic leaves nothing half done in them.
impl RefUnwindSafe for Scope<'_, '_> {}

/// The right to the result of a thread in a scope; also a [`Future`] of it.
pub struct ScopedJoinHandle<'scope, T> {
    handle: Handle<T>,
    scope: PhantomData<&'scope ()>,
}

// A result is taken whole or not at all: a panic leaves nothing half done.
impl<T> UnwindSafe for ScopedJoinHandle<'_, T> {}
impl<T> RefUnwindSafe for ScopedJoinHandle<'_, T> {}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("thread", self.thread())
            .finish_non_exhaustive()
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The thread, to identify and unpark it.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }

    /// As [`JoinHandle::join`](super::JoinHandle::join).
    ///
    /// # Errors
    /// The payload of the thread's panic, which then is not the scope's business any more.
    ///
    /// # Panics
    /// If the thread is the calling one.
    ///
    /// # Cancellation
    /// A cancelled waiter leaves the thread to the scope.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        self.handle.join()
    }

    /// As [`JoinHandle::join_timeout`](super::JoinHandle::join_timeout).
    ///
    /// # Errors
    /// The handle itself, if the thread has not ended by then.
    ///
    /// # Panics
    /// If the thread is the calling one.
    ///
    /// # Cancellation
    /// A cancelled waiter leaves the thread to the scope.
    #[track_caller]
    pub fn join_timeout(self, limit: Duration) -> std::result::Result<Result<T>, Self> {
        let scope = self.scope;
        self.handle
            .join_until(Instant::now().checked_add(limit))
            .map_err(|handle| Self { handle, scope })
    }

    /// True once the thread's closure has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.handle.poll(context)
    }
}

/// As an arm of a select: the thread's closure has ended, so that `join` hardly waits.
impl<T> Selectable for ScopedJoinHandle<'_, T> {
    fn attempt(&mut self) -> bool {
        self.is_finished()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.handle.completion().watch(ticket.unparker.clone())
    }

    fn delist(&mut self) -> bool {
        self.handle.completion().unwatch();
        false // the next attempt sees it
    }
}

/// Runs `f`, which may spawn threads that borrow from it, and waits for all of them.
///
/// As [`std::thread::scope`]. In a coroutine the wait suspends only the coroutine.
///
/// # Panics
/// With the panic of `f`, else if a thread panicked that nobody joined.
///
/// # Cancellation
/// Threads cannot be cancelled, so the wait at the end is never cut short: what they
/// borrow stays in place. A cancel that came meanwhile acts at the next wait.
///
/// # Examples
/// ```
/// use bingfa::thread;
///
/// let mut numbers = vec![1, 2, 3];
/// let mut sum = 0;
/// thread::scope(|s| {
///     s.spawn(|| sum = numbers.iter().sum());
///     s.spawn(|| assert_eq!(numbers.len(), 3));
/// });
/// numbers.push(sum);
/// assert_eq!(numbers, [1, 2, 3, 6]);
/// ```
///
/// A thread cannot outlive what it borrows:
/// ```compile_fail,E0373
/// let handle = {
///     let number = 5;
///     bingfa::thread::spawn(|| number + 1)
/// };
/// ```
/// nor borrow what ends inside the scope:
/// ```compile_fail,E0373
/// bingfa::thread::scope(|s| {
///     let number = 5;
///     s.spawn(|| number + 1);
/// });
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    about_to_wait();
    let scope = Scope {
        data: Arc::new(ScopeData {
            running: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            parent: Unparker::current(),
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    wait_until(&"scope", || scope.data.running.load(SeqCst) == 0);
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.data.panicked.load(SeqCst) => panic!("a scoped thread panicked"),
        Ok(value) => value,
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Spawns a thread that may borrow what outlives the scope.
    ///
    /// # Panics
    /// If the operating system makes no thread; [`Builder::spawn_scoped`] gives an error
    /// instead.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        Builder::new()
            .spawn_scoped(self, f)
            .expect("failed to spawn thread")
    }

    pub(super) fn launch<F, T>(
        &'scope self,
        plan: Plan,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: what outlives 'scope is valid until `scope` returns or unwinds, and that
        // does not come before our data has heard of the thread's end (invariants 1 and 2).
        let handle = unsafe { launch(plan, Some(&self.data), f) }?;
        Ok(ScopedJoinHandle {
            handle,
            scope: PhantomData,
        })
    }
}
