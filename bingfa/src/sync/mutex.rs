//! `Mutex`: std's, on every carrier.
//!
//! # Invariants
//! 1. `data` is reached only through a guard, and a guard exists only while its maker's
//!    side of `raw` is locked; so there is one at a time.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guard::guards_that_change;
use super::poison::{self, Before, LockResult, TryLockError, TryLockResult};
use super::raw_mutex::{LockFuture, Locked, RawMutex};
use crate::park::order::Take;
use crate::park::{carrier, deadlock};

/// A mutual exclusion lock: [`std::sync::Mutex`], which suspends only the calling carrier.
///
/// It is one word and its data. Locking one that is free is a single atomic instruction.
///
/// # Who is next
/// Whoever calls while the lock is free gets it, even if others wait (*barging*), because
/// handing it to a sleeper would leave it idle until that one wakes. The bypass is bounded:
/// the longest waiting is woken first and keeps its place; when it has been woken and has
/// found the lock taken again 16 times, it is handed the lock by the next unlock.
///
/// # Poisoning
/// As in std: a panic while the lock is held poisons it. A cancel or an expired
/// [`time::timeout`](crate::time::timeout) does not.
///
/// # Deadlocks
/// A carrier that locks what it holds already waits for ever, and never returns with a
/// second guard; that, and waits in a circle, are reported ([`observe`](crate::observe)), or
/// panic if [`on_deadlock`](crate::observe::on_deadlock) says so. Holding a guard across a wait is fine, also in a coroutine.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
/// use bingfa::sync::{Arc, Mutex};
///
/// let total = Arc::new(Mutex::new(0));
/// let adders: Vec<_> = (0..10)
///     .map(|i| {
///         let total = total.clone();
///         coroutine::spawn(move || {
///             let mut total = total.lock().unwrap();
///             let before = *total;
///             coroutine::yield_now(); // the others wait meanwhile
///             *total = before + i;
///         })
///     })
///     .collect();
/// for adder in adders {
///     adder.join().unwrap();
/// }
/// assert_eq!(*total.lock().unwrap(), 45);
/// ```
#[doc(alias = "Lock")]
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    data: UnsafeCell<T>,
}

// SAFETY: whoever has the mutex can take the data out, so it must be `Send`.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: one guard at a time (invariant 1), so sharing the mutex sends the data around.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

/// What a wait for a lock is called in snapshots.
const WHAT: &&str = &"lock";

impl<T> Mutex<T> {
    /// Makes a lock that is free.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self {
            raw: RawMutex::new(),
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

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock and takes it.
    ///
    /// # Errors
    /// With the guard, if a panic has poisoned the lock.
    ///
    /// # Cancellation
    /// A cancelled coroutine leaves the queue and unwinds. If it is given the lock at that
    /// very moment it returns with it, and unwinds at its next wait.
    #[inline]
    #[track_caller]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let id = carrier::id();
        if self.raw.lock_fast(id) {
            return Ok(self.guard(id));
        }
        self.wait(id, None);
        self.locked(id)
    }

    /// True: the lock is the caller's; false: the deadline has passed.
    #[track_caller]
    fn wait(&self, id: u64, deadline: Option<Instant>) -> bool {
        loop {
            match self.raw.lock_slow(id, WHAT, deadline, false) {
                Locked::Yes => return true,
                Locked::TimedOut => return false,
                Locked::Interrupted => deadlock::raise(),
            }
        }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it is not; [`TryLockError::Poisoned`] with the guard if
    /// a panic has poisoned the lock.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let id = carrier::id();
        poison::wrap_try(self.raw.try_lock(id, WHAT), || self.locked(id))
    }

    /// Waits for the lock, for at most `limit`, and takes it.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it was too late; [`TryLockError::Poisoned`] with the
    /// guard if a panic has poisoned the lock.
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::sync::{Mutex, TryLockError};
    ///
    /// let lock = Mutex::new(());
    /// let guard = lock.lock().unwrap();
    /// let late = lock.lock_timeout(Duration::from_millis(1));
    /// assert!(matches!(late, Err(TryLockError::WouldBlock)));
    /// ```
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        self.try_lock_until(Instant::now().checked_add(limit))
    }

    /// Waits for the lock until `deadline` and takes it.
    ///
    /// # Errors
    /// As [`lock_timeout`](Self::lock_timeout).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_deadline(&self, deadline: Instant) -> TryLockResult<MutexGuard<'_, T>> {
        self.try_lock_until(Some(deadline))
    }

    #[track_caller]
    fn try_lock_until(&self, deadline: Option<Instant>) -> TryLockResult<MutexGuard<'_, T>> {
        let id = carrier::id();
        poison::wrap_try(self.wait(id, deadline), || self.locked(id))
    }

    /// Waits for the lock, as an async task, and takes it. (In a coroutine or thread:
    /// [`lock`](Self::lock).)
    ///
    /// The guard is not `Send`; one that is comes from [`lock_arc_async`](Self::lock_arc_async).
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// Dropping the future leaves the queue; if it was given the lock, that goes to the next.
    pub async fn lock_async(&self) -> LockResult<MutexGuard<'_, T>> {
        LockFuture::new(&self.raw).await;
        self.locked(carrier::ANONYMOUS)
    }

    /// Waits for the lock and takes it, with a guard that keeps the lock alive.
    ///
    /// That guard may go to another carrier, so it is not known who holds the lock.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use bingfa::coroutine;
    /// use bingfa::sync::{Arc, Mutex};
    ///
    /// let list = Arc::new(Mutex::new(vec![1]));
    /// let mut guard = list.lock_arc().unwrap();
    /// coroutine::spawn(move || guard.push(2)).join().unwrap();
    /// assert_eq!(*list.lock().unwrap(), [1, 2]);
    /// ```
    #[track_caller]
    pub fn lock_arc(self: &Arc<Self>) -> LockResult<ArcMutexGuard<T>> {
        if !self.raw.lock_fast(carrier::ANONYMOUS) {
            self.wait(carrier::ANONYMOUS, None);
        }
        self.locked_arc()
    }

    /// Takes the lock if it is free, with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock).
    pub fn try_lock_arc(self: &Arc<Self>) -> TryLockResult<ArcMutexGuard<T>> {
        let taken = self.raw.try_lock(carrier::ANONYMOUS, WHAT);
        poison::wrap_try(taken, || self.locked_arc())
    }

    /// As [`lock_timeout`](Self::lock_timeout), with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`lock_timeout`](Self::lock_timeout).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::sync::{Arc, Mutex, TryLockError};
    ///
    /// let lock = Arc::new(Mutex::new(()));
    /// let guard = lock.lock_arc_timeout(Duration::from_millis(1)).unwrap();
    /// let late = lock.lock_arc_timeout(Duration::from_millis(1));
    /// assert!(matches!(late, Err(TryLockError::WouldBlock)));
    /// ```
    #[track_caller]
    pub fn lock_arc_timeout(self: &Arc<Self>, limit: Duration) -> TryLockResult<ArcMutexGuard<T>> {
        self.try_lock_arc_until(Instant::now().checked_add(limit))
    }

    /// As [`lock_deadline`](Self::lock_deadline), with a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As [`lock_timeout`](Self::lock_timeout).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_arc_deadline(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> TryLockResult<ArcMutexGuard<T>> {
        self.try_lock_arc_until(Some(deadline))
    }

    #[track_caller]
    fn try_lock_arc_until(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> TryLockResult<ArcMutexGuard<T>> {
        let got = self.wait(carrier::ANONYMOUS, deadline);
        poison::wrap_try(got, || self.locked_arc())
    }

    /// Waits for the lock, as an async task, and takes it, with a guard that keeps the lock
    /// alive and may be held across `.await`s that move the task.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock_async`](Self::lock_async).
    pub async fn lock_arc_async(self: &Arc<Self>) -> LockResult<ArcMutexGuard<T>> {
        LockFuture::new(&self.raw).await;
        self.locked_arc()
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

    pub(super) fn raw(&self) -> &RawMutex {
        &self.raw
    }

    /// Locks as `id`, as [`lock`](Self::lock) does.
    #[track_caller]
    pub(super) fn relock(&self, id: u64) -> MutexGuard<'_, T> {
        self.wait(id, None);
        self.guard(id)
    }

    /// The caller holds the lock, as `id`.
    #[inline(always)]
    pub(super) fn guard(&self, id: u64) -> MutexGuard<'_, T> {
        MutexGuard {
            mutex: self,
            id,
            before: Before::now(),
            not_send: PhantomData,
        }
    }

    /// The same, as an error if the lock is poisoned.
    #[inline(always)]
    fn locked(&self, id: u64) -> LockResult<MutexGuard<'_, T>> {
        poison::wrap(self.raw.is_poisoned(), self.guard(id))
    }

    /// The same of a caller that holds the lock as somebody whom nobody knows.
    fn locked_arc(self: &Arc<Self>) -> LockResult<ArcMutexGuard<T>> {
        poison::wrap(self.raw.is_poisoned(), ArcMutexGuard::of(self.clone()))
    }

    /// A guard goes.
    #[inline(always)]
    fn release(&self, id: u64, before: Before) {
        if before.panics() {
            self.raw.poison();
        }
        self.raw.unlock(id);
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => out.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => out.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => out.field("data", &format_args!("<locked>")),
        };
        out.field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// The right to use what a [`Mutex`] protects. Dropping it unlocks.
///
/// It stays with its carrier: it is not `Send`. (See [`ArcMutexGuard`].)
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// The owner, as the lock's word says: this carrier.
    id: u64,
    before: Before,
    not_send: PhantomData<*const ()>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    pub(super) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }

    /// The lock, which stays locked, and its owner.
    pub(super) fn into_parts(self) -> (&'a Mutex<T>, u64) {
        let guard = ManuallyDrop::new(self);
        (guard.mutex, guard.id)
    }

    /// The caller will unlock the lock and wait for it again: panics if that is a lock order
    /// that has to.
    #[inline]
    #[track_caller]
    pub(super) fn about_to_relock(&self) {
        if let Some(take) = self.mutex.raw.watch(self.id, WHAT) {
            wants_again(take);
        }
    }

    /// The guard, as an error if the lock is poisoned.
    #[inline]
    pub(super) fn checked(guard: Self) -> LockResult<Self> {
        poison::wrap(guard.mutex.is_poisoned(), guard)
    }
}

#[cold]
#[track_caller]
fn wants_again(take: Take) {
    if let Some(report) = take.wants(true) {
        panic!("bingfa: {report}");
    }
}

// SAFETY: shared access gives `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.release(self.id, self.before);
    }
}

/// The right to use what a [`Mutex`] in an [`Arc`] protects. Dropping it unlocks.
///
/// It keeps the lock alive and may go to another carrier; see [`Mutex::lock_arc`].
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct ArcMutexGuard<T: ?Sized> {
    mutex: Arc<Mutex<T>>,
    before: Before,
}

// SAFETY: shared access gives `&T` and nothing else.
unsafe impl<T: ?Sized + Send + Sync> Sync for ArcMutexGuard<T> {}

impl<T: ?Sized> ArcMutexGuard<T> {
    /// The lock that this is a guard of.
    pub fn mutex(guard: &Self) -> &Arc<Mutex<T>> {
        &guard.mutex
    }

    /// The caller holds the lock as somebody whom nobody knows.
    pub(super) fn of(mutex: Arc<Mutex<T>>) -> Self {
        let before = Before::now();
        Self { mutex, before }
    }

    /// The lock, which stays locked.
    pub(super) fn into_mutex(guard: Self) -> Arc<Mutex<T>> {
        let guard = ManuallyDrop::new(guard);
        // SAFETY: moved out of a guard that is not used or dropped any more.
        unsafe { std::ptr::read(&raw const guard.mutex) }
    }
}

impl<T: ?Sized> Drop for ArcMutexGuard<T> {
    fn drop(&mut self) {
        self.mutex.release(carrier::ANONYMOUS, self.before);
    }
}

guards_that_change!(mutex: MutexGuard<'_, T>, ArcMutexGuard<T>);
