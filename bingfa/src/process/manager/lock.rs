//! Proxies of locks and events.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::client::{Link, patience, release};
use super::protocol::{EventOp, Kind, LockOp, Patience, Request};
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

/// A flag that a manager keeps, for which others wait: [`Client::event`].
#[doc(alias = "EventProxy")]
#[derive(Debug)]
pub struct Event(());

impl sealed::Sealed for Lock {
    const KIND: Kind = Kind::Lock;
}

impl sealed::Sealed for Event {
    const KIND: Kind = Kind::Event;
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

    /// Makes an event that is not set.
    ///
    /// # Errors
    /// If the manager has ended.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, manager::{Event, Manager, Proxy}};
    ///
    /// let manager = Manager::new()?;
    /// let ready = manager.event()?;
    /// process::spawn(ready.clone(), |ready: Proxy<Event>| ready.set().unwrap());
    /// ready.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.Event")]
    pub fn event(&self) -> io::Result<Proxy<Event>> {
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
    /// [`TimedOut`](ErrorKind::TimedOut) if it is not free by then; as for `lock`.
    ///
    /// # Cancellation
    /// A cancelled waiter does not hold it.
    pub fn lock_timeout(&self, limit: Duration) -> io::Result<LockGuard> {
        self.lock_within(patience(limit))
    }

    /// As [`lock`](Self::lock), but does not wait for it.
    ///
    /// # Errors
    /// [`WouldBlock`](ErrorKind::WouldBlock) if it is not free; as for `lock`.
    pub fn try_lock(&self) -> io::Result<LockGuard> {
        self.lock_within(Some(0))
    }

    fn lock_within(&self, limit: Patience) -> io::Result<LockGuard> {
        let request = Request::Lock(self.id, LockOp::Acquire(limit));
        let mut answer = self.client.ask(&request, Vec::new(), limit)?;
        if !answer.done()? {
            let kind = match limit {
                Some(0) => ErrorKind::WouldBlock,
                _ => ErrorKind::TimedOut,
            };
            return Err(io::Error::new(kind, "the lock is not free"));
        }
        answer.acknowledge()?;
        Ok(LockGuard {
            id: self.id,
            client: self.client.clone(),
            link: Some(answer.into_link()),
            unwinding: cancel::is_unwinding(),
        })
    }

    /// Makes a poisoned lock usable again.
    ///
    /// # Errors
    /// If the lock or its manager is gone.
    pub fn clear_poison(&self) -> io::Result<()> {
        let request = Request::Lock(self.id, LockOp::ClearPoison);
        self.client
            .ask(&request, Vec::new(), None)?
            .done()
            .map(drop)
    }
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

impl Proxy<Event> {
    fn done(&self, op: EventOp, limit: Patience) -> io::Result<bool> {
        let request = Request::Event(self.id, op);
        self.client.ask(&request, Vec::new(), limit)?.done()
    }

    /// Sets it: all who wait go on.
    ///
    /// # Errors
    /// If the event or its manager is gone.
    pub fn set(&self) -> io::Result<()> {
        self.done(EventOp::Set, None).map(drop)
    }

    /// Takes it back: who waits from now on waits for the next [`set`](Self::set).
    ///
    /// # Errors
    /// If the event or its manager is gone.
    pub fn clear(&self) -> io::Result<()> {
        self.done(EventOp::Clear, None).map(drop)
    }

    /// Whether it is set, at this moment.
    ///
    /// # Errors
    /// If the event or its manager is gone.
    pub fn is_set(&self) -> io::Result<bool> {
        let request = Request::Event(self.id, EventOp::IsSet);
        self.client.ask(&request, Vec::new(), None)?.flag()
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// If the event or its manager is gone.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub fn wait(&self) -> io::Result<()> {
        self.done(EventOp::Wait(None), None).map(drop)
    }

    /// Waits until it is set, but for at most `limit`; whether it was.
    ///
    /// # Errors
    /// If the event or its manager is gone.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub fn wait_timeout(&self, limit: Duration) -> io::Result<bool> {
        let limit = patience(limit);
        self.done(EventOp::Wait(limit), limit)
    }
}
