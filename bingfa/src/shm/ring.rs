//! A queue between processes: what lies in shared memory, and how it changes.
//!
//! Messages are records in a chain of **segments**; the head reads in the oldest, the tail
//! writes in the newest. Each end has a short robust lock. A put or get is committed by one
//! store, of the end's count; where the end then is stands beside it twice, for odd and even
//! counts, so that whoever is killed before that store has changed nothing. Large messages
//! are blocks of their own, filled and read without a lock; the record has the place.
//!
//! A segment that the head has left is kept as the spare for the tail, or given back.
//!
//! # What is known of each process
//! Its hold counts the items that it has taken and those of them that are done. When it ends,
//! or lets go, what is in its hands is **abandoned**: it counts as finished, and is told to
//! whoever joins. The count of what is taken cannot be committed by the same store as the get;
//! the place of the head says who took last and what its count is then, and the burial of that
//! process makes good what it was killed before.
//!
//! # Invariants
//! 1. `places[n % 2]` of an end with the count `n` is where it is, and not written while that
//!    is its count.
//! 2. The records between head and tail, and the blocks that they name, are the queue's.
//! 3. A block that has left the queue, or is not in it yet, is one carrier's, which notes it
//!    in the loans of its process's hold before it works with it.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicI32, AtomicI64, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use super::arena::{Arena, ArenaGuard};
use super::kind::Gone;
use super::last::{Last, LastGone};
use super::object::Hold;
use super::peers::PeerId;
use super::word::Word;
use crate::sys::robust::RobustMutex;

/// The longest message that lies in a segment.
pub(crate) const LONGEST_INLINE: usize = 4096;

const FIRST_SEGMENT: u64 = 1024;
const LONGEST_SEGMENT: u64 = 64 << 10;

/// The head of a segment, before its records.
#[repr(C)]
struct Segment {
    /// The next one, once a record says so.
    next: AtomicU64,
    /// Of the whole block.
    len: u64,
}

/// The head of a record: its length and what it is.
const RECORD: u64 = 8;
const INLINE: u64 = 1 << 32;
const BLOCK: u64 = 2 << 32;
/// The rest of the segment is empty; go on in the next.
const WRAP: u64 = 3 << 32;

/// The head of a block for one large message.
#[repr(C)]
struct BlockHead {
    /// Of the message.
    len: u64,
    /// For how many bytes the block was allocated.
    allocated: u64,
}

/// Where the message begins.
const BLOCK_HEAD: u64 = 64;

/// Where an end is.
#[repr(C)]
#[derive(Debug, Default)]
struct Place {
    segment: AtomicU64,
    position: AtomicU64,
    /// Of the head: who took the item before, and how many that one had taken then.
    taker: AtomicU64,
    taken: AtomicU32,
}

/// The other end reads of it only the count, and that only if what it has last seen of it is
/// not enough: else the two would fight for the cache line with every item.
#[repr(C, align(64))]
#[derive(Debug)]
struct Ending {
    lock: RobustMutex,
    /// How many items have passed.
    count: AtomicU64,
    /// The count of the other end, as it was last seen from here.
    seen: AtomicU64,
    /// The spare segment; only the tail's is used.
    spare: AtomicU64,
    places: [Place; 2],
    waiting: Waiting,
}

/// On a line of its own, as those who wait write to it.
#[repr(C, align(64))]
#[derive(Debug)]
struct Waiting(Word);

/// A queue, as it lies in shared memory.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Ring {
    capacity: u64,
    closed: AtomicU32,
    last: LastGone,
    /// The items that were done by, or in the hands of, processes that have let go.
    settled: AtomicU64,
    /// How many of those were in their hands; told so far; and the last such process.
    abandoned: AtomicU64,
    reported: AtomicU64,
    abandoner: AtomicI32,
    /// On which one joins.
    pub(crate) joined: Word,
    /// About how many items are not done, as a reason to look exactly. Too small does no harm;
    /// it is too large only while somebody who puts or has done one is about to say so, or was
    /// killed then and is about to be buried.
    unfinished: AtomicI64,
    /// Puts; gets wait on its word.
    tail: Ending,
    /// Gets; puts wait on its word.
    head: Ending,
}

/// Bits of `closed`.
const CLOSED: u32 = 1;
const NO_SENDERS: u32 = 2;
const NO_RECEIVERS: u32 = 4;

/// What goes into the queue.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Short(&'a [u8]),
    Long(Block<'a>),
}

/// What has come out.
#[derive(Debug)]
pub(crate) enum Received<'a> {
    Nothing,
    /// As [`Put::Busy`].
    Busy,
    /// So many bytes, in the caller's buffer.
    Short(usize),
    Long(Block<'a>),
}

/// A large message that is one carrier's; its memory goes with it.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    arena: &'a Arena,
    hold: &'a Hold,
    at: u64,
    bytes: NonNull<[u8]>,
}

impl<'a> Block<'a> {
    /// The block has been noted as this process's loan.
    fn over(arena: &'a Arena, hold: &'a Hold, at: u64) -> Block<'a> {
        // SAFETY: written by whoever filled it, and ours (invariant 3).
        let len = unsafe { arena.at::<BlockHead>(at).as_ref() }.len;
        let bytes = NonNull::slice_from_raw_parts(arena.at(at + BLOCK_HEAD), len as usize);
        Block {
            arena,
            hold,
            at,
            bytes,
        }
    }
}

/// A message while it is written: in the caller's buffer, and from there, if it grows too long
/// for a segment, in a block.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    buffer: &'a mut [MaybeUninit<u8>; LONGEST_INLINE],
    len: usize,
    block: Growing<'a>,
}

/// A block that is being written; its memory goes with it.
#[derive(Debug)]
struct Growing<'a> {
    arena: &'a Arena,
    hold: &'a Hold,
    /// 0: there is none yet.
    at: u64,
    allocated: u64,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        arena: &'a Arena,
        hold: &'a Hold,
        buffer: &'a mut [MaybeUninit<u8>; LONGEST_INLINE],
    ) -> Writer<'a> {
        let block = Growing {
            arena,
            hold,
            at: 0,
            allocated: 0,
        };
        Writer {
            buffer,
            len: 0,
            block,
        }
    }

    /// # Errors
    /// If there is no memory.
    #[inline]
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = self.len + bytes.len();
        if self.block.at == 0 && len <= LONGEST_INLINE {
            self.buffer[self.len..len].write_copy_of_slice(bytes);
        } else {
            if len as u64 + BLOCK_HEAD > self.block.allocated {
                let written = NonNull::from(&self.buffer[..self.len.min(LONGEST_INLINE)]);
                self.block
                    .grow(len as u64 + BLOCK_HEAD, written.cast(), self.len)?;
            }
            let at = self.block.at + BLOCK_HEAD + self.len as u64;
            let to = self.block.arena.at::<u8>(at);
            // SAFETY: inside the block, which is ours (invariant 3).
            unsafe { to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        }
        self.len = len;
        Ok(())
    }

    /// What was written.
    pub(crate) fn finish(self) -> Message<'a> {
        let Writer { buffer, len, block } = self;
        if block.at == 0 {
            // SAFETY: so many bytes were written.
            return Message::Short(unsafe { buffer[..len].assume_init_ref() });
        }
        let block = std::mem::ManuallyDrop::new(block);
        // SAFETY: ours (invariant 3), with its head.
        unsafe { block.arena.at::<BlockHead>(block.at).as_mut() }.len = len as u64;
        Message::Long(Block::over(block.arena, block.hold, block.at))
    }
}

impl Growing<'_> {
    /// Makes it at least so large; `len` bytes were written, into the block or, if there is
    /// none yet, to `buffer`.
    #[cold]
    fn grow(&mut self, needed: u64, buffer: NonNull<u8>, len: usize) -> io::Result<()> {
        // A large message often comes in one piece, and should not take twice its memory.
        let more = (self.allocated * 2).clamp(16 << 10, self.allocated + (1 << 20));
        let allocated = needed.max(more).next_multiple_of(4096);
        let enlarged = self.at != 0 && self.arena.enlarge(self.at, self.allocated, allocated)?;
        let at = if enlarged {
            self.at
        } else {
            self.arena.allocate(allocated)?
        };
        // SAFETY: ours (invariant 3), and as large as that.
        unsafe {
            self.arena
                .at::<BlockHead>(at)
                .write(BlockHead { len: 0, allocated })
        };
        if !enlarged {
            self.hold.lend(at); // killed before: it is lost
            let from = match self.at {
                0 => buffer,
                old => self.arena.at::<u8>(old + BLOCK_HEAD),
            };
            // SAFETY: both are ours (invariant 3), and have room for what was written.
            unsafe {
                let to = self.arena.at::<u8>(at + BLOCK_HEAD);
                to.copy_from_nonoverlapping(from, len);
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

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Deref for Block<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: ours alone (invariant 3).
        unsafe { self.bytes.as_ref() }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.hold.return_loan(self.at);
        // SAFETY: ours (invariant 3), with its head.
        let allocated = unsafe { self.arena.at::<BlockHead>(self.at).as_ref() }.allocated;
        self.arena.free(self.at, allocated);
    }
}

impl ArenaGuard<'_> {
    /// Gives back the block of a large message.
    pub(super) fn free_block(&self, at: u64) {
        if let Ok(head) = self.reach::<BlockHead>(at) {
            // SAFETY: the caller's, who has it from the queue or a loan.
            self.free(at, unsafe { head.as_ref() }.allocated);
        }
    }

    fn free_segment(&self, at: u64) {
        if let Ok(segment) = self.segment(at) {
            self.free(at, segment.len);
        }
    }
}

impl Arena {
    fn new_segment(&self, lock: ArenaGuard<'_>, len: u64) -> io::Result<u64> {
        let at = self.allocate_under(lock, len)?;
        let next = AtomicU64::new(0);
        // SAFETY: allocated, and nobody else's.
        unsafe { self.at::<Segment>(at).write(Segment { next, len }) };
        Ok(at)
    }

    fn segment(&self, at: u64) -> io::Result<&Segment> {
        // SAFETY: from a place, a link or the spare, which hold only segments.
        Ok(unsafe { self.reach::<Segment>(at)?.as_ref() })
    }

    /// A word of a record. Atomic, though guarded by the lock and the count, because a process
    /// that was killed may have left it half-written for the next to write.
    fn word(&self, at: u64) -> &AtomicU64 {
        // SAFETY: inside a segment that was reached.
        unsafe { self.at::<AtomicU64>(at).as_ref() }
    }
}

const SEGMENT: u64 = size_of::<Segment>() as u64;

/// How often to count again what others change meanwhile; under the arena's lock.
const RECOUNTS: u32 = 20;

/// What `try_put` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Done,
    Full,
    Closed,
    /// Somebody has had the lock for long: it is stopped, or does not get to run.
    Busy,
}

fn place(end: &Ending, count: u64) -> &Place {
    &end.places[(count % 2) as usize]
}

/// The bytes that a record's payload takes.
fn padded(len: u64) -> u64 {
    len.next_multiple_of(8)
}

impl Ring {
    /// Makes the one at `at`, which is all zeroes, with room for `capacity` items.
    ///
    /// # Errors
    /// If there is no memory.
    ///
    /// # Safety
    /// `at` has room for it, and is nobody else's yet.
    pub(crate) unsafe fn init(at: NonNull<Ring>, capacity: u64) -> io::Result<()> {
        let ring = at.as_ptr();
        // SAFETY: the caller's word; zeroes are valid for all but the mutexes.
        unsafe {
            (&raw mut (*ring).capacity).write(capacity);
            RobustMutex::init(&raw mut (*ring).tail.lock)?;
            RobustMutex::init(&raw mut (*ring).head.lock)
        }
    }

    /// Gives it its first segment, by the one who has made it, before anybody else has it.
    ///
    /// # Errors
    /// If there is no memory.
    pub(crate) fn open(&self, arena: &Arena) -> io::Result<()> {
        let segment = arena.new_segment(arena.lock(), FIRST_SEGMENT)?;
        // The head first: `end` frees what it finds there, also if we are killed in between.
        for end in [&self.head, &self.tail] {
            let place = place(end, 0);
            place.position.store(SEGMENT, Relaxed);
            place.segment.store(segment, Relaxed);
        }
        Ok(())
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How many items are in it, at this moment or the last.
    pub(crate) fn len(&self) -> u64 {
        // Acquire: pairs with the Release of the commits. Head first: it is never ahead.
        let got = self.head.count.load(Acquire);
        self.tail.count.load(Acquire).saturating_sub(got)
    }

    /// On which gets wait.
    pub(crate) fn items(&self) -> &Word {
        &self.tail.waiting.0
    }

    /// On which puts wait.
    pub(crate) fn room(&self) -> &Word {
        &self.head.waiting.0
    }

    /// Nothing goes in any more.
    pub(crate) fn close(&self, arena: &Arena) {
        self.end_with(arena, CLOSED);
    }

    fn end_with(&self, arena: &Arena, bit: u32) {
        {
            // Whoever sees it closed, and then empty, has missed no put.
            let _lock = self.tail.lock.lock(|| {}); // nothing to repair: invariant 1
            self.closed.fetch_or(bit, Release);
        }
        self.rouse(arena);
    }

    fn rouse(&self, arena: &Arena) {
        for word in [self.items(), self.room(), &self.joined] {
            word.rouse(|flags| arena.ring(flags));
        }
    }

    /// Whether nothing can go in.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Acquire) & (CLOSED | NO_RECEIVERS) != 0
    }

    /// Whether nothing more can come.
    pub(crate) fn has_no_source(&self) -> bool {
        self.closed.load(Acquire) != 0
    }

    /// The process that was the last to let go.
    pub(crate) fn last(&self) -> Option<Last> {
        self.last.get()
    }

    fn is_full(&self, put: u64) -> bool {
        let full = |got| put.saturating_sub(got) >= self.capacity;
        if !full(self.tail.seen.load(Relaxed)) {
            return false; // there is no less room by now
        }
        let got = self.head.count.load(Acquire); // pairs with the Release in `try_get`
        self.tail.seen.store(got, Relaxed);
        full(got)
    }

    /// Whether nothing is in it behind the item of this number.
    fn is_empty(&self, got: u64) -> bool {
        if self.head.seen.load(Relaxed) > got {
            return false; // what was seen there stays, and whoever has seen it had the lock
        }
        let put = self.tail.count.load(Acquire); // pairs with the Release in `try_put`
        put == got
    }

    /// Puts the message into the queue, if it has room, and wakes who waits for it.
    ///
    /// # Errors
    /// If there is no memory. Then it is as if nothing had happened.
    pub(crate) fn try_put(&self, arena: &Arena, message: &mut Message<'_>) -> io::Result<Put> {
        let mut fresh = 0;
        let put = self.put_with(arena, message, &mut fresh);
        self.keep(arena, fresh);
        if let Ok(Put::Done) = put {
            self.items().wake(|flags| arena.ring(flags));
        }
        put
    }

    /// The same, without waking; `fresh` is a segment to use if there is need, or 0.
    fn put_with(
        &self,
        arena: &Arena,
        message: &mut Message<'_>,
        fresh: &mut u64,
    ) -> io::Result<Put> {
        let (kind, len) = match message {
            Message::Short(bytes) => (INLINE, bytes.len() as u64),
            Message::Long(_) => (BLOCK, 8),
        };
        let need = RECORD + padded(len);
        loop {
            // Without the lock: those who wait for room look often.
            if self.is_closed() {
                return Ok(Put::Closed);
            }
            if self.is_full(self.tail.count.load(Relaxed)) {
                return Ok(Put::Full);
            }
            // Nothing to repair: invariant 1.
            let Some(lock) = self.tail.lock.lock_briefly(|| {}) else {
                return Ok(Put::Busy);
            };
            let put = self.tail.count.load(Relaxed);
            if self.is_closed() {
                return Ok(Put::Closed);
            }
            if self.is_full(put) {
                return Ok(Put::Full);
            }
            let (now, next) = (place(&self.tail, put), place(&self.tail, put + 1));
            let (mut segment, mut at) = (now.segment.load(Relaxed), now.position.load(Relaxed));
            let end = arena.segment(segment)?.len;
            if at + need > end {
                let larger = (2 * end).min(LONGEST_SEGMENT).max(SEGMENT + need);
                if *fresh == 0 || arena.segment(*fresh)?.len < SEGMENT + need {
                    drop(lock); // the arena's lock comes first
                    if !self.swap_for(arena, fresh, larger)? {
                        return Ok(Put::Busy);
                    }
                    continue;
                }
                arena.segment(segment)?.next.store(*fresh, Relaxed);
                if at < end {
                    arena.word(segment + at).store(WRAP, Relaxed);
                }
                (segment, at) = (std::mem::take(fresh), SEGMENT);
            }
            arena.word(segment + at).store(kind | len, Relaxed);
            let payload = segment + at + RECORD;
            match message {
                // SAFETY: room was found above, and nobody reads there before the commit.
                Message::Short(bytes) => unsafe {
                    let from = NonNull::from(&**bytes).cast();
                    let to = arena.at::<u8>(payload);
                    to.copy_from_nonoverlapping(from, bytes.len());
                },
                Message::Long(block) => {
                    arena.word(payload).store(block.at, Relaxed);
                    // It is the queue's from here on. (Killed in between: it is lost.)
                    block.hold.return_loan(block.at);
                }
            }
            next.segment.store(segment, Relaxed);
            next.position.store(at + need, Relaxed);
            // Before the commit, so that it is never too small for long; see `depart`.
            self.unfinished.fetch_add(1, Relaxed);
            // Release: pairs with the Acquire in `try_get`.
            self.tail.count.store(put + 1, Release);
            drop(lock);
            if let Message::Long(_) = message {
                std::mem::forget(std::mem::replace(message, Message::Short(&[])));
            }
            return Ok(Put::Done);
        }
    }

    /// Gets a segment of at least this length, the spare or a new one, in place of `fresh`.
    /// False: somebody holds the arena up.
    fn swap_for(&self, arena: &Arena, fresh: &mut u64, len: u64) -> io::Result<bool> {
        let old = std::mem::take(fresh);
        self.keep(arena, old);
        // AcqRel: pairs with that in `keep`; who had the segment has done with it.
        let spare = self.tail.spare.swap(0, AcqRel);
        if spare != 0 && arena.segment(spare)?.len >= len {
            *fresh = spare;
            return Ok(true);
        }
        let Some(lock) = arena.lock_briefly() else {
            self.keep(arena, spare);
            return Ok(false);
        };
        if spare != 0 {
            lock.free_segment(spare);
        }
        *fresh = arena.new_segment(lock, len)?;
        Ok(true)
    }

    /// Makes a segment that nobody uses the spare one.
    fn keep(&self, arena: &Arena, segment: u64) {
        if segment == 0 {
            return;
        }
        let old = self.tail.spare.swap(segment, AcqRel); // pairs with that in `swap_for`
        // If somebody holds the arena up, who may be stopped for ever, it is lost.
        if old != 0
            && let Some(arena) = arena.lock_briefly()
        {
            arena.free_segment(old);
        }
    }

    /// Takes the oldest message, short ones into `buffer`, and wakes who waits for room.
    ///
    /// # Errors
    /// If there is no address space to read it. Then it stays.
    pub(crate) fn try_get<'a>(
        &self,
        arena: &'a Arena,
        me: PeerId,
        hold: &'a Hold,
        buffer: &mut [MaybeUninit<u8>; LONGEST_INLINE],
    ) -> io::Result<Received<'a>> {
        if self.is_empty(self.head.count.load(Relaxed)) {
            return Ok(Received::Nothing); // those who wait look often
        }
        let (received, left) = {
            // Nothing to repair: invariant 1.
            let Some(_lock) = self.head.lock.lock_briefly(|| {}) else {
                return Ok(Received::Busy);
            };
            let got = self.head.count.load(Relaxed);
            if self.head.seen.load(Relaxed) <= got {
                // Acquire: pairs with the Release in `try_put`. Whoever goes by what was seen
                // has the lock after whoever has seen it.
                let put = self.tail.count.load(Acquire);
                if put == got {
                    return Ok(Received::Nothing);
                }
                self.head.seen.store(put, Relaxed);
            }
            let (now, next) = (place(&self.head, got), place(&self.head, got + 1));
            let (mut segment, mut at) = (now.segment.load(Relaxed), now.position.load(Relaxed));
            let mut left = 0;
            let current = arena.segment(segment)?;
            if at == current.len || arena.word(segment + at).load(Relaxed) == WRAP {
                left = segment;
                (segment, at) = (current.next.load(Relaxed), SEGMENT);
                arena.segment(segment)?;
            }
            let record = arena.word(segment + at).load(Relaxed);
            let len = record & u64::from(u32::MAX);
            let payload = segment + at + RECORD;
            let mut block = 0;
            if record & BLOCK != 0 {
                block = arena.word(payload).load(Relaxed);
                arena.reach::<u8>(block)?;
            } else {
                // SAFETY: the record is the queue's (invariant 2), and no longer than this.
                unsafe {
                    let to = NonNull::from(&mut buffer[..len as usize]).cast();
                    arena
                        .at::<u8>(payload)
                        .copy_to_nonoverlapping(to, len as usize);
                }
            }
            let taken = hold.taken.load(Relaxed).wrapping_add(1);
            next.segment.store(segment, Relaxed);
            next.position.store(at + RECORD + padded(len), Relaxed);
            next.taker.store(me.to_bits(), Relaxed);
            next.taken.store(taken, Relaxed);
            // Release: pairs with the Acquire in `is_full` and `len`.
            self.head.count.store(got + 1, Release);
            hold.taken.store(taken, Relaxed);
            if block == 0 {
                (Received::Short(len as usize), left)
            } else {
                hold.lend(block); // killed before: it is lost
                (Received::Long(Block::over(arena, hold, block)), left)
            }
        };
        self.keep(arena, left);
        self.room().wake(|flags| arena.ring(flags));
        Ok(received)
    }

    /// One of the items that this process has taken is done. False: it has none in hand.
    pub(crate) fn task_done(&self, arena: &Arena, hold: &Hold) -> bool {
        let finished = hold.finished.fetch_update(Release, Relaxed, |finished| {
            let in_hand = finished != hold.taken.load(Relaxed);
            in_hand.then(|| finished.wrapping_add(1))
        });
        if finished.is_err() {
            return false;
        }
        // Release: pairs with the Acquire in `recount`.
        if self.unfinished.fetch_sub(1, Release) <= 1 {
            self.joined.wake(|flags| arena.ring(flags));
        }
        true
    }

    /// Whether it may be that all is done.
    pub(crate) fn may_be_done(&self) -> bool {
        self.unfinished.load(Relaxed) <= 0
    }

    /// How many items are not done, if the processes that have the queue have done so many.
    pub(crate) fn unfinished(&self, finished: u64) -> u64 {
        let put = self.tail.count.load(Acquire);
        put.saturating_sub(finished + self.settled.load(Relaxed))
    }

    /// How many items were abandoned, ever.
    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned.load(Acquire) // pairs with the Release in `depart`
    }

    /// What is abandoned and was told to nobody: from which number on.
    pub(crate) fn reported(&self) -> u64 {
        self.reported.load(Relaxed)
    }

    /// So many abandoned items have been told of; the process that had the last of them.
    pub(crate) fn report(&self, abandoned: u64) -> i32 {
        self.reported.fetch_max(abandoned, Relaxed);
        self.abandoner.load(Relaxed)
    }

    /// A process has let go of the queue, or has ended; `others` tells how many items the
    /// others have done.
    pub(super) fn depart(
        &self,
        arena: &ArenaGuard<'_>,
        hold: &Hold,
        others: impl Fn() -> u64,
        gone: &Gone,
    ) {
        {
            let _lock = self.head.lock.lock(|| {}); // nothing to repair: invariant 1
            let last = place(&self.head, self.head.count.load(Relaxed));
            if last.taker.load(Relaxed) == gone.peer.to_bits() {
                // It may have been killed before it could count that itself.
                hold.taken.store(last.taken.load(Relaxed), Relaxed);
                last.taker.store(0, Relaxed);
            }
        }
        let (in_hand, taken) = (u64::from(hold.in_hand()), hold.taken.load(Relaxed));
        hold.finished.store(0, Relaxed);
        hold.taken.store(0, Relaxed);
        self.settled.fetch_add(u64::from(taken), Relaxed);
        self.recount(others);
        if in_hand > 0 {
            self.abandoner.store(gone.pid, Relaxed);
            self.abandoned.fetch_add(in_hand, Release);
        }
        if self.closed.load(Relaxed) & (NO_SENDERS | NO_RECEIVERS) == 0 {
            self.last.remember(gone); // else the last at one end is remembered
        }
        self.rouse(arena);
    }

    /// Makes good what a dead process has left in `unfinished`, which others count on in
    /// meanwhile: it may be too small then, but not too large, or the last `task_done` would wake
    /// nobody.
    fn recount(&self, finished: impl Fn() -> u64) {
        for _ in 0..RECOUNTS {
            // In this order. Those who put count up here before they commit, so none that is in
            // `put` is to be counted up after `seen`. Those who have done one count it as
            // finished first, so all that are counted down in `seen` are in `finished`. What is
            // counted up and down after `seen` is as much, if that is still there at the end;
            // the former is missing in `put`, the latter perhaps in `finished`.
            let put = self.tail.count.load(Acquire);
            let seen = self.unfinished.load(Acquire); // pairs with the Release in `task_done`
            let left = put.saturating_sub(finished() + self.settled.load(Relaxed)) as i64;
            // AcqRel: so that who sees this has seen what was before it.
            let set = self
                .unfinished
                .compare_exchange(seen, left, AcqRel, Relaxed);
            if set.is_ok() {
                return;
            }
        }
        // Too busy to count: too small for good. Those who join are woken more often, and look.
        self.unfinished.swap(0, AcqRel);
    }

    /// All who could put, or all who could get, have gone.
    pub(super) fn lose(&self, arena: &Arena, senders: bool, gone: &Gone) {
        self.last.remember(gone);
        self.end_with(arena, if senders { NO_SENDERS } else { NO_RECEIVERS });
    }

    /// The queue goes, with all that is in it.
    pub(super) fn end(&self, arena: &ArenaGuard<'_>) {
        let count = self.head.count.load(Relaxed);
        let from = place(&self.head, count);
        let (mut segment, mut at) = (from.segment.load(Relaxed), from.position.load(Relaxed));
        let mut left = self.tail.count.load(Acquire) - count;
        // 0: it has got none, for want of memory, or its maker was killed before.
        while segment != 0
            && let Ok(current) = arena.segment(segment)
        {
            if left > 0 && at < current.len && arena.word(segment + at).load(Relaxed) != WRAP {
                let record = arena.word(segment + at).load(Relaxed);
                if record & BLOCK != 0 {
                    arena.free_block(arena.word(segment + at + RECORD).load(Relaxed));
                }
                at += RECORD + padded(record & u64::from(u32::MAX));
                left -= 1;
                continue;
            }
            let next = current.next.load(Relaxed);
            arena.free_segment(segment);
            if left == 0 {
                break;
            }
            (segment, at) = (next, SEGMENT);
        }
        let spare = self.tail.spare.swap(0, AcqRel);
        if spare != 0 {
            arena.free_segment(spare);
        }
    }
}
