//! `BoundedSemaphore`: one that never has more permits than it began with.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::raw_semaphore::RawSemaphore;
use super::semaphore::{ArcSemaphorePermit, Owner, Semaphore, SemaphorePermit};

/// A [`Semaphore`] that never has more permits than it began with.
///
/// Guards cannot give back too many. What remains is [`release`](Self::release), which puts
/// permits back that were taken in another place, whose guard was told to
/// [`forget`](SemaphorePermit::forget) them: it is an error to put back more than that. (Python's
/// `ValueError`; Python notices it only if no other permit is taken at that moment.)
///
/// Fairness and cancellation are as for [`Semaphore`].
///
/// # Examples
/// ```
/// use bingfa::sync::BoundedSemaphore;
///
/// let connections = BoundedSemaphore::new(2);
/// connections.acquire().forget(); // opened here ...
/// let other = connections.acquire();
/// connections.release(1).unwrap(); // ... closed there
/// assert!(connections.release(1).is_err(), "closed twice");
/// drop(other);
/// assert_eq!(connections.available_permits(), 2);
/// ```
pub struct BoundedSemaphore {
    semaphore: Semaphore,
    bound: usize,
}

/// More permits were to be put back than had been taken and forgotten. None were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "ValueError")]
pub struct TooManyPermits(());

impl TooManyPermits {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for TooManyPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more permits were released than had been taken")
    }
}

impl std::error::Error for TooManyPermits {}

impl BoundedSemaphore {
    /// Makes a semaphore with so many free permits.
    ///
    /// # Panics
    /// If they are more than [`Semaphore::MAX_PERMITS`].
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        Self {
            semaphore: Semaphore::new(permits),
            bound: permits,
        }
    }

    pub(super) fn raw(&self) -> &RawSemaphore {
        self.semaphore.raw()
    }

    #[track_caller]
    fn within_bound(&self, count: usize) -> usize {
        let bound = self.bound;
        assert!(
            count <= bound,
            "{count} permits of a semaphore with {bound}"
        );
        count
    }

    /// Waits for a permit and takes it.
    ///
    /// # Panics
    /// If the semaphore was made with none.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Takes a permit; `None`: none is free, or others wait.
    #[doc(alias = "locked")]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_acquire_many(1)
    }

    /// Waits for a permit, for at most `limit`; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_timeout(1, limit)
    }

    /// Waits for a permit until `deadline`; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_deadline(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_deadline(1, deadline)
    }

    /// Waits for a permit, as an async task.
    ///
    /// # Panics
    /// If the semaphore was made with none.
    ///
    /// # Cancellation
    /// As for [`Semaphore::acquire_async`].
    pub async fn acquire_async(&self) -> SemaphorePermit<'_> {
        self.acquire_many_async(1).await
    }

    /// Waits for so many permits and takes them, all at once.
    ///
    /// # Panics
    /// If there can never be so many.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> SemaphorePermit<'_> {
        self.semaphore.acquire_many(self.within_bound(count))
    }

    /// Takes so many permits; `None`: they are not free, or others wait.
    pub fn try_acquire_many(&self, count: usize) -> Option<SemaphorePermit<'_>> {
        self.semaphore.try_acquire_many(count)
    }

    /// Waits for so many permits, for at most `limit`; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_many_timeout(
        &self,
        count: usize,
        limit: Duration,
    ) -> Option<SemaphorePermit<'_>> {
        self.semaphore.acquire_many_timeout(count, limit)
    }

    /// Waits for so many permits until `deadline`; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_many_deadline(
        &self,
        count: usize,
        deadline: Instant,
    ) -> Option<SemaphorePermit<'_>> {
        self.semaphore.acquire_many_deadline(count, deadline)
    }

    /// Waits for so many permits, as an async task.
    ///
    /// # Panics
    /// If there can never be so many.
    ///
    /// # Cancellation
    /// As for [`Semaphore::acquire_async`].
    pub async fn acquire_many_async(&self, count: usize) -> SemaphorePermit<'_> {
        let count = self.within_bound(count);
        self.semaphore.acquire_many_async(count).await
    }

    /// Waits for a permit that keeps the semaphore alive, and takes it.
    ///
    /// # Panics
    /// If the semaphore was made with none.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_arc(self: &Arc<Self>) -> ArcSemaphorePermit {
        self.acquire().into_arc(Owner::from(self))
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that keeps the semaphore alive.
    pub fn try_acquire_arc(self: &Arc<Self>) -> Option<ArcSemaphorePermit> {
        let permit = self.try_acquire()?;
        Some(permit.into_arc(Owner::from(self)))
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), with a permit that keeps the semaphore alive.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_arc_timeout(self: &Arc<Self>, limit: Duration) -> Option<ArcSemaphorePermit> {
        let permit = self.acquire_timeout(limit)?;
        Some(permit.into_arc(Owner::from(self)))
    }

    /// As [`acquire_deadline`](Self::acquire_deadline), with a permit that keeps the semaphore alive.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_arc_deadline(self: &Arc<Self>, deadline: Instant) -> Option<ArcSemaphorePermit> {
        let permit = self.acquire_deadline(deadline)?;
        Some(permit.into_arc(Owner::from(self)))
    }

    /// As [`acquire_async`](Self::acquire_async), with a permit that keeps the semaphore alive.
    ///
    /// # Panics
    /// If the semaphore was made with none.
    ///
    /// # Cancellation
    /// As for [`Semaphore::acquire_async`].
    pub async fn acquire_arc_async(self: &Arc<Self>) -> ArcSemaphorePermit {
        let permit = self.acquire_async().await;
        permit.into_arc(Owner::from(self))
    }

    /// As [`acquire_many`](Self::acquire_many), with permits that keep the semaphore alive.
    ///
    /// # Panics
    /// If there can never be so many.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    ///
    /// # Examples
    /// ```
    /// use bingfa::coroutine;
    /// use bingfa::sync::{Arc, BoundedSemaphore};
    ///
    /// let megabytes = Arc::new(BoundedSemaphore::new(64));
    /// let some = megabytes.acquire_many_arc(48);
    /// assert!(megabytes.try_acquire_many_arc(32).is_none());
    /// coroutine::spawn(move || drop(some)).join().unwrap();
    /// assert_eq!(megabytes.available_permits(), 64);
    /// ```
    #[track_caller]
    pub fn acquire_many_arc(self: &Arc<Self>, count: usize) -> ArcSemaphorePermit {
        self.acquire_many(count).into_arc(Owner::from(self))
    }

    /// As [`try_acquire_many`](Self::try_acquire_many), with permits that keep the semaphore
    /// alive.
    pub fn try_acquire_many_arc(self: &Arc<Self>, count: usize) -> Option<ArcSemaphorePermit> {
        let permit = self.try_acquire_many(count)?;
        Some(permit.into_arc(Owner::from(self)))
    }

    /// As [`acquire_many_timeout`](Self::acquire_many_timeout), with permits that keep the semaphore alive.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_many_arc_timeout(
        self: &Arc<Self>,
        count: usize,
        limit: Duration,
    ) -> Option<ArcSemaphorePermit> {
        let permit = self.acquire_many_timeout(count, limit)?;
        Some(permit.into_arc(Owner::from(self)))
    }

    /// As [`acquire_many_deadline`](Self::acquire_many_deadline), with permits that keep the semaphore alive.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_many_arc_deadline(
        self: &Arc<Self>,
        count: usize,
        deadline: Instant,
    ) -> Option<ArcSemaphorePermit> {
        let permit = self.acquire_many_deadline(count, deadline)?;
        Some(permit.into_arc(Owner::from(self)))
    }

    /// As [`acquire_many_async`](Self::acquire_many_async), with permits that keep the
    /// semaphore alive.
    ///
    /// # Panics
    /// If there can never be so many.
    ///
    /// # Cancellation
    /// As for [`Semaphore::acquire_async`].
    pub async fn acquire_many_arc_async(self: &Arc<Self>, count: usize) -> ArcSemaphorePermit {
        let permit = self.acquire_many_async(count).await;
        permit.into_arc(Owner::from(self))
    }

    /// Puts permits back that were taken and [forgotten](SemaphorePermit::forget), and serves
    /// those who wait.
    ///
    /// # Errors
    /// [`TooManyPermits`], and nothing is put back, if fewer were forgotten.
    pub fn release(&self, count: usize) -> Result<(), TooManyPermits> {
        let (raw, count) = (self.raw(), count as u64);
        let released = raw.remember(count) && raw.add(count);
        released.then_some(()).ok_or(TooManyPermits::new())
    }

    /// How many permits are free, at this moment.
    #[doc(alias = "value")]
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.semaphore.available_permits()
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore")
            .field("available_permits", &self.available_permits())
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
