//! A lock between processes that coroutines may wait for: who has it is a number in shared
//! memory.
//!
//! The owner is a process, by its slot, and in it a carrier, so two coroutines of one
//! thread exclude each other. A slot is not given to another process before the dead one is
//! buried, and the burial takes its locks away from it: so a slot in the word means one
//! process.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::arena::Arena;
use super::blame::Blame;
use super::kind::Gone;
use super::peers::PeerId;
use super::word::Word;

/// Zeroed memory is a free one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Lock {
    owner: AtomicU64,
    /// On which one waits for it.
    pub(crate) word: Word,
    pub(crate) poison: Blame,
}

/// A carrier's number has room above this.
const CARRIER: u32 = 48;

/// A carrier of a process, as the word of a lock has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    pub(crate) fn new(peer: PeerId, carrier: u64) -> Owner {
        let carrier = carrier & ((1 << CARRIER) - 1);
        Owner((u64::from(peer.slot()) + 1) << CARRIER | carrier)
    }

    /// Whether a carrier's number is nobody's in particular.
    pub(crate) fn is_somebody(carrier: u64) -> bool {
        carrier == (1 << CARRIER) - 1
    }

    fn is_of(self, peer: PeerId) -> bool {
        self.0 >> CARRIER == u64::from(peer.slot()) + 1
    }
}

impl Lock {
    /// Takes it if it is free.
    #[inline]
    pub(crate) fn try_lock(&self, owner: Owner) -> bool {
        // Acquire: pairs with the Release of whoever let go.
        self.owner
            .compare_exchange(0, owner.0, Acquire, Relaxed)
            .is_ok()
    }

    /// Gives it back.
    #[inline]
    pub(crate) fn unlock(&self, arena: &Arena) {
        self.owner.store(0, Release);
        self.word.wake(|flags| arena.ring(flags));
    }

    pub(crate) fn is_owned_by(&self, owner: Owner) -> bool {
        self.owner.load(Relaxed) == owner.0 // its own store, or not its own
    }

    /// Who has it: the slot of the process, and the carrier's number.
    pub(crate) fn owner(&self) -> Option<(u32, u64)> {
        let owner = self.owner.load(Relaxed); // it may be another's by now
        let slot = (owner >> CARRIER).checked_sub(1)?;
        Some((slot as u32, owner & ((1 << CARRIER) - 1)))
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.owner.load(Acquire) != 0 // pairs as in `try_lock`
    }

    /// If the dead process held it, it is free and poisoned.
    pub(super) fn bury(&self, arena: &Arena, gone: &Gone) {
        self.bury_with(arena, gone, || self.poison.died(gone));
    }

    /// If the dead process held it, it is marked and then free.
    pub(super) fn bury_with(&self, arena: &Arena, gone: &Gone, mark: impl FnOnce()) {
        if gone.lives {
            return;
        }
        if Owner(self.owner.load(Relaxed)).is_of(gone.peer) {
            mark();
            // Release: who takes it sees the mark.
            self.owner.store(0, Release);
        }
        self.word.rouse(|flags| arena.ring(flags));
    }
}
