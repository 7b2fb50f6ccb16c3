//! Proxies of events.

use std::io;
use std::time::Duration;

use super::client::patience;
use super::protocol::{EventOp, Kind, Patience, Request};
use super::proxy::sealed;
use super::{Client, Proxy};

/// A flag that a manager keeps, for which others wait: [`Client::event`].
#[doc(alias = "EventProxy")]
#[derive(Debug)]
pub struct Event(());

impl sealed::Sealed for Event {
    const KIND: Kind = Kind::Event;
}

impl Client {
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
