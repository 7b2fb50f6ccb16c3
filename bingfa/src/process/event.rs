//! `Event`: a flag between processes.
//!
//! # Invariants
//! 1. The payload of the object is an [`event::Event`]; zeroes are one.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::polling::{Arm, Pending, is_an_arm};
use super::shared::{Shared, can_be_sent};
use super::waiting;
use crate::shm::event::{self, Before};
use crate::shm::kind::Kind;
use crate::shm::word::Word;

/// A flag between processes that can be waited for: as [`sync::Event`](crate::sync::Event).
///
/// Who waited when it was set goes on, even if it is cleared again at once. What was done
/// before a [`set`](Self::set) is seen by who goes on because of it, and by who then clears it.
///
/// A handle: clones are the same event, and so is what arrives in another process, as an
/// argument or a result of [`spawn`](super::spawn()) or in another message of this module. The
/// end of a process changes nothing: whoever was to set it and ended is missed by a wait with
/// a time limit, or by its [`join`](super::JoinHandle::join).
///
/// # Cancellation
/// A cancelled waiter unwinds; there is nothing to lose.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Event};
///
/// let start = Event::new()?;
/// let runners: Vec<_> = (0..3u32)
///     .map(|number| {
///         process::spawn((start.clone(), number), |(start, number): (Event, u32)| {
///             start.wait();
///             number
///         })
///     })
///     .collect();
/// start.set();
/// let numbers: Vec<_> = runners.into_iter().map(|r| r.join().unwrap()).collect();
/// assert_eq!(numbers, [0, 1, 2]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "multiprocessing.Event")]
pub struct Event {
    shared: Shared,
}

/// What a wait is called in snapshots.
const WHAT: &&str = &"process event";

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new() -> io::Result<Self> {
        let len = size_of::<event::Event>() as u64;
        Shared::create::<Self>(Kind::Event, len, |_| Ok(())).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        Self { shared }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn event(&self) -> &event::Event {
        // SAFETY: invariant 1; the object lives as long as its handle.
        unsafe { self.shared.payload().cast().as_ref() }
    }

    /// Sets it, and wakes all who wait.
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    #[track_caller]
    pub fn set(&self) {
        self.event().set(self.shared.arena());
    }

    /// Clears it: who comes from now on waits for the next [`set`](Self::set).
    pub fn clear(&self) {
        self.event().clear();
    }

    /// Whether it is set.
    #[doc(alias = "isSet")]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.event().is_set()
    }

    /// Waits until it is set.
    ///
    /// # Panics
    /// As [`set`](Self::set).
    ///
    /// # Cancellation
    /// See [`Event`].
    #[track_caller]
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits until it is set, for at most `limit`; false: it was not set in time.
    ///
    /// # Panics
    /// As [`set`](Self::set).
    ///
    /// # Cancellation
    /// See [`Event`].
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(limit))
    }

    /// Waits until it is set or `deadline` passes; false: it was not set in time.
    ///
    /// # Panics
    /// As [`set`](Self::set).
    ///
    /// # Cancellation
    /// See [`Event`].
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.wait_until(Some(deadline))
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        self.shared.arena(); // not in a fork
        let event = self.event();
        let Some(before) = event.before() else {
            return true;
        };
        let family = self.shared.family();
        let was_set = |_| event.was_set(before).then_some(()).into();
        waiting::wait_for(family, &event.word, WHAT, deadline, was_set).is_some()
    }

    /// Waits until it is set, as an async task or as an arm of a [`Select`](crate::queue::Select).
    ///
    /// # Panics
    /// As [`set`](Self::set).
    ///
    /// # Cancellation
    /// Dropping the future leaves; there is nothing to lose.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::process::{self, Event};
    ///
    /// let ready = Event::new()?;
    /// process::spawn(ready.clone(), |ready: Event| ready.set());
    /// bingfa::select! {
    ///     arm(ready.wait_async()) => {}
    ///     timeout(Duration::from_secs(60)) => panic!("it takes long"),
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_async(&self) -> EventWait<'_> {
        self.shared.arena(); // not in a fork
        EventWait(Arm::new(Waiting {
            event: self,
            before: self.event().before(),
        }))
    }
}

/// A wait for an [`Event`]; see [`Event::wait_async`].
///
/// Once it has seen the event set it is over, also if the event is cleared again, or another
/// arm of a select wins.
#[must_use = "it does nothing unless it is awaited or selected"]
pub struct EventWait<'a>(Arm<Waiting<'a>>);

struct Waiting<'a> {
    event: &'a Event,
    /// `None`: it was set.
    before: Option<Before>,
}

impl Pending for Waiting<'_> {
    fn attempt(&mut self) -> bool {
        if self.may_succeed() {
            self.before = None;
        }
        self.before.is_none()
    }

    fn may_succeed(&self) -> bool {
        let was_set = |before| self.event.event().was_set(before);
        self.before.is_none_or(was_set)
    }

    fn waits_on(&self) -> (&Shared, &Word) {
        (&self.event.shared, &self.event.event().word)
    }
}

impl Future for EventWait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }
}

is_an_arm!(EventWait);

can_be_sent!(Event: Kind::Event);

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish_non_exhaustive()
    }
}
