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

use std::time::Instant;

use crate::park::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::park::carrier::{FLAG_BITS, SHARED};
use crate::park::lot::{self, Owner, Parked, Spot};

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

    /// Waits until it is done or for `id` to do, who must then call `end`.
    #[cold]
    #[track_caller]
    pub(super) fn begin(&self, id: u64) -> Found {
        loop {
            let word = self.word.load(Acquire);
            if word & DONE != 0 {
                return Found::Done;
            }
            if word >> FLAG_BITS == id {
                return Found::Recursion;
            }
            if word >> FLAG_BITS != 0 {
                match self.park(word, None) {
                    Some(found) => return found,
                    None => continue,
                }
            }
            let running = word & PARKED | id << FLAG_BITS;
            if self
                .word
                .compare_exchange(word, running, Acquire, Relaxed)
                .is_ok()
            {
                return Found::NotRun {
                    poisoned: word & POISONED != 0,
                };
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
            let word = self.word.load(Acquire);
            if word & DONE != 0 {
                return Found::Done;
            }
            if poison && word & POISONED != 0 {
                return Found::Poisoned;
            }
            if let Some(found) = self.park(word, deadline) {
                return found;
            }
        }
    }

    /// Waits until the word is no longer `word`, or `None` for no reason.
    #[track_caller]
    fn park(&self, word: u64, deadline: Option<Instant>) -> Option<Found> {
        let parked = word | PARKED;
        if parked != word
            && self
                .word
                .compare_exchange(word, parked, Relaxed, Relaxed)
                .is_err()
        {
            return None;
        }
        let spot = Spot {
            owner: Owner::Word((&self.word).into()),
            ..Spot::at(self.key())
        };
        let ended = lot::park(
            spot,
            &"once",
            deadline,
            || self.word.load(Relaxed) == parked, // ordered by the bucket's lock
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
