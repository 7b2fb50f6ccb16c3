//! One stack: the right to use a slot of a slab.
//!
//! Rests on the invariants of the room (`stack/mod.rs`), cited by number.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{Relaxed, Release},
};

use corosensei::stack::{MIN_STACK_SIZE, STACK_ALIGNMENT, StackPointer};

use super::directory::Owner;
use super::guard::guard_size;
use crate::sys::mem;

pub(super) const SMALLEST_SLOT: usize = 16 * 1024;

const CACHE_LINE: usize = 64;
const COLOURS: usize = 16;

/// A coroutine's stack. Give it back to the pool that made it; one that is merely dropped
/// is lost until the process ends, and its slab with it.
#[derive(Debug)]
pub(crate) struct Stack {
    owner: &'static AtomicPtr<Owner>,
    limit: usize,
    base: usize,
    class: u8,
    // Invariant 3.
    _not_send: PhantomData<*mut ()>,
}

impl Stack {
    /// The one `Stack` of the slot that starts at `limit`, has `SMALLEST_SLOT << class` bytes
    /// and a guard, and names its owner in `owner`.
    pub(super) fn new(owner: &'static AtomicPtr<Owner>, limit: usize, class: u8) -> Stack {
        let stack = Stack {
            owner,
            limit,
            base: 0,
            class,
            _not_send: PhantomData,
        };
        stack.recycled()
    }

    /// As it was when it was new: no control area, no owner.
    #[inline]
    pub(super) fn recycled(self) -> Stack {
        // Relaxed: null has no contents to order.
        self.owner.store(ptr::null_mut(), Relaxed);
        // Neighbours differ by one in this number.
        let slot = self.limit / self.slot_size();
        let base = self.end() - slot % COLOURS * CACHE_LINE;
        Stack { base, ..self }
    }

    #[inline]
    pub(super) fn class(&self) -> usize {
        self.class as usize
    }

    /// Gives the memory of a stack that nobody runs on back to the kernel; the guard stays.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        let start = self.usable_start();
        // SAFETY: `&mut self` is the only right to this slot (invariant 1), and the range
        // leaves out its guard.
        unsafe { mem::discard(start, self.end() - start) }
    }

    #[inline]
    fn slot_size(&self) -> usize {
        SMALLEST_SLOT << self.class
    }

    #[inline]
    fn end(&self) -> usize {
        self.limit + self.slot_size()
    }

    #[inline]
    fn usable_start(&self) -> usize {
        self.limit + guard_size(self.slot_size())
    }

    /// Carves `size` bytes out of the top of the stack, which then begins below them: what
    /// lives there shares a page with the first frames. Until the stack is given back.
    ///
    /// # Panics
    /// If that would leave no stack worth the name.
    #[inline]
    pub(crate) fn reserve(&mut self, size: usize, align: usize) -> NonNull<u8> {
        assert!(align.is_power_of_two());
        let area = self.base.saturating_sub(size) & !(align - 1);
        let base = area & !(STACK_ALIGNMENT - 1);
        assert!(
            base >= self.usable_start() + MIN_STACK_SIZE,
            "a control area of {size} bytes leaves nothing of a stack of {}",
            self.size()
        );
        self.base = base;
        NonNull::new(ptr::with_exposed_provenance_mut(area)).expect("no slot is at address 0")
    }

    /// Bytes that frames can use: without the guard and what was reserved.
    pub(crate) fn size(&self) -> usize {
        self.base - self.usable_start()
    }

    /// The part of the slot that can be accessed.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            start: self.usable_start(),
            end: self.end(),
        }
    }

    /// Says who runs on this stack from now on (null: nobody), for the report of an overflow.
    /// Cleared when the stack is given back.
    ///
    /// # Safety
    /// Unless null, `owner` and its name stay valid until the owner is replaced or cleared.
    #[inline]
    pub(crate) unsafe fn set_owner(&self, owner: *const Owner) {
        // Release: pairs with the Acquire load in the fault handler, which runs on this same
        // thread: what counts is that the compiler fills in the owner before.
        self.owner.store(owner.cast_mut(), Release);
    }

    #[cfg(test)]
    pub(super) fn owner(&self) -> *const Owner {
        self.owner.load(Relaxed)
    }
}

/// Where a stack lies, for as long as it is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    start: usize,
    end: usize,
}

impl Extent {
    /// Its addresses.
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start..self.end
    }

    #[cfg(test)]
    pub(super) fn contains(self, addr: usize) -> bool {
        (self.start..self.end).contains(&addr)
    }

    /// How deep the stack was ever used, in bytes from the top of the slot in whole pages.
    ///
    /// Counts the earlier users of a recycled slot too, back to the last trim; memory that
    /// was swapped out is not seen.
    pub(crate) fn high_water(self) -> usize {
        match mem::lowest_resident(self.start, self.end - self.start) {
            Ok(Some(page)) => self.end - page,
            Ok(None) => 0,
            // The range is mapped and page-aligned, which leaves a kernel out of memory.
            Err(_) => self.end - self.start,
        }
    }
}

// SAFETY: the range from limit to base is this stack's alone (invariant 1), mapped as long as
// the stack exists (invariant 2), its lowest pages are a guard, and `reserve` leaves at least
// MIN_STACK_SIZE above it. The tops of slots are cache-line-aligned, and `reserve` keeps the
// alignment.
unsafe impl corosensei::stack::Stack for Stack {
    #[inline]
    fn base(&self) -> StackPointer {
        NonZeroUsize::new(self.base).expect("no slot is at address 0")
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        NonZeroUsize::new(self.limit).expect("no slot is at address 0")
    }
}
