//! The processes of a family.
//!
//! Each has a slot, which its spawner reserves before it is made, so that handles can be
//! given to a child that has not begun. A slot's generation is odd while it is in use, and
//! part of its [`PeerId`], so nobody takes a later process for an earlier one.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use serde::{Deserialize, Serialize};

use super::arena::{Arena, ArenaGuard, PEERS};
use super::word;
use crate::sys::futex;

/// How many processes a family may have at a time.
pub(crate) const MOST: u32 = 8192;

/// One process, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PeerId(u64);

impl PeerId {
    /// Nobody: what the first process has for a parent.
    pub(crate) const NONE: PeerId = PeerId(0);

    fn new(slot: u32, generation: u32) -> PeerId {
        PeerId(u64::from(generation) << 32 | u64::from(slot))
    }

    /// Its place, which nobody else has until it is buried.
    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) fn from_bits(bits: u64) -> PeerId {
        PeerId(bits)
    }
}

/// The table's own words, in the arena's header.
#[repr(C)]
pub(super) struct Table {
    /// How many slots were ever used.
    len: AtomicU32,
    /// The first free one, plus 1.
    free: AtomicU32,
}

/// A slot.
#[repr(C, align(64))]
pub(crate) struct Peer {
    generation: AtomicU32,
    /// 0 until the process exists.
    pid: AtomicI32,
    /// When it started, as the kernel counts; 0: not told.
    start: AtomicU64,
    parent: AtomicU64,
    next_free: AtomicU32,
    /// Whether it was ever given a hold on an object.
    touched: AtomicU32,
    doorbell: AtomicU32,
}

/// Where to look for a process: its number, and when it started (0: not known).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(crate) pid: i32,
    pub(crate) start: u64,
}

impl Arena {
    fn slot(&self, slot: u32) -> &Peer {
        assert!(slot < MOST, "a slot of a peer");
        let at = PEERS + u64::from(slot) * size_of::<Peer>() as u64;
        // SAFETY: in the table; committed before the slot was counted or told to anybody, and
        // zeroes are a valid one.
        unsafe { self.at::<Peer>(at).as_ref() }
    }

    fn slots(&self) -> u32 {
        self.peer_table().len.load(Acquire) // pairs with the Release in `reserve`
    }

    /// Whether it has not been buried.
    pub(crate) fn is_live(&self, peer: PeerId) -> bool {
        peer.generation() % 2 == 1
            && peer.slot() < self.slots()
            // Acquire: pairs with the Release in `reserve`.
            && self.slot(peer.slot()).generation.load(Acquire) == peer.generation()
    }

    /// The process exists now.
    pub(crate) fn set_whereabouts(&self, peer: PeerId, at: Whereabouts) {
        let slot = self.slot(peer.slot());
        slot.start.store(at.start, Relaxed); // Release below
        slot.pid.store(at.pid, Release);
    }

    pub(crate) fn whereabouts(&self, peer: PeerId) -> Option<Whereabouts> {
        let slot = self.slot(peer.slot());
        let pid = slot.pid.load(Acquire); // pairs with the Release in `set_whereabouts`
        let start = slot.start.load(Relaxed);
        (pid != 0 && self.is_live(peer)).then_some(Whereabouts { pid, start })
    }

    /// The number of the process that has this slot at this moment, if it is told.
    pub(crate) fn pid_at(&self, slot: u32) -> Option<i32> {
        let pid = (slot < self.slots()).then(|| self.slot(slot).pid.load(Relaxed))?;
        (pid != 0).then_some(pid)
    }

    /// It holds something, or is about to.
    pub(super) fn touch(&self, peer: PeerId) {
        self.slot(peer.slot()).touched.store(1, Relaxed); // under the arena's lock
    }

    pub(super) fn is_touched(&self, peer: PeerId) -> bool {
        self.slot(peer.slot()).touched.load(Relaxed) != 0
    }

    /// All that have lost their parent and have not been buried.
    pub(crate) fn orphans(&self) -> Vec<PeerId> {
        let slots = 0..self.slots();
        let live = slots.filter_map(|slot| {
            let generation = self.slot(slot).generation.load(Acquire);
            (generation % 2 == 1).then(|| PeerId::new(slot, generation))
        });
        live.filter(|peer| {
            let parent = PeerId(self.slot(peer.slot()).parent.load(Relaxed));
            parent != PeerId::NONE && !self.is_live(parent)
        })
        .collect()
    }

    /// Rings the doorbells with these flags.
    pub(crate) fn ring(&self, flags: u32) {
        for slot in (0..self.slots()).filter(|slot| word::bell(*slot) & flags != 0) {
            let bell = &self.slot(slot).doorbell;
            bell.fetch_add(1, Release);
            futex::wake_shared(bell);
        }
    }

    /// The word on which a process waits for all its coroutines that cannot wait themselves.
    pub(crate) fn doorbell(&self, peer: PeerId) -> &AtomicU32 {
        &self.slot(peer.slot()).doorbell
    }
}

impl ArenaGuard<'_> {
    /// A slot for a process to be.
    ///
    /// # Errors
    /// If there are too many, or there is no memory.
    pub(crate) fn reserve(&self, parent: PeerId) -> io::Result<PeerId> {
        let table = self.peer_table();
        let number = match table.free.load(Relaxed) {
            0 => {
                let number = table.len.load(Relaxed);
                if number == MOST {
                    return Err(io::Error::other(format!(
                        "bingfa: a family of more than {MOST} processes"
                    )));
                }
                self.commit_entry(PEERS + u64::from(number) * size_of::<Peer>() as u64)?;
                number
            }
            free => free - 1,
        };
        let slot = self.slot(number);
        if number < table.len.load(Relaxed) {
            table.free.store(slot.next_free.load(Relaxed), Relaxed);
        }
        slot.pid.store(0, Relaxed);
        slot.start.store(0, Relaxed);
        slot.touched.store(0, Relaxed);
        slot.parent.store(parent.0, Relaxed);
        let generation = slot.generation.load(Relaxed).wrapping_add(1) | 1;
        slot.generation.store(generation, Release); // who sees it live sees its parent
        if number == table.len.load(Relaxed) {
            table.len.store(number + 1, Release); // committed before
        }
        Ok(PeerId::new(number, generation))
    }

    /// Gives the slot of a process back that holds nothing any more.
    pub(super) fn release(&self, peer: PeerId) {
        let table = self.peer_table();
        let slot = self.slot(peer.slot());
        slot.generation
            .store(peer.generation().wrapping_add(1), Release);
        slot.next_free.store(table.free.load(Relaxed), Relaxed);
        table.free.store(peer.slot() + 1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_used_again_is_another_peer() {
        let arena = Arena::create(1).unwrap();
        let root = arena.lock().unwrap().reserve(PeerId::NONE).unwrap();
        let child = arena.lock().unwrap().reserve(root).unwrap();
        assert!(arena.is_live(root) && arena.is_live(child));
        assert!(!arena.is_live(PeerId::NONE));
        assert_eq!(arena.orphans(), []);
        arena.lock().unwrap().release(root);
        assert_eq!(arena.orphans(), [child]);
        arena.lock().unwrap().release(child);
        let next = arena.lock().unwrap().reserve(PeerId::NONE).unwrap();
        assert_eq!(next.slot(), child.slot());
        assert!(next != child && !arena.is_live(child) && arena.is_live(next));
    }

    #[test]
    fn a_family_may_be_large_but_not_larger() {
        let arena = Arena::create(1).unwrap();
        let all: Vec<_> = (0..MOST)
            .map(|_| arena.lock().unwrap().reserve(PeerId::NONE).unwrap())
            .collect();
        let error = arena.lock().unwrap().reserve(PeerId::NONE).unwrap_err();
        assert!(error.to_string().contains("8192"), "{error}");
        for peer in all {
            arena.lock().unwrap().release(peer);
        }
        assert!(arena.lock().unwrap().reserve(PeerId::NONE).is_ok());
    }
}
