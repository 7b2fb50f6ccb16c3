//! `Semaphore`: a number of permits, which carriers take and give back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bounded_semaphore::BoundedSemaphore;
use super::raw_semaphore::{AcquireFuture, Acquired, RawSemaphore};
use crate::park::cancel;

/// A number of permits: at most so many carriers do something at a time.
///
/// A permit is a guard, which gives itself back when it is dropped, on whatever carrier.
///
/// # Who is next
/// It is fair: first come, first served. While somebody waits, nobody else is given permits,
/// even if some are free; so [`acquire_many`](Self::acquire_many) is not starved by those who
/// ask for fewer, and [`try_acquire`](Self::try_acquire) fails.
///
/// # Cancellation
/// A cancelled or late waiter leaves the queue without permits, and those behind it
/// are served if they can be. If it is served at that very moment it returns with its permits,
/// and a cancel unwinds at its next wait. So no permit is ever lost.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
/// use bingfa::sync::{Arc, Semaphore};
///
/// let downloads = Arc::new(Semaphore::new(3));
/// let tasks: Vec<_> = (0..10)
///     .map(|_| {
///         let downloads = downloads.clone();
///         coroutine::spawn(move || {
///             let _permit = downloads.acquire();
///             coroutine::yield_now(); // at most three at a time are here
///         })
///     })
///     .collect();
/// coroutine::join_all(tasks).unwrap();
/// assert_eq!(downloads.available_permits(), 3);
/// ```
pub struct Semaphore {
    raw: RawSemaphore,
}

impl Semaphore {
    /// How many permits a semaphore can have: half of `usize`'s range.
    pub const MAX_PERMITS: usize = RawSemaphore::MAX as usize;

    /// Makes a semaphore with so many free permits.
    ///
    /// # Panics
    /// If they are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        assert!(permits <= Self::MAX_PERMITS, "too many permits");
        Self {
            raw: RawSemaphore::new(permits as u64),
        }
    }

    /// Waits for a permit and takes it.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[inline]
    #[track_caller]
    #[doc(alias = "P")]
    #[doc(alias = "down")]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Takes a permit; `None`: none is free, or others wait.
    #[doc(alias = "locked")]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_acquire_many(1)
    }

    /// Waits for a permit, for at most `limit`, and takes it; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::sync::Semaphore;
    ///
    /// let slots = Semaphore::new(1);
    /// let permit = slots.acquire();
    /// assert!(slots.acquire_timeout(Duration::from_millis(1)).is_none());
    /// drop(permit);
    /// assert!(slots.acquire_timeout(Duration::from_millis(1)).is_some());
    /// ```
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_timeout(1, limit)
    }

    /// Waits for a permit until `deadline` and takes it; `None`: it was too late.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_deadline(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_deadline(1, deadline)
    }

    /// Waits for a permit, as an async task, and takes it.
    ///
    /// # Cancellation
    /// Dropping the future leaves the queue; a permit that it was given goes to the next.
    pub async fn acquire_async(&self) -> SemaphorePermit<'_> {
        self.acquire_many_async(1).await
    }

    /// Waits for so many permits and takes them, all at once.
    ///
    /// It waits for ever if there are never so many.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    ///
    /// # Examples
    /// ```
    /// use bingfa::sync::Semaphore;
    ///
    /// let megabytes = Semaphore::new(64);
    /// let some = megabytes.acquire_many(48);
    /// assert!(megabytes.try_acquire_many(32).is_none());
    /// drop(some);
    /// assert_eq!(megabytes.acquire_many(64).num_permits(), 64);
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> SemaphorePermit<'_> {
        if !self.raw.try_acquire(count as u64) {
            self.wait(count, None);
        }
        self.permit(count)
    }

    /// Takes so many permits; `None`: they are not free, or others wait.
    #[inline]
    pub fn try_acquire_many(&self, count: usize) -> Option<SemaphorePermit<'_>> {
        let taken = self.raw.try_acquire(count as u64);
        taken.then(|| self.permit(count))
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
        self.acquire_until(count, Instant::now().checked_add(limit))
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
        self.acquire_until(count, Some(deadline))
    }

    /// Waits for so many permits, as an async task.
    ///
    /// # Cancellation
    /// As for [`acquire_async`](Self::acquire_async).
    pub async fn acquire_many_async(&self, count: usize) -> SemaphorePermit<'_> {
        AcquireFuture::new(&self.raw, count as u64).await;
        self.permit(count)
    }

    /// Waits for a permit that keeps the semaphore alive, and takes it.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    ///
    /// # Examples
    /// ```
    /// use bingfa::coroutine;
    /// use bingfa::sync::{Arc, Semaphore};
    ///
    /// let slots = Arc::new(Semaphore::new(1));
    /// let permit = slots.acquire_arc(); // before the task is even spawned
    /// let task = coroutine::spawn(move || drop(permit));
    /// task.join().unwrap();
    /// assert_eq!(slots.available_permits(), 1);
    /// ```
    #[track_caller]
    #[doc(alias = "acquire_owned")]
    pub fn acquire_arc(self: &Arc<Self>) -> ArcSemaphorePermit {
        self.acquire_many_arc(1)
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that keeps the semaphore alive.
    #[doc(alias = "try_acquire_owned")]
    pub fn try_acquire_arc(self: &Arc<Self>) -> Option<ArcSemaphorePermit> {
        self.try_acquire_many_arc(1)
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), with a permit that keeps the semaphore alive.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::sync::{Arc, Semaphore};
    ///
    /// let slots = Arc::new(Semaphore::new(1));
    /// let permit = slots.acquire_arc_timeout(Duration::from_millis(1)).unwrap();
    /// assert!(slots.acquire_arc_timeout(Duration::from_millis(1)).is_none());
    /// drop(permit);
    /// ```
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
    /// # Cancellation
    /// As for [`acquire_async`](Self::acquire_async).
    pub async fn acquire_arc_async(self: &Arc<Self>) -> ArcSemaphorePermit {
        self.acquire_many_arc_async(1).await
    }

    /// As [`acquire_many`](Self::acquire_many), with permits that keep the semaphore alive.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
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
    /// # Cancellation
    /// As for [`acquire_async`](Self::acquire_async).
    pub async fn acquire_many_arc_async(self: &Arc<Self>, count: usize) -> ArcSemaphorePermit {
        let permit = self.acquire_many_async(count).await;
        permit.into_arc(Owner::from(self))
    }

    /// Adds permits, whether or not so many were taken, and serves those who wait.
    ///
    /// # Panics
    /// If there were more than [`MAX_PERMITS`](Self::MAX_PERMITS) free ones.
    ///
    /// # Examples
    /// ```
    /// use bingfa::sync::Semaphore;
    ///
    /// // As a counter of what was produced: the permit is not given back, but consumed.
    /// let items = Semaphore::new(0);
    /// items.add_permits(2);
    /// items.acquire().forget();
    /// assert_eq!(items.available_permits(), 1);
    /// ```
    #[doc(alias = "release")]
    #[doc(alias = "V")]
    #[doc(alias = "up")]
    pub fn add_permits(&self, count: usize) {
        assert!(self.raw.add(count as u64), "too many permits");
    }

    /// How many permits are free, at this moment.
    #[doc(alias = "value")]
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.raw.free() as usize
    }

    pub(super) fn raw(&self) -> &RawSemaphore {
        &self.raw
    }

    /// Waits; false: the deadline has passed.
    #[track_caller]
    fn wait(&self, count: usize, deadline: Option<Instant>) -> bool {
        loop {
            match self.raw.acquire_slow(count as u64, deadline) {
                Acquired::Yes => return true,
                Acquired::TimedOut => return false,
                Acquired::Interrupted => cancel::raise(),
            }
        }
    }

    #[track_caller]
    fn acquire_until(
        &self,
        count: usize,
        deadline: Option<Instant>,
    ) -> Option<SemaphorePermit<'_>> {
        let taken = self.raw.try_acquire(count as u64) || self.wait(count, deadline);
        taken.then(|| self.permit(count))
    }

    /// The caller has taken so many.
    #[inline(always)]
    fn permit(&self, count: usize) -> SemaphorePermit<'_> {
        SemaphorePermit {
            raw: &self.raw,
            count,
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .finish_non_exhaustive()
    }
}

fn give_back(raw: &RawSemaphore, count: usize) {
    assert!(raw.add(count as u64), "too many permits");
}

/// Permits of a [`Semaphore`] or [`BoundedSemaphore`], given back when it is dropped.
#[must_use = "the permits are given back at once if this is dropped"]
pub struct SemaphorePermit<'a> {
    raw: &'a RawSemaphore,
    count: usize,
}

impl SemaphorePermit<'_> {
    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.count
    }

    /// Does not give them back. (Somebody may put them back:
    /// [`Semaphore::add_permits`], [`BoundedSemaphore::release`].)
    pub fn forget(mut self) {
        self.raw.forget(self.count as u64);
        self.count = 0;
    }

    /// `owner` is whom they are from.
    pub(super) fn into_arc(mut self, owner: Owner) -> ArcSemaphorePermit {
        let count = std::mem::take(&mut self.count);
        ArcSemaphorePermit { owner, count }
    }
}

impl Drop for SemaphorePermit<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.count > 0 {
            give_back(self.raw, self.count);
        }
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SemaphorePermit").field(&self.count).finish()
    }
}

/// What an owned permit keeps alive.
pub(super) enum Owner {
    Plain(Arc<Semaphore>),
    Bounded(Arc<BoundedSemaphore>),
}

impl From<&Arc<Semaphore>> for Owner {
    fn from(semaphore: &Arc<Semaphore>) -> Self {
        Owner::Plain(semaphore.clone())
    }
}

impl From<&Arc<BoundedSemaphore>> for Owner {
    fn from(semaphore: &Arc<BoundedSemaphore>) -> Self {
        Owner::Bounded(semaphore.clone())
    }
}

impl Owner {
    fn raw(&self) -> &RawSemaphore {
        match self {
            Owner::Plain(semaphore) => semaphore.raw(),
            Owner::Bounded(semaphore) => semaphore.raw(),
        }
    }
}

/// Permits that keep their semaphore alive, given back when it is dropped.
#[must_use = "the permits are given back at once if this is dropped"]
#[doc(alias = "OwnedSemaphorePermit")]
pub struct ArcSemaphorePermit {
    owner: Owner,
    count: usize,
}

impl ArcSemaphorePermit {
    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.count
    }

    /// As [`SemaphorePermit::forget`].
    pub fn forget(mut self) {
        self.owner.raw().forget(self.count as u64);
        self.count = 0;
    }
}

impl Drop for ArcSemaphorePermit {
    fn drop(&mut self) {
        if self.count > 0 {
            give_back(self.owner.raw(), self.count);
        }
    }
}

impl fmt::Debug for ArcSemaphorePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArcSemaphorePermit")
            .field(&self.count)
            .finish()
    }
}
