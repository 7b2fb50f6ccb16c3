//! `ReentrantLock`: a lock between processes that its owner can lock again.
//!
//! # Invariants
//! 1. The payload is a [`Reentrant`], and behind it, where `locked` puts it, a value of a `Pod`
//!    type.
//! 2. `depth` is the number of guards, all of the carrier that owns the lock; only that one
//!    touches it. A carrier finds itself in the lock's word only if it holds the lock.
//! 3. The value is reached only through guards, as a `Cell`: they stay on their owner's thread.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Pod;
use super::locked;
use super::poison::{LockResult, TryLockError, TryLockResult, wrap};
use super::shared::{Shared, can_be_sent};
use crate::shm::kind::Kind;
use crate::shm::lock::Lock;

/// A lock between processes that its owner can lock again: as
/// [`sync::ReentrantLock`](crate::sync::ReentrantLock), Python's `RLock`.
///
/// The owner is a thread or coroutine of one process. As it may have several guards, they give
/// the data as a [`Cell`]. A handle, like [`Mutex`](super::Mutex), which also says who is next.
///
/// # Poisoning
/// The end of the owner's process poisons it, by SIGKILL or otherwise: waiters have it at once,
/// with a [`PoisonError`](super::PoisonError) that names the process. A panic does not, as in
/// std.
///
/// # Examples
/// ```
/// use bingfa::process::{self, ReentrantLock};
///
/// fn visit(depth: &ReentrantLock<u32>, levels: u32) {
///     let guard = depth.lock().unwrap();
///     guard.set(guard.get() + 1);
///     if levels > 1 {
///         visit(depth, levels - 1);
///     }
/// }
///
/// let depth = ReentrantLock::new(0u32)?;
/// let child = process::spawn(depth.clone(), |depth: ReentrantLock<u32>| visit(&depth, 3));
/// visit(&depth, 2);
/// child.join().unwrap();
/// assert_eq!(depth.lock().unwrap().get(), 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "multiprocessing.RLock")]
#[doc(alias = "RLock")]
#[doc(alias = "ReentrantMutex")]
pub struct ReentrantLock<T: Pod = ()> {
    shared: Shared,
    data: PhantomData<T>,
}

/// As it lies in shared memory, before the data.
#[repr(C)]
struct Reentrant {
    lock: Lock,
    depth: AtomicU32,
}

const _: () = assert!(size_of::<Reentrant>() <= locked::DATA as usize);

impl<T: Pod> ReentrantLock<T> {
    /// Makes a lock that is free.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new(value: T) -> io::Result<Self> {
        locked::create::<Self, T>(&[value]).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        let data = PhantomData;
        Self { shared, data }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn depth(&self) -> &AtomicU32 {
        // SAFETY: invariant 1; the object lives as long as its handle.
        &unsafe { self.shared.payload().cast::<Reentrant>().as_ref() }.depth
    }

    /// Waits for the lock, unless the calling carrier has it already, and takes it (again).
    ///
    /// # Errors
    /// With the guard, if the lock is poisoned.
    ///
    /// # Panics
    /// If it was locked 2³² times. In a plain `fork()` of a process that has the handle.
    ///
    /// # Cancellation
    /// A cancelled coroutine unwinds without the lock.
    #[track_caller]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<ReentrantLockGuard<'_, T>> {
        if !self.is_mine() {
            locked::acquire(&self.shared, locked::me(&self.shared), None);
            self.depth().store(0, Relaxed);
        }
        self.guard()
    }

    /// Takes the lock if it is free or the calling carrier has it already.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it is not; [`TryLockError::Poisoned`] with the guard if
    /// it is poisoned.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<ReentrantLockGuard<'_, T>> {
        let try_lock = || locked::lock_of(&self.shared).try_lock(locked::me(&self.shared));
        self.again_or(try_lock)
    }

    /// As [`lock`](Self::lock), for at most `limit`.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it was too late; [`TryLockError::Poisoned`] with the
    /// guard if the lock is poisoned.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> TryLockResult<ReentrantLockGuard<'_, T>> {
        match Instant::now().checked_add(limit) {
            Some(deadline) => self.lock_deadline(deadline),
            None => Ok(self.lock()?), // further than the clock goes
        }
    }

    /// As [`lock`](Self::lock), until `deadline`.
    ///
    /// # Errors
    /// As [`lock_timeout`](Self::lock_timeout).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_deadline(&self, deadline: Instant) -> TryLockResult<ReentrantLockGuard<'_, T>> {
        let me = locked::me(&self.shared);
        self.again_or(|| locked::acquire(&self.shared, me, Some(deadline)))
    }

    /// Whether the lock is poisoned.
    pub fn is_poisoned(&self) -> bool {
        locked::poisoned(&self.shared).is_some()
    }

    /// Makes a poisoned lock as good as new.
    pub fn clear_poison(&self) {
        locked::clear_poison(&self.shared);
    }

    #[track_caller]
    fn is_mine(&self) -> bool {
        locked::lock_of(&self.shared).is_owned_by(locked::me(&self.shared))
    }

    #[track_caller]
    fn again_or(&self, lock: impl FnOnce() -> bool) -> TryLockResult<ReentrantLockGuard<'_, T>> {
        if !self.is_mine() {
            if !lock() {
                return Err(TryLockError::WouldBlock);
            }
            self.depth().store(0, Relaxed);
        }
        Ok(self.guard()?)
    }

    /// The caller owns the lock, and gets one guard more.
    fn guard(&self) -> LockResult<ReentrantLockGuard<'_, T>> {
        let depth = self.depth().load(Relaxed).checked_add(1);
        let depth = depth.expect("lock count overflow in reentrant mutex");
        self.depth().store(depth, Relaxed); // its owner's own (invariant 2)
        let guard = ReentrantLockGuard {
            lock: self,
            not_send: PhantomData,
        };
        wrap(locked::poisoned(&self.shared), guard)
    }
}

can_be_sent!(ReentrantLock<T>: Kind::Locked);

impl<T: Pod> Clone for ReentrantLock<T> {
    fn clone(&self) -> Self {
        Self::over(self.shared.clone())
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ReentrantLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ReentrantLock");
        match self.try_lock() {
            Ok(guard) => out.field("data", &guard.get()),
            Err(TryLockError::Poisoned(error)) => out.field("data", &error.get_ref().get()),
            Err(TryLockError::WouldBlock) => out.field("data", &format_args!("<locked>")),
        };
        out.field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// The right to use what a [`ReentrantLock`] protects. Dropping the last one unlocks.
///
/// It stays with its carrier: it is not `Send`.
#[must_use = "if unused the ReentrantLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct ReentrantLockGuard<'a, T: Pod> {
    lock: &'a ReentrantLock<T>,
    not_send: PhantomData<*const ()>,
}

impl<T: Pod> Drop for ReentrantLockGuard<'_, T> {
    fn drop(&mut self) {
        let shared = &self.lock.shared;
        let arena = shared.family().arena();
        if arena.forked() {
            return; // the lock, and its depth, are the other process's
        }
        let depth = self.lock.depth();
        let left = depth.load(Relaxed) - 1;
        depth.store(left, Relaxed);
        if left == 0 {
            locked::lock_of(shared).unlock(arena);
        }
    }
}

impl<T: Pod> Deref for ReentrantLockGuard<'_, T> {
    type Target = Cell<T>;

    fn deref(&self) -> &Cell<T> {
        let data = locked::data::<T>(&self.lock.shared).cast::<Cell<T>>();
        // SAFETY: inside the payload, and this carrier's while it has guards (invariant 3); a
        // `Cell` lies in memory as what it holds.
        unsafe { data.as_ref() }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ReentrantLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
