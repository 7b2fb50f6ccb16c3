//! Proxies of locks.

use std::fmt;
use std::io;
use std::time::Duration;

use super::client::{Link, late, patience, release};
use super::protocol::{CondvarOp, Kind, LockOp, Patience, Request};
use super::proxy::sealed;
use super::{Client, Proxy};
use crate::park::cancel;

/// A lock that a manager keeps: [`Client::lock`].
///
/// If a process dies while it holds the lock, or panics, the lock is *poisoned*: it is free,
/// but locking it is an error that names the process, until somebody has looked after what it
/// protects and calls `clear_poison`.
#[doc(alias = "AcquirerProxy")]
#[derive(Debug)]
pub struct Lock(());

impl sealed::Sealed for Lock {
    const KIND: Kind = Kind::Lock;
}

impl Client {
    /// Makes a lock that is free.
    ///
    /// # Errors
    /// If the manager has ended.
    ///
    /// # Examples
    /// ```
    /// let manager = bingfa::process::manager::Manager::new()?;
    /// let lock = manager.lock()?;
    /// let guard = lock.lock()?;
    /// assert!(lock.try_lock().is_err());
    /// drop(guard);
    /// assert!(lock.try_lock().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.Lock")]
    pub fn lock(&self) -> io::Result<Proxy<Lock>> {
        self.make()
    }
}

impl Proxy<Lock> {
    /// Waits for the lock and takes it. Waiters are served in the order of their arrival.
    ///
    /// # Errors
    /// If it is poisoned: then it is not taken. If the lock or its manager is gone.
    ///
    /// # Cancellation
    /// A cancelled waiter does not hold it.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> io::Result<LockGuard> {
        self.lock_within(None)
    }

    /// As [`lock`](Self::lock), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if it is not free by then; as for `lock`.
    ///
    /// # Cancellation
    /// A cancelled waiter does not hold it.
    pub fn lock_timeout(&self, limit: Duration) -> io::Result<LockGuard> {
        self.lock_within(patience(limit))
    }

    /// As [`lock`](Self::lock), but does not wait for it.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it is not free; as for `lock`.
    pub fn try_lock(&self) -> io::Result<LockGuard> {
        self.lock_within(Some(0))
    }

    fn lock_within(&self, limit: Patience) -> io::Result<LockGuard> {
        let link = acquire(&self.client, None, self.id, limit)?;
        Ok(LockGuard::new(self.id, self.client.clone(), link))
    }

    /// Makes a poisoned lock usable again.
    ///
    /// # Errors
    /// If the lock or its manager is gone.
    pub fn clear_poison(&self) -> io::Result<()> {
        clear_poison(&self.client, self.id)
    }
}

pub(super) fn clear_poison(client: &Client, id: u64) -> io::Result<()> {
    let request = Request::Lock(id, LockOp::ClearPoison);
    client.ask(&request, Vec::new(), None)?.done().map(drop)
}

/// Takes a lock over `link`, or any; the connection that then holds it.
pub(super) fn acquire(
    client: &Client,
    link: Option<Link>,
    id: u64,
    limit: Patience,
) -> io::Result<Link> {
    let request = Request::Lock(id, LockOp::Acquire(limit));
    let mut answer = client.ask_over(link, &request, Vec::new(), limit)?;
    if !answer.done()? {
        return Err(late(limit, "the lock is not free"));
    }
    answer.acknowledge()?;
    Ok(answer.into_link())
}

/// A manager's lock, held. Dropping it frees the lock, and waits until the manager knows.
#[must_use = "if unused the lock is free at once"]
pub struct LockGuard {
    id: u64,
    client: Client,
    /// The connection that holds the lock.
    link: Option<Link>,
    /// When the guard was made.
    unwinding: bool,
}

impl LockGuard {
    fn new(id: u64, client: Client, link: Link) -> LockGuard {
        LockGuard {
            id,
            client,
            link: Some(link),
            unwinding: cancel::is_unwinding(),
        }
    }

    /// Has a condition variable wait, with the lock free meanwhile. True: it was notified.
    pub(super) fn wait(mut self, condvar: u64, limit: Patience) -> io::Result<(LockGuard, bool)> {
        cancel::checkpoint(); // now, while the guard can still unwind
        let link = self.link.take();
        let request = Request::Condvar(condvar, CondvarOp::Wait(self.id, limit));
        let answer = self.client.ask_over(link, &request, Vec::new(), limit)?;
        let notified = answer.done();
        let link = answer.into_link();
        if notified.is_err() {
            self.link = Some(link); // it may hold the lock all the same, and then lets go of it
        } else {
            self.link = Some(acquire(&self.client, Some(link), self.id, None)?);
        }
        Ok((self, notified?))
    }

    pub(super) fn is_of(&self, client: &Client) -> bool {
        self.client.is(client)
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let panics = !self.unwinding && cancel::is_panicking();
        let reason = panics.then(|| "panicked".to_owned());
        let request = Request::Lock(self.id, LockOp::Release(reason));
        if let Some(link) = self.link.take() {
            // An error: the manager is gone, and the lock with it.
            // A cancel that came meanwhile acts at the next wait: it must not leave the lock
            // as that of somebody who died.
            let _ = cancel::shield(|| release(&self.client, link, &request));
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("id", &self.id)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
