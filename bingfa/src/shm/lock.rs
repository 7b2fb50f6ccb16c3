//! A lock between processes that coroutines may wait for: who has it is a number in shared
//! memory.
//!
//! The owner is a process, by its slot, and in it a carrier, so two coroutines of one
//! thread exclude each other. A slot is not given to another process before the dead one is
//! buried, and the burial takes its locks away from it: so a slot in the word means one
//! process.
#![allow(unsafe_code)]

use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::arena::Arena;
use super::object::Gone;
use super::peers::PeerId;
use super::word::Word;

/// Zeroed memory is a free one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Lock {
    owner: AtomicU64,
    /// On which one waits for it.
    pub(crate) word: Word,
    poison: AtomicU32,
    /// Of the process that has poisoned it.
    pid: AtomicI32,
    status: AtomicI32,
}

/// Bits of `poison`.
const PANICKED: u32 = 1;
const DIED: u32 = 2;
const STATUS_KNOWN: u32 = 4;

/// A carrier's number has room above this.
const CARRIER: u32 = 48;

/// Who has poisoned a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) pid: i32,
    /// It ended while it held the lock; else it panicked.
    pub(crate) died: bool,
    pub(crate) status: Option<i32>,
}

/// A carrier of a process, as the word of a lock has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    pub(crate) fn new(peer: PeerId, carrier: u64) -> Owner {
        let carrier = carrier & ((1 << CARRIER) - 1);
        Owner((u64::from(peer.slot()) + 1) << CARRIER | carrier)
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

    pub(crate) fn is_locked(&self) -> bool {
        self.owner.load(Relaxed) != 0
    }

    /// Its owner, a process of this number, panics.
    pub(crate) fn poison(&self, pid: i32) {
        self.pid.store(pid, Relaxed); // published with the lock
        self.poison.store(PANICKED, Relaxed);
    }

    /// By whom it is poisoned; exact for the owner.
    pub(crate) fn poisoned(&self) -> Option<Poison> {
        let bits = self.poison.load(Acquire);
        (bits != 0).then(|| Poison {
            pid: self.pid.load(Relaxed),
            died: bits & DIED != 0,
            status: (bits & STATUS_KNOWN != 0).then(|| self.status.load(Relaxed)),
        })
    }

    pub(crate) fn clear_poison(&self) {
        self.poison.store(0, Relaxed);
    }

    /// If the dead process held it, it is free and poisoned.
    pub(super) fn bury(&self, arena: &Arena, gone: &Gone) {
        if gone.lives {
            return;
        }
        if Owner(self.owner.load(Relaxed)).is_of(gone.peer) {
            self.pid.store(gone.pid, Relaxed);
            self.status.store(gone.status.unwrap_or(0), Relaxed);
            let known = if gone.status.is_some() {
                STATUS_KNOWN
            } else {
                0
            };
            self.poison.store(DIED | known, Relaxed);
            // Release: who takes it sees the poison.
            self.owner.store(0, Release);
        }
        self.word.rouse(|flags| arena.ring(flags));
    }
}
