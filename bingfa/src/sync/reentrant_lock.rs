//! `ReentrantLock`: std's (not stable there yet), on every carrier.
//!
//! # Invariants
//! 1. `depth` is the number of guards, all of the carrier that `raw` names as its owner; only
//!    that carrier touches it. A carrier finds its own id in the word only if it holds the
//!    lock: ids are never used twice.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::raw_mutex::{Locked, RawMutex};
use crate::park::{carrier, deadlock};

/// A lock that its owner can lock again: std's `ReentrantLock`, Python's `RLock`.
///
/// The owner is the calling carrier: inside coroutines each coroutine, not their thread. As
/// it may have several guards, they give shared access only; put a
/// [`RefCell`](std::cell::RefCell) inside to change the data. It is not poisoned by panics.
/// Who is next: see [`Mutex`](super::Mutex). There is no async form, as a task is no owner
/// that could be recognised.
///
/// # Examples
/// ```
/// use std::cell::Cell;
/// use bingfa::sync::ReentrantLock;
///
/// static DEPTH: ReentrantLock<Cell<u32>> = ReentrantLock::new(Cell::new(0));
///
/// fn visit(levels: u32) {
///     let depth = DEPTH.lock();
///     depth.set(depth.get() + 1);
///     if levels > 1 {
///         visit(levels - 1);
///     }
/// }
/// visit(3);
/// assert_eq!(DEPTH.lock().get(), 3);
/// ```
#[doc(alias = "RLock")]
#[doc(alias = "ReentrantMutex")]
pub struct ReentrantLock<T: ?Sized> {
    raw: RawMutex,
    depth: Cell<u32>,
    data: T,
}

// SAFETY: as for `Mutex`; the data is sent to whoever holds the lock.
unsafe impl<T: ?Sized + Send> Send for ReentrantLock<T> {}
// SAFETY: one carrier at a time reaches the data, and `depth` (invariant 1), and all its
// guards stay on that carrier's thread.
unsafe impl<T: ?Sized + Send> Sync for ReentrantLock<T> {}
impl<T: ?Sized + UnwindSafe> UnwindSafe for ReentrantLock<T> {}
impl<T: ?Sized + RefUnwindSafe> RefUnwindSafe for ReentrantLock<T> {}

/// What a wait for a lock is called in snapshots.
const WHAT: &&str = &"reentrant lock";

impl<T> ReentrantLock<T> {
    /// Makes a lock that is free.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self {
            raw: RawMutex::new(),
            depth: Cell::new(0),
            data: value,
        }
    }

    /// Takes the data out of the lock.
    pub fn into_inner(self) -> T {
        self.data
    }
}

impl<T: ?Sized> ReentrantLock<T> {
    /// Waits for the lock, unless the calling carrier has it already, and takes it (again).
    ///
    /// # Panics
    /// If it was locked 2³² times.
    ///
    /// # Cancellation
    /// A cancelled coroutine leaves the queue and unwinds. If it is given the lock at that
    /// very moment it returns with it, and unwinds at its next wait.
    #[inline]
    #[track_caller]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> ReentrantLockGuard<'_, T> {
        let id = carrier::id();
        if !self.raw.lock_fast(id) {
            self.lock_again(id, None);
        }
        self.guard(id)
    }

    /// Takes the lock if it is free or the calling carrier has it already.
    #[track_caller]
    pub fn try_lock(&self) -> Option<ReentrantLockGuard<'_, T>> {
        let id = carrier::id();
        (self.raw.is_owned_by(id) || self.raw.try_lock(id, WHAT)).then(|| self.guard(id))
    }

    /// As [`lock`](Self::lock), for at most `limit`; `None` if it was too late.
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> Option<ReentrantLockGuard<'_, T>> {
        let id = carrier::id();
        self.lock_again(id, Instant::now().checked_add(limit))
            .then(|| self.guard(id))
    }

    /// As [`lock`](Self::lock), until `deadline`; `None` if it was too late.
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_deadline(&self, deadline: Instant) -> Option<ReentrantLockGuard<'_, T>> {
        let id = carrier::id();
        self.lock_again(id, Some(deadline)).then(|| self.guard(id))
    }

    /// True: the lock is the caller's; false: the deadline has passed.
    #[track_caller]
    fn lock_again(&self, id: u64, deadline: Option<Instant>) -> bool {
        loop {
            if self.raw.is_owned_by(id) {
                return true;
            }
            match self.raw.lock_slow(id, WHAT, deadline, false) {
                Locked::Yes => return true,
                Locked::TimedOut => return false,
                Locked::Interrupted => deadlock::raise(),
            }
        }
    }

    /// The data of a lock that nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.data
    }

    /// The caller owns the lock, as `id`, and gets one guard more.
    #[inline(always)]
    fn guard(&self, id: u64) -> ReentrantLockGuard<'_, T> {
        let depth = self.depth.get().checked_add(1);
        self.depth
            .set(depth.expect("lock count overflow in reentrant mutex"));
        ReentrantLockGuard {
            lock: self,
            id,
            not_send: PhantomData,
        }
    }
}

impl<T> From<T> for ReentrantLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Default> Default for ReentrantLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ReentrantLock");
        match self.try_lock() {
            Some(guard) => out.field("data", &&*guard),
            None => out.field("data", &format_args!("<locked>")),
        };
        out.finish_non_exhaustive()
    }
}

/// The right to use what a [`ReentrantLock`] protects. Dropping the last one unlocks.
///
/// It stays with its carrier: it is not `Send`.
#[must_use = "if unused the ReentrantLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct ReentrantLockGuard<'a, T: ?Sized> {
    lock: &'a ReentrantLock<T>,
    /// The owner, as the lock's word says: this carrier.
    id: u64,
    not_send: PhantomData<*const ()>,
}

impl<T: ?Sized> Drop for ReentrantLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let depth = self.lock.depth.get() - 1;
        self.lock.depth.set(depth);
        if depth == 0 {
            self.lock.raw.unlock(self.id);
        }
    }
}

impl<T: ?Sized> Deref for ReentrantLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.lock.data
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for ReentrantLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
