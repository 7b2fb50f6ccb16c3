//! `Condvar`: a condition variable between processes.
//!
//! # Invariants
//! 1. The payload of the object is a [`condvar::Condvar`]; zeroes are one.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::locked::{self, MutexGuard};
use super::poison::LockResult;
use super::shared::{Shared, can_be_sent};
use super::{polling, waiting};
use crate::park::wait::about_to_wait;
use crate::shm::condvar::{self, Ticket};
use crate::shm::kind::Kind;
use crate::sync::WaitTimeoutResult;

/// A condition variable between processes, for the guards of a [`Mutex`](super::Mutex),
/// [`Value`](super::Value) or [`Array`](super::Array): as [`sync::Condvar`](crate::sync::Condvar).
///
/// As with std's, a wait may end for no reason: call it in a loop, or use
/// [`wait_while`](Self::wait_while). Notifications end the longest waits first.
///
/// A handle: clones are the same condition variable, and so is what arrives in another
/// process, as an argument or a result of [`spawn`](super::spawn()) or in another message of
/// this module.
///
/// # When processes end
/// When a process ends that has a handle, all waits of the others end, for no reason that the
/// waiter could see: the dead one may have been notified in the place of another. So no
/// notification is lost; whoever finds its condition unchanged waits on. If the dead one was to
/// change the condition, only the mutex can tell: it is poisoned if the dead one held it.
///
/// # Cancellation
/// A waiter that is cancelled, or whose [`time::timeout`](crate::time::timeout) expires,
/// unwinds *without* the mutex. If it was notified at that very moment, somebody else is
/// notified in its place.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Condvar, Mutex};
///
/// let (ready, changed) = (Mutex::new(0u8)?, Condvar::new()?);
/// let waiter = process::spawn((ready.clone(), changed.clone()), |(ready, changed)| {
///     let (ready, changed): (Mutex<u8>, Condvar) = (ready, changed);
///     *changed.wait_while(ready.lock().unwrap(), |ready| *ready == 0).unwrap()
/// });
/// *ready.lock().unwrap() = 7;
/// changed.notify_one();
/// assert_eq!(waiter.join().unwrap(), 7);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "multiprocessing.Condition")]
#[doc(alias = "Condition")]
pub struct Condvar {
    shared: Shared,
}

/// What a wait is called in snapshots.
const WHAT: &&str = &"process condition";

type TimedResult<'a, T> = LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>;

impl Condvar {
    /// Makes a condition variable for which nobody waits.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new() -> io::Result<Self> {
        let len = size_of::<condvar::Condvar>() as u64;
        Shared::create::<Self>(Kind::Condvar, len, |_| Ok(())).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        Self { shared }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn condvar(&self) -> &condvar::Condvar {
        // SAFETY: invariant 1; the object lives as long as its handle.
        unsafe { self.shared.payload().cast().as_ref() }
    }

    /// Unlocks the mutex, waits for a notification and locks the mutex again.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_until(guard, None).0
    }

    /// Waits as long as `condition` holds, which is asked with the mutex locked.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    #[doc(alias = "wait_for")]
    pub fn wait_while<'a, T: ?Sized, F>(
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
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(
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
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    pub fn wait_deadline<'a, T: ?Sized>(
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
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// See [`Condvar`].
    #[track_caller]
    pub fn wait_timeout_while<'a, T: ?Sized, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: F,
    ) -> TimedResult<'a, T>
    where
        F: FnMut(&mut T) -> bool,
    {
        let deadline = Instant::now().checked_add(dur);
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

    /// As [`wait`](Self::wait), as an async task.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// Dropping the future leaves, *without* the mutex. If it was notified, somebody else is
    /// notified in its place.
    pub async fn wait_async<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
    ) -> LockResult<MutexGuard<'a, T>> {
        let mut waiter = self.waiter();
        let (shared, data) = guard.into_parts();
        let served = |_| waiter.is_served().then_some(()).into();
        polling::done(&self.shared, &self.condvar().word, served).await;
        locked::acquire_async(shared).await;
        waiter.ticket = None;
        locked::guard(shared, data)
    }

    /// As [`wait_while`](Self::wait_while), as an async task.
    ///
    /// # Errors
    /// With the guard, if the mutex is poisoned.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// As for [`wait_async`](Self::wait_async).
    pub async fn wait_while_async<'a, T: ?Sized, F>(
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

    /// Ends one wait, if there is one: the longest.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[doc(alias = "notify")]
    #[track_caller]
    pub fn notify_one(&self) {
        self.condvar().notify_one(self.shared.arena());
    }

    /// Ends all waits.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn notify_all(&self) {
        self.condvar().notify_all(self.shared.arena());
    }

    /// Gets in line, before the mutex is free: whoever has it next notifies us, too.
    #[track_caller]
    fn waiter(&self) -> Waiter<'_> {
        let condvar = self.condvar();
        Waiter {
            shared: &self.shared,
            condvar,
            ticket: Some(condvar.enter(self.shared.arena())),
        }
    }

    /// True: the deadline has passed.
    #[track_caller]
    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (LockResult<MutexGuard<'a, T>>, bool) {
        about_to_wait(); // now, while the guard can still unwind
        let condvar = self.condvar();
        let mut waiter = self.waiter();
        let (shared, data) = guard.into_parts();
        let served = |_| waiter.is_served().then_some(()).into();
        let family = self.shared.family();
        let served = waiting::wait_for(family, &condvar.word, WHAT, deadline, served);
        let timed_out = served.is_none() && !waiter.leave();
        let guard = locked::lock(shared, data); // may unwind: then another is notified
        waiter.ticket = None;
        (guard, timed_out)
    }
}

/// Who waits, or was notified and has not got the mutex yet.
struct Waiter<'a> {
    shared: &'a Shared,
    condvar: &'a condvar::Condvar,
    ticket: Option<Ticket>,
}

impl Waiter<'_> {
    fn is_served(&self) -> bool {
        self.ticket
            .is_some_and(|ticket| self.condvar.has_served(ticket))
    }

    /// Gives up. True: it was notified; then it stays so.
    fn leave(&mut self) -> bool {
        let Some(ticket) = self.ticket else {
            return false;
        };
        let served = self.condvar.leave(self.shared.family().arena(), ticket);
        if !served {
            self.ticket = None;
        }
        served
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.leave() {
            self.condvar.notify_one(self.shared.family().arena());
        }
    }
}

fn timed<'a, T: ?Sized>(
    (guard, timed_out): (LockResult<MutexGuard<'a, T>>, bool),
) -> TimedResult<'a, T> {
    let timed_out = WaitTimeoutResult::new(timed_out);
    match guard {
        Ok(guard) => Ok((guard, timed_out)),
        Err(error) => Err(error.map(|guard| (guard, timed_out))),
    }
}

can_be_sent!(Condvar: Kind::Condvar);

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
