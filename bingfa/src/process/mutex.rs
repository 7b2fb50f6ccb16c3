//! `Mutex`: a lock between processes.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::Pod;
use super::locked;
pub use super::locked::MutexGuard;
use super::poison::{LockResult, TryLockError, TryLockResult};
use super::shared::{Shared, can_be_sent};
use crate::shm::kind::Kind;

/// A mutual exclusion lock between processes, and between the carriers in each: as
/// [`sync::Mutex`](crate::sync::Mutex), for plain data in shared memory.
///
/// A handle: clones are the same lock, and so is what arrives in another process, as an
/// argument or a result of [`spawn`](super::spawn()) or in another message of this module. The
/// lock goes with its last handle, however the processes that have them end.
///
/// The owner is a thread or coroutine of one process, so coroutines that share a thread
/// exclude each other, too. A wait suspends only the caller.
///
/// # Who is next
/// Whoever calls while the lock is free gets it, even if others wait.
///
/// # Deadlocks
/// Two carriers of one process that wait for each other's locks are [reported](crate::observe); a
/// circle through two processes is not, and lasts: take locks in one order everywhere, or
/// [with a time limit](Self::lock_timeout). A [`snapshot`](crate::observe::snapshot) in each of
/// them names the process that has what is waited for.
///
/// # Poisoning
/// A panic while the lock is held poisons it, and so does the end of the owner's process,
/// by SIGKILL or otherwise: waiters have it at once, with a [`PoisonError`](super::PoisonError)
/// that names the process. A cancel poisons nothing.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Mutex};
///
/// let tickets = Mutex::new(3u32)?;
/// let buyers: Vec<_> = (0..5)
///     .map(|_| {
///         process::spawn(tickets.clone(), |tickets: Mutex<u32>| {
///             let mut left = tickets.lock().unwrap();
///             *left = left.checked_sub(1)?;
///             Some(())
///         })
///     })
///     .collect();
/// let served = buyers.into_iter().filter_map(|buyer| buyer.join().unwrap()).count();
/// assert_eq!(served, 3);
/// assert_eq!(*tickets.lock().unwrap(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "multiprocessing.Lock")]
pub struct Mutex<T: Pod = ()> {
    shared: Shared,
    data: PhantomData<T>,
}

impl<T: Pod> Mutex<T> {
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

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn data(&self) -> NonNull<T> {
        locked::data::<T>(&self.shared).cast()
    }

    /// Waits for the lock and takes it.
    ///
    /// # Errors
    /// With the guard, if the lock is poisoned.
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    ///
    /// # Cancellation
    /// A cancelled coroutine unwinds without the lock.
    #[track_caller]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        locked::lock(&self.shared, self.data())
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it is not; [`TryLockError::Poisoned`] with the guard if
    /// it is poisoned.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        locked::try_lock(&self.shared, self.data(), None)
    }

    /// Waits for the lock, for at most `limit`, and takes it.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it was too late; [`TryLockError::Poisoned`] with the
    /// guard if it is poisoned.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        match Instant::now().checked_add(limit) {
            Some(deadline) => locked::try_lock(&self.shared, self.data(), Some(deadline)),
            None => Ok(self.lock()?), // further than the clock goes
        }
    }

    /// Waits for the lock, as an async task, and takes it. (In a coroutine or thread:
    /// [`lock`](Self::lock).)
    ///
    /// The guard is not `Send`; one that is comes from
    /// [`lock_owned_async`](Self::lock_owned_async).
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// Dropping the future leaves; it does not have the lock.
    pub async fn lock_async(&self) -> LockResult<MutexGuard<'_, T>> {
        locked::acquire_async(&self.shared).await;
        locked::guard(&self.shared, self.data())
    }

    /// Whether the lock is poisoned.
    pub fn is_poisoned(&self) -> bool {
        locked::poisoned(&self.shared).is_some()
    }

    /// Makes a poisoned lock as good as new.
    pub fn clear_poison(&self) {
        locked::clear_poison(&self.shared);
    }
}

can_be_sent!(Mutex<T>: Kind::Locked);

impl<T: Pod> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Self::over(self.shared.clone())
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Mutex<T> {
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
