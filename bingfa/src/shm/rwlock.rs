//! A lock between processes for many readers or one writer.
//!
//! A writer takes the writers' lock, which keeps new readers out, and waits until those that
//! are there have gone.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::arena::Arena;
use super::hold::Hold;
use super::kind::Gone;
use super::lock::Lock;
use super::tally::{Attempt, Tally};
use super::word::Word;

#[repr(C)]
#[derive(Debug)]
pub(crate) struct RwLock {
    pub(crate) writer: Lock,
    /// Whether the readers have gone, too, so that it writes.
    writing: AtomicU32,
    /// On which the writer waits for the readers.
    pub(crate) word: Word,
    /// How many readers there are; shares: in each process.
    readers: Tally,
}

impl RwLock {
    /// Makes one in zeroed memory.
    ///
    /// # Safety
    /// `at` is writable, aligned, and nobody uses it yet.
    ///
    /// # Errors
    /// If its lock cannot be made.
    pub(crate) unsafe fn init(at: *mut RwLock) -> io::Result<()> {
        // SAFETY: the caller's.
        unsafe { Tally::init(&raw mut (*at).readers, [0; 2]) }
    }

    /// Becomes a reader, if there is no writer and none waits.
    pub(crate) fn try_read(&self, arena: &Arena, hold: &Hold) -> Attempt {
        if self.writer.is_locked() {
            return Attempt::NotYet; // those who wait look often
        }
        // Again, under the tally's lock: a writer that comes later finds the reader there.
        self.readers.try_change(arena, hold, |[readers, _], share| {
            let is_free = !self.writer.is_locked();
            is_free.then_some(([readers + 1, 0], share.checked_add(1)?))
        })
    }

    /// Reads no more. False: it must be done again.
    pub(crate) fn unlock_read(&self, arena: &Arena, hold: &Hold) -> bool {
        let unlocked = self.readers.try_change(arena, hold, |[readers, _], share| {
            Some(([readers - 1, 0], share - 1))
        });
        self.word.wake(|flags| arena.ring(flags));
        unlocked == Attempt::Made
    }

    /// The caller has the writers' lock: writes, if there are no readers.
    pub(crate) fn try_write(&self, arena: &Arena) -> Attempt {
        match self.readers.values(arena) {
            Some([0, _]) => {
                self.writing.store(1, Relaxed);
                Attempt::Made
            }
            Some(_) => Attempt::NotYet,
            None => Attempt::Busy,
        }
    }

    /// Writes no more, or waits no more for that.
    pub(crate) fn unlock_write(&self, arena: &Arena) {
        self.writing.store(0, Relaxed); // published with the lock
        self.writer.unlock(arena);
    }

    /// The writer becomes a reader.
    pub(crate) fn downgrade(&self, arena: &Arena, hold: &Hold) {
        self.readers.change(arena, hold, |[readers, _], share| {
            Some(([readers + 1, 0], share + 1))
        });
        self.unlock_write(arena);
    }

    /// A process has ended, or let go: its readers have gone, and if it wrote that is marked.
    pub(super) fn depart(&self, arena: &Arena, hold: &Hold, gone: &Gone) -> bool {
        let departed = self
            .readers
            .depart(arena, hold, |[readers, _], share| [readers - share, 0]);
        self.writer.bury_with(arena, gone, || {
            if self.writing.load(Relaxed) != 0 {
                self.writer.poison.died(gone);
                self.writing.store(0, Relaxed);
            }
        });
        self.word.rouse(|flags| arena.ring(flags));
        departed
    }
}
