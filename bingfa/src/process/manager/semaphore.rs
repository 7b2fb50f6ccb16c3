//! Proxies of semaphores.

use std::fmt;
use std::io;
use std::time::Duration;

use super::client::{Link, late, patience, release};
use super::protocol::{Kind, Patience, Request, SemaphoreOp};
use super::proxy::sealed;
use super::{Client, Proxy};
use crate::park::cancel;

/// A number of permits that a manager keeps: [`Client::semaphore`].
///
/// A permit is a guard, which gives itself back when it is dropped. Who comes first is served
/// first, also who wants several. The permits of a process that dies are given back; those that
/// it was told to [forget](SemaphorePermit::forget) are not.
#[derive(Debug)]
pub struct Semaphore(());

/// A [`Semaphore`] that never has more permits than it began with:
/// [`Client::bounded_semaphore`].
///
/// Guards cannot give back too many. What remains is [`release`](Proxy::release), which puts
/// back what was [forgotten](SemaphorePermit::forget): more than that is an error.
#[derive(Debug)]
pub struct BoundedSemaphore(());

impl sealed::Sealed for Semaphore {
    const KIND: Kind = Kind::Semaphore;
}

impl sealed::Sealed for BoundedSemaphore {
    const KIND: Kind = Kind::BoundedSemaphore;
}

/// What both kinds do.
pub trait Permits: permits::Sealed {}

impl<S: permits::Sealed> Permits for S {}

mod permits {
    pub trait Sealed {}
    impl Sealed for super::Semaphore {}
    impl Sealed for super::BoundedSemaphore {}
}

impl Client {
    /// Makes a semaphore with so many free permits.
    ///
    /// # Errors
    /// `InvalidInput` if they are more than 2³² - 1; if the manager has ended.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, manager::{Manager, Proxy, Semaphore}};
    ///
    /// let manager = Manager::new()?;
    /// let slots = manager.semaphore(2)?;
    /// let permit = slots.acquire()?;
    /// let child = process::spawn(slots.clone(), |slots: Proxy<Semaphore>| {
    ///     slots.try_acquire_many(2).is_err()
    /// });
    /// assert!(child.join().unwrap());
    /// drop(permit);
    /// assert_eq!(slots.available_permits()?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.Semaphore")]
    pub fn semaphore(&self, permits: usize) -> io::Result<Proxy<Semaphore>> {
        let request = Request::CreateSemaphore(permits as u64, false);
        let id = self.ask(&request, Vec::new(), None)?.number()?;
        Ok(Proxy::new(self.clone(), id))
    }

    /// Makes a semaphore that never has more than so many permits.
    ///
    /// # Errors
    /// As for [`semaphore`](Self::semaphore).
    ///
    /// # Examples
    /// ```
    /// let manager = bingfa::process::manager::Manager::new()?;
    /// let connections = manager.bounded_semaphore(2)?;
    /// connections.acquire()?.forget()?; // opened here ...
    /// connections.release(1)?; // ... closed there
    /// assert!(connections.release(1).is_err()); // closed twice
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.BoundedSemaphore")]
    pub fn bounded_semaphore(&self, permits: usize) -> io::Result<Proxy<BoundedSemaphore>> {
        let request = Request::CreateSemaphore(permits as u64, true);
        let id = self.ask(&request, Vec::new(), None)?.number()?;
        Ok(Proxy::new(self.clone(), id))
    }
}

impl<S: Permits> Proxy<S> {
    /// Waits for a permit and takes it.
    ///
    /// # Errors
    /// If the semaphore or its manager is gone.
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    pub fn acquire(&self) -> io::Result<SemaphorePermit> {
        self.acquire_within(1, None)
    }

    /// As [`acquire`](Self::acquire), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if there is none by then; as for `acquire`.
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    pub fn acquire_timeout(&self, limit: Duration) -> io::Result<SemaphorePermit> {
        self.acquire_within(1, patience(limit))
    }

    /// As [`acquire`](Self::acquire), but does not wait.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if none is free, or others wait; as for
    /// `acquire`.
    pub fn try_acquire(&self) -> io::Result<SemaphorePermit> {
        self.acquire_within(1, Some(0))
    }

    /// Waits for so many permits and takes them, all at once.
    ///
    /// # Errors
    /// `InvalidInput` if a bounded semaphore never has so many; as for
    /// [`acquire`](Self::acquire).
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    pub fn acquire_many(&self, count: usize) -> io::Result<SemaphorePermit> {
        self.acquire_within(count, None)
    }

    /// As [`acquire_many`](Self::acquire_many), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if there are not so many by then; as for
    /// `acquire_many`.
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    pub fn acquire_many_timeout(
        &self,
        count: usize,
        limit: Duration,
    ) -> io::Result<SemaphorePermit> {
        self.acquire_within(count, patience(limit))
    }

    /// As [`acquire_many`](Self::acquire_many), but does not wait.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if they are not free, or others wait; as for
    /// `acquire_many`.
    pub fn try_acquire_many(&self, count: usize) -> io::Result<SemaphorePermit> {
        self.acquire_within(count, Some(0))
    }

    fn acquire_within(&self, count: usize, limit: Patience) -> io::Result<SemaphorePermit> {
        let request = Request::Semaphore(self.id, SemaphoreOp::Acquire(count as u64, limit));
        let mut answer = self.client.ask(&request, Vec::new(), limit)?;
        if !answer.done()? {
            return Err(late(limit, "the permits are not free"));
        }
        answer.acknowledge()?;
        Ok(SemaphorePermit {
            id: self.id,
            client: self.client.clone(),
            link: Some(answer.into_link()),
            count,
        })
    }

    /// How many permits are free, at this moment.
    ///
    /// # Errors
    /// If the semaphore or its manager is gone.
    #[doc(alias = "get_value")]
    pub fn available_permits(&self) -> io::Result<usize> {
        let request = Request::Semaphore(self.id, SemaphoreOp::Available);
        let answer = self.client.ask(&request, Vec::new(), None)?;
        Ok(answer.number()? as usize)
    }

    fn add(&self, count: usize) -> io::Result<()> {
        let request = Request::Semaphore(self.id, SemaphoreOp::Add(count as u64));
        self.client
            .ask(&request, Vec::new(), None)?
            .done()
            .map(drop)
    }
}

impl Proxy<Semaphore> {
    /// Adds permits, whether or not so many were taken, and wakes those who wait.
    ///
    /// # Errors
    /// `InvalidInput` if there were more than 2³² - 1 free ones; if the semaphore or its
    /// manager is gone.
    #[doc(alias = "release")]
    pub fn add_permits(&self, count: usize) -> io::Result<()> {
        self.add(count)
    }
}

impl Proxy<BoundedSemaphore> {
    /// Puts permits back that were taken and [forgotten](SemaphorePermit::forget), by
    /// whomever, and wakes those who wait.
    ///
    /// # Errors
    /// `InvalidInput`, and nothing is put back, if fewer were forgotten; if the semaphore or
    /// its manager is gone.
    pub fn release(&self, count: usize) -> io::Result<()> {
        self.add(count)
    }
}

/// Permits of a manager's semaphore. Dropping it gives them back, and waits until the manager
/// knows.
#[must_use = "the permits are given back at once if this is dropped"]
pub struct SemaphorePermit {
    id: u64,
    client: Client,
    /// The connection that has the permits.
    link: Option<Link>,
    count: usize,
}

impl SemaphorePermit {
    /// How many permits these are.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.count
    }

    /// Does not give them back, also when this process ends.
    ///
    /// # Errors
    /// If the semaphore or its manager is gone.
    pub fn forget(mut self) -> io::Result<()> {
        match self.link.take() {
            Some(link) => self.end(link, SemaphoreOp::Forget),
            None => Ok(()),
        }
    }

    fn end(&self, link: Link, op: SemaphoreOp) -> io::Result<()> {
        let request = Request::Semaphore(self.id, op);
        cancel::shield(|| release(&self.client, link, &request))
    }
}

impl Drop for SemaphorePermit {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            // An error: the manager is gone, and the semaphore with it.
            let _ = self.end(link, SemaphoreOp::Release);
        }
    }
}

impl fmt::Debug for SemaphorePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphorePermit")
            .field("count", &self.count)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
