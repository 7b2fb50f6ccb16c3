//! Two numbers that processes change together with their own **shares**, so that what somebody
//! has is known when it is killed, whatever it did at that moment.
//!
//! A change is made under a short robust lock, and committed by one store, of the number of
//! changes; how it then stands lies beside it twice, for odd and even numbers. The share is in
//! the hold of the process, where it is noted after the store; whoever locks next after
//! somebody was killed in between does that in its place.
//!
//! # Invariants
//! 1. `states[n % 2]`, with `n` the number of changes, is how it stands, and not written while
//!    that is the number.
//! 2. The hold that a state names exists: before it goes, [`Tally::depart`] makes one that names
//!    none.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::arena::Arena;
use super::hold::Hold;
use crate::sys::robust::{RobustGuard, RobustMutex};

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Tally {
    lock: RobustMutex,
    changes: AtomicU64,
    states: [State; 2],
}

#[repr(C)]
#[derive(Debug)]
struct State {
    values: [AtomicU64; 2],
    /// Whose share was changed, and what it is since. 0: nobody's.
    hold: AtomicU64,
    share: AtomicU64,
}

/// What has become of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Made,
    NotYet,
    /// Somebody was stopped in the middle of another one.
    Busy,
}

impl Tally {
    /// Makes one in zeroed memory.
    ///
    /// # Safety
    /// `at` is writable, aligned, and nobody uses it yet.
    ///
    /// # Errors
    /// If the lock cannot be made.
    pub(crate) unsafe fn init(at: *mut Tally, values: [u64; 2]) -> io::Result<()> {
        // SAFETY: the caller's; zeroes are atomics.
        unsafe {
            RobustMutex::init(&raw mut (*at).lock)?;
            for (value, to) in values.into_iter().zip(&(*at).states[0].values) {
                to.store(value, Relaxed);
            }
        }
        Ok(())
    }

    fn state(&self) -> &State {
        &self.states[(self.changes.load(Acquire) % 2) as usize] // pairs with `commit`
    }

    /// What the last one to commit may have been killed before.
    fn note_share(&self, arena: &Arena) {
        let state = self.state();
        let at = state.hold.load(Relaxed);
        if at != 0
            && let Ok(hold) = arena.reach::<Hold>(at)
        {
            // SAFETY: invariant 2.
            let hold = unsafe { hold.as_ref() };
            hold.taken.store(state.share.load(Relaxed), Relaxed);
        }
    }

    fn lock(&self, arena: &Arena) -> RobustGuard<'_> {
        loop {
            // An error: somebody is stopped. Who comes here is to wait as long as that lasts.
            if let Ok(lock) = self.lock.lock(|| self.note_share(arena)) {
                return lock;
            }
        }
    }

    /// As somebody does who is stopped in the middle of a change.
    #[cfg(test)]
    pub(super) fn stop(&self, arena: &Arena) -> RobustGuard<'_> {
        self.lock(arena)
    }

    /// How it stands, or is about to; exact while nobody changes it.
    pub(crate) fn glance(&self) -> [u64; 2] {
        let values = &self.state().values;
        [values[0].load(Relaxed), values[1].load(Relaxed)]
    }

    /// How it stands; `None`: somebody was stopped while changing it.
    pub(crate) fn values(&self, arena: &Arena) -> Option<[u64; 2]> {
        let _lock = self.lock.lock_briefly(|| self.note_share(arena))?;
        Some(self.glance())
    }

    /// Changes the values, and the share of the process that has `hold`, to what `change` makes
    /// of them; false: nothing.
    pub(crate) fn change(
        &self,
        arena: &Arena,
        hold: &Hold,
        change: impl FnOnce([u64; 2], u64) -> Option<([u64; 2], u64)>,
    ) -> bool {
        self.change_locked(&self.lock(arena), arena, hold, change)
    }

    /// As [`change`](Self::change), for somebody who can try again.
    pub(crate) fn try_change(
        &self,
        arena: &Arena,
        hold: &Hold,
        change: impl FnOnce([u64; 2], u64) -> Option<([u64; 2], u64)>,
    ) -> Attempt {
        match self.lock.lock_briefly(|| self.note_share(arena)) {
            None => Attempt::Busy,
            Some(lock) if self.change_locked(&lock, arena, hold, change) => Attempt::Made,
            Some(_) => Attempt::NotYet,
        }
    }

    fn change_locked(
        &self,
        _lock: &RobustGuard<'_>,
        arena: &Arena,
        hold: &Hold,
        change: impl FnOnce([u64; 2], u64) -> Option<([u64; 2], u64)>,
    ) -> bool {
        let Some((values, share)) = change(self.glance(), hold.taken.load(Relaxed)) else {
            return false;
        };
        self.commit(arena.offset(hold), values, share);
        hold.taken.store(share, Relaxed);
        true
    }

    fn commit(&self, hold: u64, values: [u64; 2], share: u64) {
        let changes = self.changes.load(Relaxed) + 1;
        let next = &self.states[(changes % 2) as usize];
        for (value, to) in values.into_iter().zip(&next.values) {
            to.store(value, Relaxed);
        }
        next.hold.store(hold, Relaxed);
        next.share.store(share, Relaxed);
        self.changes.store(changes, Release); // whoever sees the number sees the state
    }

    /// A process has let go, or has ended: its share is undone by `give_back`. False: somebody
    /// is stopped with the lock.
    pub(super) fn depart(
        &self,
        arena: &Arena,
        hold: &Hold,
        give_back: impl FnOnce([u64; 2], u64) -> [u64; 2],
    ) -> bool {
        let Some(_lock) = self.lock.lock_briefly(|| self.note_share(arena)) else {
            return false;
        };
        let values = give_back(self.glance(), hold.taken.load(Relaxed));
        // By itself, or whoever buries it next if we are killed would do it again.
        self.commit(arena.offset(hold), values, 0);
        hold.taken.store(0, Relaxed);
        self.commit(0, values, 0);
        true
    }
}
