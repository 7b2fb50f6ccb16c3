//! Large messages, and those with handles: blocks of their own, filled and read without a lock.
//!
//! # Invariants
//! 1. A block that is in no queue is one carrier's, which has noted it in the loans of its
//!    process's hold before it works with it; so it is freed if that process is killed.
//! 2. It begins with a [`BlockHead`], written by who has it; behind the message are as many
//!    entries of its luggage (`luggage.rs`) as that says.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::arena::{Arena, ArenaGuard};
use super::hold::Hold;
use super::luggage::{ENTRY, Entry, Luggage};
use super::object::Token;

/// The longest message that needs no block.
pub(crate) const LONGEST_INLINE: usize = 4096;

/// A message that is short enough, while a carrier works with it.
pub(crate) type Buffer = [MaybeUninit<u8>; LONGEST_INLINE];

/// The head of a block. (While its writer works with it `len` and `handles` are 0.)
#[repr(C)]
struct BlockHead {
    /// Of the message.
    len: u64,
    /// For how many bytes the block was allocated.
    allocated: u64,
    /// How many handles are in the message.
    handles: u64,
}

/// Where the message begins.
const BLOCK_HEAD: u64 = 64;

/// Where the entries of its luggage begin, behind so many bytes.
fn luggage_at(len: u64) -> u64 {
    BLOCK_HEAD + len.next_multiple_of(8)
}

/// What goes into a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message<'a> {
    Short(&'a [u8]),
    /// A block, by its place, and the hold that has it among its loans.
    Long(&'a Hold, u64),
}

/// A large message that has been received; its memory goes with it.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    arena: &'a Arena,
    hold: &'a Hold,
    at: u64,
}

impl<'a> Block<'a> {
    /// The one at `at`, which is the caller's and a loan of this hold (invariant 1), and is mapped.
    pub(crate) fn over(arena: &'a Arena, hold: &'a Hold, at: u64) -> Block<'a> {
        Block { arena, hold, at }
    }

    fn head(&self) -> &BlockHead {
        // SAFETY: ours, with its head (invariants 1 and 2).
        unsafe { self.arena.at::<BlockHead>(self.at).as_ref() }
    }

    /// Its place.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    fn luggage(&self) -> Luggage<'_> {
        let head = self.head();
        // SAFETY: ours, with its luggage (invariants 1 and 2).
        unsafe {
            self.arena
                .luggage(self.at + luggage_at(head.len), head.handles)
        }
    }
}

impl Deref for Block<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = self.arena.at::<u8>(self.at + BLOCK_HEAD);
        // SAFETY: ours alone, and so long, as its writer has noted (invariants 1 and 2).
        unsafe { NonNull::slice_from_raw_parts(bytes, self.head().len as usize).as_ref() }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        if self.luggage().is_left()
            && let Ok(arena) = self.arena.lock()
        {
            self.luggage().release(&arena); // it could not be decoded
        }
        self.hold.return_loan(self.at);
        self.arena.free(self.at, self.head().allocated);
    }
}

/// A message while it is written: in the caller's buffer, and from there, if it grows too long
/// for a segment, in a block.
#[derive(Debug)]
pub(crate) struct Writer<'a, B: DerefMut<Target = Buffer>> {
    arena: &'a Arena,
    hold: &'a Hold,
    buffer: B,
    /// What was written.
    len: usize,
    /// The block, or 0; its memory goes with the writer.
    at: u64,
    /// For how many bytes it was allocated.
    allocated: u64,
    /// How many handles are in the message.
    handles: u64,
    error: Option<io::Error>,
}

impl<'a, B: DerefMut<Target = Buffer>> Writer<'a, B> {
    #[inline]
    pub(crate) fn new(arena: &'a Arena, hold: &'a Hold, buffer: B) -> Writer<'a, B> {
        Writer {
            arena,
            hold,
            buffer,
            len: 0,
            at: 0,
            allocated: 0,
            handles: 0,
            error: None,
        }
    }

    /// False: there is no memory, or somebody holds the arena up (`WouldBlock`);
    /// [`error`](Self::error) has the reason.
    #[inline]
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> bool {
        let len = self.len + bytes.len();
        if self.at == 0 && len <= LONGEST_INLINE {
            self.buffer[self.len..len].write_copy_of_slice(bytes);
            self.len = len;
            return true;
        }
        self.extend_block(bytes)
    }

    /// Says at the end which handles are in the message.
    ///
    /// # Errors
    /// If there is no memory, or somebody holds the arena up (`WouldBlock`).
    #[cold]
    pub(crate) fn pack(&mut self, tokens: &[Token]) -> io::Result<()> {
        let at = luggage_at(self.len as u64);
        let needed = at + ENTRY * tokens.len() as u64;
        if needed > self.allocated {
            self.resize(needed)?;
        }
        for (nth, token) in tokens.iter().enumerate() {
            let entry = self.arena.at(self.at + at + ENTRY * nth as u64);
            // SAFETY: inside the block, which is ours (invariant 1).
            unsafe { entry.write(Entry::of(*token)) };
        }
        self.handles = tokens.len() as u64;
        Ok(())
    }

    #[inline(never)]
    fn extend_block(&mut self, bytes: &[u8]) -> bool {
        let len = self.len + bytes.len();
        let needed = len as u64 + BLOCK_HEAD;
        if needed > self.allocated
            && let Err(error) = self.grow(needed)
        {
            self.error = Some(error);
            return false;
        }
        let at = self.at + BLOCK_HEAD + self.len as u64;
        let to = self.arena.at::<u8>(at);
        // SAFETY: inside the block, which is ours (invariant 1).
        unsafe { to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        self.len = len;
        true
    }

    /// Why there was no memory.
    pub(crate) fn error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// What was written.
    #[inline]
    pub(crate) fn message(&self) -> Message<'_> {
        if self.at == 0 {
            // SAFETY: so many bytes were written.
            return Message::Short(unsafe { self.buffer[..self.len].assume_init_ref() });
        }
        let head = BlockHead {
            len: self.len as u64,
            allocated: self.allocated,
            handles: self.handles,
        };
        // SAFETY: ours (invariant 1).
        unsafe { self.arena.at::<BlockHead>(self.at).write(head) };
        Message::Long(self.hold, self.at)
    }

    /// The message is in a queue: its block is not ours any more.
    #[inline]
    pub(crate) fn sent(&mut self) {
        self.at = 0;
    }

    /// Makes the block at least so large.
    #[cold]
    fn grow(&mut self, needed: u64) -> io::Result<()> {
        // A large message often comes in one piece, and should not take twice its memory.
        let more = (self.allocated * 2).clamp(16 << 10, self.allocated + (1 << 20));
        self.resize(needed.max(more).next_multiple_of(4096))
    }

    /// Gives what was written a block of this length, which is more than it had.
    fn resize(&mut self, allocated: u64) -> io::Result<()> {
        let enlarged = self.at != 0 && self.arena.enlarge(self.at, self.allocated, allocated)?;
        let at = if enlarged {
            self.at
        } else {
            self.arena.allocate_briefly(allocated)?
        };
        // For whoever frees it if we are killed.
        let head = BlockHead {
            len: 0,
            allocated,
            handles: 0,
        };
        // SAFETY: ours (invariant 1), and as large as that.
        unsafe { self.arena.at::<BlockHead>(at).write(head) };
        if !enlarged {
            self.hold.lend(at); // killed before: it is lost
            let from = match self.at {
                0 => NonNull::from(&*self.buffer).cast(),
                old => self.arena.at::<u8>(old + BLOCK_HEAD),
            };
            // SAFETY: both are ours (invariant 1), and have room for what was written.
            unsafe {
                let to = self.arena.at::<u8>(at + BLOCK_HEAD);
                to.copy_from_nonoverlapping(from, self.len);
            }
            self.give_back();
        }
        (self.at, self.allocated) = (at, allocated);
        Ok(())
    }

    fn give_back(&mut self) {
        if self.at != 0 {
            self.hold.return_loan(self.at);
            self.arena.free(self.at, self.allocated);
            self.at = 0;
        }
    }
}

impl<B: DerefMut<Target = Buffer>> Drop for Writer<'_, B> {
    #[inline]
    fn drop(&mut self) {
        self.give_back();
    }
}

impl ArenaGuard<'_> {
    /// Gives back the block of a message that nobody reads, or none any more.
    pub(super) fn free_block(&self, at: u64) {
        if let Ok(head) = self.reach::<BlockHead>(at) {
            // SAFETY: the caller's, who has it from the queue or a loan.
            let head = unsafe { head.as_ref() };
            // SAFETY: as above (invariant 2).
            unsafe { self.luggage(at + luggage_at(head.len), head.handles) }.release(self);
            self.free(at, head.allocated);
        }
    }

    /// A handle is taken out of the message in this block, which is the caller's.
    pub(super) fn unpack(&self, at: u64, token: Token) {
        // SAFETY: the caller's, with its head and its luggage (invariants 1 and 2).
        let luggage = unsafe {
            let head = self.at::<BlockHead>(at).as_ref();
            self.luggage(at + luggage_at(head.len), head.handles)
        };
        luggage.take(self, token);
    }
}
