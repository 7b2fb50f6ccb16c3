//! One of the two ends of a channel, as an object of its own: who holds it can send, or
//! receive. When nobody does any more it tells the channel's queue.
#![allow(unsafe_code)]

use std::sync::atomic::{
    AtomicI32, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

use super::arena::ArenaGuard;
use super::kind::Gone;
use super::peers::PeerId;

/// An end of a channel, as it lies in shared memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct End {
    /// The queue's entry and serial number.
    pub(crate) index: u32,
    pub(crate) serial: u64,
    pub(crate) sends: bool,
    /// The process that was the last to let go, as in the queue.
    pub(crate) pid: AtomicI32,
    pub(crate) status: AtomicI32,
    pub(crate) bits: AtomicU32,
}

const LIVES: u32 = 1;
const STATUS_KNOWN: u32 = 2;

impl End {
    pub(super) fn depart(&self, _: &ArenaGuard<'_>, gone: &Gone) {
        let mut bits = if gone.lives { LIVES } else { 0 };
        if let Some(status) = gone.status {
            self.status.store(status, Relaxed);
            bits |= STATUS_KNOWN;
        }
        self.bits.store(bits, Relaxed);
        self.pid.store(gone.pid, Release);
    }

    pub(super) fn end(&self, arena: &ArenaGuard<'_>) {
        let bits = self.bits.load(Relaxed);
        let gone = Gone {
            peer: PeerId::NONE,
            pid: self.pid.load(Acquire),
            lives: bits & LIVES != 0,
            status: (bits & STATUS_KNOWN != 0).then(|| self.status.load(Relaxed)),
        };
        if let Some(queue) = arena.queue(self.index, self.serial) {
            queue.lose(arena, self.sends, &gone);
        }
    }
}
