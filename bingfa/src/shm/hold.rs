//! What one process has of an object.
//!
//! Its numbers change under the arena's lock, which orders their Relaxed accesses, but for those
//! that belong to the object's kind: the kind says what orders them.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::arena::ArenaGuard;
use super::object::Object;
use super::peers::PeerId;

/// One process's part in an object.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Hold {
    next: AtomicU64,
    /// [`PeerId::NONE`] if that process has ended, and messages from it may still be read.
    peer: AtomicU64,
    pub(super) handles: AtomicU32,
    pub(super) promised: AtomicU32,
    pub(super) sent: AtomicU32,
    /// For queues: how many of its carriers wait for an item.
    awaiting: AtomicU32,
    /// For queues: how many items it has taken, and how many of those are done. For tallies: its
    /// share.
    pub(super) taken: AtomicU64,
    pub(super) finished: AtomicU64,
    /// For queues: blocks that it fills or reads.
    pub(super) loans: Loans,
}

/// Blocks that are nobody's but one process's for the moment, to be freed if it is killed. If
/// there are more than fit, the rest would be lost then.
pub(super) type Loans = [AtomicU64; 3];

/// Its length.
pub(super) const HOLD: u64 = size_of::<Hold>() as u64;

impl Hold {
    /// Notes a block that is the process's own for the moment.
    pub(super) fn lend(&self, block: u64) {
        for loan in &self.loans {
            // Relaxed: read by others only when the process is dead.
            if loan.compare_exchange(0, block, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// The block is not the process's own any more.
    pub(super) fn return_loan(&self, block: u64) {
        for loan in &self.loans {
            if loan.compare_exchange(block, 0, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Items taken and not done.
    pub(super) fn in_hand(&self) -> u64 {
        let taken = self.taken.load(Relaxed);
        taken.saturating_sub(self.finished.load(Relaxed))
    }

    /// A carrier of its process waits for an item.
    pub(crate) fn awaits(&self) {
        self.awaiting.fetch_add(1, Relaxed); // read to know only what this process does
    }

    /// It does no more. True: nobody of its process has ever taken one.
    pub(crate) fn awaits_no_more(&self) -> bool {
        self.awaiting.fetch_sub(1, Release); // what it took was counted before
        self.taken.load(Relaxed) == 0
    }

    /// For queues: whether its process takes items, or waits to.
    pub(crate) fn is_consumer(&self) -> bool {
        // Acquire: pairs with the Release in `awaits_no_more`.
        self.awaiting.load(Acquire) > 0 || self.taken.load(Relaxed) > 0
    }

    /// Whether it is nothing any more; then it is about to go.
    pub(super) fn is_empty(&self) -> bool {
        self.handles.load(Relaxed) == 0
            && self.promised.load(Relaxed) == 0
            && self.sent.load(Relaxed) == 0
    }

    pub(super) fn peer(&self) -> PeerId {
        PeerId::from_bits(self.peer.load(Relaxed))
    }

    /// Its process has ended; what it has sent stays, for whoever finds it.
    pub(super) fn orphan(&self) {
        self.peer.store(PeerId::NONE.to_bits(), Relaxed);
    }

    /// The word that leads to the next in the list.
    pub(super) fn next(&self) -> &AtomicU64 {
        &self.next
    }
}

impl ArenaGuard<'_> {
    /// A hold that is in no list.
    pub(super) fn new_hold(&self, peer: PeerId) -> io::Result<u64> {
        if !self.is_live(peer) {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "bingfa: the process that was to get the shared object has ended",
            ));
        }
        let at = self.allocate_small(HOLD)?;
        self.touch(peer);
        // SAFETY: allocated, and nobody else's.
        unsafe {
            self.at::<Hold>(at).write(Hold {
                next: AtomicU64::new(0),
                peer: AtomicU64::new(peer.to_bits()),
                handles: AtomicU32::new(0),
                promised: AtomicU32::new(0),
                sent: AtomicU32::new(0),
                awaiting: AtomicU32::new(0),
                taken: AtomicU64::new(0),
                finished: AtomicU64::new(0),
                loans: Loans::default(),
            });
        }
        Ok(at)
    }

    /// The words that lead to the holds of the object, and these.
    pub(super) fn holds<'a>(
        &'a self,
        object: &Object<'a>,
    ) -> impl Iterator<Item = (&'a AtomicU64, &'a Hold)> {
        let mut link = object.holds();
        std::iter::from_fn(move || {
            let at = link.load(Relaxed);
            if at == 0 {
                return None;
            }
            // SAFETY: in the list of an object that exists. Its segment is mapped: `reach`
            // has failed before if it cannot be.
            let hold = unsafe { self.reach::<Hold>(at).ok()?.as_ref() };
            let found = (link, hold);
            link = &hold.next;
            Some(found)
        })
    }

    pub(super) fn holder<'a>(&'a self, object: &Object<'a>, peer: PeerId) -> Option<&'a Hold> {
        let mut holds = self.holds(object).map(|(_, hold)| hold);
        holds.find(|hold| hold.peer() == peer)
    }

    /// The hold of `peer`, put into the list if need be.
    pub(super) fn hold_of<'a>(&'a self, object: &Object<'a>, peer: PeerId) -> io::Result<&'a Hold> {
        if let Some(hold) = self.holder(object, peer) {
            return Ok(hold);
        }
        let at = self.new_hold(peer)?;
        // SAFETY: just made.
        let hold = unsafe { self.at::<Hold>(at).as_ref() };
        hold.next.store(object.holds().load(Relaxed), Relaxed);
        object.holds().store(at, Relaxed);
        Ok(hold)
    }

    /// Takes one out of the number that a message counts in.
    pub(super) fn claim(&self, object: &Object<'_>, owner: PeerId, me: PeerId) -> bool {
        let number = match self.holder(object, owner) {
            Some(hold) if owner == me && hold.promised.load(Relaxed) > 0 => &hold.promised,
            Some(hold) => &hold.sent,
            // Its sender has ended: any of those counts.
            None => {
                let mut holds = self.holds(object).map(|(_, hold)| hold);
                let is_orphan = |hold: &&Hold| hold.peer() == PeerId::NONE && !hold.is_empty();
                match holds.find(is_orphan) {
                    Some(orphan) => &orphan.sent,
                    None => return false,
                }
            }
        };
        let before = number.load(Relaxed);
        if before == 0 {
            return false;
        }
        number.store(before - 1, Relaxed);
        true
    }
}
