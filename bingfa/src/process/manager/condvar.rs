//! Proxies of condition variables.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::client::patience;
use super::protocol::{CondvarOp, Kind, Patience, Request};
use super::proxy::sealed;
use super::{Client, LockGuard, Proxy};
use crate::sync::WaitTimeoutResult;

/// A condition variable that a manager keeps, for the guards of a [`Lock`](super::Lock):
/// [`Client::condvar`].
///
/// Notifications end the longest waits first. One that was meant for a process that dies, or for
/// a waiter that is cancelled, goes to the next.
#[doc(alias = "ConditionProxy")]
#[doc(alias = "Condition")]
#[derive(Debug)]
pub struct Condvar(());

impl sealed::Sealed for Condvar {
    const KIND: Kind = Kind::Condvar;
}

impl Client {
    /// Makes a condition variable for which nobody waits.
    ///
    /// # Errors
    /// If the manager has ended.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, manager::{Condvar, Lock, Manager, Proxy, Value}};
    ///
    /// type Shared = (Proxy<Lock>, Proxy<Condvar>, Proxy<Value<u32>>);
    ///
    /// let manager = Manager::new()?;
    /// let (lock, changed, stage) = (manager.lock()?, manager.condvar()?, manager.value(0)?);
    /// let shared = (lock.clone(), changed.clone(), stage.clone());
    /// let child = process::spawn(shared, |(lock, changed, stage): Shared| {
    ///     let guard = lock.lock().unwrap();
    ///     stage.set(7).unwrap();
    ///     changed.notify_all().unwrap();
    ///     drop(guard);
    /// });
    /// let guard = changed.wait_while(lock.lock()?, || Ok(stage.get()? == 0))?;
    /// assert_eq!(stage.get()?, 7);
    /// drop(guard);
    /// child.join().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.Condition")]
    pub fn condvar(&self) -> io::Result<Proxy<Condvar>> {
        self.make()
    }
}

impl Proxy<Condvar> {
    /// Frees the lock, waits for a notification and takes the lock again.
    ///
    /// # Errors
    /// `InvalidInput` if the lock is another manager's; if the lock is poisoned by then; if one
    /// of the objects or their manager is gone. The lock is free afterwards.
    ///
    /// # Cancellation
    /// A cancelled waiter does not hold the lock, and has taken no notification.
    pub fn wait(&self, guard: LockGuard) -> io::Result<LockGuard> {
        Ok(self.wait_within(guard, None)?.0)
    }

    /// Waits as long as `condition` holds, which is asked with the lock held.
    ///
    /// # Errors
    /// Those of `condition`; as for [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// As for [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while(
        &self,
        mut guard: LockGuard,
        mut condition: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<LockGuard> {
        while condition()? {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), for at most `limit`. (The lock may take longer to get.)
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(
        &self,
        guard: LockGuard,
        limit: Duration,
    ) -> io::Result<(LockGuard, WaitTimeoutResult)> {
        let (guard, notified) = self.wait_within(guard, patience(limit))?;
        Ok((guard, WaitTimeoutResult::new(!notified)))
    }

    /// As [`wait_while`](Self::wait_while), for at most `limit`.
    ///
    /// # Errors
    /// As for [`wait_while`](Self::wait_while).
    ///
    /// # Cancellation
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout_while(
        &self,
        mut guard: LockGuard,
        limit: Duration,
        mut condition: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<(LockGuard, WaitTimeoutResult)> {
        let end = Instant::now().checked_add(limit);
        while condition()? {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok((guard, WaitTimeoutResult::new(true)));
            }
            guard = self.wait_within(guard, left.and_then(patience))?.0;
        }
        Ok((guard, WaitTimeoutResult::new(false)))
    }

    fn wait_within(&self, guard: LockGuard, limit: Patience) -> io::Result<(LockGuard, bool)> {
        if !guard.is_of(&self.client) {
            let why = "a condition variable and its lock are one manager's";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        guard.wait(self.id, limit)
    }

    /// Ends one wait, if there is one: the longest.
    ///
    /// # Errors
    /// If the condition variable or its manager is gone.
    #[doc(alias = "notify")]
    pub fn notify_one(&self) -> io::Result<()> {
        self.notify(CondvarOp::NotifyOne)
    }

    /// Ends all waits.
    ///
    /// # Errors
    /// If the condition variable or its manager is gone.
    pub fn notify_all(&self) -> io::Result<()> {
        self.notify(CondvarOp::NotifyAll)
    }

    fn notify(&self, op: CondvarOp) -> io::Result<()> {
        let request = Request::Condvar(self.id, op);
        self.client
            .ask(&request, Vec::new(), None)?
            .done()
            .map(drop)
    }
}
