//! The queues: lists of waiters in buckets, which the address of what they wait for selects.
//!
//! # Invariants
//! Those of the [room](super).

#![allow(unsafe_code)]

use std::ptr::{NonNull, null};
use std::sync::PoisonError;

use super::waiter::{Waiter, inner};
use crate::park::atomic::{Mutex, MutexGuard, Ordering::Relaxed};

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) first: *const Waiter,
    last: *const Waiter,
    /// One in the queue, and how many came after it, at most [`AHEAD`]: the next to learn who is
    /// [`ahead`](super::waiter::Inner::ahead) of it. Null if the queue is empty.
    lagging: (*const Waiter, usize),
    pub(super) arrivals: u64,
}

/// How far ahead wakers fetch waiters, each of which is on a page of its own.
const AHEAD: usize = 8;

// SAFETY: the pointers are followed only with the bucket locked (invariants 1 and 2).
unsafe impl Send for Queue {}

#[derive(Debug)]
#[repr(align(64))]
struct Bucket(Mutex<Queue>);

#[cfg(not(loom))]
mod table {
    use super::{Bucket, Mutex, Queue, null};

    /// Most are never touched, and what is never touched takes no memory.
    const BITS: u32 = 12;

    static BUCKETS: [Bucket; 1 << BITS] = [const {
        Bucket(Mutex::new(Queue {
            first: null(),
            last: null(),
            lagging: (null(), 0),
            arrivals: 0,
        }))
    }; 1 << BITS];

    /// Fibonacci hashing: the upper bits of the product depend on all of the key.
    #[inline]
    pub(super) fn index(key: usize) -> usize {
        ((key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BITS)) as usize
    }

    #[inline]
    pub(super) fn bucket(index: usize) -> &'static Bucket {
        &BUCKETS[index]
    }

    pub(super) fn all() -> impl Iterator<Item = &'static Bucket> {
        BUCKETS.iter()
    }
}

/// Two buckets, chosen by an address bit that the models control.
#[cfg(loom)]
mod table {
    use super::{Bucket, Mutex, Queue, null};

    loom::lazy_static! {
        static ref BUCKETS: [Bucket; 2] = [0, 1].map(|_| {
            Bucket(Mutex::new(Queue { first: null(), last: null(), lagging: (null(), 0), arrivals: 0 }))
        });
    }

    pub(super) fn index(key: usize) -> usize {
        key >> 7 & 1
    }

    pub(super) fn bucket(index: usize) -> &'static Bucket {
        &BUCKETS[index]
    }
}

impl Bucket {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that runs with it locked can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[inline]
pub(super) fn lock(key: usize) -> MutexGuard<'static, Queue> {
    table::bucket(table::index(key)).lock()
}

impl Queue {
    /// The first of `key` from `from` on.
    ///
    /// # Safety
    /// The bucket is locked and `from` is in it, or null.
    pub(super) unsafe fn find(
        &self,
        mut from: *const Waiter,
        key: usize,
    ) -> Option<NonNull<Waiter>> {
        while let Some(waiter) = NonNull::new(from.cast_mut()) {
            // SAFETY: queued, so alive (invariant 1), and the bucket is locked.
            unsafe {
                if waiter.as_ref().key.load(Relaxed) == key {
                    return Some(waiter);
                }
                from = inner(from, |this| this.next);
            }
        }
        None
    }

    /// # Safety
    /// The bucket is locked and the waiter in it.
    pub(super) unsafe fn after(
        &self,
        waiter: NonNull<Waiter>,
        key: usize,
    ) -> Option<NonNull<Waiter>> {
        // SAFETY: the caller's duty.
        unsafe { self.find(inner(waiter.as_ptr(), |this| this.next), key) }
    }

    /// # Safety
    /// The bucket is locked; the waiter is pinned and in no queue.
    pub(super) unsafe fn push(&mut self, waiter: NonNull<Waiter>, again: bool) {
        let this = waiter.as_ptr().cast_const();
        // SAFETY: what is reached is queued, so alive (invariant 1), and the bucket is locked.
        unsafe {
            let mut next = null();
            if again {
                let arrival = inner(this, |this| this.arrival);
                next = self.first;
                while !next.is_null() && inner(next, |next| next.arrival) < arrival {
                    next = inner(next, |next| next.next);
                }
            } else {
                self.arrivals += 1;
                inner(this, |this| this.arrival = self.arrivals);
            }
            let previous = if next.is_null() {
                self.last
            } else {
                inner(next, |next| next.previous)
            };
            inner(this, |this| {
                this.previous = previous;
                this.next = next;
            });
            self.link(previous, this);
            self.relink(next, this);
            if next.is_null() {
                self.follow(this);
            }
        }
    }

    /// Somebody has come to the end.
    unsafe fn follow(&mut self, newest: *const Waiter) {
        self.lagging = match self.lagging {
            (lagging, _) if lagging.is_null() => (newest, 0),
            (lagging, count) if count < AHEAD => (lagging, count + 1),
            // SAFETY: queued, so alive (invariant 1), and the bucket is locked.
            (lagging, count) => unsafe {
                inner(lagging, |lagging| {
                    lagging.ahead = newest;
                    (lagging.next, count)
                })
            },
        };
    }

    /// # Safety
    /// The bucket is locked and the waiter in it.
    pub(super) unsafe fn remove(&mut self, waiter: NonNull<Waiter>) {
        // SAFETY: as in `push`.
        unsafe {
            let (previous, next) = inner(waiter.as_ptr(), |this| (this.previous, this.next));
            if self.lagging.0 == waiter.as_ptr() {
                self.lagging = (next, self.lagging.1.saturating_sub(1));
            }
            self.link(previous, next);
            self.relink(next, previous);
        }
    }

    /// Calls `each` with all that are in it, of whatever key.
    ///
    /// # Safety
    /// The bucket is locked.
    #[cfg(not(loom))]
    pub(super) unsafe fn each(&self, mut each: impl FnMut(NonNull<Waiter>)) {
        let mut next = self.first;
        while let Some(waiter) = NonNull::new(next.cast_mut()) {
            // SAFETY: queued, so alive (invariant 1), and the bucket is locked.
            next = unsafe { inner(next, |this| this.next) };
            each(waiter);
        }
    }

    /// What follows `at`, or comes first.
    unsafe fn link(&mut self, at: *const Waiter, next: *const Waiter) {
        if at.is_null() {
            self.first = next;
        } else {
            // SAFETY: the caller's duty, as in `push`.
            unsafe { inner(at, |at| at.next = next) };
        }
    }

    /// What precedes `at`, or comes last.
    unsafe fn relink(&mut self, at: *const Waiter, previous: *const Waiter) {
        if at.is_null() {
            self.last = previous;
        } else {
            // SAFETY: the caller's duty, as in `push`.
            unsafe { inner(at, |at| at.previous = previous) };
        }
    }
}

/// Each bucket in turn, locked.
#[cfg(not(loom))]
pub(super) fn all() -> impl Iterator<Item = MutexGuard<'static, Queue>> {
    table::all().map(Bucket::lock)
}

/// Locks the buckets of both keys, always in the same order. `None`: it is the same one.
pub(super) fn lock_both(
    from: usize,
    to: usize,
) -> (
    MutexGuard<'static, Queue>,
    Option<MutexGuard<'static, Queue>>,
) {
    let (a, b) = (table::index(from), table::index(to));
    match a.cmp(&b) {
        std::cmp::Ordering::Equal => (table::bucket(a).lock(), None),
        std::cmp::Ordering::Less => {
            let source = table::bucket(a).lock();
            (source, Some(table::bucket(b).lock()))
        }
        std::cmp::Ordering::Greater => {
            let target = table::bucket(b).lock();
            (table::bucket(a).lock(), Some(target))
        }
    }
}
