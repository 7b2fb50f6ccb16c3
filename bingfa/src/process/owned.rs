//! Guards of locks between processes that keep a handle of their lock, and so live for as long
//! as they like, also on another carrier and across `.await`s.
//!
//! # Invariants
//! 1. A guard exists only while its maker has the lock: for reading, or alone.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::Pod;
use super::bounded_semaphore::BoundedSemaphore;
use super::locked::{self, lock_of, somebody};
use super::mutex::Mutex;
use super::poison::{LockResult, TryLockError, TryLockResult, wrap};
use super::rwlock::{self, RwLock};
use super::semaphore::{self, Semaphore, SemaphorePermit};
use super::shared::Shared;
use crate::park::cancel;

/// The right to use what a [`Mutex`] protects, which may wander between carriers: see
/// [`Mutex::lock_owned`]. Dropping it unlocks.
#[must_use = "if unused the lock is unlocked at once"]
#[clippy::has_significant_drop]
pub struct OwnedMutexGuard<T: Pod> {
    lock: Mutex<T>,
    /// As in std: only a panic that begins while it lives poisons.
    unwinding: bool,
}

/// The right to read what a [`RwLock`] protects, which may wander between carriers: see
/// [`RwLock::read_owned`]. Dropping it unlocks.
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockReadGuard<T: Pod> {
    lock: RwLock<T>,
}

/// The right to use what a [`RwLock`] protects, which may wander between carriers: see
/// [`RwLock::write_owned`]. Dropping it unlocks.
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockWriteGuard<T: Pod> {
    lock: RwLock<T>,
    /// As in std: only a panic that begins while it lives poisons.
    unwinding: bool,
}

/// Permits that keep a handle of their semaphore: see [`Semaphore::acquire_owned`]. Dropping
/// it gives them back, and so does the end of its process.
#[must_use = "the permits are given back at once if this is dropped"]
pub struct OwnedSemaphorePermit {
    shared: Shared,
    count: u64,
}

impl<T: Pod> Mutex<T> {
    /// Waits for the lock and takes it, with a guard that keeps a handle of it.
    ///
    /// That guard may go to another carrier of this process.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use bingfa::coroutine;
    /// use bingfa::process::Mutex;
    ///
    /// let count = Mutex::new(1)?;
    /// let mut guard = count.lock_owned().unwrap();
    /// coroutine::spawn(move || *guard += 1).join().unwrap();
    /// assert_eq!(*count.lock().unwrap(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn lock_owned(&self) -> LockResult<OwnedMutexGuard<T>> {
        locked::acquire(self.shared(), somebody(self.shared()), None);
        self.locked_owned()
    }

    /// Takes the lock if it is free, with a guard that keeps a handle of it.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    #[track_caller]
    pub fn try_lock_owned(&self) -> TryLockResult<OwnedMutexGuard<T>> {
        if lock_of(self.shared()).try_lock(somebody(self.shared())) {
            Ok(self.locked_owned()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Waits for the lock, as an async task, and takes it, with a guard that may be held across
    /// `.await`s that move the task.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock_async`](Self::lock_async).
    pub async fn lock_owned_async(&self) -> LockResult<OwnedMutexGuard<T>> {
        locked::acquire_async(self.shared()).await;
        self.locked_owned()
    }

    /// The caller has the lock.
    fn locked_owned(&self) -> LockResult<OwnedMutexGuard<T>> {
        let guard = OwnedMutexGuard {
            lock: self.clone(),
            unwinding: cancel::is_unwinding(),
        };
        wrap(locked::poisoned(self.shared()), guard)
    }
}

impl<T: Pod> RwLock<T> {
    /// Waits until no writer holds the lock or waits for it, and locks it for reading, with a
    /// guard that keeps a handle of it and may go to another carrier of this process.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_owned(&self) -> LockResult<OwnedRwLockReadGuard<T>> {
        rwlock::read(self.shared(), None);
        self.reads_owned()
    }

    /// Locks for reading if that is possible at once, with a guard that keeps a handle of the
    /// lock.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn try_read_owned(&self) -> TryLockResult<OwnedRwLockReadGuard<T>> {
        if rwlock::try_read(self.shared()) {
            Ok(self.reads_owned()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// As [`read_async`](Self::read_async), with a guard that may be held across `.await`s that
    /// move the task.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`read_async`](Self::read_async).
    pub async fn read_owned_async(&self) -> LockResult<OwnedRwLockReadGuard<T>> {
        rwlock::read_async(self.shared()).await;
        self.reads_owned()
    }

    /// Waits until nobody holds the lock, and locks it for writing, with a guard that keeps a
    /// handle of it and may go to another carrier of this process.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    #[track_caller]
    pub fn write_owned(&self) -> LockResult<OwnedRwLockWriteGuard<T>> {
        rwlock::write(self.shared(), somebody(self.shared()), None);
        self.writes_owned()
    }

    /// Locks for writing if that is possible at once, with a guard that keeps a handle of the
    /// lock.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn try_write_owned(&self) -> TryLockResult<OwnedRwLockWriteGuard<T>> {
        if rwlock::try_write(self.shared(), somebody(self.shared())) {
            Ok(self.writes_owned()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// As [`write_async`](Self::write_async), with a guard that may be held across `.await`s that
    /// move the task.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`write_async`](Self::write_async).
    pub async fn write_owned_async(&self) -> LockResult<OwnedRwLockWriteGuard<T>> {
        rwlock::write_async(self.shared()).await;
        self.writes_owned()
    }

    /// The caller is a reader.
    fn reads_owned(&self) -> LockResult<OwnedRwLockReadGuard<T>> {
        let guard = OwnedRwLockReadGuard { lock: self.clone() };
        wrap(rwlock::poisoned(self.shared()), guard)
    }

    /// The caller is the writer.
    fn writes_owned(&self) -> LockResult<OwnedRwLockWriteGuard<T>> {
        let guard = OwnedRwLockWriteGuard {
            lock: self.clone(),
            unwinding: cancel::is_unwinding(),
        };
        wrap(rwlock::poisoned(self.shared()), guard)
    }
}

impl From<SemaphorePermit<'_>> for OwnedSemaphorePermit {
    fn from(permit: SemaphorePermit<'_>) -> Self {
        let (shared, count) = permit.into_parts();
        OwnedSemaphorePermit { shared, count }
    }
}

impl Semaphore {
    /// Waits for a permit and takes it; it keeps a handle of the semaphore.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_owned(&self) -> OwnedSemaphorePermit {
        self.acquire().into()
    }

    /// Takes a permit that keeps a handle of the semaphore; `None`: none is free, or somebody
    /// waits for several.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn try_acquire_owned(&self) -> Option<OwnedSemaphorePermit> {
        self.try_acquire().map(Into::into)
    }

    /// Waits for a permit, as an async task, and takes it; it keeps a handle of the semaphore.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// As for [`acquire_async`](Self::acquire_async).
    pub async fn acquire_owned_async(&self) -> OwnedSemaphorePermit {
        self.acquire_async().await.into()
    }

    /// Waits for so many permits and takes them, all at once; they keep a handle of the
    /// semaphore.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_many_owned(&self, count: usize) -> OwnedSemaphorePermit {
        self.acquire_many(count).into()
    }

    /// Waits for so many permits, as an async task, and takes them, all at once; they keep a
    /// handle of the semaphore.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// As for [`acquire_many_async`](Self::acquire_many_async).
    pub async fn acquire_many_owned_async(&self, count: usize) -> OwnedSemaphorePermit {
        self.acquire_many_async(count).await.into()
    }
}

impl BoundedSemaphore {
    /// Waits for a permit and takes it; it keeps a handle of the semaphore.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_owned(&self) -> OwnedSemaphorePermit {
        self.acquire().into()
    }

    /// Takes a permit that keeps a handle of the semaphore; `None`: none is free, or somebody
    /// waits for several.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn try_acquire_owned(&self) -> Option<OwnedSemaphorePermit> {
        self.try_acquire().map(Into::into)
    }

    /// Waits for a permit, as an async task, and takes it; it keeps a handle of the semaphore.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// As for [`acquire_async`](Self::acquire_async).
    pub async fn acquire_owned_async(&self) -> OwnedSemaphorePermit {
        self.acquire_async().await.into()
    }
}

impl OwnedSemaphorePermit {
    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.count as usize
    }

    /// Does not give them back, also when this process ends; as
    /// [`SemaphorePermit::forget`].
    pub fn forget(mut self) {
        semaphore::forget(&self.shared, std::mem::take(&mut self.count));
    }
}

impl<T: Pod> Drop for OwnedMutexGuard<T> {
    fn drop(&mut self) {
        locked::unlock(self.lock.shared(), self.unwinding);
    }
}

impl<T: Pod> Drop for OwnedRwLockReadGuard<T> {
    fn drop(&mut self) {
        rwlock::unlock_read(self.lock.shared());
    }
}

impl<T: Pod> Drop for OwnedRwLockWriteGuard<T> {
    fn drop(&mut self) {
        rwlock::unlock_write(self.lock.shared(), self.unwinding);
    }
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        semaphore::give_back(&self.shared, self.count);
    }
}

impl<T: Pod> Deref for OwnedMutexGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: ours while the guard lives (invariant 1).
        unsafe { self.lock.data().as_ref() }
    }
}

impl<T: Pod> DerefMut for OwnedMutexGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: ours while the guard lives (invariant 1).
        unsafe { self.lock.data().as_mut() }
    }
}

impl<T: Pod> Deref for OwnedRwLockReadGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: nobody writes while the guard lives (invariant 1).
        unsafe { self.lock.data().as_ref() }
    }
}

impl<T: Pod> Deref for OwnedRwLockWriteGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: ours while the guard lives (invariant 1).
        unsafe { self.lock.data().as_ref() }
    }
}

impl<T: Pod> DerefMut for OwnedRwLockWriteGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: ours while the guard lives (invariant 1).
        unsafe { self.lock.data().as_mut() }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for OwnedRwLockReadGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for OwnedRwLockWriteGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for OwnedSemaphorePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedSemaphorePermit")
            .field(&self.count)
            .finish()
    }
}
