//! The word of an event: whether it is set, and how often it has been.
//!
//! # Invariants
//! 1. The upper bits count how often the event went from clear to set. A waiter's tag is
//!    that number when it queued, so a `set` wakes exactly those who came before it, also
//!    when a `clear` and new waiters come while it still wakes.
//! 2. `PARKED` is set with the bucket locked, with `SET` clear, and cleared by the `set` that
//!    wakes or, with the bucket locked, by the last who leaves. While it is clear, all who
//!    are queued are about to be woken by a `set`.
//! 3. Tags never decrease along the queue.
//!
//! # Memory ordering
//! Each `set` is a `Release`, also of one that is set already, and pairs with the `Acquire`
//! of whoever finds it set and of `clear`: what was done before a `set` is seen by
//! who clears the event and then looks.

#![allow(unsafe_code)]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::park::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::park::carrier::ANONYMOUS;
use crate::park::lot::{self, Parked, Spot, Waiter};
use crate::park::wait::{Queued, Unparker};

/// Somebody is queued whom the next `set` has to wake.
const PARKED: u64 = 1;
const SET: u64 = 1 << 1;
const ONE_SET: u64 = 1 << 2;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Set,
    TimedOut,
    /// The carrier has to unwind.
    Interrupted,
}

#[derive(Debug)]
pub(super) struct RawEvent {
    word: AtomicU64,
}

impl RawEvent {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.word.load(Acquire) & SET != 0
    }

    pub(super) fn set(&self) {
        let mut word = self.word.load(Relaxed);
        loop {
            let new = match word & SET {
                0 => ((word | SET) + ONE_SET) & !PARKED,
                _ => word,
            };
            match self.word.compare_exchange_weak(word, new, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if word & PARKED != 0 {
            lot::unpark_up_to(self.key(), word / ONE_SET, 0);
        }
    }

    pub(super) fn clear(&self) {
        self.word.fetch_and(!SET, AcqRel);
    }

    /// With the bucket locked: true if the caller has to queue with the tag `sets`, and has
    /// announced it.
    fn has_to_queue(&self, sets: u64) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            if word & SET != 0 || word / ONE_SET != sets {
                return false;
            }
            match self
                .word
                .compare_exchange_weak(word, word | PARKED, Relaxed, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// With the bucket locked: a waiter has left the queue without being served.
    fn left(&self, more: bool) {
        if !more {
            self.word.fetch_and(!PARKED, Relaxed); // ordered by the bucket's lock
        }
    }

    /// `None`: it is set. Else how often it has been.
    fn sets_if_clear(&self) -> Option<u64> {
        let word = self.word.load(Acquire);
        (word & SET == 0).then_some(word / ONE_SET)
    }

    fn was_set_since(&self, sets: u64) -> bool {
        self.word.load(Acquire) / ONE_SET != sets
    }

    fn spot(&self, sets: u64) -> Spot {
        Spot {
            tag: sets,
            ..Spot::at(self.key())
        }
    }

    /// Waits until it is set.
    #[cold]
    #[track_caller]
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Waited {
        let Some(sets) = self.sets_if_clear() else {
            return Waited::Set;
        };
        let parked = lot::park(
            self.spot(sets),
            &"event",
            deadline,
            || self.has_to_queue(sets),
            || (),
            |more| self.left(more),
        );
        match parked {
            // Invalid: it was set just now, and may even be clear again.
            Parked::Served(_) | Parked::Invalid => Waited::Set,
            // A `set` came first, and was about to wake the caller.
            Parked::TimedOut | Parked::Interrupted if self.was_set_since(sets) => Waited::Set,
            Parked::TimedOut => Waited::TimedOut,
            Parked::Interrupted => Waited::Interrupted,
        }
    }
}

/// A wait that is polled or selected, and stays over once it is over.
#[derive(Debug)]
pub(super) struct EventFuture<'a> {
    event: &'a RawEvent,
    waiter: Waiter,
    over: bool,
}

impl<'a> EventFuture<'a> {
    pub(super) fn new(event: &'a RawEvent) -> Self {
        Self {
            event,
            waiter: Waiter::new(ANONYMOUS),
            over: false,
        }
    }

    /// Whether the event is set, or was while this waited.
    pub(super) fn is_over(&mut self) -> bool {
        self.over |= self.waiter.collect().is_some() || self.event.is_set();
        self.over
    }

    /// Queues, unless it is over.
    pub(super) fn enqueue(self: Pin<&mut Self>, unparker: Unparker) -> bool {
        // SAFETY: nothing is moved out of it, and `waiter` stays pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let event = this.event;
        let Some(sets) = event.sets_if_clear() else {
            this.over = true;
            return false;
        };
        // SAFETY: a field of what is pinned, and never moved out of it.
        let waiter = unsafe { Pin::new_unchecked(&this.waiter) };
        let who = Queued::Other(unparker);
        let queued = waiter.enqueue(event.spot(sets), who, || event.has_to_queue(sets));
        this.over = !queued;
        queued
    }

    /// Leaves the queue; what has come by then stays known.
    pub(super) fn withdraw(&mut self) {
        let event = self.event;
        self.waiter.withdraw(|more| event.left(more));
        self.over |= self.waiter.collect().is_some();
    }
}

impl Future for EventFuture<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.as_mut().get_unchecked_mut() };
        if this.waiter.refresh(context.waker()) {
            return Poll::Pending;
        }
        if this.is_over() || !self.enqueue(Unparker::Async(context.waker().clone())) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for EventFuture<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}
