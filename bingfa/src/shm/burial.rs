//! What becomes of objects when somebody lets go of them or ends.
//!
//! All of it is done under the arena's lock, and may be done again by the next if an undertaker
//! is killed, as each step either leaves the hold in the list or has been done. Other locks are
//! only tried here: one that a stopped process has would hold up the whole family. Then the
//! hold stays, and is swept away later: by the process that has the lock, as it goes on or is
//! buried, or by whoever comes first.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use super::arena::ArenaGuard;
use super::hold::{HOLD, Hold};
use super::kind::{Gone, Kind};
use super::object::Object;
use super::peers::PeerId;

impl ArenaGuard<'_> {
    /// Takes the holds out of the list that are empty, and the object away if none is left.
    pub(super) fn settle(&self, object: Object<'_>) {
        let empty = || self.holds(&object).find(|(_, hold)| hold.is_empty());
        while let Some((link, hold)) = empty() {
            let peer = hold.peer();
            let gone = Gone {
                peer,
                pid: self.whereabouts(peer).map_or(0, |at| at.pid),
                lives: true,
                status: None,
            };
            let departed = peer == PeerId::NONE // it has before
                || object.kind().depart(self, &object, hold, &gone);
            if !departed {
                break;
            }
            self.unlink(&object, link, hold);
        }
        self.end_if_last(object);
    }

    fn unlink(&self, object: &Object<'_>, link: &AtomicU64, hold: &Hold) {
        let is_last = std::ptr::eq(link, object.holds()) && hold.next().load(Relaxed) == 0;
        if is_last && object.kind() == Kind::End {
            // Told while the hold can still be found: if we are killed here, whoever buries us
            // tells it again, which does no harm. Later, nobody would.
            object.kind().end(self, object);
        }
        let at = link.load(Relaxed);
        link.store(hold.next().load(Relaxed), Relaxed);
        self.free(at, HOLD);
    }

    fn end_if_last(&self, object: Object<'_>) {
        if object.holds().load(Relaxed) == 0 {
            self.remove_entry(&object);
            object.kind().end(self, &object);
            self.free_object(object);
        }
    }

    /// A process has ended: all that it held is let go, and its slot is free.
    ///
    /// Does nothing if that was done before, so all who see the end may call it. False: somebody
    /// is stopped with a lock, or there is no address space, and it must be done again.
    #[must_use]
    pub(crate) fn bury(&self, gone: &Gone) -> bool {
        if !self.is_live(gone.peer) {
            return true;
        }
        let objects = if self.is_touched(gone.peer) {
            self.object_table().len()
        } else {
            0
        };
        let mut all = true;
        for index in 0..objects {
            let at = self.entry(index).load(Acquire);
            if at != 0 && at.is_multiple_of(2) {
                all &= self
                    .object(at)
                    .is_ok_and(|object| self.bury_in(object, gone));
            }
        }
        if !all {
            return false;
        }
        self.release(gone.peer);
        // Children that it was about to make and that have not said that they exist: they
        // find that they are dead, if they ever do.
        for peer in self.orphans() {
            if self.whereabouts(peer).is_none() {
                let (pid, status) = (0, None);
                all &= self.bury(&Gone {
                    peer,
                    pid,
                    lives: false,
                    status,
                });
            }
        }
        all
    }

    /// What it has of one object is let go.
    fn bury_in(&self, object: Object<'_>, gone: &Gone) -> bool {
        let Some(hold) = self.holder(&object, gone.peer) else {
            return true;
        };
        if !object.kind().depart(self, &object, hold, gone) {
            return false;
        }
        for loan in &hold.loans {
            let block = loan.swap(0, Relaxed);
            if block != 0 {
                self.free_block(block);
            }
        }
        hold.handles.store(0, Relaxed);
        hold.promised.store(0, Relaxed);
        hold.orphan(); // by one store; with nothing sent it is empty, and goes
        self.settle(object);
        true
    }
}
