//! Structured concurrency: children that borrow from their parent.
//!
//! # Invariants
//! 1. `scope` does not return or unwind before `running` is 0, whatever happens: the
//!    wait at its end is shielded from cancels, timeouts and the suspension check.
//! 2. A child counts in `running` from before it is placed until its task's `after`
//!    hook, which comes when its closure and (if the handle is gone) its result have
//!    been dropped. A kept handle cannot outlive the scope's lifetime.

#![allow(unsafe_code)]

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::panic::{
    AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind,
};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::Result;
use std::time::Duration;

use super::{Builder, Coroutine, CoroutineId, JoinHandle, State};
use crate::park::cancel;
use crate::park::check;
use crate::park::select::{Selectable, Ticket};
use crate::park::task::TaskRef;
use crate::park::wait::{Outcome, Unparker, about_to_wait, wait};
use crate::sched::spawn::{Spawn, new_task, unjoined};
use crate::sched::{runtime, worker};

#[derive(Debug)]
struct Data {
    running: AtomicUsize,
    parent: Unparker,
    /// The first panic of a child that nobody joins.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Running children, to be cancelled.
    children: Mutex<Children>,
    cancelled: AtomicBool,
}

#[derive(Debug, Default)]
struct Children {
    running: HashMap<u64, TaskRef>,
    spawned: u64,
}

impl Data {
    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel(&self) {
        self.cancelled.store(true, SeqCst);
        let children: Vec<TaskRef> = self.children().running.values().cloned().collect();
        for child in children {
            child.cancel();
        }
    }

    /// A child panicked and nobody will join it.
    fn panicked(&self, payload: Box<dyn Any + Send>) {
        self.panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(payload);
        self.cancel();
    }

    /// The last thing that is heard of a child.
    fn ended(&self, child: u64) {
        self.children().running.remove(&child);
        if self.running.fetch_sub(1, SeqCst) == 1 {
            self.parent.unpark();
        }
    }
}

/// Spawns coroutines that may borrow from the caller; see [`scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<Data>,
    // Invariant in both lifetimes, as std's.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

// As std's: a panic leaves nothing half done in it.
impl RefUnwindSafe for Scope<'_, '_> {}

/// The right to the result of a coroutine in a scope; also a [`Future`] of it.
///
/// Dropping it leaves the coroutine to the scope: if it panics (or has panicked), the
/// scope cancels the others and panics as well.
pub struct ScopedJoinHandle<'scope, T> {
    /// `None` once joined.
    handle: Option<JoinHandle<T>>,
    data: Arc<Data>,
    scope: PhantomData<&'scope ()>,
}

// A result is taken whole or not at all: a panic leaves nothing half done.
impl<T> UnwindSafe for ScopedJoinHandle<'_, T> {}
impl<T> RefUnwindSafe for ScopedJoinHandle<'_, T> {}

impl<T> std::fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ScopedJoinHandle")
            .field(&self.handle)
            .finish()
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// As [`JoinHandle::join`].
    ///
    /// # Errors
    /// The payload of the coroutine's panic, or of its cancel.
    ///
    /// # Cancellation
    /// A cancelled waiter leaves the coroutine to the scope.
    #[track_caller]
    pub fn join(mut self) -> Result<T> {
        self.handle.take().expect("joined once").join()
    }

    /// As [`JoinHandle::join_timeout`].
    ///
    /// # Errors
    /// The handle itself, if the coroutine has not ended by then.
    ///
    /// # Cancellation
    /// A cancelled waiter leaves the coroutine to the scope.
    #[track_caller]
    pub fn join_timeout(mut self, limit: Duration) -> std::result::Result<Result<T>, Self> {
        match self.handle.take().expect("joined once").join_timeout(limit) {
            Ok(result) => Ok(result),
            Err(handle) => {
                self.handle = Some(handle);
                Err(self)
            }
        }
    }

    fn handle(&self) -> &JoinHandle<T> {
        self.handle.as_ref().expect("only `join` takes it out")
    }

    /// True once the coroutine has ended.
    pub fn is_finished(&self) -> bool {
        self.handle().is_finished()
    }

    /// Asks the coroutine to end; see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle().cancel();
    }

    /// Makes its current or next [`park`](super::park) return.
    pub fn unpark(&self) {
        self.handle().unpark();
    }

    /// The coroutine, to keep when the handle is gone.
    pub fn coroutine(&self) -> Coroutine {
        self.handle().coroutine()
    }

    /// Its id.
    pub fn id(&self) -> CoroutineId {
        self.handle().id()
    }

    /// The name given to its builder.
    pub fn name(&self) -> Option<&str> {
        self.handle().name()
    }

    /// What it does right now; an ended one is [`State::Ready`].
    pub fn state(&self) -> State {
        self.handle().state()
    }
}

impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.handle.as_mut().expect("polled after it was ready");
        let poll = Pin::new(handle).poll(context);
        if poll.is_ready() {
            self.handle = None;
        }
        poll
    }
}

/// As an arm of a select: the coroutine has ended, so that `join` does not wait.
impl<T> Selectable for ScopedJoinHandle<'_, T> {
    fn attempt(&mut self) -> bool {
        self.is_finished()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        let handle = self.handle.as_mut().expect("only `join` takes it out");
        handle.enlist(ticket)
    }

    fn delist(&mut self) -> bool {
        let handle = self.handle.as_mut().expect("only `join` takes it out");
        handle.delist()
    }
}

impl<T> Drop for ScopedJoinHandle<'_, T> {
    fn drop(&mut self) {
        // A panic that came before the drop is not the scope's business any less than one
        // that comes after.
        if let Some(handle) = self.handle.take()
            && handle.is_finished()
            && let Some(payload) = unjoined(handle.join())
        {
            self.data.panicked(payload);
        }
    }
}

/// Runs `f`, which may spawn coroutines that borrow from it, and waits for all of them.
///
/// As [`std::thread::scope`], and more: if `f` unwinds, or a child whose handle was
/// dropped panics, the other children are cancelled. A panic of a child whose handle was
/// kept is the handle's owner's affair.
///
/// # Panics
/// With the panic of `f`, else with that of the first detached child that panicked.
///
/// # Cancellation
/// Cancels the children, waits until all have ended, then unwinds. Nothing that they
/// borrow is left before that.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
///
/// let mut numbers = vec![1, 2, 3];
/// let sum = coroutine::scope(|s| {
///     let sum = s.spawn(|| numbers.iter().sum::<i32>());
///     sum.join().unwrap()
/// });
/// numbers.push(sum);
/// assert_eq!(numbers, [1, 2, 3, 6]);
/// ```
///
/// A child cannot outlive what it borrows:
/// ```compile_fail,E0373
/// let handle = {
///     let number = 5;
///     bingfa::coroutine::spawn(|| number + 1)
/// };
/// ```
#[doc(alias = "TaskGroup")]
#[doc(alias = "nursery")]
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    about_to_wait();
    let scope = Scope {
        data: Arc::new(Data {
            running: AtomicUsize::new(0),
            parent: Unparker::current(),
            panic: Mutex::new(None),
            children: Mutex::default(),
            cancelled: AtomicBool::new(false),
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let data = &scope.data;
    if result.is_err() {
        data.cancel();
    }
    let mut interrupted = false;
    while data.running.load(SeqCst) > 0 {
        // Cancelled or timed out while waiting here: pass it on once, then wait on.
        if !data.cancelled.load(SeqCst) {
            if check::without(|| wait(&"scope", None)) == Outcome::Interrupted {
                interrupted = true;
                data.cancel();
            }
        } else {
            cancel::shield(|| check::without(|| wait(&"scope", None)));
        }
    }
    let value = result.unwrap_or_else(|payload| resume_unwind(payload));
    if interrupted {
        cancel::raise();
    }
    let panic = data
        .panic
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(payload) = panic {
        resume_unwind(payload);
    }
    value
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a coroutine that may run on any worker.
    ///
    /// # Panics
    /// As [`spawn`](super::spawn()).
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        Builder::new()
            .spawn_scoped(self, f)
            .unwrap_or_else(|error| panic!("bingfa: could not spawn a coroutine: {error}"))
    }

    /// Spawns one that may run on any worker, as `spawn` says.
    pub(super) fn place<F, T>(
        &'scope self,
        spawn: Spawn,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // Asked for first: a child that cannot be placed would be waited for in vain.
        runtime::with_current(|shared| {
            let (task, handle) = self.child(spawn, f);
            shared.place(task);
            handle
        })
    }

    /// Spawns a coroutine on the parent's own worker; it may borrow what is not `Sync`.
    ///
    /// # Panics
    /// If the caller is neither in a coroutine nor inside [`run`](crate::run).
    #[track_caller]
    pub fn spawn_local<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let worker = worker::current_or_panic();
        let (task, handle) = self.child(Spawn::new(Location::caller()), f);
        worker.push_own(task);
        handle
    }

    fn child<F, T>(&'scope self, spawn: Spawn, f: F) -> (TaskRef, ScopedJoinHandle<'scope, T>)
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let data = self.data.clone();
        let mut children = data.children();
        let number = children.spawned;
        children.spawned += 1;
        data.running.fetch_add(1, SeqCst);
        let scope = data.clone();
        let spawn = Spawn {
            after: Some(Box::new(move |unjoined| {
                if let Some(payload) = unjoined {
                    scope.panicked(payload);
                }
                scope.ended(number);
                None
            })),
            ..spawn
        };
        let (task, handle) = new_task(spawn, f);
        children.running.insert(number, task.clone());
        drop(children);
        if data.cancelled.load(SeqCst) {
            task.cancel(); // came too late for the one who cancelled them all
        }
        (
            task,
            ScopedJoinHandle {
                handle: Some(JoinHandle(handle)),
                data,
                scope: PhantomData,
            },
        )
    }
}
