//! Which process has left something broken, and how.

use std::sync::atomic::{
    AtomicI32, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

use super::kind::Gone;

/// Zeroed memory blames nobody.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Blame {
    bits: AtomicU32,
    pid: AtomicI32,
    status: AtomicI32,
}

/// Bits of `bits`.
const PANICKED: u32 = 1;
const DIED: u32 = 2;
const STATUS_KNOWN: u32 = 4;

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) pid: i32,
    /// It has ended; else it panicked.
    pub(crate) died: bool,
    pub(crate) status: Option<i32>,
}

impl Blame {
    /// The process of this number panics.
    pub(crate) fn panicked(&self, pid: i32) {
        self.pid.store(pid, Relaxed);
        self.bits.store(PANICKED, Release); // pairs with the Acquire in `get`
    }

    pub(super) fn died(&self, gone: &Gone) {
        self.pid.store(gone.pid, Relaxed);
        self.status.store(gone.status.unwrap_or(0), Relaxed);
        let known = gone.status.map_or(0, |_| STATUS_KNOWN);
        self.bits.store(DIED | known, Release); // pairs with the Acquire in `get`
    }

    pub(crate) fn get(&self) -> Option<Poison> {
        let bits = self.bits.load(Acquire); // pairs with the Release of who set it
        (bits != 0).then(|| Poison {
            pid: self.pid.load(Relaxed),
            died: bits & DIED != 0,
            status: (bits & STATUS_KNOWN != 0).then(|| self.status.load(Relaxed)),
        })
    }

    pub(crate) fn clear(&self) {
        self.bits.store(0, Relaxed);
    }
}
