//! The waits of a [`Condvar`] with a guard that keeps its mutex alive, and that may go to
//! another carrier.

use std::mem::forget;
use std::time::{Duration, Instant};

use super::condvar::{Condvar, WaitTimeoutResult};
use super::mutex::ArcMutexGuard;
use super::poison::{self, LockResult};
use crate::park::carrier::ANONYMOUS;

type TimedResult<T> = LockResult<(ArcMutexGuard<T>, WaitTimeoutResult)>;

impl Condvar {
    /// As [`wait`](Self::wait), with a guard that keeps the mutex alive.
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
    /// use bingfa::coroutine;
    /// use bingfa::sync::{Arc, Condvar, Mutex};
    ///
    /// let (ready, changed) = (Arc::new(Mutex::new(false)), Arc::new(Condvar::new()));
    /// let guard = ready.lock_arc().unwrap(); // taken here, used there
    /// let waiter = coroutine::spawn({
    ///     let changed = changed.clone();
    ///     move || *changed.wait_arc_while(guard, |ready| !*ready).unwrap()
    /// });
    /// *ready.lock().unwrap() = true;
    /// changed.notify_one();
    /// assert!(waiter.join().unwrap());
    /// ```
    #[track_caller]
    pub fn wait_arc<T>(&self, guard: ArcMutexGuard<T>) -> LockResult<ArcMutexGuard<T>> {
        let (guard, _) = self.wait_arc_until(guard, None);
        poison::wrap(ArcMutexGuard::mutex(&guard).is_poisoned(), guard)
    }

    /// As [`wait_while`](Self::wait_while), with a guard that keeps the mutex alive.
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
    pub fn wait_arc_while<T, F>(
        &self,
        mut guard: ArcMutexGuard<T>,
        mut condition: F,
    ) -> LockResult<ArcMutexGuard<T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait_arc(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_timeout`](Self::wait_timeout), with a guard that keeps the mutex alive.
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
    pub fn wait_arc_timeout<T>(&self, guard: ArcMutexGuard<T>, dur: Duration) -> TimedResult<T> {
        timed(self.wait_arc_until(guard, Instant::now().checked_add(dur)))
    }

    /// As [`wait_deadline`](Self::wait_deadline), with a guard that keeps the mutex alive.
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
    pub fn wait_arc_deadline<T>(
        &self,
        guard: ArcMutexGuard<T>,
        deadline: Instant,
    ) -> TimedResult<T> {
        timed(self.wait_arc_until(guard, Some(deadline)))
    }

    /// As [`wait_timeout_while`](Self::wait_timeout_while), with a guard that keeps the mutex
    /// alive.
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
    pub fn wait_arc_timeout_while<T, F>(
        &self,
        guard: ArcMutexGuard<T>,
        dur: Duration,
        condition: F,
    ) -> TimedResult<T>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.wait_arc_while_until(guard, Instant::now().checked_add(dur), condition)
    }

    /// As [`wait_deadline_while`](Self::wait_deadline_while), with a guard that keeps the mutex
    /// alive.
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
    pub fn wait_arc_deadline_while<T, F>(
        &self,
        guard: ArcMutexGuard<T>,
        deadline: Instant,
        condition: F,
    ) -> TimedResult<T>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.wait_arc_while_until(guard, Some(deadline), condition)
    }

    #[track_caller]
    fn wait_arc_while_until<T, F>(
        &self,
        mut guard: ArcMutexGuard<T>,
        deadline: Option<Instant>,
        mut condition: F,
    ) -> TimedResult<T>
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
            guard = timed(self.wait_arc_until(guard, deadline))?.0;
        }
    }

    /// As [`wait_async`](Self::wait_async), with a guard that keeps the mutex alive and may be
    /// held across `.await`s that move the task.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Cancellation
    /// As for [`wait_async`](Self::wait_async).
    pub async fn wait_arc_async<T>(&self, guard: ArcMutexGuard<T>) -> LockResult<ArcMutexGuard<T>> {
        let mutex = ArcMutexGuard::mutex(&guard).clone();
        let pass_on = self.notified(guard).await;
        let guard = mutex.lock_arc_async().await;
        forget(pass_on);
        guard
    }

    /// As [`wait_while_async`](Self::wait_while_async), with a guard that keeps the mutex alive
    /// and may be held across `.await`s that move the task.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Cancellation
    /// As for [`wait_async`](Self::wait_async).
    ///
    /// # Examples
    /// ```
    /// use bingfa::sync::{Arc, Condvar, Mutex};
    ///
    /// fn for_any_executor(task: impl Future<Output = u32> + Send) {
    ///     // ...
    /// #   drop(task);
    /// }
    ///
    /// let (jobs, changed) = (Arc::new(Mutex::new(0)), Condvar::new());
    /// for_any_executor(async {
    ///     let jobs = jobs.lock_arc_async().await.unwrap();
    ///     *changed.wait_arc_while_async(jobs, |jobs| *jobs == 0).await.unwrap()
    /// });
    /// ```
    pub async fn wait_arc_while_async<T, F>(
        &self,
        mut guard: ArcMutexGuard<T>,
        mut condition: F,
    ) -> LockResult<ArcMutexGuard<T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait_arc_async(guard).await?;
        }
        Ok(guard)
    }

    /// True: the deadline has passed.
    #[track_caller]
    fn wait_arc_until<T>(
        &self,
        guard: ArcMutexGuard<T>,
        deadline: Option<Instant>,
    ) -> (ArcMutexGuard<T>, bool) {
        let mutex = ArcMutexGuard::into_mutex(guard);
        let (guard, timed_out) = self.wait_until(mutex.guard(ANONYMOUS), deadline);
        forget(guard); // the lock is the other guard's
        (ArcMutexGuard::of(mutex), timed_out)
    }
}

fn timed<T>((guard, timed_out): (ArcMutexGuard<T>, bool)) -> TimedResult<T> {
    let poisoned = ArcMutexGuard::mutex(&guard).is_poisoned();
    poison::wrap(poisoned, (guard, WaitTimeoutResult::new(timed_out)))
}
