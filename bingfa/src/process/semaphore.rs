//! `Semaphore`: a number of permits, which carriers of several processes take and give back.
//!
//! # Invariants
//! 1. The payload of the object is a [`Permits`], initialised before anybody else has it.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::locked;
use super::shared::{Shared, can_be_sent};
use super::{polling, waiting};
use crate::shm::kind::Kind;
use crate::shm::later;
use crate::shm::permits::{self, Permits};
use crate::shm::tally::Attempt;

/// A number of permits: at most so many carriers, of all processes that have it, do something
/// at a time. As [`sync::Semaphore`](crate::sync::Semaphore).
///
/// A permit is a guard, which gives itself back when it is dropped, on whatever carrier.
///
/// A handle: clones are the same semaphore, and so is what arrives in another process, as an
/// argument or a result of [`spawn`](super::spawn()) or in another message of this module.
///
/// # Who is next
/// Whoever calls while a permit is free gets it, even if others wait. But as soon as somebody
/// waits for several at once ([`acquire_many`](Self::acquire_many)), nobody else is given any
/// until that one has them or gives up, and [`try_acquire`](Self::try_acquire) fails.
///
/// # When processes end
/// The permits that a process has when it ends, by SIGKILL or otherwise, are given back: who
/// waits for them goes on at once. Those that it was told to
/// [forget](SemaphorePermit::forget) are not.
///
/// # Cancellation
/// A cancelled or late waiter has no permits, unless it is given them at that very moment:
/// then it returns with them, and a cancel unwinds at its next wait. So no permit is ever
/// lost.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Semaphore, Value};
///
/// let (slots, inside) = (Semaphore::new(2)?, Value::new(0u32)?);
/// let children: Vec<_> = (0..5)
///     .map(|_| {
///         process::spawn((slots.clone(), inside.clone()), |(slots, inside)| {
///             let (slots, inside): (Semaphore, Value<u32>) = (slots, inside);
///             let _permit = slots.acquire();
///             let now = inside.update(|n| { *n += 1; *n });
///             inside.update(|n| *n -= 1);
///             now
///         })
///     })
///     .collect();
/// for child in children {
///     assert!(child.join().unwrap() <= 2);
/// }
/// assert_eq!(slots.available_permits(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "multiprocessing.Semaphore")]
pub struct Semaphore {
    shared: Shared,
}

/// What a wait is called in snapshots.
const WHAT: &&str = &"process semaphore";

/// Makes the object that `T` is.
pub(super) fn create<T: 'static>(permits: usize) -> io::Result<Shared> {
    if permits > Semaphore::MAX_PERMITS {
        let why = format!("bingfa: a semaphore of {permits} permits is too large");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let len = size_of::<Permits>() as u64;
    Shared::create::<T>(Kind::Semaphore, len, |payload| {
        // SAFETY: zeroed, with room for it, and nobody else's yet.
        unsafe { Permits::init(payload.cast().as_ptr(), permits as u64) }
    })
}

pub(super) fn permits_of(shared: &Shared) -> &Permits {
    // SAFETY: invariant 1; the object lives as long as its handle.
    unsafe { shared.payload().cast().as_ref() }
}

#[track_caller]
fn take(shared: &Shared, count: u64, has_turn: bool) -> Attempt {
    permits_of(shared).take(shared.arena(), shared.handle().hold(), count, has_turn)
}

#[track_caller]
pub(super) fn try_acquire(shared: &Shared, count: usize) -> Option<SemaphorePermit<'_>> {
    let count = count as u64;
    (take(shared, count, false) == Attempt::Made).then(|| SemaphorePermit { shared, count })
}

/// Waits until `deadline`, or for as long as it takes.
#[track_caller]
pub(super) fn acquire(
    shared: &Shared,
    count: usize,
    deadline: Option<Instant>,
) -> Option<SemaphorePermit<'_>> {
    if let Some(permit) = try_acquire(shared, count) {
        return Some(permit);
    }
    let (family, permits) = (shared.family(), permits_of(shared));
    let turn = if count > 1 {
        let me = locked::me(shared);
        let first = |_| permits.turn.try_lock(me).then_some(()).into();
        waiting::wait_for(family, &permits.turn.word, WHAT, deadline, first)?;
        Some(Turn(shared))
    } else {
        None
    };
    let has_turn = turn.is_some();
    let count = count as u64;
    let taken = |_| take(shared, count, has_turn).into();
    waiting::wait_for(family, &permits.word, WHAT, deadline, taken)?;
    Some(SemaphorePermit { shared, count })
}

/// Waits for as long as it takes, as an async task.
pub(super) async fn acquire_async(shared: &Shared, count: usize) -> SemaphorePermit<'_> {
    if let Some(permit) = try_acquire(shared, count) {
        return permit;
    }
    let permits = permits_of(shared);
    let turn = if count > 1 {
        let me = locked::somebody(shared);
        let first = |_| permits.turn.try_lock(me).then_some(()).into();
        polling::done(shared, &permits.turn.word, first).await;
        Some(Turn(shared))
    } else {
        None
    };
    let has_turn = turn.is_some();
    let count = count as u64;
    let taken = |_| take(shared, count, has_turn).into();
    polling::done(shared, &permits.word, taken).await;
    SemaphorePermit { shared, count }
}

/// Whose turn it is: nobody else is given permits.
struct Turn<'a>(&'a Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        permits_of(self.0).end_turn(self.0.family().arena());
    }
}

impl Semaphore {
    /// How many permits a semaphore can have: 2³¹ - 1.
    pub const MAX_PERMITS: usize = permits::MOST as usize;

    /// Makes a semaphore with so many free permits.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects, or
    /// they are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    pub fn new(permits: usize) -> io::Result<Self> {
        create::<Self>(permits).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Waits for a permit and takes it.
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    #[doc(alias = "P")]
    #[doc(alias = "down")]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Takes a permit; `None`: none is free, or somebody waits for several.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    #[doc(alias = "locked")]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_acquire_many(1)
    }

    /// Waits for a permit, for at most `limit`, and takes it; `None`: it was too late.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_timeout(1, limit)
    }

    /// Waits for a permit until `deadline` and takes it; `None`: it was too late.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_deadline(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_deadline(1, deadline)
    }

    /// Waits for so many permits and takes them, all at once.
    ///
    /// It waits for ever if there are never so many.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> SemaphorePermit<'_> {
        loop {
            if let Some(permit) = acquire(&self.shared, count, None) {
                return permit;
            }
        }
    }

    /// Takes so many permits; `None`: they are not free, or somebody waits for several.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn try_acquire_many(&self, count: usize) -> Option<SemaphorePermit<'_>> {
        try_acquire(&self.shared, count)
    }

    /// Waits for so many permits, for at most `limit`; `None`: it was too late.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_many_timeout(
        &self,
        count: usize,
        limit: Duration,
    ) -> Option<SemaphorePermit<'_>> {
        acquire(&self.shared, count, Instant::now().checked_add(limit))
    }

    /// Waits for so many permits until `deadline`; `None`: it was too late.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// See [`Semaphore`].
    #[track_caller]
    pub fn acquire_many_deadline(
        &self,
        count: usize,
        deadline: Instant,
    ) -> Option<SemaphorePermit<'_>> {
        acquire(&self.shared, count, Some(deadline))
    }

    /// Waits for a permit, as an async task, and takes it.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// Dropping the future leaves; it has taken no permit.
    pub async fn acquire_async(&self) -> SemaphorePermit<'_> {
        acquire_async(&self.shared, 1).await
    }

    /// Waits for so many permits, as an async task, and takes them, all at once.
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// Dropping the future leaves; it has taken no permits.
    pub async fn acquire_many_async(&self, count: usize) -> SemaphorePermit<'_> {
        acquire_async(&self.shared, count).await
    }

    /// Adds permits, whether or not so many were taken, and wakes those who wait.
    ///
    /// # Panics
    /// If there were more than [`MAX_PERMITS`](Self::MAX_PERMITS) free ones. As
    /// [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, Semaphore};
    ///
    /// // As a counter of what was produced: the permit is not given back, but consumed.
    /// let items = Semaphore::new(0)?;
    /// let producer = process::spawn(items.clone(), |items: Semaphore| items.add_permits(2));
    /// items.acquire().forget();
    /// producer.join().unwrap();
    /// assert_eq!(items.available_permits(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "release")]
    #[doc(alias = "V")]
    #[doc(alias = "up")]
    pub fn add_permits(&self, count: usize) {
        let (arena, hold) = (self.shared.arena(), self.shared.handle().hold());
        let added = permits_of(&self.shared).add(arena, hold, count as u64);
        assert!(added, "too many permits");
    }

    /// How many permits are free, at this moment.
    #[doc(alias = "value")]
    #[must_use]
    pub fn available_permits(&self) -> usize {
        permits_of(&self.shared).free() as usize
    }
}

can_be_sent!(Semaphore: Kind::Semaphore);

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .finish_non_exhaustive()
    }
}

/// Permits of a [`Semaphore`] or [`BoundedSemaphore`](super::BoundedSemaphore), given back when
/// it is dropped, or when its process ends.
#[must_use = "the permits are given back at once if this is dropped"]
pub struct SemaphorePermit<'a> {
    shared: &'a Shared,
    count: u64,
}

impl SemaphorePermit<'_> {
    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.count as usize
    }

    /// Does not give them back, also when this process ends. (Somebody may put them back:
    /// [`Semaphore::add_permits`], [`BoundedSemaphore::release`](super::BoundedSemaphore::release).)
    pub fn forget(mut self) {
        forget(self.shared, std::mem::take(&mut self.count));
    }

    /// The same permits, for a guard that lives as long as it likes.
    pub(super) fn into_parts(mut self) -> (Shared, u64) {
        (self.shared.clone(), std::mem::take(&mut self.count))
    }
}

/// These permits, which somebody has, will not be given back.
pub(super) fn forget(shared: &Shared, count: u64) {
    let (arena, hold) = (shared.family().arena(), shared.handle().hold());
    permits_of(shared).forget(arena, hold, count);
}

/// These permits, which somebody has, are free again.
pub(super) fn give_back(shared: &Shared, count: u64) {
    if count == 0 || shared.family().arena().forked() {
        return;
    }
    let give_back = move |shared: &Shared| {
        let (arena, hold) = (shared.family().arena(), shared.handle().hold());
        permits_of(shared).give_back(arena, hold, count)
    };
    if !give_back(shared) {
        let shared = shared.clone();
        later::until_done(move || give_back(&shared));
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        give_back(self.shared, self.count);
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SemaphorePermit").field(&self.count).finish()
    }
}
