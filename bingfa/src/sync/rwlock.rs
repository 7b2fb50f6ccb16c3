//! `RwLock`: std's, on every carrier.
//!
//! # Invariants
//! 1. `data` is reached only through a guard; a writer's guard exists only while `raw` is
//!    locked for writing on its behalf, and a reader's while it is counted among the readers.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guard::{guards, guards_that_change};
use super::poison::{self, Before, LockResult, TryLockError, TryLockResult};
use super::raw_mutex::Locked;
use super::raw_rwlock::{RawRwLock, RwLockFuture};
use crate::park::{carrier, deadlock};

/// A lock for many readers or one writer: [`std::sync::RwLock`], which suspends only the
/// calling carrier.
///
/// # Who is next
/// Readers join other readers only while nobody waits, so readers do not starve a writer: do
/// not lock for reading what the carrier has locked for reading already. When the lock
/// becomes free, the longest waiting is served: readers all at once up to the next writer; a
/// writer is woken, may be overtaken by who comes just then, and is handed the lock after
/// that has happened 16 times.
///
/// # Poisoning
/// As in std: a panic while the lock is held *for writing* poisons it. A cancel or an expired
/// [`time::timeout`](crate::time::timeout) does not.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
/// use bingfa::sync::RwLock;
///
/// let table = RwLock::new(vec![1]);
/// coroutine::scope(|s| {
///     s.spawn(|| table.write().unwrap().push(2));
///     s.spawn(|| assert!(!table.read().unwrap().is_empty()));
/// });
/// assert_eq!(*table.read().unwrap(), [1, 2]);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    data: UnsafeCell<T>,
}

// SAFETY: whoever has the lock can take the data out, so it must be `Send`.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: readers share the data (`Sync`), and a writer may be on any thread (`Send`).
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// Makes a lock that is free.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self {
            raw: RawRwLock::new(),
            data: UnsafeCell::new(value),
        }
    }

    /// Takes the data out of the lock.
    ///
    /// # Errors
    /// With the data, if the lock is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.raw.is_poisoned();
        poison::wrap(poisoned, self.data.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until no writer holds the lock or waits for it, and locks it for reading.
    ///
    /// # Errors
    /// With the guard, if a panic has poisoned the lock.
    ///
    /// # Cancellation
    /// A cancelled coroutine leaves the queue and unwinds. If it is given the lock at that
    /// very moment it returns with it, and unwinds at its next wait.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        if !self.raw.read_fast() {
            self.wait_to_read(carrier::id(), None);
        }
        self.reading()
    }

    /// Locks for reading if that is possible at once.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if a writer holds the lock or waits for it; [`TryLockError::Poisoned`] with the guard if a
    /// panic has poisoned it.
    #[inline]
    #[track_caller]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        poison::wrap_try(self.raw.try_read(carrier::id), || self.reading())
    }

    /// As [`read`](Self::read), for at most `limit`.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it was too late; [`TryLockError::Poisoned`] with the
    /// guard if a panic has poisoned the lock.
    ///
    /// # Cancellation
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_timeout(&self, limit: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.try_read_until(Instant::now().checked_add(limit))
    }

    /// As [`read`](Self::read), until `deadline`.
    ///
    /// # Errors
    /// As [`read_timeout`](Self::read_timeout).
    ///
    /// # Cancellation
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_deadline(&self, deadline: Instant) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.try_read_until(Some(deadline))
    }

    #[track_caller]
    fn try_read_until(&self, deadline: Option<Instant>) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let read = self.wait_to_read(carrier::id(), deadline);
        poison::wrap_try(read, || self.reading())
    }

    /// As [`read`](Self::read), as an async task. The guard is not `Send`; one that is
    /// comes from [`read_arc_async`](Self::read_arc_async).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// Dropping the future leaves the queue; if it was given the lock, that goes to the next.
    pub async fn read_async(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        RwLockFuture::new(&self.raw, false).await;
        self.reading()
    }

    /// As [`read`](Self::read), with a guard that keeps the lock alive and may go to
    /// another carrier.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_arc(self: &Arc<Self>) -> LockResult<ArcRwLockReadGuard<T>> {
        if !self.raw.read_fast() {
            self.wait_to_read(carrier::ANONYMOUS, None);
        }
        self.reading_arc()
    }

    /// As [`try_read`](Self::try_read), with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    pub fn try_read_arc(self: &Arc<Self>) -> TryLockResult<ArcRwLockReadGuard<T>> {
        let read = self.raw.try_read(|| carrier::ANONYMOUS);
        poison::wrap_try(read, || self.reading_arc())
    }

    /// As [`read_timeout`](Self::read_timeout), with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`read_timeout`](Self::read_timeout).
    ///
    /// # Cancellation
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_arc_timeout(
        self: &Arc<Self>,
        limit: Duration,
    ) -> TryLockResult<ArcRwLockReadGuard<T>> {
        self.try_read_arc_until(Instant::now().checked_add(limit))
    }

    /// As [`read_deadline`](Self::read_deadline), with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`read_timeout`](Self::read_timeout).
    ///
    /// # Cancellation
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_arc_deadline(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> TryLockResult<ArcRwLockReadGuard<T>> {
        self.try_read_arc_until(Some(deadline))
    }

    #[track_caller]
    fn try_read_arc_until(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> TryLockResult<ArcRwLockReadGuard<T>> {
        let got = self.wait_to_read(carrier::ANONYMOUS, deadline);
        poison::wrap_try(got, || self.reading_arc())
    }

    /// As [`read_async`](Self::read_async), with a guard that keeps the lock alive and may
    /// be held across `.await`s that move the task.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`read_async`](Self::read_async).
    pub async fn read_arc_async(self: &Arc<Self>) -> LockResult<ArcRwLockReadGuard<T>> {
        RwLockFuture::new(&self.raw, false).await;
        self.reading_arc()
    }

    /// Waits until nobody holds the lock, and locks it for writing.
    ///
    /// # Errors
    /// With the guard, if a panic has poisoned the lock.
    ///
    /// # Cancellation
    /// A cancelled coroutine leaves the queue and unwinds. If it is given the lock at that
    /// very moment it returns with it, and unwinds at its next wait.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let id = carrier::id();
        if !self.raw.write_fast(id) {
            self.wait_to_write(id, None);
        }
        self.writing(id)
    }

    /// Locks for writing if that is possible at once.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if the lock is held; [`TryLockError::Poisoned`] with the guard if a
    /// panic has poisoned it.
    #[inline]
    #[track_caller]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let id = carrier::id();
        poison::wrap_try(self.raw.try_write(id), || self.writing(id))
    }

    /// As [`write`](Self::write), for at most `limit`.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it was too late; [`TryLockError::Poisoned`] with the
    /// guard if a panic has poisoned the lock.
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    #[track_caller]
    pub fn write_timeout(&self, limit: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.try_write_until(Instant::now().checked_add(limit))
    }

    /// As [`write`](Self::write), until `deadline`.
    ///
    /// # Errors
    /// As [`write_timeout`](Self::write_timeout).
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    #[track_caller]
    pub fn write_deadline(&self, deadline: Instant) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.try_write_until(Some(deadline))
    }

    #[track_caller]
    fn try_write_until(&self, deadline: Option<Instant>) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let id = carrier::id();
        poison::wrap_try(self.wait_to_write(id, deadline), || self.writing(id))
    }

    /// As [`write`](Self::write), as an async task. The guard is not `Send`; one that is
    /// comes from [`write_arc_async`](Self::write_arc_async).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancellation
    /// Dropping the future leaves the queue; if it was given the lock, that goes to the next.
    pub async fn write_async(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        RwLockFuture::new(&self.raw, true).await;
        self.writing(carrier::ANONYMOUS)
    }

    /// As [`write`](Self::write), with a guard that keeps the lock alive and may go to
    /// another carrier.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    #[track_caller]
    pub fn write_arc(self: &Arc<Self>) -> LockResult<ArcRwLockWriteGuard<T>> {
        if !self.raw.write_fast(carrier::ANONYMOUS) {
            self.wait_to_write(carrier::ANONYMOUS, None);
        }
        self.writing_arc()
    }

    /// As [`try_write`](Self::try_write), with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_arc(self: &Arc<Self>) -> TryLockResult<ArcRwLockWriteGuard<T>> {
        poison::wrap_try(self.raw.try_write(carrier::ANONYMOUS), || {
            self.writing_arc()
        })
    }

    /// As [`write_timeout`](Self::write_timeout), with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`write_timeout`](Self::write_timeout).
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    #[track_caller]
    pub fn write_arc_timeout(
        self: &Arc<Self>,
        limit: Duration,
    ) -> TryLockResult<ArcRwLockWriteGuard<T>> {
        self.try_write_arc_until(Instant::now().checked_add(limit))
    }

    /// As [`write_deadline`](Self::write_deadline), with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`write_timeout`](Self::write_timeout).
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    #[track_caller]
    pub fn write_arc_deadline(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> TryLockResult<ArcRwLockWriteGuard<T>> {
        self.try_write_arc_until(Some(deadline))
    }

    #[track_caller]
    fn try_write_arc_until(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> TryLockResult<ArcRwLockWriteGuard<T>> {
        let got = self.wait_to_write(carrier::ANONYMOUS, deadline);
        poison::wrap_try(got, || self.writing_arc())
    }

    /// As [`write_async`](Self::write_async), with a guard that keeps the lock alive and may
    /// be held across `.await`s that move the task.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancellation
    /// As for [`write_async`](Self::write_async).
    pub async fn write_arc_async(self: &Arc<Self>) -> LockResult<ArcRwLockWriteGuard<T>> {
        RwLockFuture::new(&self.raw, true).await;
        self.writing_arc()
    }

    /// Whether a panic has poisoned the lock.
    pub fn is_poisoned(&self) -> bool {
        self.raw.is_poisoned()
    }

    /// Makes a poisoned lock as good as new.
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    /// The data of a lock that nobody else can reach.
    ///
    /// # Errors
    /// With the data, if the lock is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.raw.is_poisoned();
        poison::wrap(poisoned, self.data.get_mut())
    }

    /// True: the caller is a reader, as `id`; false: the deadline has passed.
    #[track_caller]
    fn wait_to_read(&self, id: u64, deadline: Option<Instant>) -> bool {
        loop {
            match self.raw.read_slow(id, deadline) {
                Locked::Yes => return true,
                Locked::TimedOut => return false,
                Locked::Interrupted => deadlock::raise(),
            }
        }
    }

    /// True: the caller is the writer; false: the deadline has passed.
    #[track_caller]
    fn wait_to_write(&self, id: u64, deadline: Option<Instant>) -> bool {
        loop {
            match self.raw.write_slow(id, deadline) {
                Locked::Yes => return true,
                Locked::TimedOut => return false,
                Locked::Interrupted => deadlock::raise(),
            }
        }
    }

    /// The caller is a reader.
    #[inline(always)]
    fn reading(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        poison::wrap(self.raw.is_poisoned(), RwLockReadGuard::new(self))
    }

    /// The caller is the writer, as `id`.
    #[inline(always)]
    fn writing(&self, id: u64) -> LockResult<RwLockWriteGuard<'_, T>> {
        let guard = RwLockWriteGuard {
            lock: self,
            id,
            before: Before::now(),
            not_send: PhantomData,
        };
        poison::wrap(self.raw.is_poisoned(), guard)
    }

    /// The caller is a reader.
    fn reading_arc(self: &Arc<Self>) -> LockResult<ArcRwLockReadGuard<T>> {
        let guard = ArcRwLockReadGuard { lock: self.clone() };
        poison::wrap(self.raw.is_poisoned(), guard)
    }

    /// The caller is the writer, as somebody whom nobody knows.
    fn writing_arc(self: &Arc<Self>) -> LockResult<ArcRwLockWriteGuard<T>> {
        let guard = ArcRwLockWriteGuard {
            lock: self.clone(),
            before: Before::now(),
        };
        poison::wrap(self.raw.is_poisoned(), guard)
    }

    /// A writer's guard goes.
    #[inline(always)]
    fn release(&self, id: u64, before: Before) {
        if before.panics() {
            self.raw.poison();
        }
        self.raw.unlock_write(id);
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => out.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => out.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => out.field("data", &format_args!("<locked>")),
        };
        out.field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// The right to read what a [`RwLock`] protects. Dropping it unlocks.
///
/// It stays with its carrier: it is not `Send`. (See [`ArcRwLockReadGuard`].)
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    not_send: PhantomData<*const ()>,
}

/// The right to use what a [`RwLock`] protects. Dropping it unlocks.
///
/// It stays with its carrier: it is not `Send`. (See [`ArcRwLockWriteGuard`].)
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// The owner, as the lock's word says: this carrier.
    id: u64,
    before: Before,
    not_send: PhantomData<*const ()>,
}

/// The right to read what a [`RwLock`] in an [`Arc`] protects. Dropping it unlocks.
///
/// It keeps the lock alive and may go to another carrier; see [`RwLock::read_arc`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct ArcRwLockReadGuard<T: ?Sized> {
    lock: Arc<RwLock<T>>,
}

/// The right to use what a [`RwLock`] in an [`Arc`] protects. Dropping it unlocks.
///
/// It keeps the lock alive and may go to another carrier; see [`RwLock::write_arc`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct ArcRwLockWriteGuard<T: ?Sized> {
    lock: Arc<RwLock<T>>,
    before: Before,
}

// SAFETY: shared access gives `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// The caller is a reader.
    #[inline(always)]
    fn new(lock: &'a RwLock<T>) -> Self {
        RwLockReadGuard {
            lock,
            not_send: PhantomData,
        }
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Becomes a reader, without letting another writer in between. Readers who wait behind
    /// no other writer get in, too.
    pub fn downgrade(this: Self) -> RwLockReadGuard<'a, T> {
        let this = ManuallyDrop::new(this);
        this.lock.raw.downgrade();
        RwLockReadGuard::new(this.lock)
    }
}

impl<T: ?Sized> ArcRwLockWriteGuard<T> {
    /// Becomes a reader, without letting another writer in between.
    pub fn downgrade(this: Self) -> ArcRwLockReadGuard<T> {
        let this = ManuallyDrop::new(this);
        // SAFETY: moved out of a guard that is not used or dropped any more.
        let lock = unsafe { std::ptr::read(&raw const this.lock) };
        lock.raw.downgrade();
        ArcRwLockReadGuard { lock }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock_read(carrier::id);
    }
}

impl<T: ?Sized> Drop for ArcRwLockReadGuard<T> {
    fn drop(&mut self) {
        self.lock.raw.unlock_read(|| carrier::ANONYMOUS);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release(self.id, self.before);
    }
}

impl<T: ?Sized> Drop for ArcRwLockWriteGuard<T> {
    fn drop(&mut self) {
        self.lock.release(carrier::ANONYMOUS, self.before);
    }
}

guards!(lock: RwLockReadGuard<'_, T>, ArcRwLockReadGuard<T>);
guards_that_change!(lock: RwLockWriteGuard<'_, T>, ArcRwLockWriteGuard<T>);
