//! A semaphore between processes: how many permits are free, and how many each process has.
//!
//! Whoever waits for several permits takes the **turn** first, and while somebody has that
//! nobody else is given any: so it is not starved by those who want one.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::arena::Arena;
use super::hold::Hold;
use super::kind::Gone;
use super::lock::Lock;
use super::tally::{Attempt, Tally};
use super::word::Word;

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Permits {
    /// How many are free, and how many were forgotten; shares: how many a process has.
    tally: Tally,
    /// How many there were at first.
    bound: AtomicU64,
    /// On which one waits for permits.
    pub(crate) word: Word,
    pub(crate) turn: Lock,
}

/// How many may be free.
pub(crate) const MOST: u64 = i32::MAX as u64;

impl Permits {
    /// Makes one in zeroed memory.
    ///
    /// # Safety
    /// `at` is writable, aligned, and nobody uses it yet.
    ///
    /// # Errors
    /// If its lock cannot be made.
    pub(crate) unsafe fn init(at: *mut Permits, free: u64) -> io::Result<()> {
        // SAFETY: the caller's; zeroes are atomics.
        unsafe {
            Tally::init(&raw mut (*at).tally, [free, 0])?;
            (*at).bound.store(free, Relaxed);
        }
        Ok(())
    }

    /// Takes permits if they are free. Without the turn: and if nobody has that.
    pub(crate) fn take(&self, arena: &Arena, hold: &Hold, count: u64, has_turn: bool) -> Attempt {
        // Those who wait look often: without the lock.
        if (!has_turn && self.turn.is_locked()) || self.free() < count {
            return Attempt::NotYet;
        }
        self.tally
            .try_change(arena, hold, |[free, forgotten], share| {
                let free = free.checked_sub(count)?;
                Some(([free, forgotten], share.checked_add(count)?))
            })
    }

    /// The turn ends: all may try.
    pub(crate) fn end_turn(&self, arena: &Arena) {
        self.turn.unlock(arena);
        self.wake(arena);
    }

    /// Gives permits back that this process has. False: it must be done again.
    pub(crate) fn give_back(&self, arena: &Arena, hold: &Hold, count: u64) -> bool {
        let given = self
            .tally
            .try_change(arena, hold, |[free, forgotten], share| {
                Some(([free + count, forgotten], share - count))
            });
        self.wake(arena);
        given == Attempt::Made
    }

    /// Adds permits; false: there would be too many.
    pub(crate) fn add(&self, arena: &Arena, hold: &Hold, count: u64) -> bool {
        let added = self.tally.change(arena, hold, |[free, forgotten], share| {
            let free = free.checked_add(count).filter(|free| *free <= MOST)?;
            Some(([free, forgotten], share))
        });
        self.wake(arena);
        added
    }

    /// Permits that this process has are nobody's.
    pub(crate) fn forget(&self, arena: &Arena, hold: &Hold, count: u64) {
        self.tally.change(arena, hold, |[free, forgotten], share| {
            Some(([free, forgotten + count], share - count))
        });
    }

    /// Puts permits back that were forgotten; false: fewer were.
    pub(crate) fn remember(&self, arena: &Arena, hold: &Hold, count: u64) -> bool {
        let released = self.tally.change(arena, hold, |[free, forgotten], share| {
            Some(([free + count, forgotten.checked_sub(count)?], share))
        });
        self.wake(arena);
        released
    }

    /// As somebody does who is stopped in the middle of a change.
    #[cfg(test)]
    pub(super) fn stop(&self, arena: &Arena) -> impl Sized + '_ {
        self.tally.stop(arena)
    }

    /// How many are free, at this moment.
    pub(crate) fn free(&self) -> u64 {
        self.tally.glance()[0]
    }

    pub(crate) fn bound(&self) -> u64 {
        self.bound.load(Relaxed)
    }

    fn wake(&self, arena: &Arena) {
        self.word.wake(|flags| arena.ring(flags));
    }

    /// A process has ended, or let go: what it had is free.
    pub(super) fn depart(&self, arena: &Arena, hold: &Hold, gone: &Gone) -> bool {
        let departed = self.tally.depart(arena, hold, |[free, forgotten], share| {
            [free + share, forgotten]
        });
        self.turn.bury_with(arena, gone, || {});
        self.word.rouse(|flags| arena.ring(flags));
        departed
    }
}
