//! A queue between processes: what lies in shared memory, and how it changes.
//!
//! Messages are records in a chain of **segments** (`segment.rs`); the head reads in the oldest,
//! the tail writes in the newest. Each end has a short robust lock. A put or get is committed by
//! one store, of the end's count; where the end then is stands beside it twice, for odd and even
//! counts, so that whoever is killed before that store has changed nothing. Large messages
//! are blocks of their own (`block.rs`); the record has the place. A segment that the head has
//! left is kept as the spare for the tail, or given back.
//!
//! How many items a process has taken is in its hold, and cannot be counted by the same store as
//! the get. So the place of the head says who took last and what its count is then: whoever has
//! the head's lock next after somebody was killed in between makes that good first.
//!
//! # Invariants
//! 1. `places[n % 2]` of an end with the count `n` is where it is, and not written while that
//!    is its count.
//! 2. The records between head and tail, and the blocks that they name, are the queue's.
//! 3. The hold that the place of the head names exists: before a hold goes, [`Ring::depart`]
//!    takes it out there.
//!
//! # Orderings
//! What is Relaxed here is written under the lock of its end, which orders it for whoever has the
//! lock next; the other end reads it after the Acquire of the count whose Release published it.
//! Looks without the lock are hints, and are repeated under it before anything is done.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::time::Duration;

use super::arena::{Arena, ArenaGuard};
use super::block::{Buffer, Message};
use super::hold::Hold;
use super::kind::Gone;
use super::last::{Last, LastGone};
use super::segment::{self, RECORD, payload_len, record_len};
use super::tasks::Tasks;
use super::word::Word;
use crate::sys::pause::Pause;
use crate::sys::robust::{RobustGuard, RobustMutex};

/// Where an end is.
#[repr(C)]
#[derive(Debug, Default)]
struct Place {
    segment: AtomicU64,
    position: AtomicU64,
    /// Of the head: the hold of who took the item before (0: nobody's), and how many that one
    /// had taken then.
    taker: AtomicU64,
    taken: AtomicU64,
}

/// One end. What those at the other end look at has a cache line of its own: else they would
/// fight for it with every item.
#[repr(C, align(64))]
#[derive(Debug)]
struct Ending {
    lock: RobustMutex,
    /// The count of the other end, as it was last seen from here.
    seen: AtomicU64,
    /// The spare segment; only the tail's is used.
    spare: AtomicU64,
    /// Before the next look at an empty queue; only the head's is used.
    pause: Pause,
    places: [Place; 2],
    published: Published,
}

#[repr(C, align(64))]
#[derive(Debug)]
struct Published {
    /// How many items have passed.
    count: AtomicU64,
    /// On which those at the other end wait.
    word: Word,
}

/// A queue, as it lies in shared memory.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Ring {
    capacity: u64,
    closed: AtomicU32,
    last: LastGone,
    tasks: Tasks,
    tail: Ending,
    head: Ending,
}

/// Bits of `closed`. Nothing more goes in.
const CLOSED: u32 = 1;
const NO_SENDERS: u32 = 2;
const NO_RECEIVERS: u32 = 4;
/// Nobody is any more in the middle of a put that began before it was closed.
const SETTLED: u32 = 8;

/// What `try_put` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Done,
    Full,
    Closed,
    /// Somebody has had the lock for long: it is stopped, or does not get to run.
    Busy,
}

/// What has come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Nothing,
    /// As [`Put::Busy`].
    Busy,
    /// So many bytes, in the caller's buffer.
    Short(usize),
    /// The block at this place, which is a loan of the caller's hold now.
    Long(u64),
}

impl Ending {
    fn place(&self, count: u64) -> &Place {
        &self.places[(count % 2) as usize]
    }

    fn count(&self) -> &AtomicU64 {
        &self.published.count
    }
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
    /// If there is no memory, or as of [`Arena::lock`].
    pub(crate) fn open(&self, arena: &Arena) -> io::Result<()> {
        let first = arena.new_segment(arena.lock()?, segment::FIRST)?;
        // The head first: `end` frees what it finds there, also if we are killed in between.
        for end in [&self.head, &self.tail] {
            let place = end.place(0);
            place.position.store(segment::HEAD, Relaxed);
            place.segment.store(first, Relaxed);
        }
        Ok(())
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How many items are in it, at this moment or the last.
    pub(crate) fn len(&self) -> u64 {
        // Acquire: pairs with the Release of the commits. Head first: it is never ahead.
        let got = self.head.count().load(Acquire);
        self.put_ever().saturating_sub(got)
    }

    /// How many items were put, ever.
    fn put_ever(&self) -> u64 {
        self.tail.count().load(Acquire) // pairs with the Release of the commits
    }

    /// On which gets wait.
    pub(crate) fn items(&self) -> &Word {
        &self.tail.published.word
    }

    /// On which puts wait.
    pub(crate) fn room(&self) -> &Word {
        &self.head.published.word
    }

    /// What is known of the items that were taken.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Nothing goes in any more.
    pub(crate) fn close(&self, arena: &Arena) {
        self.closed.fetch_or(CLOSED, Release);
        self.has_no_source(); // settles that, unless somebody is stopped in the middle of a put
        self.rouse(arena);
    }

    /// Wakes all, to look again.
    pub(super) fn rouse(&self, arena: &Arena) {
        for word in [self.items(), self.room(), &self.tasks.joined] {
            word.rouse(|flags| arena.ring(flags));
        }
    }

    /// Whether nothing can go in.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Acquire) & (CLOSED | NO_RECEIVERS) != 0
    }

    /// Whether nothing more can come. `None`: it is closed, and somebody is stopped in the middle
    /// of a put; to be asked again, as nobody may come who tells.
    #[inline]
    pub(crate) fn has_no_source(&self) -> Option<bool> {
        match self.closed.load(Acquire) {
            0 => Some(false),
            CLOSED => self.settle(),
            _ => Some(true),
        }
    }

    #[cold]
    fn settle(&self) -> Option<bool> {
        // Whoever has the lock after us sees it closed; what was put before us is seen by
        // whoever sees it settled (Release, which pairs with the Acquire above).
        let _lock = self.lock_tail_briefly()?;
        self.closed.fetch_or(SETTLED, Release);
        Some(true)
    }

    pub(super) fn lock_tail_briefly(&self) -> Option<RobustGuard<'_>> {
        self.tail.lock.lock_briefly(|| {}) // nothing to repair: invariant 1
    }

    /// The process that was the last to let go.
    pub(crate) fn last(&self) -> Option<Last> {
        self.last.get()
    }

    #[inline]
    fn is_full(&self, put: u64) -> bool {
        let full = |got| put.saturating_sub(got) >= self.capacity;
        if !full(self.tail.seen.load(Relaxed)) {
            return false; // there is no less room by now
        }
        let got = self.head.count().load(Acquire); // pairs with the Release in `try_get`
        self.tail.seen.store(got, Relaxed);
        full(got)
    }

    /// For how long who finds nothing in it lets those who put go on before it looks again.
    pub(crate) fn pause_of_gets(&self) -> Duration {
        let got = self.head.count().load(Relaxed);
        // The last item's length, unless it was the first of a segment or somebody gets just now.
        let [at, before] = [got, got + 1].map(|n| self.head.place(n).position.load(Relaxed));
        self.head.pause.next_for(got, at.saturating_sub(before))
    }

    /// Whether nothing is in it behind the item of this number.
    #[inline]
    fn is_empty(&self, got: u64) -> bool {
        if self.head.seen.load(Relaxed) > got {
            return false; // what was seen there stays, and whoever has seen it had the lock
        }
        // Acquire: pairs with the Release in `put_with`.
        self.tail.count().load(Acquire) == got
    }

    /// Puts the message into the queue, if it has room, and wakes who waits for it.
    ///
    /// # Errors
    /// If there is no memory. Then it is as if nothing had happened.
    #[inline]
    pub(crate) fn try_put(&self, arena: &Arena, message: Message<'_>) -> io::Result<Put> {
        let mut fresh = 0;
        let put = self.put_with(arena, message, &mut fresh);
        if fresh != 0 {
            self.keep(arena, fresh);
        }
        if let Ok(Put::Done) = put {
            self.items().wake(|flags| arena.ring(flags));
        }
        put
    }

    /// The same, without waking; `fresh` is a segment to use if there is need, or 0.
    fn put_with(&self, arena: &Arena, message: Message<'_>, fresh: &mut u64) -> io::Result<Put> {
        let payload = match message {
            Message::Short(bytes) => bytes.len() as u64,
            Message::Long(..) => 8,
        };
        let need = record_len(payload);
        loop {
            // Without the lock: those who wait for room look often.
            if self.is_closed() {
                return Ok(Put::Closed);
            }
            if self.is_full(self.tail.count().load(Relaxed)) {
                return Ok(Put::Full);
            }
            let Some(lock) = self.lock_tail_briefly() else {
                return Ok(Put::Busy);
            };
            let put = self.tail.count().load(Relaxed);
            if self.is_closed() {
                return Ok(Put::Closed);
            }
            if self.is_full(put) {
                return Ok(Put::Full);
            }
            let (now, next) = (self.tail.place(put), self.tail.place(put + 1));
            let (mut current, mut at) = (now.segment.load(Relaxed), now.position.load(Relaxed));
            let end = arena.segment(current)?.len;
            if at + need > end {
                let larger = segment::next_len(end, self.capacity, need);
                if *fresh == 0 || arena.segment(*fresh)?.len < segment::HEAD + need {
                    drop(lock); // the arena's lock comes first
                    if !self.swap_for(arena, fresh, larger)? {
                        return Ok(Put::Busy);
                    }
                    continue;
                }
                arena.segment(current)?.next.store(*fresh, Relaxed);
                if at < end {
                    arena.word(current + at).store(segment::WRAP, Relaxed);
                }
                (current, at) = (std::mem::take(fresh), segment::HEAD);
            }
            match message {
                Message::Short(bytes) => {
                    let record = segment::INLINE | payload;
                    arena.word(current + at).store(record, Relaxed);
                    let from = NonNull::from(bytes).cast();
                    let to = arena.at::<u8>(current + at + RECORD);
                    // SAFETY: room was found above, and nobody reads there before the commit.
                    unsafe { to.copy_from_nonoverlapping(from, bytes.len()) };
                }
                Message::Long(hold, block) => {
                    let record = segment::BLOCK | payload;
                    arena.word(current + at).store(record, Relaxed);
                    arena.word(current + at + RECORD).store(block, Relaxed);
                    // It is the queue's from here on. (Killed in between: it is lost.)
                    hold.return_loan(block);
                }
            }
            next.segment.store(current, Relaxed);
            next.position.store(at + need, Relaxed);
            // Release: pairs with the Acquire in `try_get`.
            self.tail.count().store(put + 1, Release);
            drop(lock); // nobody waits for us to claim lines
            arena.claim_next(current + at, need);
            return Ok(Put::Done);
        }
    }

    /// Gets a segment of at least this length, the spare or a new one, in place of `fresh`.
    /// False: somebody holds the arena up.
    #[cold]
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
    #[cold]
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
    #[inline]
    pub(crate) fn try_get(
        &self,
        arena: &Arena,
        hold: &Hold,
        buffer: &mut Buffer,
    ) -> io::Result<Received> {
        if self.is_empty(self.head.count().load(Relaxed)) {
            return Ok(Received::Nothing); // those who wait look often
        }
        let mut left = 0;
        let received = self.get_with(arena, hold, buffer, &mut left)?;
        if left != 0 {
            self.keep(arena, left);
        }
        if let Received::Short(_) | Received::Long(_) = received {
            // Who waits for room is not woken for each item, to find the queue full again.
            let has_much_room = || self.len() <= self.capacity / 2;
            self.room()
                .wake_if(has_much_room, |flags| arena.ring(flags));
        }
        Ok(received)
    }

    /// The same, without waking; `left` becomes the segment that nobody uses any more, if one is.
    fn get_with(
        &self,
        arena: &Arena,
        hold: &Hold,
        buffer: &mut Buffer,
        left: &mut u64,
    ) -> io::Result<Received> {
        let Some(_lock) = self.lock_head_briefly(arena) else {
            return Ok(Received::Busy);
        };
        let got = self.head.count().load(Relaxed);
        if self.head.seen.load(Relaxed) <= got {
            // Acquire: pairs with the Release in `put_with`. Whoever goes by what was seen
            // has the lock after whoever has seen it.
            let put = self.tail.count().load(Acquire);
            if put == got {
                return Ok(Received::Nothing);
            }
            self.head.seen.store(put, Relaxed);
        }
        let (now, next) = (self.head.place(got), self.head.place(got + 1));
        let (mut current, mut at) = (now.segment.load(Relaxed), now.position.load(Relaxed));
        let segment = arena.segment(current)?;
        if at == segment.len || arena.word(current + at).load(Relaxed) == segment::WRAP {
            let behind = segment.next.load(Relaxed);
            arena.segment(behind)?;
            *left = current;
            (current, at) = (behind, segment::HEAD);
        }
        let record = arena.word(current + at).load(Relaxed);
        let len = payload_len(record);
        let received = if record & segment::BLOCK == 0 {
            let to = NonNull::from(&mut buffer[..len as usize]).cast();
            let from = arena.at::<u8>(current + at + RECORD);
            // SAFETY: the record is the queue's (invariant 2), and no longer than this.
            unsafe { from.copy_to_nonoverlapping(to, len as usize) };
            Received::Short(len as usize)
        } else {
            let block = arena.word(current + at + RECORD).load(Relaxed);
            arena.map(block)?;
            Received::Long(block)
        };
        let taken = hold.taken.load(Relaxed) + 1;
        next.segment.store(current, Relaxed);
        next.position.store(at + record_len(len), Relaxed);
        next.taker.store(arena.offset(hold), Relaxed);
        next.taken.store(taken, Relaxed);
        // Release: pairs with the Acquire in `is_full` and `len`.
        self.head.count().store(got + 1, Release);
        hold.taken.store(taken, Relaxed); // or by `note_taken`
        if let Received::Long(block) = received {
            hold.lend(block); // killed before: it is lost
        }
        Ok(received)
    }

    /// Counts what the last one to take an item may have been killed before.
    fn note_taken(&self, arena: &Arena) {
        let last = self.head.place(self.head.count().load(Relaxed));
        let taker = last.taker.load(Relaxed);
        if taker != 0
            && let Ok(hold) = arena.reach::<Hold>(taker)
        {
            // SAFETY: invariant 3.
            let hold = unsafe { hold.as_ref() };
            hold.taken.store(last.taken.load(Relaxed), Relaxed);
        }
    }

    pub(super) fn lock_head_briefly(&self, arena: &Arena) -> Option<RobustGuard<'_>> {
        self.head.lock.lock_briefly(|| self.note_taken(arena))
    }

    /// One of the items that this process has taken is done. False: it has none in hand.
    pub(crate) fn task_done(&self, arena: &Arena, hold: &Hold) -> bool {
        self.tasks.done(arena, hold, || self.put_ever())
    }

    /// About how many items are not done.
    pub(crate) fn about_unfinished(&self) -> u64 {
        self.tasks.about_unfinished(self.put_ever())
    }

    /// Whether it may be that all is done.
    pub(crate) fn may_be_done(&self) -> bool {
        self.tasks.may_all_be_done(self.put_ever())
    }

    /// How many items are not done; `holds` are the queue's.
    pub(crate) fn unfinished<'a>(
        &self,
        arena: &ArenaGuard<'_>,
        holds: impl Iterator<Item = &'a Hold>,
    ) -> u64 {
        self.tasks.unfinished(arena, self.put_ever(), holds)
    }

    /// A process has let go of the queue, or has ended; `holds` gives those of the queue. False:
    /// somebody is stopped with a lock.
    pub(super) fn depart<'a, I: Iterator<Item = &'a Hold>>(
        &self,
        arena: &ArenaGuard<'_>,
        hold: &Hold,
        holds: impl Fn() -> I,
        gone: &Gone,
    ) -> bool {
        let locked = self.lock_head_briefly(arena);
        let departed = locked.is_some();
        if departed {
            let last = self.head.place(self.head.count().load(Relaxed));
            if last.taker.load(Relaxed) == arena.offset(hold) {
                last.taker.store(0, Relaxed);
            }
        }
        drop(locked);
        if departed {
            self.tasks.depart(arena, hold, holds, gone);
        }
        if self.closed.load(Relaxed) & (NO_SENDERS | NO_RECEIVERS) == 0 {
            self.last.remember(gone); // else the last at one end is remembered
        }
        self.rouse(arena); // some may be alone now
        departed
    }

    /// All who could put, or all who could get, have gone.
    pub(super) fn lose(&self, arena: &Arena, senders: bool, gone: &Gone) {
        self.last.remember(gone);
        // Without the tail's lock, as those who have gone are not in the middle of a put. A put
        // to nobody is none that anybody misses.
        let bit = if senders { NO_SENDERS } else { NO_RECEIVERS };
        self.closed.fetch_or(bit, Release);
        self.rouse(arena);
    }

    /// The queue goes, with all that is in it.
    pub(super) fn end(&self, arena: &ArenaGuard<'_>) {
        let got = self.head.count().load(Relaxed);
        let from = self.head.place(got);
        let (first, at) = (from.segment.load(Relaxed), from.position.load(Relaxed));
        arena.free_chain(first, at, self.put_ever() - got);
        let spare = self.tail.spare.swap(0, AcqRel);
        if spare != 0 {
            arena.free_segment(spare);
        }
    }
}
