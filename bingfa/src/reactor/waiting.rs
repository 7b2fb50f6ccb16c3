//! The operations that wait in one driver, found by their descriptor.
//!
//! Each descriptor has a ring of [`Op`]s in order of arrival, linked through the
//! operations themselves, so joining and leaving allocate nothing. Those that have no
//! descriptor have one ring together. Only the driver's
//! thread changes the rings; other threads may ask whether one is empty, which is how
//! the closing of a descriptor learns that somebody waits on it for the price, to
//! those who wait, of two plain stores.
//!
//! # Invariants
//! 1. Everything but [`any`](Waiting::any) is called by one thread, the owner.
//! 2. Every operation in a ring is alive (invariants 1 and 4 of `op`).
//! 3. A chunk is published once, and freed only with the whole table.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};

use super::op::{NONE, Op};
use crate::sys::cache::fetch;

/// The first chunk covers this many descriptors, each further one twice as many.
const FIRST: usize = 1024;
/// Enough for every `RawFd`.
const CHUNKS: usize = 22;

/// The first operation of a ring, or null.
type Head = AtomicPtr<Op>;

/// Waiting operations by descriptor.
#[derive(Debug)]
pub(super) struct Waiting {
    chunks: [AtomicPtr<Head>; CHUNKS],
    /// Those without a descriptor ([`NONE`](super::op::NONE)).
    others: Head,
}

/// The chunk that holds `fd`, and the place within it.
fn place(fd: RawFd) -> (usize, usize) {
    let fd = usize::try_from(fd).expect("an open descriptor is not negative");
    let chunk = (fd / FIRST + 1).ilog2() as usize;
    (chunk, fd - FIRST * ((1 << chunk) - 1))
}

impl Waiting {
    pub(super) fn new() -> Waiting {
        Waiting {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            others: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Whether an operation waits on `fd`. Any thread may ask.
    pub(super) fn any(&self, fd: RawFd) -> bool {
        fd >= 0
            && self
                .head(fd)
                .is_some_and(|head| !head.load(Acquire).is_null())
    }

    fn head(&self, fd: RawFd) -> Option<&Head> {
        if fd == NONE {
            return Some(&self.others);
        }
        let (chunk, index) = place(fd);
        // Acquire pairs with the Release in `grow`: the heads are null before they are seen.
        let first = self.chunks[chunk].load(Acquire);
        // SAFETY: a published chunk has a head for every descriptor that `place` puts
        // there, and lives as long as `self` (invariant 3).
        (!first.is_null()).then(|| unsafe { &*first.add(index) })
    }

    #[cold]
    fn grow(&self, fd: RawFd) -> &Head {
        let (chunk, _) = place(fd);
        // As plain pointers, which come zeroed from the system without being touched:
        // the chunks of large descriptors are large.
        let heads = vec![ptr::null_mut::<Op>(); FIRST << chunk].into_boxed_slice();
        self.chunks[chunk].store(Box::into_raw(heads).cast::<Head>(), Release);
        self.head(fd).expect("the chunk was just published")
    }

    fn first(&self, fd: RawFd) -> Option<NonNull<Op>> {
        // Relaxed: the owner reads what it wrote (invariant 1).
        self.head(fd)
            .and_then(|head| NonNull::new(head.load(Relaxed)))
    }

    /// Has the processor fetch what [`for_each`](Self::for_each) will look at first.
    #[inline]
    pub(super) fn fetch_first(&self, fd: RawFd) {
        if let Some(op) = self.first(fd) {
            fetch(op.as_ptr().cast());
            fetch(op.as_ptr().wrapping_add(1).wrapping_byte_sub(1).cast());
        }
    }

    /// Appends `op` to the ring of its descriptor.
    ///
    /// # Safety
    /// On the owner's thread; `op` is in no ring and stays alive until it is removed.
    #[inline]
    pub(super) unsafe fn push(&self, op: NonNull<Op>) {
        // SAFETY: alive, by the caller's contract.
        let new = unsafe { op.as_ref() };
        let head = self.head(new.fd).unwrap_or_else(|| self.grow(new.fd));
        match NonNull::new(head.load(Relaxed)) {
            None => {
                new.link.next.set(new);
                new.link.prev.set(new);
                // Release pairs with the Acquire in `any`; no data travels with it.
                head.store(op.as_ptr(), Release);
            }
            Some(first) => {
                // SAFETY: in a ring, so alive (invariant 2).
                let first = unsafe { first.as_ref() };
                // SAFETY: as above; the links of a ring are never null.
                let last = unsafe { &*first.link.prev.get() };
                new.link.next.set(first);
                new.link.prev.set(last);
                last.link.next.set(new);
                first.link.prev.set(new);
            }
        }
    }

    /// Takes `op` out of its ring.
    ///
    /// # Safety
    /// On the owner's thread; `op` is in a ring of this table.
    #[inline]
    pub(super) unsafe fn remove(&self, op: NonNull<Op>) {
        // SAFETY: in a ring, so alive (invariant 2).
        let old = unsafe { op.as_ref() };
        let (next, prev) = (old.link.next.get(), old.link.prev.get());
        let head = self
            .head(old.fd)
            .expect("an operation in a ring has a head");
        if ptr::eq(next, old) {
            head.store(ptr::null_mut(), Release);
        } else {
            // SAFETY: neighbours in a ring are alive (invariant 2).
            unsafe {
                (*prev).link.next.set(next);
                (*next).link.prev.set(prev);
            }
            if ptr::eq(head.load(Relaxed), old) {
                head.store(next.cast_mut(), Release);
            }
        }
        old.link.next.set(ptr::null());
        old.link.prev.set(ptr::null());
    }

    /// All operations, by descriptor.
    pub(super) fn all(&self) -> Vec<NonNull<Op>> {
        let mut all = Vec::new();
        self.for_each(NONE, |op, _| {
            all.push(op);
            true
        });
        for (chunk, first) in self.chunks.iter().enumerate() {
            // Relaxed: the owner reads what it wrote (invariant 1).
            if !first.load(Relaxed).is_null() {
                let start = FIRST * ((1 << chunk) - 1);
                for fd in start..start + (FIRST << chunk) {
                    self.for_each(fd as RawFd, |op, _| {
                        all.push(op);
                        true
                    });
                }
            }
        }
        all
    }

    /// Calls `visit` for each operation that waits on `fd`, in order of arrival, until
    /// it says `false`. It may remove the operation it is given, and nothing else.
    pub(super) fn for_each(&self, fd: RawFd, mut visit: impl FnMut(NonNull<Op>, &Op) -> bool) {
        let Some(mut at) = self.first(fd) else { return };
        // SAFETY: in a ring, so alive (invariant 2).
        let last = unsafe { at.as_ref() }.link.prev.get();
        loop {
            // SAFETY: not visited yet, so still in the ring.
            let op = unsafe { at.as_ref() };
            let next = op.link.next.get();
            if !visit(at, op) || ptr::eq(at.as_ptr(), last) {
                return;
            }
            at = NonNull::new(next.cast_mut()).expect("the links of a ring are never null");
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for (chunk, first) in self.chunks.iter_mut().enumerate() {
            let first = *first.get_mut();
            if !first.is_null() {
                let heads = ptr::slice_from_raw_parts_mut(first.cast::<*mut Op>(), FIRST << chunk);
                // SAFETY: made by `grow` from a box of this type and length, and freed
                // only here (invariant 3).
                drop(unsafe { Box::from_raw(heads) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::op::OpKind;
    use super::*;

    #[test]
    fn every_descriptor_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for fd in 0..10_000 {
            assert_eq!(place(fd), expected);
            expected.1 += 1;
            if expected.1 == FIRST << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        let (chunk, index) = place(RawFd::MAX);
        assert!(chunk < CHUNKS && index < FIRST << chunk);
    }

    #[test]
    fn order_of_arrival_survives_removals() {
        let table = Waiting::new();
        let kind = OpKind::Poll { events: 0 };
        let ops: Vec<Op> = (0..4)
            .map(|_| Op::new(kind, 3000, None, ptr::null()))
            .collect();
        let seen = |table: &Waiting| {
            let mut seen = Vec::new();
            table.for_each(3000, |_, op| {
                seen.push(ops.iter().position(|o| ptr::eq(o, op)).unwrap());
                true
            });
            seen
        };
        assert!(!table.any(3000));
        for op in &ops {
            // SAFETY: `ops` outlives its stay in the table, on this thread.
            unsafe { table.push(op.into()) };
        }
        assert_eq!(seen(&table), [0, 1, 2, 3]);
        assert!(table.any(3000) && !table.any(3001));
        for (gone, left) in [(2, &[0, 1, 3][..]), (0, &[1, 3]), (3, &[1]), (1, &[])] {
            // SAFETY: pushed above and not yet removed.
            unsafe { table.remove((&ops[gone]).into()) };
            assert_eq!(seen(&table), left);
        }
        assert!(!table.any(3000));
    }

    #[test]
    fn a_visitor_may_remove_what_it_visits() {
        let table = Waiting::new();
        let kind = OpKind::Poll { events: 0 };
        let ops: Vec<Op> = (0..3)
            .map(|_| Op::new(kind, 1, None, ptr::null()))
            .collect();
        for op in &ops {
            // SAFETY: `ops` outlives its stay in the table, on this thread.
            unsafe { table.push(op.into()) };
        }
        let mut visits = 0;
        table.for_each(1, |op, _| {
            visits += 1;
            // SAFETY: it is being visited, so it is in the table.
            unsafe { table.remove(op) };
            true
        });
        assert_eq!(visits, 3);
        assert!(!table.any(1));
    }
}
