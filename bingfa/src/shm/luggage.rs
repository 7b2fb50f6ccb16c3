//! The shared objects in a message that lies in memory: as long as nobody has taken them out,
//! their holds go with the block (`block.rs`), whoever it is that frees it.
//!
//! # Invariants
//! 1. The entries lie in the block, behind the message, written before anybody else has it, and
//!    changed under the arena's lock.
//!
//! Relaxed: that lock orders what changes; who looks without it has the block alone, and got it from
//! the queue, which orders what was written before.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::arena::{Arena, ArenaGuard};
use super::object::Token;

/// One handle in the message.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Entry {
    /// The object's entry in the table, plus 1; 0: it was taken out.
    index: AtomicU64,
    serial: AtomicU64,
    owner: AtomicU64,
}

/// The length of an entry.
pub(super) const ENTRY: u64 = size_of::<Entry>() as u64;

impl Entry {
    pub(super) fn of(token: Token) -> Entry {
        let (index, serial, owner) = token.parts();
        Entry {
            index: AtomicU64::new(u64::from(index) + 1),
            serial: AtomicU64::new(serial),
            owner: AtomicU64::new(owner),
        }
    }

    fn is(&self, token: Token) -> bool {
        let (index, serial, owner) = token.parts();
        self.index.load(Relaxed) == u64::from(index) + 1
            && self.serial.load(Relaxed) == serial
            && self.owner.load(Relaxed) == owner
    }
}

/// The entries of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Luggage<'a>(pub(super) &'a [Entry]);

impl Luggage<'_> {
    /// Whether something is left in it.
    pub(super) fn is_left(self) -> bool {
        self.0.iter().any(|entry| entry.index.load(Relaxed) != 0)
    }

    /// Somebody is about to have a handle of this. (Killed before: its hold stays for good.)
    pub(super) fn take(self, _: &ArenaGuard<'_>, token: Token) {
        if let Some(entry) = self.0.iter().find(|entry| entry.is(token)) {
            entry.index.store(0, Relaxed);
        }
    }

    /// Nobody will read the message.
    pub(super) fn release(self, arena: &ArenaGuard<'_>) {
        for entry in self.0 {
            let index = entry.index.load(Relaxed);
            if index != 0 {
                entry.index.store(0, Relaxed);
                let (serial, owner) = (entry.serial.load(Relaxed), entry.owner.load(Relaxed));
                arena.release_sent((index - 1) as u32, serial, owner);
            }
        }
    }
}

impl Arena {
    /// The entries at this place in a block.
    ///
    /// # Safety
    /// So many lie there, in a block that stays while they are used (invariant 1).
    pub(super) unsafe fn luggage(&self, at: u64, count: u64) -> Luggage<'_> {
        let entries = self.at::<Entry>(at).as_ptr();
        // SAFETY: the caller's; they are made of atomics.
        Luggage(unsafe { std::slice::from_raw_parts(entries, count as usize) })
    }
}
