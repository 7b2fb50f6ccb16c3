//! What the messages of a queue lie in: segments, each with records one behind the other.
//!
//! A record is a word, with its kind and length, and its payload; what is behind the last record
//! of a segment is in the next. What orders its Relaxed accesses is said in `ring.rs`.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::arena::{Arena, ArenaGuard};
use crate::sys::cache;

/// The length of a queue's first segment.
pub(super) const FIRST: u64 = 1024;
/// Each segment is twice as long as the one before, up to this.
const LONG: u64 = 64 << 10;
/// Or to this, for items of some length: in a ring of two segments that is much shorter, whoever
/// writes finds the lines still in the cache of whoever has read them, which takes twice as
/// long.
const LONGEST: u64 = 256 << 10;
/// So many items should fit.
const ITEMS: u64 = 256;

/// Records of this length are claimed ahead. What is much shorter is in a line in which somebody
/// reads.
const WORTH_CLAIMING: u64 = 256;
/// About what a processor can wait for at once.
const MOST_CLAIMED: u64 = 1280;

/// The head of a segment, before its records.
#[repr(C)]
pub(super) struct Segment {
    /// The next one, once a record says so.
    pub(super) next: AtomicU64,
    /// Of the whole block.
    pub(super) len: u64,
}

/// Where the first record begins.
pub(super) const HEAD: u64 = size_of::<Segment>() as u64;

/// The length of a record's first word.
pub(super) const RECORD: u64 = 8;
/// The payload is the message.
pub(super) const INLINE: u64 = 1 << 32;
/// The payload is the place of a block that has the message.
pub(super) const BLOCK: u64 = 2 << 32;
/// The rest of the segment is empty; go on in the next.
pub(super) const WRAP: u64 = 3 << 32;

/// The length of a payload, of what is a record's first word.
pub(super) fn payload_len(record: u64) -> u64 {
    record & u64::from(u32::MAX)
}

/// The room that a record with such a payload takes.
pub(super) fn record_len(payload: u64) -> u64 {
    RECORD + payload.next_multiple_of(8)
}

/// The length of the segment after one of the length `last`, in a queue with room for `capacity`
/// items, for a record of this length.
pub(super) fn next_len(last: u64, capacity: u64, record: u64) -> u64 {
    let items = capacity.min(ITEMS) * record;
    let longest = items.clamp(LONG, LONGEST).next_power_of_two();
    (2 * last).min(longest).max(HEAD + record)
}

impl Arena {
    pub(super) fn new_segment(&self, lock: ArenaGuard<'_>, len: u64) -> io::Result<u64> {
        let at = self.allocate_under(lock, len)?;
        let next = AtomicU64::new(0);
        // SAFETY: allocated, and nobody else's.
        unsafe { self.at::<Segment>(at).write(Segment { next, len }) };
        Ok(at)
    }

    #[inline]
    pub(super) fn segment(&self, at: u64) -> io::Result<&Segment> {
        // SAFETY: from a place, a link or the spare, which hold only segments.
        Ok(unsafe { self.reach::<Segment>(at)?.as_ref() })
    }

    /// The record after the one at `at`, if it is as long, is about to be written: its lines come
    /// from who has read what was there, while the caller does something else. Otherwise the
    /// next locked instruction after the writing would wait for them.
    #[inline]
    pub(super) fn claim_next(&self, at: u64, len: u64) {
        if len >= WORTH_CLAIMING {
            let next = self.at::<u8>(at).as_ptr().wrapping_add(len as usize);
            cache::claim_lines(next, len.min(MOST_CLAIMED).div_ceil(64) as usize);
        }
    }

    /// A word of a record. Atomic, though guarded by the lock and the count, because a process
    /// that was killed may have left it half-written for the next to write.
    #[inline]
    pub(super) fn word(&self, at: u64) -> &AtomicU64 {
        // SAFETY: inside a segment that was reached.
        unsafe { self.at::<AtomicU64>(at).as_ref() }
    }
}

impl ArenaGuard<'_> {
    pub(super) fn free_segment(&self, at: u64) {
        if let Ok(segment) = self.segment(at) {
            self.free(at, segment.len);
        }
    }

    /// Frees the segments from `at` on, whose next record is at `position`, and the blocks that
    /// the records name, of which so many are `left`.
    pub(super) fn free_chain(&self, mut at: u64, mut position: u64, mut left: u64) {
        // 0: there is none, for want of memory, or its maker was killed before.
        while at != 0
            && let Ok(current) = self.segment(at)
        {
            let record = match current.len {
                len if left == 0 || position == len => WRAP,
                _ => self.word(at + position).load(Relaxed),
            };
            if record != WRAP {
                if record & BLOCK != 0 {
                    self.free_block(self.word(at + position + RECORD).load(Relaxed));
                }
                position += record_len(payload_len(record));
                left -= 1;
                continue;
            }
            let next = current.next.load(Relaxed);
            self.free_segment(at);
            if left == 0 {
                return;
            }
            (at, position) = (next, HEAD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_grow_to_what_the_items_need_and_no_further() {
        let grown = |capacity, record| {
            let grow = |len: &u64| Some(next_len(*len, capacity, record));
            std::iter::successors(Some(FIRST), grow).nth(20).unwrap()
        };
        assert_eq!(next_len(FIRST, 10, 16), 2 * FIRST);
        assert_eq!(grown(u64::MAX, 16), LONG);
        assert_eq!(grown(u64::MAX, 1032), LONGEST);
        assert_eq!(grown(2, 4104), LONG, "more would never be used");
        assert_eq!(grown(200, 520), 128 << 10);
        assert_eq!(next_len(LONGEST, 1024, 16), LONG);
        assert_eq!(next_len(FIRST, 10, 4104), HEAD + 4104);
    }
}
