//! Proxies of locks that their owner can lock again.
//!
//! To the manager it is a lock like any other, of the connection that holds it. Which carrier
//! that is, and how often it has locked, is known here.

use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use super::client::{Link, lock, patience, release};
use super::lock::{acquire, clear_poison};
use super::protocol::{Kind, LockOp, Patience, Request};
use super::proxy::sealed;
use super::{Client, Proxy};
use crate::park::{cancel, carrier};

/// A lock that a manager keeps, which its owner can lock again: [`Client::reentrant_lock`].
///
/// The owner is a thread or coroutine of one process, by the [`Client`] that it uses: the same
/// carrier waits for itself if it locks again by a client that it has connected separately. If
/// the process dies while it holds the lock, the lock is *poisoned*, as a
/// [`Lock`](super::Lock) is. A panic does not poison it, as in std.
#[doc(alias = "RLock")]
#[derive(Debug)]
pub struct ReentrantLock(());

impl sealed::Sealed for ReentrantLock {
    const KIND: Kind = Kind::ReentrantLock;
}

/// A lock that a carrier has.
pub(super) struct Reentry {
    /// How many guards there are.
    depth: usize,
    /// The connection that holds it.
    link: Link,
}

impl Client {
    /// Makes a lock that is free, and that its owner can lock again.
    ///
    /// # Errors
    /// If the manager has ended.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::manager::{Manager, Proxy, ReentrantLock};
    ///
    /// fn visit(lock: &Proxy<ReentrantLock>, levels: u32) -> std::io::Result<()> {
    ///     let _guard = lock.lock()?;
    ///     if levels > 1 {
    ///         visit(lock, levels - 1)?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let manager = Manager::new()?;
    /// visit(&manager.reentrant_lock()?, 3)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.RLock")]
    pub fn reentrant_lock(&self) -> io::Result<Proxy<ReentrantLock>> {
        self.make()
    }
}

impl Proxy<ReentrantLock> {
    /// Waits for the lock, unless the caller has it already, and takes it (again). Waiters are
    /// served in the order of their arrival.
    ///
    /// # Errors
    /// If it is poisoned: then it is not taken. If the lock or its manager is gone.
    ///
    /// # Cancellation
    /// A cancelled waiter does not hold it.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> io::Result<ReentrantLockGuard> {
        self.lock_within(None)
    }

    /// As [`lock`](Self::lock), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if it is not free by then; as for `lock`.
    ///
    /// # Cancellation
    /// A cancelled waiter does not hold it.
    pub fn lock_timeout(&self, limit: Duration) -> io::Result<ReentrantLockGuard> {
        self.lock_within(patience(limit))
    }

    /// As [`lock`](Self::lock), but does not wait for it.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if somebody else has it; as for `lock`.
    pub fn try_lock(&self) -> io::Result<ReentrantLockGuard> {
        self.lock_within(Some(0))
    }

    fn lock_within(&self, limit: Patience) -> io::Result<ReentrantLockGuard> {
        let owner = (self.id, carrier::id());
        let reentries = &self.client.0.reentries;
        // What is a carrier's, nobody else touches: it stays as it is while this one waits.
        let again = lock(reentries).get_mut(&owner).map(|held| held.depth += 1);
        if again.is_none() {
            let link = acquire(&self.client, None, self.id, limit)?;
            lock(reentries).insert(owner, Reentry { depth: 1, link });
        }
        Ok(ReentrantLockGuard {
            owner,
            client: self.client.clone(),
            not_send: PhantomData,
        })
    }

    /// Makes a poisoned lock usable again.
    ///
    /// # Errors
    /// If the lock or its manager is gone.
    pub fn clear_poison(&self) -> io::Result<()> {
        clear_poison(&self.client, self.id)
    }
}

/// A manager's lock, held. Dropping the last guard of its owner frees the lock, and waits until
/// the manager knows.
///
/// It stays with its carrier: it is not `Send`.
#[must_use = "if unused the lock is free at once"]
pub struct ReentrantLockGuard {
    /// Lock and carrier.
    owner: (u64, u64),
    client: Client,
    not_send: PhantomData<*const ()>,
}

impl Drop for ReentrantLockGuard {
    fn drop(&mut self) {
        let last = match lock(&self.client.0.reentries).entry(self.owner) {
            Entry::Occupied(mut held) if held.get().depth > 1 => {
                held.get_mut().depth -= 1;
                None
            }
            Entry::Occupied(held) => Some(held.remove().link),
            Entry::Vacant(_) => None,
        };
        if let Some(link) = last {
            let request = Request::Lock(self.owner.0, LockOp::Release(None));
            // An error: the manager is gone, and the lock with it. A cancel that came meanwhile
            // acts at the next wait.
            let _ = cancel::shield(|| release(&self.client, link, &request));
        }
    }
}

impl fmt::Debug for ReentrantLockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReentrantLockGuard")
            .field("id", &self.owner.0)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
