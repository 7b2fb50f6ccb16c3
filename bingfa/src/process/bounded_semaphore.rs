//! `BoundedSemaphore`: one that never has more permits than it began with.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::semaphore::{self, SemaphorePermit, permits_of};
use super::shared::{Shared, can_be_sent};
use crate::shm::kind::Kind;
use crate::sync::TooManyPermits;

/// A [`Semaphore`](super::Semaphore) that never has more permits than it began with: as
/// [`sync::BoundedSemaphore`](crate::sync::BoundedSemaphore).
///
/// Guards cannot give back too many. What remains is [`release`](Self::release), which puts
/// permits back that were taken in another place, perhaps in another process, whose guard was
/// told to [`forget`](SemaphorePermit::forget) them: it is an error to put back more than
/// that. (Python's `ValueError`.)
///
/// All else is as for [`Semaphore`](super::Semaphore), also when processes end.
///
/// # Examples
/// ```
/// use bingfa::process::{self, BoundedSemaphore};
///
/// let connections = BoundedSemaphore::new(2)?;
/// connections.acquire().forget(); // opened here ...
/// let other = process::spawn(connections.clone(), |connections: BoundedSemaphore| {
///     connections.release(1).unwrap(); // ... closed there
///     connections.release(1).is_err() // closed twice
/// });
/// assert!(other.join().unwrap());
/// assert_eq!(connections.available_permits(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "multiprocessing.BoundedSemaphore")]
pub struct BoundedSemaphore {
    shared: Shared,
}

impl BoundedSemaphore {
    /// Makes a semaphore with so many free permits.
    ///
    /// # Errors
    /// As [`Semaphore::new`](super::Semaphore::new).
    pub fn new(permits: usize) -> io::Result<Self> {
        semaphore::create::<Self>(permits).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        Self { shared }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn bound(&self) -> usize {
        permits_of(&self.shared).bound() as usize
    }

    /// Waits for a permit and takes it.
    ///
    /// # Panics
    /// If the semaphore was made with none. In a plain `fork()` of a process that has the
    /// handle.
    ///
    /// # Cancellation
    /// See [`Semaphore`](super::Semaphore).
    #[track_caller]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Takes a permit; `None`: none is free, or somebody waits for several.
    #[track_caller]
    #[doc(alias = "locked")]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_acquire_many(1)
    }

    /// Waits for a permit, for at most `limit`; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`](super::Semaphore).
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_timeout(1, limit)
    }

    /// Waits for a permit until `deadline`; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`](super::Semaphore).
    #[track_caller]
    pub fn acquire_deadline(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_deadline(1, deadline)
    }

    /// Waits for so many permits and takes them, all at once.
    ///
    /// # Panics
    /// If there can never be so many. As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`](super::Semaphore).
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> SemaphorePermit<'_> {
        self.check(count);
        loop {
            if let Some(permit) = semaphore::acquire(&self.shared, count, None) {
                return permit;
            }
        }
    }

    /// Takes so many permits; `None`: they are not free, or somebody waits for several.
    #[track_caller]
    pub fn try_acquire_many(&self, count: usize) -> Option<SemaphorePermit<'_>> {
        semaphore::try_acquire(&self.shared, count)
    }

    /// Waits for so many permits, for at most `limit`; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`](super::Semaphore).
    #[track_caller]
    pub fn acquire_many_timeout(
        &self,
        count: usize,
        limit: Duration,
    ) -> Option<SemaphorePermit<'_>> {
        semaphore::acquire(&self.shared, count, Instant::now().checked_add(limit))
    }

    /// Waits for so many permits until `deadline`; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`](super::Semaphore).
    #[track_caller]
    pub fn acquire_many_deadline(
        &self,
        count: usize,
        deadline: Instant,
    ) -> Option<SemaphorePermit<'_>> {
        semaphore::acquire(&self.shared, count, Some(deadline))
    }

    /// Waits for a permit, as an async task, and takes it.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// Dropping the future leaves; it has taken no permit.
    pub async fn acquire_async(&self) -> SemaphorePermit<'_> {
        self.acquire_many_async(1).await
    }

    /// Waits for so many permits, as an async task, and takes them, all at once.
    ///
    /// # Panics
    /// As [`acquire_many`](Self::acquire_many).
    ///
    /// # Cancellation
    /// Dropping the future leaves; it has taken no permits.
    pub async fn acquire_many_async(&self, count: usize) -> SemaphorePermit<'_> {
        self.check(count);
        semaphore::acquire_async(&self.shared, count).await
    }

    #[track_caller]
    fn check(&self, count: usize) {
        let bound = self.bound();
        assert!(
            count <= bound,
            "{count} permits of a semaphore with {bound}"
        );
    }

    /// Puts permits back that were taken and [forgotten](SemaphorePermit::forget), in whatever
    /// process, and wakes those who wait.
    ///
    /// # Errors
    /// [`TooManyPermits`], and nothing is put back, if fewer were forgotten.
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    #[track_caller]
    pub fn release(&self, count: usize) -> Result<(), TooManyPermits> {
        let (arena, hold) = (self.shared.arena(), self.shared.handle().hold());
        let released = permits_of(&self.shared).remember(arena, hold, count as u64);
        released.then_some(()).ok_or(TooManyPermits::new())
    }

    /// How many permits are free, at this moment.
    #[doc(alias = "value")]
    #[must_use]
    pub fn available_permits(&self) -> usize {
        permits_of(&self.shared).free() as usize
    }
}

can_be_sent!(BoundedSemaphore: Kind::Semaphore);

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore")
            .field("available_permits", &self.available_permits())
            .field("bound", &self.bound())
            .finish_non_exhaustive()
    }
}
