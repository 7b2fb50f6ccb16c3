//! The word of a semaphore: how many permits are free, and whether somebody waits.
//!
//! # Who is next
//! First come, first served: while anybody waits, nobody takes permits from outside of the
//! queue, and the first of the queue is served when there are as many as it asked for. So one
//! that asks for many is not starved by those who ask for few.
//!
//! # Invariants
//! 1. `PARKED` changes only with the bucket locked, and is set exactly while somebody is queued.
//! 2. While `PARKED` is set, permits are taken only with the bucket locked, for the first of
//!    the queue.
//! 3. Whoever adds permits while `PARKED` is set, or leaves the queue unserved, then serves
//!    those who are first by now.
//!
//! # Memory ordering
//! The `Release` of whoever gives permits back pairs with the `Acquire` of the exchange that
//! takes them. Those that are taken for a waiter reach it through the lot.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::raw_mutex::{SPINS, may_spin};
use crate::park::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::park::carrier::ANONYMOUS;
use crate::park::lot::{self, Choice, Parked, Spot, Waiter};
use crate::park::wait::{Queued, Unparker};

/// Somebody is queued.
const PARKED: u64 = 1;
const PERMIT: u64 = 2;

/// How many are served at a time, so that ten thousand waiters do not hold up others.
const BATCH: usize = 16;

/// How an attempt to get permits ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquired {
    Yes,
    TimedOut,
    /// The carrier has to unwind.
    Interrupted,
}

#[derive(Debug)]
pub(super) struct RawSemaphore {
    word: AtomicU64,
    /// Permits whose guards were told to forget them.
    forgotten: AtomicU64,
}

impl RawSemaphore {
    /// How many permits there can be.
    pub(super) const MAX: u64 = usize::MAX as u64 >> 1;

    #[cfg(not(loom))]
    pub(super) const fn new(permits: u64) -> Self {
        Self {
            word: AtomicU64::new(permits * PERMIT),
            forgotten: AtomicU64::new(0),
        }
    }

    #[cfg(loom)]
    pub(super) fn new(permits: u64) -> Self {
        Self {
            word: AtomicU64::new(permits * PERMIT),
            forgotten: AtomicU64::new(0),
        }
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// The tag is how many permits it wants.
    fn spot(&self, count: u64) -> Spot {
        Spot {
            tag: count,
            ..Spot::at(self.key())
        }
    }

    pub(super) fn free(&self) -> u64 {
        self.word.load(Acquire) / PERMIT
    }

    // -- taking ------------------------------------------------------------------

    /// Takes permits if they are there and nobody waits.
    #[inline]
    pub(super) fn try_acquire(&self, count: u64) -> bool {
        let mut word = self.word.load(Relaxed);
        while word & PARKED == 0 && word / PERMIT >= count {
            let taken = word - count * PERMIT;
            match self
                .word
                .compare_exchange_weak(word, taken, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// With the bucket locked: true if the caller has to queue, and has announced it; else
    /// it has got its permits after all.
    fn has_to_queue(&self, count: u64) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            let queue = word & PARKED != 0 || word / PERMIT < count;
            let new = if queue {
                word | PARKED
            } else {
                word - count * PERMIT
            };
            match self.word.compare_exchange_weak(word, new, Acquire, Relaxed) {
                Ok(_) => return queue,
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

    /// Waits until the caller has so many permits.
    #[cold]
    #[track_caller]
    pub(super) fn acquire_slow(&self, count: u64, deadline: Option<Instant>) -> Acquired {
        if self.spin(count) {
            return Acquired::Yes;
        }
        let more_wait = Cell::new(false);
        let parked = lot::park(
            self.spot(count),
            &"permit",
            deadline,
            || self.has_to_queue(count),
            || (),
            |more| {
                self.left(more);
                more_wait.set(more);
            },
        );
        if more_wait.get() {
            self.serve(); // who waited behind the caller may be content with what there is
        }
        match parked {
            Parked::Served(_) | Parked::Invalid => Acquired::Yes,
            Parked::TimedOut => Acquired::TimedOut,
            Parked::Interrupted => Acquired::Interrupted,
        }
    }

    /// Tries for a little while, if that may help.
    fn spin(&self, count: u64) -> bool {
        let mut left = if may_spin() { SPINS } else { 0 };
        // Where others wait, so does the caller.
        while left > 0 && self.word.load(Relaxed) & PARKED == 0 {
            if self.try_acquire(count) {
                return true;
            }
            std::hint::spin_loop();
            left -= 1;
        }
        false
    }

    // -- giving back -------------------------------------------------------------

    /// Adds permits; false, and none added, if there would be more than [`MAX`](Self::MAX).
    #[inline]
    #[must_use]
    pub(super) fn add(&self, count: u64) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            if count > Self::MAX - word / PERMIT {
                return false;
            }
            let added = word + count * PERMIT;
            match self
                .word
                .compare_exchange_weak(word, added, Release, Relaxed)
            {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if word & PARKED != 0 {
            self.serve();
        }
        true
    }

    /// Hands free permits to those who are first.
    #[cold]
    fn serve(&self) {
        while self.serve_some() == BATCH {}
    }

    fn serve_some(&self) -> usize {
        let (served, given) = (Cell::new(0), Cell::new(0));
        lot::unpark(
            self.key(),
            |waiter| {
                // More may be added meanwhile, but nobody else takes any (invariant 2).
                let free = self.word.load(Relaxed) / PERMIT - given.get();
                if served.get() == BATCH || free < waiter.tag {
                    return Choice::Stop;
                }
                served.set(served.get() + 1);
                given.set(given.get() + waiter.tag);
                Choice::Serve(0)
            },
            |more| {
                let parked = if more { 0 } else { PARKED };
                let mut word = self.word.load(Relaxed);
                while let Err(now) = self.word.compare_exchange_weak(
                    word,
                    (word - given.get() * PERMIT) & !parked,
                    AcqRel,
                    Relaxed,
                ) {
                    word = now;
                }
            },
        );
        served.get()
    }

    // -- for guards that let go of their permits ---------------------------------

    pub(super) fn forget(&self, count: u64) {
        self.forgotten.fetch_add(count, Release); // pairs with `remember`
    }

    /// Takes back that so many were forgotten; false if it were not so many.
    pub(super) fn remember(&self, count: u64) -> bool {
        let mut forgotten = self.forgotten.load(Relaxed);
        while let Some(rest) = forgotten.checked_sub(count) {
            match self
                .forgotten
                .compare_exchange_weak(forgotten, rest, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => forgotten = now,
            }
        }
        false
    }
}

/// An async task's wait for permits.
#[derive(Debug)]
pub(super) struct AcquireFuture<'a> {
    semaphore: &'a RawSemaphore,
    count: u64,
    waiter: Waiter,
}

impl<'a> AcquireFuture<'a> {
    pub(super) fn new(semaphore: &'a RawSemaphore, count: u64) -> Self {
        Self {
            semaphore,
            count,
            waiter: Waiter::new(ANONYMOUS),
        }
    }
}

impl Future for AcquireFuture<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.into_ref().get_ref();
        // SAFETY: a field of what is pinned, and never moved out of it.
        let waiter = unsafe { Pin::new_unchecked(&this.waiter) };
        if waiter.refresh(context.waker()) {
            return Poll::Pending;
        }
        let semaphore = this.semaphore;
        if waiter.collect().is_some() || semaphore.try_acquire(this.count) {
            return Poll::Ready(());
        }
        let who = Queued::Other(Unparker::Async(context.waker().clone()));
        let spot = semaphore.spot(this.count);
        match waiter.enqueue(spot, who, || semaphore.has_to_queue(this.count)) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

impl Drop for AcquireFuture<'_> {
    fn drop(&mut self) {
        let semaphore = self.semaphore;
        let mut more_wait = false;
        let served = self.waiter.withdraw(|more| {
            semaphore.left(more);
            more_wait = more;
        });
        if served.is_some() {
            // What it was given and has not seen.
            assert!(semaphore.add(self.count), "too many permits");
        } else if more_wait {
            semaphore.serve();
        }
    }
}
