//! The word of something that is done once: by whom, or that it has been done.
//!
//! # Invariants
//! 1. `PARKED` is set while anybody is queued. It is set by those who are about to queue, who
//!    look again with the bucket locked, and cleared by `end`, which then wakes them all;
//!    they look at the word again.
//! 2. The upper bits are the id of the carrier that runs it, if any; `DONE` excludes that.
//!
//! # Memory ordering
//! The `Release` of `end` pairs with the `Acquire` of those who find `DONE`.

#![allow(unsafe_code)]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::park::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::park::carrier::{ANONYMOUS, FLAG_BITS, SHARED};
use crate::park::lot::{self, Owner, Parked, Spot, Waiter};
use crate::park::wait::{Queued, Unparker};

const PARKED: u64 = 1;
/// The last attempt panicked.
const POISONED: u64 = 1 << 1;
/// Whoever comes shares what was made.
const DONE: u64 = SHARED;

/// What a caller finds, or has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is for the caller to do it. `poisoned`: the last attempt panicked.
    NotRun {
        poisoned: bool,
    },
    Done,
    Poisoned,
    /// The caller itself is in the middle of it.
    Recursion,
    TimedOut,
    /// The carrier has to unwind.
    Interrupted,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    NotRun,
    Poisoned,
}

#[derive(Debug)]
pub(super) struct RawOnce {
    word: AtomicU64,
}

impl RawOnce {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// One that was done from the beginning.
    #[cfg(not(loom))]
    pub(super) const fn done() -> Self {
        Self {
            word: AtomicU64::new(DONE),
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

    #[inline(always)]
    pub(super) fn is_done(&self) -> bool {
        self.word.load(Acquire) == DONE
    }

    /// What `id` finds that wants it done; or the word of somebody who is in the middle of it.
    /// Who finds it not run has begun, and must call `end`.
    fn try_begin(&self, id: u64) -> Result<Found, u64> {
        loop {
            let word = self.word.load(Acquire);
            if word & DONE != 0 {
                return Ok(Found::Done);
            }
            let runs = word >> FLAG_BITS;
            // Async tasks are all one by their id: they may be different ones.
            if runs == id && id != ANONYMOUS {
                return Ok(Found::Recursion);
            }
            if runs != 0 {
                return Err(word);
            }
            let running = word & PARKED | id << FLAG_BITS;
            if self
                .word
                .compare_exchange(word, running, Acquire, Relaxed)
                .is_ok()
            {
                return Ok(Found::NotRun {
                    poisoned: word & POISONED != 0,
                });
            }
        }
    }

    /// What one finds who waits for others to do it; or the word of it not being done yet.
    fn look(&self, poison: bool) -> Result<Found, u64> {
        match self.word.load(Acquire) {
            word if word & DONE != 0 => Ok(Found::Done),
            word if poison && word & POISONED != 0 => Ok(Found::Poisoned),
            word => Err(word),
        }
    }

    /// Waits until it is done or for `id` to do, who must then call `end`.
    #[cold]
    #[track_caller]
    pub(super) fn begin(&self, id: u64, deadline: Option<Instant>) -> Found {
        loop {
            match self.try_begin(id) {
                Ok(found) => return found,
                Err(word) => {
                    if let Some(found) = self.park(word, deadline) {
                        return found;
                    }
                }
            }
        }
    }

    /// The attempt that the caller began has ended.
    pub(super) fn end(&self, how: End) {
        let word = match how {
            End::Done => DONE,
            End::NotRun => 0,
            End::Poisoned => POISONED,
        };
        if self.word.swap(word, AcqRel) & PARKED != 0 {
            lot::unpark_all(self.key(), 0);
        }
    }

    /// Waits until somebody has done it, or, with `poison`, has failed.
    #[cold]
    #[track_caller]
    pub(super) fn wait(&self, poison: bool, deadline: Option<Instant>) -> Found {
        loop {
            match self.look(poison) {
                Ok(found) => return found,
                Err(word) => {
                    if let Some(found) = self.park(word, deadline) {
                        return found;
                    }
                }
            }
        }
    }

    /// Announces a waiter for the end of `word`: how the word is then, unless it has changed.
    fn announce(&self, word: u64) -> Option<u64> {
        let parked = word | PARKED;
        let announced = parked == word
            || self
                .word
                .compare_exchange(word, parked, Relaxed, Relaxed)
                .is_ok();
        announced.then_some(parked)
    }

    /// With the bucket locked, which orders it: whether an announced waiter has to wait.
    fn is_still(&self, parked: u64) -> bool {
        self.word.load(Relaxed) == parked
    }

    /// Waits until the word is no longer `word`, or `None` for no reason.
    #[track_caller]
    fn park(&self, word: u64, deadline: Option<Instant>) -> Option<Found> {
        let parked = self.announce(word)?;
        let spot = Spot {
            owner: Owner::Word((&self.word).into()),
            ..Spot::at(self.key())
        };
        let ended = lot::park(
            spot,
            &"once",
            deadline,
            || self.is_still(parked),
            || (),
            |_| (),
        );
        match ended {
            Parked::Served(_) | Parked::Invalid => None,
            Parked::TimedOut => Some(Found::TimedOut),
            Parked::Interrupted => Some(Found::Interrupted),
        }
    }
}

/// A wait of an async task. There is nothing to lose: who wakes it hands nothing over.
#[derive(Debug)]
pub(super) struct OnceFuture<'a> {
    once: &'a RawOnce,
    waiter: Waiter,
    wants: Wants,
}

#[derive(Clone, Copy, Debug)]
enum Wants {
    /// That it is done, if need be by the task itself.
    Begin,
    /// That somebody has done it, or, with `poison`, has failed.
    Wait { poison: bool },
}

impl<'a> OnceFuture<'a> {
    fn new(once: &'a RawOnce, wants: Wants) -> Self {
        Self {
            once,
            waiter: Waiter::new(ANONYMOUS),
            wants,
        }
    }

    /// As [`RawOnce::begin`]: who is given `NotRun` must call `end`.
    pub(super) fn begin(once: &'a RawOnce) -> Self {
        Self::new(once, Wants::Begin)
    }

    /// As [`RawOnce::wait`].
    pub(super) fn wait(once: &'a RawOnce, poison: bool) -> Self {
        Self::new(once, Wants::Wait { poison })
    }
}

impl Future for OnceFuture<'_> {
    type Output = Found;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Found> {
        let this = self.into_ref().get_ref();
        // SAFETY: a field of what is pinned, and never moved out of it.
        let waiter = unsafe { Pin::new_unchecked(&this.waiter) };
        if waiter.refresh(context.waker()) {
            return Poll::Pending;
        }
        waiter.collect();
        let once = this.once;
        loop {
            let found = match this.wants {
                Wants::Begin => once.try_begin(ANONYMOUS),
                Wants::Wait { poison } => once.look(poison),
            };
            let word = match found {
                Ok(found) => return Poll::Ready(found),
                Err(word) => word,
            };
            let Some(parked) = once.announce(word) else {
                continue;
            };
            // Without an owner: a forgotten future may outlive the word.
            let spot = Spot::at(once.key());
            let who = Queued::Other(Unparker::Async(context.waker().clone()));
            if waiter.enqueue(spot, who, || once.is_still(parked)) {
                return Poll::Pending;
            }
        }
    }
}
