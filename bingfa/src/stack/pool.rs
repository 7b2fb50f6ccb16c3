//! The stacks of one thread: slabs per size class, and the free lists.
//!
//! Keeps the invariants of the room (`stack/mod.rs`), cited by number.
#![allow(unsafe_code)]

use std::io;

use corosensei::stack::Stack as _;

use super::directory::{Record, SLABS};
use super::guard::{GuardPages, ProtectBudget, guard_size};
use super::slot::{SMALLEST_SLOT, Stack};
use crate::sys::mem::{self, Mapping};

const LARGEST_SLOT: usize = 1 << 40;
const CLASSES: usize = (LARGEST_SLOT / SMALLEST_SLOT).trailing_zeros() as usize + 1;

/// The first slab of a class; each further one is twice as large, so that a million stacks
/// are a dozen mappings.
const FIRST_SLAB: usize = 64 << 20;
const LARGEST_SLAB: usize = LARGEST_SLOT;

/// Address space that stacks leave to everybody else: without it `malloc` would fail right
/// after the last stack, and abort the process before anybody saw the error.
const SPARE: usize = 16 << 20;

/// Hands out stacks and takes them back. One per thread.
///
/// A stack that comes back is handed out next (its pages are warm), and its memory is kept:
/// a page fault costs more than all the rest of a short coroutine. [`trim`](Self::trim) gives
/// memory back, when the thread has the time.
#[derive(Debug)]
pub(crate) struct StackPool {
    guard: Guard,
    classes: [Class; CLASSES],
}

/// A resolved [`GuardPages`].
#[derive(Clone, Copy, Debug)]
enum Guard {
    Install,
    Protect(&'static ProtectBudget),
}

/// All stacks of one size. The `Stack`s in `free` make it, and the pool, not `Send`.
#[derive(Debug, Default)]
struct Class {
    free: Vec<Stack>,
    /// This many at the cold end of `free` were trimmed and not used since.
    clean: usize,
    slabs: Vec<Slab>,
}

#[derive(Debug)]
struct Slab {
    mapping: Mapping,
    record: &'static Record,
    /// Slots that have been handed out at least once: the lowest ones.
    started: usize,
    /// Slots that have a guard and a first page already: at least as many.
    prepared: usize,
}

impl StackPool {
    /// An empty pool; the first stack of each size maps memory for more.
    ///
    /// # Errors
    /// `Unsupported` if `guard` is [`GuardPages::Install`] and the kernel has no such thing.
    pub(crate) fn new(guard: GuardPages) -> io::Result<StackPool> {
        Ok(StackPool::with_guard(match guard.resolve()? {
            GuardPages::Protect => Guard::Protect(ProtectBudget::of_process()),
            GuardPages::Install | GuardPages::Auto => Guard::Install,
        }))
    }

    fn with_guard(guard: Guard) -> StackPool {
        StackPool {
            guard,
            classes: std::array::from_fn(|_| Class::default()),
        }
    }

    /// A stack of at least `size` bytes, its guard included: the next power of two.
    ///
    /// # Errors
    /// `InvalidInput` for a size beyond 1 TiB, `OutOfMemory` at the kernel's limits; the message
    /// has the limit and the remedies.
    #[inline]
    pub(crate) fn take(&mut self, size: usize) -> io::Result<Stack> {
        if size > LARGEST_SLOT {
            return Err(too_large(size));
        }
        let slots = size.div_ceil(SMALLEST_SLOT).next_power_of_two();
        let index = slots.trailing_zeros() as usize;
        let class = &mut self.classes[index];
        match class.free.pop() {
            Some(stack) => {
                class.clean = class.clean.min(class.free.len());
                Ok(stack)
            }
            None => class.start_slot(index as u8, self.guard),
        }
    }

    /// Takes back a stack that nobody runs on any more and forgets its control area and owner.
    #[inline]
    pub(crate) fn give(&mut self, stack: Stack) {
        self.classes[stack.class()].free.push(stack.recycled());
    }

    /// Gives the memory of the free stacks back to the kernel, but for the `keep` of each
    /// size that will be handed out first. Their guards stay.
    pub(crate) fn trim(&mut self, keep: usize) {
        for class in &mut self.classes {
            let end = class.free.len().saturating_sub(keep);
            for stack in class.free.iter_mut().take(end).skip(class.clean) {
                // Fails on memory locked by mlockall, which wants to be kept.
                let _ = stack.discard();
            }
            class.clean = class.clean.max(end);
        }
    }
}

#[cold]
fn too_large(size: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("a coroutine stack of {size} bytes is impossible: 1 TiB is the most"),
    )
}

impl Class {
    /// A stack on a slot that has never been used.
    #[cold]
    fn start_slot(&mut self, class: u8, guard: Guard) -> io::Result<Stack> {
        let slot_size = SMALLEST_SLOT << class;
        if self.slabs.last().is_none_or(|slab| slab.is_full(slot_size)) {
            self.slabs.push(Slab::map(slot_size, self.slabs.len())?);
        }
        let slab = self.slabs.last_mut().expect("there is one now");
        slab.start_slot(class, guard)
    }
}

impl Slab {
    /// The slab after `earlier` ones of its class, smaller if there is no such room.
    fn map(slot_size: usize, earlier: usize) -> io::Result<Slab> {
        let largest = LARGEST_SLAB.ilog2();
        let wanted = FIRST_SLAB.max(slot_size).ilog2() as usize + earlier;
        let mut len = 1 << wanted.min(largest as usize);
        // Held until the slab is mapped.
        let _spare = Mapping::reserve(SPARE).map_err(|error| no_room(slot_size, &error))?;
        loop {
            match Mapping::reserve(len) {
                Ok(mapping) => {
                    let record = SLABS.publish(mapping.start(), len, slot_size);
                    return Ok(Slab {
                        mapping,
                        record,
                        started: 0,
                        prepared: 0,
                    });
                }
                Err(_) if len > slot_size => len /= 2,
                Err(error) => return Err(no_room(slot_size, &error)),
            }
        }
    }

    fn contains(&self, stack: &Stack) -> bool {
        let start = self.mapping.start();
        (start..start + self.mapping.len()).contains(&stack.limit().get())
    }

    fn is_full(&self, slot_size: usize) -> bool {
        self.started == self.mapping.len() / slot_size
    }

    fn start_slot(&mut self, class: u8, guard: Guard) -> io::Result<Stack> {
        let slot_size = SMALLEST_SLOT << class;
        let limit = self.mapping.start() + self.started * slot_size;
        let len = guard_size(slot_size);
        match guard {
            Guard::Install if self.started < self.prepared => {}
            Guard::Install => {
                // The first few are made singly, so that few coroutines cost few pages.
                let left = self.mapping.len() / slot_size - self.started;
                let count = left.min(self.started).min(mem::SLOTS_AT_ONCE);
                // SAFETY: the slots are in our mapping and have no `Stack` yet: nobody uses them.
                let batch = count > 1
                    && unsafe { mem::prepare_slots(limit, slot_size, len, count) }.is_ok();
                if batch {
                    self.prepared = self.started + count;
                } else {
                    // SAFETY: as above.
                    unsafe { mem::install_guard(limit, len) }
                        .map_err(|e| no_guard(slot_size, &e))?;
                }
            }
            Guard::Protect(budget) => {
                budget.take()?;
                // SAFETY: the slot is in our mapping and has no `Stack` yet: nobody uses it.
                if let Err(error) = unsafe { mem::protect_none(limit, len) } {
                    budget.give_back(1);
                    return Err(no_guard(slot_size, &error));
                }
            }
        }
        let owner = self.record.owner(self.started);
        self.started += 1;
        Ok(Stack::new(owner, limit, class))
    }
}

#[cold]
fn no_room(slot_size: usize, error: &io::Error) -> io::Error {
    let size = slot_size / 1024;
    io::Error::new(
        error.kind(),
        format!(
            "no address space for a coroutine stack of {size} KiB: {error}; raise RLIMIT_AS \
             (ulimit -v) and vm.max_map_count, allow overcommit (vm.overcommit_memory = 0 or \
             1), use smaller stacks, or run fewer coroutines at once"
        ),
    )
}

#[cold]
fn no_guard(slot_size: usize, error: &io::Error) -> io::Error {
    let size = slot_size / 1024;
    io::Error::new(
        error.kind(),
        format!(
            "no guard page for a coroutine stack of {size} KiB: {error}; raise \
             vm.max_map_count or run fewer coroutines at once, and do not lock all memory \
             (mlockall)"
        ),
    )
}

impl Drop for StackPool {
    fn drop(&mut self) {
        for class in &mut self.classes {
            for slab in class.slabs.drain(..) {
                let back = class.free.iter().filter(|stack| slab.contains(stack));
                if back.count() == slab.started {
                    slab.record.retire();
                    drop(slab.mapping);
                    if let Guard::Protect(budget) = self.guard {
                        budget.give_back(slab.started);
                    }
                } else {
                    // Somebody still runs, or may run, on a slot of it (invariant 2).
                    std::mem::forget(slab.mapping);
                }
            }
            class.free.clear();
        }
    }
}

#[cfg(test)]
mod tests;
