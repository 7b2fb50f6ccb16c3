//! `Event`: a flag that can be waited for.

#![allow(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::raw_event::{EventFuture, RawEvent, Waited};
use crate::park::cancel;
use crate::park::select::{Selectable, Ticket};

/// A flag that can be waited for: all who wait go on when it is set, and nobody waits while it is.
///
/// Who waited when it was set goes on, even if it is cleared again at once. What was done
/// before a [`set`](Self::set) is seen by who goes on because of it, and by who then clears it.
///
/// # Cancellation
/// A cancelled waiter leaves, and unwinds. If the event is set at that very moment it
/// returns, and unwinds at its next wait.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
/// use bingfa::sync::{Arc, Event};
///
/// let start = Arc::new(Event::new());
/// let runners: Vec<_> = (0..3)
///     .map(|number| {
///         let start = start.clone();
///         coroutine::spawn(move || {
///             start.wait();
///             number
///         })
///     })
///     .collect();
/// start.set();
/// assert_eq!(coroutine::join_all(runners).unwrap(), [0, 1, 2]);
/// ```
///
/// As an arm of a select:
/// ```
/// use bingfa::queue::{Queue, Select};
/// use bingfa::sync::Event;
///
/// let (jobs, stop) = (Queue::<u32>::unbounded(), Event::new());
/// stop.set();
/// let (mut job, mut stopped) = (jobs.get_async(), stop.wait_async());
/// assert_eq!(Select::new().arm(&mut job).arm(&mut stopped).wait(), 1);
/// ```
#[doc(alias = "ManualResetEvent")]
pub struct Event {
    raw: RawEvent,
}

impl Event {
    /// Makes an event that is not set.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self {
            raw: RawEvent::new(),
        }
    }

    /// Sets it, and wakes all who wait.
    pub fn set(&self) {
        self.raw.set();
    }

    /// Clears it: who comes from now on waits for the next [`set`](Self::set).
    pub fn clear(&self) {
        self.raw.clear();
    }

    /// Whether it is set.
    #[doc(alias = "isSet")]
    #[must_use]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.raw.is_set()
    }

    /// Waits until it is set.
    ///
    /// # Cancellation
    /// See [`Event`].
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits until it is set, for at most `limit`; false: it was not set in time.
    ///
    /// # Cancellation
    /// See [`Event`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::sync::Event;
    ///
    /// let event = Event::new();
    /// assert!(!event.wait_timeout(Duration::from_millis(1)));
    /// event.set();
    /// assert!(event.wait_timeout(Duration::ZERO));
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(limit))
    }

    /// Waits until it is set or `deadline` passes; false: it was not set in time.
    ///
    /// # Cancellation
    /// See [`Event`].
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.wait_until(Some(deadline))
    }

    #[inline]
    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.raw.is_set() {
            return true;
        }
        loop {
            match self.raw.wait(deadline) {
                Waited::Set => return true,
                Waited::TimedOut => return false,
                Waited::Interrupted => cancel::raise(),
            }
        }
    }

    /// Waits until it is set, as an async task or as an arm of a [`Select`](crate::queue::Select).
    ///
    /// # Cancellation
    /// Dropping the future leaves; there is nothing to lose.
    pub fn wait_async(&self) -> EventWait<'_> {
        EventWait(EventFuture::new(&self.raw))
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish_non_exhaustive()
    }
}

/// A wait for an [`Event`]; see [`Event::wait_async`].
///
/// Once it has seen the event set it is over, also if the event is cleared again, or another
/// arm of a select wins.
#[derive(Debug)]
#[must_use = "it does nothing unless it is awaited or selected"]
pub struct EventWait<'a>(EventFuture<'a>);

impl Future for EventWait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the field is pinned as its owner is, and never moved out of it.
        unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(context)
    }
}

/// As an arm of a select: the event is set, or was while the select waited.
impl Selectable for EventWait<'_> {
    fn attempt(&mut self) -> bool {
        self.0.is_over()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.0.withdraw(); // if it was polled before
        // SAFETY: the arm does not move before `delist`, which takes it out of the queue.
        unsafe { Pin::new_unchecked(&mut self.0) }.enqueue(ticket.unparker.clone())
    }

    fn delist(&mut self) -> bool {
        self.0.withdraw();
        false // the next attempt sees it; another arm may have won
    }
}
