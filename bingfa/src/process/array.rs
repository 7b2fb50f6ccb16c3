//! `Array`: plain data of one type that processes share, with one lock.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::Pod;
use super::locked::{self, MutexGuard};
use super::poison::{LockResult, TryLockResult};
use super::shared::{Shared, can_be_sent};
use crate::shm::kind::Kind;

/// A row of plain data that processes share, with a lock: its length is fixed.
///
/// A handle, like [`Mutex`](super::Mutex), which also says how its lock behaves. Without a
/// lock: [`RawArray`](super::RawArray).
///
/// # Examples
/// ```
/// use bingfa::process::{self, Array};
///
/// let squares = Array::new(&[0u32; 4])?;
/// let children: Vec<_> = (0..4usize)
///     .map(|i| {
///         process::spawn((squares.clone(), i), |(squares, i): (Array<u32>, usize)| {
///             squares.lock().unwrap()[i] = (i * i) as u32;
///         })
///     })
///     .collect();
/// for child in children {
///     child.join().unwrap();
/// }
/// assert_eq!(*squares.lock().unwrap(), [0, 1, 4, 9]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "multiprocessing.Array")]
pub struct Array<T: Pod> {
    shared: Shared,
    data: PhantomData<T>,
}

impl<T: Pod> Array<T> {
    /// Makes one with these values.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new(values: &[T]) -> io::Result<Self> {
        locked::create::<Self, T>(values).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        let data = PhantomData;
        Self { shared, data }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> usize {
        locked::data::<T>(&self.shared).len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the lock; the guard gives the values.
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
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, [T]>> {
        locked::lock(&self.shared, locked::data(&self.shared))
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`WouldBlock`](super::TryLockError::WouldBlock) if it is not;
    /// [`Poisoned`](super::TryLockError::Poisoned) with the guard if it is poisoned.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, [T]>> {
        locked::try_lock(&self.shared, locked::data(&self.shared), None)
    }

    /// Waits for the lock, for at most `limit`.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock), if it was too late.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> TryLockResult<MutexGuard<'_, [T]>> {
        match Instant::now().checked_add(limit) {
            Some(deadline) => {
                locked::try_lock(&self.shared, locked::data(&self.shared), Some(deadline))
            }
            None => Ok(self.lock()?), // further than the clock goes
        }
    }

    /// Waits for the lock, as an async task.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// Dropping the future leaves; it does not have the lock.
    pub async fn lock_async(&self) -> LockResult<MutexGuard<'_, [T]>> {
        locked::acquire_async(&self.shared).await;
        locked::guard(&self.shared, locked::data(&self.shared))
    }

    /// Makes a poisoned lock as good as new.
    pub fn clear_poison(&self) {
        locked::clear_poison(&self.shared);
    }
}

can_be_sent!(Array<T>: Kind::Locked);

impl<T: Pod> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self::over(self.shared.clone())
    }
}

impl<T: Pod> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array")
            .field("len", &self.len())
            .field("locked", &locked::is_locked(&self.shared))
            .field("poisoned", &locked::poisoned(&self.shared).is_some())
            .finish_non_exhaustive()
    }
}
