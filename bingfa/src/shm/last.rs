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
