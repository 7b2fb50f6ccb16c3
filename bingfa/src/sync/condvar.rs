//! `Condvar`: std's, on every carrier.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::mutex::{Mutex, MutexGuard};
use super::poison::{LockResult, PoisonError};
use super::raw_condvar::{NotifiedFuture, RawCondvar, Waited};
use crate::park::{deadlock, wait};

/// A condition variable: [`std::sync::Condvar`], which suspends only the calling carrier.
///
/// As with std's, a wait may end for no reason: call it in a loop, or use
/// [`wait_while`](Self::wait_while). Who is notified while the mutex is taken is woken when it
/// can have it; and of many threads that are notified while it is free, one after the other.
///
/// # Cancellation
/// A waiter that is cancelled, or whose [`time::timeout`](crate::time::timeout) expires,
/// unwinds *without* the mutex. If it was notified at that very moment, somebody else is
/// notified in its place (or it returns as if nothing had happened, and unwinds at its next
/// wait).
///
/// # Examples
/// ```
/// use bingfa::coroutine;
/// use bingfa::sync::{Arc, Condvar, Mutex};
///
/// let pair = Arc::new((Mutex::new(false), Condvar::new()));
/// let waiter = {
///     let pair = pair.clone();
///     coroutine::spawn(move || {
///         let (ready, changed) = &*pair;
///         *changed.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap()
///     })
/// };
/// let (ready, changed) = &*pair;
/// *ready.lock().unwrap() = true;
/// changed.notify_one();
/// assert!(waiter.join().unwrap());
/// ```
#[doc(alias = "Condition")]
pub struct Condvar {
    raw: RawCondvar,
}

/// Whether a wait with a time limit ended because of it.
#[derive(Debug, PartialEq, Eq, Copy, Clone)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn new(timed_out: bool) -> Self {
        Self(timed_out)
    }

    /// True if the time was over.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

type TimedResult<'a, T> = LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>;

impl Condvar {
    /// Makes a condition variable for which nobody waits.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self {
            raw: RawCondvar::new(),
        }
    }

    /// Unlocks the mutex, waits for a notification and locks the mutex again.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// If others wait with another mutex.
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[inline(always)]
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let (guard, _) = self.wait_until(guard, None);
        MutexGuard::checked(guard)
    }

    /// Waits as long as `condition` holds, which is asked with the mutex locked.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// If others wait with another mutex.
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    #[doc(alias = "wait_for")]
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits for a notification, for at most `dur`. (The mutex may take longer to get.)
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// If others wait with another mutex.
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> TimedResult<'a, T> {
        timed(self.wait_until(guard, Instant::now().checked_add(dur)))
    }

    /// Waits for a notification until `deadline`. (The mutex may take longer to get.)
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// If others wait with another mutex.
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    pub fn wait_deadline<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> TimedResult<'a, T> {
        timed(self.wait_until(guard, Some(deadline)))
    }

    /// Waits as long as `condition` holds, for at most `dur`.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// If others wait with another mutex.
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
        condition: F,
    ) -> TimedResult<'a, T>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.wait_while_until(guard, Instant::now().checked_add(dur), condition)
    }

    /// As [`wait_timeout_while`](Self::wait_timeout_while), until `deadline`.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// If others wait with another mutex.
    ///
    /// # Cancellation
    /// See [`Condvar`].
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    /// use bingfa::sync::{Condvar, Mutex};
    ///
    /// let (jobs, changed) = (Mutex::new(0), Condvar::new());
    /// let soon = Instant::now() + Duration::from_millis(1);
    /// let waited = changed.wait_deadline_while(jobs.lock().unwrap(), soon, |jobs| *jobs == 0);
    /// assert!(waited.unwrap().1.timed_out());
    /// ```
    #[track_caller]
    pub fn wait_deadline_while<'a, T, F>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
        condition: F,
    ) -> TimedResult<'a, T>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.wait_while_until(guard, Some(deadline), condition)
    }

    #[track_caller]
    fn wait_while_until<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
        mut condition: F,
    ) -> TimedResult<'a, T>
    where
        F: FnMut(&mut T) -> bool,
    {
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult::new(false)));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok((guard, WaitTimeoutResult::new(true)));
            }
            guard = timed(self.wait_until(guard, deadline))?.0;
        }
    }

    /// As [`wait_timeout`](Self::wait_timeout), in milliseconds; false: the time was over.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// If others wait with another mutex.
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[deprecated(
        since = "0.1.0",
        note = "replaced by `bingfa::sync::Condvar::wait_timeout`, as in std"
    )]
    #[track_caller]
    pub fn wait_timeout_ms<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        ms: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let in_time = |(guard, result): (_, WaitTimeoutResult)| (guard, !result.timed_out());
        match self.wait_timeout(guard, Duration::from_millis(u64::from(ms))) {
            Ok(waited) => Ok(in_time(waited)),
            Err(error) => Err(PoisonError::new(in_time(error.into_inner()))),
        }
    }

    /// Unlocks the mutex, waits for a notification, as an async task, and locks it again.
    ///
    /// The guard is not `Send`, and so neither is the future; one that is comes from
    /// [`wait_arc_async`](Self::wait_arc_async).
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Cancellation
    /// The wait begins at the first poll. Dropping the future after that leaves the mutex
    /// unlocked, and passes on a notification that it had got.
    pub async fn wait_async<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
    ) -> LockResult<MutexGuard<'a, T>> {
        let mutex = guard.mutex();
        let pass_on = self.notified(guard).await;
        let guard = mutex.lock_async().await;
        std::mem::forget(pass_on);
        guard
    }

    /// Waits as long as `condition` holds, as an async task.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Cancellation
    /// As for [`wait_async`](Self::wait_async).
    pub async fn wait_while_async<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait_async(guard).await?;
        }
        Ok(guard)
    }

    /// Ends one wait, if there is one: that of a thread or coroutine, or, if none waits, of
    /// an async task; the longest waiting.
    #[inline]
    #[doc(alias = "notify")]
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Ends all waits.
    #[inline]
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }

    /// Drops the guard once the wait of an async task has begun, and waits for its notification;
    /// which is to be forgotten when the task has the mutex again.
    pub(super) async fn notified<G>(&self, guard: G) -> PassOn<'_> {
        let mut notified = pin!(NotifiedFuture::new(&self.raw));
        notified.as_ref().enqueue();
        drop(guard);
        notified.as_mut().await;
        PassOn(&self.raw)
    }

    /// True: the deadline has passed.
    ///
    /// Inlined, as all that lies on the stack of a waiting coroutine has to come back to the
    /// caches when it is woken.
    #[inline(always)]
    #[track_caller]
    pub(super) fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, T>, bool) {
        // Now, while the guard can still unwind.
        wait::about_to_wait();
        guard.about_to_relock();
        let (mutex, id) = guard.into_parts();
        match self.raw.wait(mutex.raw(), id, deadline) {
            Waited::Notified => (mutex.guard(id), false),
            Waited::TimedOut => (mutex.guard(id), true),
            Waited::Interrupted => (interrupted(mutex, id), false),
            Waited::OtherMutex => with_other_mutex(mutex.guard(id)),
        }
    }
}

/// Unwinds. Or it is a spurious wake-up, if that may not be after all.
#[cold]
#[track_caller]
fn interrupted<T>(mutex: &Mutex<T>, id: u64) -> MutexGuard<'_, T> {
    deadlock::raise();
    mutex.relock(id)
}

#[cold]
#[track_caller]
fn with_other_mutex<T>(guard: MutexGuard<'_, T>) -> ! {
    drop(guard);
    panic!("attempted to use a condition variable with two mutexes");
}

fn timed<T>((guard, timed_out): (MutexGuard<'_, T>, bool)) -> TimedResult<'_, T> {
    let timed_out = WaitTimeoutResult::new(timed_out);
    match MutexGuard::checked(guard) {
        Ok(guard) => Ok((guard, timed_out)),
        Err(error) => Err(PoisonError::new((error.into_inner(), timed_out))),
    }
}

/// A task that was notified, and goes before it has the mutex.
pub(super) struct PassOn<'a>(&'a RawCondvar);

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
