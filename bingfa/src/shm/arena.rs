//! The memory file of a family: segments that are mapped when they are first used, and the
//! memory in them.
//!
//! Places in it are **offsets**, which mean the same in each process. The first segment has
//! 16 MiB, each further one as much as all before it, and nothing is ever moved: a block lies
//! in one segment. Blocks come in powers of two, from 64 bytes; those that are given back lie in
//! a list for their size. Small ones are cut from chunks. Memory is committed before it is
//! used, so that want of memory is an error. Free blocks keep some of it, for the next to
//! whom they go; that of very large ones, and of more than a few, goes back to the kernel, and
//! they lie in a list of their own. Only the lists change under the lock; what takes long does
//! not.
//!
//! # Invariants
//! 1. A segment that is mapped stays so for the life of the process.
//! 2. Whoever makes a reference from an offset got that offset from [`Arena::allocate`], or
//!    from a table or list in the arena that holds only such, with a type that fits into the
//!    block; and shared types are made of atomics, or belong to one peer at a time by a
//!    protocol of their own.
//! 3. The header and the tables are changed under the lock, one store at a time (rule 1 of
//!    the room).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::object;
use super::peers;
use crate::sys::fork::Mark;
use crate::sys::kept::Kept;
use crate::sys::memfd;
use crate::sys::robust::{RobustGuard, RobustMutex};

/// The size of the first segment, and the unit of the others.
const SEGMENT: u64 = 16 << 20;
/// Together 1 TiB.
const SEGMENTS: usize = 17;

/// What small blocks are cut from.
const CHUNK: u64 = 64 << 10;
/// Sizes by their logarithm.
const SMALLEST: u32 = 6;
const LARGEST_SMALL: u32 = 13;
const LARGEST: u32 = 38;
/// From larger free blocks the memory goes back to the kernel,
const LARGEST_KEPT: u32 = 22;
/// and from those that are no small ones, once free blocks have so much.
const MOST_KEPT: u64 = 64 << 20;
const PAGE: u64 = 4096;

const MAGIC: u64 = u64::from_le_bytes(*b"bingfa 1");

/// What lies at the start of the arena.
#[repr(C)]
struct Header {
    magic: u64,
    /// Tells families apart.
    id: u64,
    lock: RobustMutex,
    /// The end of what was ever used.
    end: AtomicU64,
    /// The rest of the current chunk; a multiple of [`CHUNK`]: none.
    chunk: AtomicU64,
    /// The first free block of each size that has its memory, or 0.
    free: [AtomicU64; LARGEST as usize + 1],
    /// The first one of which only the first page is there.
    hollow: [AtomicU64; LARGEST as usize + 1],
    /// How much memory those in `free` have that are no small ones; less by a block for each
    /// process that was killed at the wrong moment.
    kept: AtomicU64,
    peers: peers::Table,
    objects: object::Table,
}

const _: () = assert!(size_of::<Header>() <= PAGE as usize);

/// Where the table of peers begins, that of objects, and the memory for blocks.
pub(super) const PEERS: u64 = CHUNK;
pub(super) const OBJECTS: u64 = 1 << 20;
const BLOCKS: u64 = OBJECTS + object::MOST * 8;

const _: () = assert!(PEERS + peers::MOST as u64 * size_of::<peers::Peer>() as u64 <= OBJECTS);
const _: () = assert!(BLOCKS < SEGMENT && BLOCKS.is_multiple_of(CHUNK));

/// A family's memory, as one process sees it.
#[derive(Debug)]
pub(crate) struct Arena {
    file: Kept,
    id: u64,
    segments: [AtomicPtr<u8>; SEGMENTS],
    mark: Mark,
    /// Blocks that this process gives back as soon as nobody is stopped in the way.
    returned: Mutex<Vec<Free>>,
}

/// A block that is given back.
#[derive(Clone, Copy, Debug)]
struct Free {
    at: u64,
    class: u32,
    /// Only its first page is there.
    hollow: bool,
}

/// The arena's lock: held for short sections that do not wait.
#[derive(Debug)]
pub(crate) struct ArenaGuard<'a> {
    arena: &'a Arena,
    _lock: RobustGuard<'a>,
}

impl std::ops::Deref for ArenaGuard<'_> {
    type Target = Arena;

    fn deref(&self) -> &Arena {
        self.arena
    }
}

/// The number of the segment with this offset, its start and its length.
fn segment(offset: u64) -> (usize, u64, u64) {
    match (offset / SEGMENT).checked_ilog2() {
        None => (0, 0, SEGMENT),
        Some(n) => (n as usize + 1, SEGMENT << n, SEGMENT << n),
    }
}

/// The logarithm of the size of a block for so many bytes.
fn class(len: u64) -> io::Result<u32> {
    let class = len.max(1 << SMALLEST).next_power_of_two().ilog2();
    if class > LARGEST || len > 1 << LARGEST {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    Ok(class)
}

/// What its file is for, in words.
pub(crate) const FILE: &str = "in which is what it shares with other processes";

impl Arena {
    /// A new family's.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor, or no address space.
    pub(super) fn create(id: u64) -> io::Result<Arena> {
        let file = memfd::create(c"bingfa-family")?;
        memfd::commit(file.as_fd(), 0, PEERS + CHUNK)?;
        let arena = Arena::over(file, id)?;
        let header: *mut Header = arena.at(0).as_ptr();
        // SAFETY: nobody else has the file yet; the rest of it is zeroes, which suits.
        unsafe {
            RobustMutex::init(&raw mut (*header).lock)?;
            (*header).end = AtomicU64::new(BLOCKS);
            (*header).id = id;
            (*header).magic = MAGIC;
        }
        Ok(arena)
    }

    /// That of the family to which this process belongs.
    ///
    /// # Errors
    /// If it cannot be mapped, or is none.
    pub(super) fn open(file: OwnedFd) -> io::Result<Arena> {
        let mut arena = Arena::over(file, 0)?;
        let header = arena.header();
        if header.magic != MAGIC {
            return Err(io::Error::other("bingfa: this is no family's memory"));
        }
        arena.id = header.id;
        Ok(arena)
    }

    fn over(file: OwnedFd, id: u64) -> io::Result<Arena> {
        let arena = Arena {
            file: Kept::new(file, FILE)?,
            id,
            segments: [const { AtomicPtr::new(std::ptr::null_mut()) }; SEGMENTS],
            mark: Mark::here()?,
            returned: Mutex::default(),
        };
        arena.map(0)?;
        Ok(arena)
    }

    /// Tells this family from others.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// # Errors
    /// If this process has closed it.
    pub(crate) fn file(&self) -> io::Result<BorrowedFd<'_>> {
        self.file.get().map(AsFd::as_fd)
    }

    fn commit(&self, offset: u64, len: u64) -> io::Result<()> {
        memfd::commit(self.file()?, offset, len)
    }

    /// Whether this is a fork of the process that has mapped it: it has the memory, but is no
    /// member of the family.
    pub(crate) fn forked(&self) -> bool {
        self.mark.forked()
    }

    fn header(&self) -> &Header {
        // SAFETY: written by `create` before anybody else had the file; committed and mapped.
        unsafe { self.at(0).as_ref() }
    }

    pub(super) fn peer_table(&self) -> &peers::Table {
        &self.header().peers
    }

    pub(super) fn object_table(&self) -> &object::Table {
        &self.header().objects
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// `TimedOut`, with the name of the process that has it and stays stopped.
    pub(crate) fn lock(&self) -> io::Result<ArenaGuard<'_>> {
        // Nothing to repair: rule 1 of the room.
        let lock = self.header().lock.lock(|| {})?;
        Ok(ArenaGuard {
            arena: self,
            _lock: lock,
        })
    }

    /// As [`lock`](Self::lock); `None` if somebody has had it for long, who is stopped or does
    /// not get to run.
    pub(crate) fn lock_briefly(&self) -> Option<ArenaGuard<'_>> {
        let lock = self.header().lock.lock_briefly(|| {})?;
        Some(ArenaGuard {
            arena: self,
            _lock: lock,
        })
    }

    /// Maps the segment with this offset.
    ///
    /// # Errors
    /// If there is no address space.
    pub(crate) fn map(&self, offset: u64) -> io::Result<()> {
        let (number, start, len) = segment(offset);
        let Some(slot) = self.segments.get(number) else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        // Acquire: as in `at`.
        if !slot.load(Acquire).is_null() {
            return Ok(());
        }
        let mapped = memfd::map(self.file()?, start, len as usize)?;
        // AcqRel: pairs with the Acquire in `at`.
        if slot
            .compare_exchange(std::ptr::null_mut(), mapped.as_ptr(), AcqRel, Acquire)
            .is_err()
        {
            // SAFETY: another thread was faster; nobody has seen this one.
            unsafe { memfd::unmap(mapped, len as usize) };
        }
        Ok(())
    }

    /// The place at this offset, in a segment that this process has mapped.
    #[inline]
    pub(crate) fn at<T>(&self, offset: u64) -> NonNull<T> {
        let (number, start, _) = segment(offset);
        // Acquire: pairs with the AcqRel in `map`.
        let base = NonNull::new(self.segments[number].load(Acquire));
        let base = base.expect("bingfa: a place in shared memory that is not mapped");
        // SAFETY: inside the segment.
        unsafe { base.add((offset - start) as usize) }.cast()
    }

    /// The offset of a place in the arena.
    pub(super) fn offset<T>(&self, place: &T) -> u64 {
        let address = std::ptr::from_ref(place).addr();
        let mut start = 0;
        for slot in &self.segments {
            let (_, _, len) = segment(start);
            let inside = address.wrapping_sub(slot.load(Relaxed).addr()) as u64; // seen before
            if inside < len {
                return start + inside;
            }
            start += len;
        }
        unreachable!("bingfa: a place outside of shared memory")
    }

    /// As [`at`](Self::at), for a place that others have told of.
    ///
    /// # Errors
    /// If there is no address space for its segment.
    pub(crate) fn reach<T>(&self, offset: u64) -> io::Result<NonNull<T>> {
        self.map(offset)?;
        Ok(self.at(offset))
    }

    /// Makes sure that an entry of a table is there.
    pub(super) fn commit_entry(&self, at: u64) -> io::Result<()> {
        if at.is_multiple_of(CHUNK) {
            self.commit(at, CHUNK)?;
        }
        Ok(())
    }
}

impl Arena {
    /// A block of at least `len` bytes, aligned to 64. It may hold anything.
    ///
    /// # Errors
    /// `OutOfMemory`, what the kernel says, or as of [`lock`](Self::lock).
    pub(crate) fn allocate(&self, len: u64) -> io::Result<u64> {
        self.allocate_under(self.lock()?, len)
    }

    /// As [`allocate`](Self::allocate), for somebody who can try again.
    ///
    /// # Errors
    /// As there, and `WouldBlock`: somebody has had the lock for long.
    pub(super) fn allocate_briefly(&self, len: u64) -> io::Result<u64> {
        let lock = self.lock_briefly().ok_or(io::ErrorKind::WouldBlock)?;
        self.allocate_under(lock, len)
    }

    /// The same with the lock, which is let go.
    pub(super) fn allocate_under(&self, lock: ArenaGuard<'_>, len: u64) -> io::Result<u64> {
        let class = class(len)?;
        lock.give_returned();
        let block = lock.take(class)?;
        drop(lock);
        // Not under the lock: it may take long, and others may stop us meanwhile.
        if class > LARGEST_SMALL
            && let Err(error) = self.commit(block, len)
        {
            self.put_back(self.discard(block, class));
            return Err(error);
        }
        Ok(block)
    }

    /// Makes a block that was allocated for `old` bytes one for `new`, more, where it is. False:
    /// it does not fit there.
    ///
    /// # Errors
    /// If there is no memory.
    pub(super) fn enlarge(&self, block: u64, old: u64, new: u64) -> io::Result<bool> {
        let fits = class(old)? == class(new)?;
        if fits {
            self.commit(block, new)?;
        }
        Ok(fits)
    }

    /// Gives back a block that was allocated for `len` bytes.
    pub(crate) fn free(&self, block: u64, len: u64) {
        let class = class(len).expect("as it was when it was allocated");
        self.put_back(self.discard(block, class));
    }

    fn put_back(&self, block: Free) {
        match self.lock_briefly() {
            Some(lock) => {
                lock.give_returned();
                lock.give(block);
            }
            None => self.returned().push(block), // nobody waits for it
        }
    }

    fn returned(&self) -> MutexGuard<'_, Vec<Free>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner) // each step leaves it whole
    }

    /// Makes the first `len` bytes of a block zero that was just allocated.
    pub(super) fn clear(&self, block: u64, len: u64) {
        let known = class(len).is_ok_and(|class| class > LARGEST_KEPT);
        // A very large one is zero behind its first page: it is new, or was given back.
        let len = if known { len.min(PAGE) } else { len };
        // SAFETY: the caller's own, for this length.
        unsafe { self.at::<u8>(block).write_bytes(0, len as usize) };
    }

    /// Gives the memory of the block back to the kernel, unless it is to be kept.
    fn discard(&self, at: u64, class: u32) -> Free {
        let kept = self.header().kept.load(Relaxed) + (1 << class); // a hint
        let hollow = class > LARGEST_KEPT || (class > LARGEST_SMALL && kept > MOST_KEPT);
        if hollow {
            // A failure would leave old bytes where `clear` expects none.
            let rest = (1 << class) - PAGE;
            let discarded = self
                .file()
                .and_then(|file| memfd::discard(file, at + PAGE, rest));
            if discarded.is_err()
                && let Ok(start) = self.reach::<u8>(at + PAGE)
            {
                // SAFETY: the block is ours to give back.
                unsafe { start.write_bytes(0, rest as usize) };
            }
        }
        Free { at, class, hollow }
    }
}

impl ArenaGuard<'_> {
    /// As [`Arena::allocate`], for few bytes.
    ///
    /// # Errors
    /// As there.
    pub(super) fn allocate_small(&self, len: u64) -> io::Result<u64> {
        let class = class(len)?;
        debug_assert!(class <= LARGEST_SMALL);
        self.take(class)
    }

    /// A block, of which only the first page is sure to be there, if it is no small one.
    fn take(&self, class: u32) -> io::Result<u64> {
        let (free, hollow) = (&self.header().free, &self.header().hollow);
        for list in [free, hollow] {
            let first = &list[class as usize];
            let block = first.load(Relaxed);
            if block == 0 {
                continue;
            }
            let next = self.reach::<AtomicU64>(block)?;
            if class > LARGEST_SMALL && std::ptr::eq(list, free) {
                let kept = self.header().kept.load(Relaxed);
                let rest = kept.saturating_sub(1 << class);
                self.header().kept.store(rest, Relaxed);
            }
            // SAFETY: a free block begins with the offset of the next (invariant 2).
            first.store(unsafe { next.as_ref() }.load(Relaxed), Relaxed);
            return Ok(block);
        }
        if class > LARGEST_SMALL {
            let block = self.extend(1 << class)?;
            self.commit(block, PAGE)?;
            self.header().end.store(block + (1 << class), Relaxed);
            return Ok(block);
        }
        let chunk = &self.header().chunk;
        let at = chunk.load(Relaxed).next_multiple_of(1 << class.min(12));
        if !at.is_multiple_of(CHUNK) && CHUNK - at % CHUNK >= 1 << class {
            self.map(at)?;
            chunk.store(at + (1 << class), Relaxed);
            return Ok(at);
        }
        let at = self.extend(CHUNK)?;
        self.commit(at, CHUNK)?;
        self.header().end.store(at + CHUNK, Relaxed);
        chunk.store(at + (1 << class), Relaxed);
        Ok(at)
    }

    /// Where `size` bytes, a power of two, fit behind what was ever used.
    fn extend(&self, size: u64) -> io::Result<u64> {
        let mut at = self.header().end.load(Relaxed).next_multiple_of(CHUNK);
        loop {
            let (_, start, len) = segment(at);
            if start + len - at >= size {
                break;
            }
            at = start + len;
        }
        self.map(at)?;
        Ok(at)
    }

    /// Gives back what could not be given back before.
    fn give_returned(&self) {
        let returned = std::mem::take(&mut *self.returned());
        returned.into_iter().for_each(|block| self.give(block));
    }

    /// As [`Arena::free`].
    pub(super) fn free(&self, block: u64, len: u64) {
        let class = class(len).expect("as it was when it was allocated");
        self.give(self.discard(block, class));
    }

    /// Puts a block into the list of free ones.
    fn give(&self, block: Free) {
        let Ok(place) = self.reach::<AtomicU64>(block.at) else {
            return; // no address space to write its place into the list: it is lost
        };
        let (header, class) = (self.header(), block.class as usize);
        let list = match block.hollow {
            true => &header.hollow[class],
            false => &header.free[class],
        };
        // SAFETY: the block is nobody's any more, and has room for the offset.
        unsafe { place.as_ref() }.store(list.load(Relaxed), Relaxed);
        list.store(block.at, Relaxed);
        if block.class > LARGEST_SMALL && !block.hollow {
            let kept = header.kept.load(Relaxed) + (1 << class);
            header.kept.store(kept, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_without_a_gap() {
        let (mut number, mut end) = (0, 0);
        while number < SEGMENTS {
            let (n, start, len) = segment(end);
            assert_eq!((n, start), (number, end));
            assert_eq!(segment(end + len - 1), (n, start, len));
            end = start + len;
            number += 1;
        }
        assert_eq!(end, 1 << 40);
    }

    #[test]
    fn blocks_do_not_overlap_and_come_back() {
        let arena = Arena::create(7).unwrap();
        let other = Arena::open(arena.file().unwrap().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(other.id(), 7);
        let mut blocks = Vec::new();
        for len in [1, 64, 65, 4096, 8192, 8193, 65536, 1 << 20, 20 << 20, 100]
            .into_iter()
            .cycle()
            .take(60)
        {
            let at = arena.allocate(len).unwrap();
            assert!(at.is_multiple_of(64));
            // SAFETY: allocated above, for this long.
            unsafe {
                arena
                    .at::<u8>(at)
                    .write_bytes(blocks.len() as u8, len.min(70_000) as usize)
            };
            blocks.push((at, len));
        }
        for (i, &(at, len)) in blocks.iter().enumerate() {
            let place = other.reach::<u8>(at).unwrap();
            // SAFETY: as above, and nobody writes any more.
            let bytes =
                unsafe { std::slice::from_raw_parts(place.as_ptr(), len.min(70_000) as usize) };
            assert!(bytes.iter().all(|b| *b == i as u8), "block {i}");
        }
        let end = arena.header().end.load(Relaxed);
        for &(at, len) in &blocks {
            other.free(at, len);
        }
        let mut again: Vec<_> = blocks
            .iter()
            .map(|&(_, len)| (arena.allocate(len).unwrap(), len))
            .collect();
        assert_eq!(arena.header().end.load(Relaxed), end);
        again.sort_unstable();
        blocks.sort_unstable();
        // Nothing is lost or doubled.
        assert!(again.iter().map(|b| b.0).eq(blocks.iter().map(|b| b.0)));
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let arena = Arena::create(7).unwrap();
        let error = arena.allocate(1 << 60).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(arena.allocate(64).is_ok());
    }
}
