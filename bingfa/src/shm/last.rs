//! The process that was the last to let go of something.

use std::sync::atomic::{
    AtomicI32, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

use super::kind::Gone;

/// A process that had something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) pid: i32,
    pub(crate) lives: bool,
    pub(crate) status: Option<i32>,
}

/// Where it is noted, in shared memory. Zeroed memory: nobody has let go.
///
/// Written with the arena's lock held. Read without it while the next is being noted, the
/// parts may be of two processes: it serves messages.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct LastGone {
    pid: AtomicI32,
    bits: AtomicU32,
    status: AtomicI32,
}

/// Bits of `bits`.
const LIVES: u32 = 1;
const STATUS_KNOWN: u32 = 2;

impl LastGone {
    pub(super) fn remember(&self, gone: &Gone) {
        if gone.pid == 0 {
            return; // a child that its parent did not come to make has had nothing
        }
        let mut bits = if gone.lives { LIVES } else { 0 };
        if let Some(status) = gone.status {
            self.status.store(status, Relaxed);
            bits |= STATUS_KNOWN;
        }
        self.bits.store(bits, Relaxed);
        self.pid.store(gone.pid, Release); // pairs with the Acquire in `get`, as what was before
    }

    pub(crate) fn get(&self) -> Option<Last> {
        let pid = self.pid.load(Acquire); // pairs with the Release in `remember`
        let bits = self.bits.load(Relaxed);
        (pid != 0).then(|| Last {
            pid,
            lives: bits & LIVES != 0,
            status: (bits & STATUS_KNOWN != 0).then(|| self.status.load(Relaxed)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::PeerId;
    use super::*;

    #[test]
    fn a_child_that_was_never_made_is_not_the_last() {
        let last = LastGone::default();
        let gone = |pid| Gone {
            peer: PeerId::NONE,
            pid,
            lives: false,
            status: Some(9),
        };
        last.remember(&gone(0));
        assert_eq!(last.get(), None);
        last.remember(&gone(7));
        last.remember(&gone(0));
        let known = Last {
            pid: 7,
            lives: false,
            status: Some(9),
        };
        assert_eq!(last.get(), Some(known));
    }
}
