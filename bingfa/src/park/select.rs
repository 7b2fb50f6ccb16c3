//! Waiting for the first of several things: the claim that lets exactly one of them win.
//!
//! Whoever waits first tries each arm, then enlists in all of them with one [`Claim`], and
//! sleeps. What serves an arm from outside (say, a put that finds an enlisted get) must
//! first win the claim for it; so of all arms one is served, and the others stay untouched.
//!
//! # Memory ordering
//! The Release half of `win` pairs with the Acquire of `give_up`: who sees that an arm has won
//! and then takes that arm's lock, takes it after the winner did.

use super::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire},
};

/// One of the things to wait for. Not to be implemented outside of this crate.
pub trait Selectable {
    /// Does it now, if it can be done without waiting.
    #[doc(hidden)]
    fn attempt(&mut self) -> bool;

    /// Gets in line; false, and not enlisted, if an attempt would succeed now.
    #[doc(hidden)]
    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool;

    /// Leaves the line, if it is there; true if it was served. Called after each `enlist` that
    /// gave true, before the claim or the arm go or move.
    #[doc(hidden)]
    fn delist(&mut self) -> bool;
}

impl<S: Selectable + ?Sized> Selectable for &mut S {
    fn attempt(&mut self) -> bool {
        (**self).attempt()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        (**self).enlist(ticket)
    }

    fn delist(&mut self) -> bool {
        (**self).delist()
    }
}

/// What an arm gets in line with.
#[derive(Debug, Clone, Copy)]
pub struct Ticket<'a> {
    pub(crate) claim: &'a Claim,
    pub(crate) arm: u32,
    #[cfg(not(loom))]
    pub(crate) unparker: &'a super::wait::Unparker,
}

const OPEN: u32 = 0;
const GIVEN_UP: u32 = u32::MAX;

/// Which arm has won, if any.
#[derive(Debug)]
pub(crate) struct Claim(AtomicU32);

impl Claim {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(OPEN))
    }

    /// Serves the arm from outside, holding the arm's lock; false: it is too late.
    pub(crate) fn win(&self, arm: u32) -> bool {
        self.0
            .compare_exchange(OPEN, arm + 1, AcqRel, Acquire)
            .is_ok()
    }

    /// Whether it can still be won.
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Acquire) == OPEN
    }

    /// From now on no arm wins; gives the one that has.
    pub(crate) fn give_up(&self) -> Option<u32> {
        match self.0.compare_exchange(OPEN, GIVEN_UP, AcqRel, Acquire) {
            Ok(_) | Err(GIVEN_UP) => None,
            Err(arm) => Some(arm - 1),
        }
    }
}
