//! Which slabs exist and who runs on their slots: a list that a signal handler can read.
//!
//! # Invariants
//! 1. Records are never freed and never leave the list; a record whose slab is gone has no
//!    range, and serves the next slab that fits it.
//! 2. A record's range is one word, so that a reader never sees half of a change.
//! 3. A non-null owner is valid: [`Stack::set_owner`](super::Stack::set_owner) demands it.
//!    A record without a slab has none, since giving a stack back clears its owner.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::{iter, slice};

use super::guard::guard_size;
use crate::sys::signal::Fault;

/// The slabs of this process.
pub(super) static SLABS: Directory = Directory::new();

/// A list of records that only grows.
#[derive(Debug)]
pub(super) struct Directory {
    // A `OnceLock` that is only read with `get` is one atomic load: fit for the handler.
    first: OnceLock<Box<Record>>,
}

/// Who runs on a slot, for the report of an overflow.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) id: u64,
    /// UTF-8, or anything with a length of 0: no name.
    pub(crate) name_ptr: *const u8,
    pub(crate) name_len: usize,
}

/// One slab as the fault handler sees it.
#[derive(Debug)]
pub(super) struct Record {
    range: AtomicUsize,
    claimed: AtomicBool,
    owners: Box<[AtomicPtr<Owner>]>,
    next: OnceLock<Box<Record>>,
}

/// A slab's place. Page-aligned, so that two binary logarithms fit below its address.
#[derive(Clone, Copy)]
struct Range {
    start: usize,
    len_log2: u32,
    slot_log2: u32,
}

const LOG2_BITS: u32 = 6;
const LOG2_MASK: usize = (1 << LOG2_BITS) - 1;

impl Range {
    fn pack(self) -> usize {
        debug_assert!(self.start.trailing_zeros() >= 2 * LOG2_BITS);
        self.start | (self.len_log2 as usize) << LOG2_BITS | self.slot_log2 as usize
    }

    fn unpack(word: usize) -> Option<Range> {
        (word != 0).then_some(Range {
            start: word & !((1 << (2 * LOG2_BITS)) - 1),
            len_log2: (word >> LOG2_BITS & LOG2_MASK) as u32,
            slot_log2: (word & LOG2_MASK) as u32,
        })
    }

    fn contains(self, addr: usize) -> bool {
        addr.wrapping_sub(self.start) < 1 << self.len_log2
    }
}

impl Record {
    /// The slab is about to be unmapped: the handler must not find it any more. All its
    /// stacks are back, so there are no owners to clear.
    pub(super) fn retire(&self) {
        // The Release below orders it before the next use of the record.
        self.range.store(0, Relaxed);
        // Pairs with the Acquire in `claim`.
        self.claimed.store(false, Release);
    }

    /// Where the owner of a slot is published.
    pub(super) fn owner(&self, slot: usize) -> &AtomicPtr<Owner> {
        &self.owners[slot]
    }

    /// See [`Directory::overflow`].
    ///
    /// # Safety
    /// As there.
    unsafe fn overflow(&self, fault: Fault) -> Option<Overflow> {
        // Acquire: pairs with the Release in `publish`.
        let range = Range::unpack(self.range.load(Acquire))?;
        // The stack pointer tells an overflow from a stray pointer; and code that runs on
        // a slab runs on its thread, so nobody clears or frees the owner meanwhile.
        if !range.contains(fault.address) || !range.contains(fault.stack_pointer) {
            return None;
        }
        let slot_size = 1 << range.slot_log2;
        let offset = fault.address - range.start;
        if offset % slot_size >= guard_size(slot_size) {
            return None;
        }
        // Acquire: pairs with the Release in `Stack::set_owner`.
        let owner = self.owners.get(offset / slot_size)?.load(Acquire);
        // SAFETY: null or valid (invariant 3), and its thread is busy here.
        let owner = unsafe { owner.as_ref() };
        let name: &[u8] = match owner {
            Some(owner) if owner.name_len > 0 => {
                // SAFETY: part of a valid owner (invariant 3).
                unsafe { slice::from_raw_parts(owner.name_ptr, owner.name_len) }
            }
            _ => &[],
        };
        Some(Overflow {
            slot_size,
            id: owner.map(|owner| owner.id),
            name,
        })
    }
}

/// A stack overflow, in the words of the report.
pub(super) struct Overflow {
    pub(super) slot_size: usize,
    pub(super) id: Option<u64>,
    /// Empty if there is none.
    pub(super) name: &'static [u8],
}

impl Directory {
    const fn new() -> Directory {
        Directory {
            first: OnceLock::new(),
        }
    }

    fn records(&'static self) -> impl Iterator<Item = &'static Record> {
        iter::successors(self.first.get(), |record| record.next.get()).map(|record| &**record)
    }

    /// A record for the slab at `start`, whose length and slots are powers of two.
    pub(super) fn publish(
        &'static self,
        start: usize,
        len: usize,
        slot_size: usize,
    ) -> &'static Record {
        debug_assert!(len.is_power_of_two() && slot_size.is_power_of_two());
        let record = self.claim(len / slot_size);
        let range = Range {
            start,
            len_log2: len.trailing_zeros(),
            slot_log2: slot_size.trailing_zeros(),
        };
        // Pairs with the handler's Acquire load.
        record.range.store(range.pack(), Release);
        record
    }

    /// A record without a range that has room for `slots` owners.
    fn claim(&'static self, slots: usize) -> &'static Record {
        let fits = |record: &&Record| {
            record.owners.len() >= slots
                && record
                    .claimed
                    // Acquire: pairs with the Release in `retire`. A failure reads nothing else.
                    .compare_exchange(false, true, Acquire, Relaxed)
                    .is_ok()
        };
        if let Some(record) = self.records().find(fits) {
            return record;
        }
        let owners = Box::<[AtomicPtr<Owner>]>::new_zeroed_slice(slots);
        let mut record = Box::new(Record {
            range: AtomicUsize::new(0),
            claimed: AtomicBool::new(true),
            // SAFETY: all-zero is a null `AtomicPtr`. Zeroed by the allocator, because a large
            // slab's array then costs memory only where it is used.
            owners: unsafe { owners.assume_init() },
            next: OnceLock::new(),
        });
        let mut end = &self.first;
        loop {
            match end.set(record) {
                Ok(()) => return end.get().expect("set just now"),
                Err(back) => record = back,
            }
            end = &end.get().expect("set by somebody else").next;
        }
    }

    /// Whether the fault is the overflow of a slot, and whose. Async-signal-safe.
    ///
    /// # Safety
    /// The code that faulted does not go on while the result is in use: the name is its own.
    pub(super) unsafe fn overflow(&'static self, fault: Fault) -> Option<Overflow> {
        // SAFETY: passed on to the caller.
        self.records()
            .find_map(|record| unsafe { record.overflow(fault) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    // No mapping is behind these addresses: the directory never touches them.
    const BASE: usize = 1 << 40;
    const SLOT: usize = 256 * 1024;

    fn overflow(directory: &'static Directory, address: usize, sp: usize) -> Option<Overflow> {
        let fault = Fault {
            address,
            stack_pointer: sp,
        };
        // SAFETY: the owners outlive the test, and nothing faulted.
        unsafe { directory.overflow(fault) }
    }

    #[test]
    fn a_fault_in_a_guard_names_the_owner_of_its_slot() {
        static DIRECTORY: Directory = Directory::new();
        let record = DIRECTORY.publish(BASE, 4 * SLOT, SLOT);
        let name = "worker-42";
        let mut owner = Owner {
            id: 7,
            name_ptr: name.as_ptr(),
            name_len: name.len(),
        };
        record.owner(2).store(&mut owner, Release);
        let at = |address| overflow(&DIRECTORY, address, address + 64);

        let hit = at(BASE + 2 * SLOT + 100).unwrap();
        assert_eq!((hit.id, hit.name), (Some(7), name.as_bytes()));
        assert_eq!(hit.slot_size, SLOT);
        let hit = at(BASE + SLOT).unwrap();
        assert_eq!((hit.id, hit.name), (None, &b""[..]));

        assert!(at(BASE + 2 * SLOT + guard_size(SLOT)).is_none());
        assert!(at(BASE + 4 * SLOT).is_none());
        assert!(at(BASE - 1).is_none());
        let elsewhere = BASE + 8 * SLOT;
        assert!(overflow(&DIRECTORY, BASE + 2 * SLOT, elsewhere).is_none());

        record.owner(2).store(ptr::null_mut(), Release);
        record.retire();
        assert!(at(BASE + 2 * SLOT + 100).is_none());
    }

    #[test]
    fn a_retired_record_serves_the_next_slab_that_fits() {
        static DIRECTORY: Directory = Directory::new();
        let small = DIRECTORY.publish(BASE, 4 * SLOT, SLOT);
        let large = DIRECTORY.publish(2 * BASE, 8 * SLOT, SLOT);
        assert!(!ptr::eq(small, large));
        small.retire();
        let larger = DIRECTORY.publish(3 * BASE, 16 * SLOT, SLOT);
        assert!(!ptr::eq(small, larger));
        let again = DIRECTORY.publish(4 * BASE, 2 * SLOT, SLOT);
        assert!(ptr::eq(small, again));
        assert!(overflow(&DIRECTORY, BASE, BASE).is_none());
        assert!(overflow(&DIRECTORY, 4 * BASE + SLOT, 4 * BASE + SLOT).is_some());
        assert_eq!(DIRECTORY.records().count(), 3);
    }

    #[test]
    fn records_published_by_many_threads_are_all_found() {
        static DIRECTORY: Directory = Directory::new();
        std::thread::scope(|scope| {
            for i in 1..=8 {
                scope.spawn(move || DIRECTORY.publish(i * BASE, SLOT, SLOT));
            }
        });
        assert!((1..=8).all(|i| overflow(&DIRECTORY, i * BASE, i * BASE).is_some()));
    }
}
