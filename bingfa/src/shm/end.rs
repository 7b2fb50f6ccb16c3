//! One of the two ends of a channel, as an object of its own: who holds it can send, or
//! receive. When nobody does any more it tells the channel's queue.
#![allow(unsafe_code)]

use super::arena::ArenaGuard;
use super::kind::Gone;
use super::last::LastGone;
use super::peers::PeerId;

/// An end of a channel, as it lies in shared memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct End {
    /// The queue's entry and serial number.
    pub(crate) index: u32,
    pub(crate) serial: u64,
    pub(crate) sends: bool,
    pub(crate) last: LastGone,
}

impl End {
    pub(super) fn depart(&self, _: &ArenaGuard<'_>, gone: &Gone) {
        self.last.remember(gone);
    }

    pub(super) fn end(&self, arena: &ArenaGuard<'_>) {
        let last = self.last.get();
        let gone = Gone {
            peer: PeerId::NONE,
            pid: last.map_or(0, |last| last.pid),
            lives: last.is_some_and(|last| last.lives),
            status: last.and_then(|last| last.status),
        };
        if let Some(queue) = arena.queue(self.index, self.serial) {
            queue.lose(arena, self.sends, &gone);
        }
    }
}
