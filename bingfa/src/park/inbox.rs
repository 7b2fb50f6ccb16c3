//! The inbox of a worker: many push, one takes all.
//!
//! A Treiber stack linked through the nodes themselves: a push is one
//! compare-and-swap and never allocates; the owner swaps the whole chain out
//! and reverses it, so that it reads in arrival order. Taking everything at once
//! leaves no ABA case.
//!
//! # Invariants
//! 1. A node is in at most one inbox, at most once (the caller's duty; for
//!    coroutines the wake word's `QUEUED` bit).
//! 2. A pushed node stays valid until it has been taken out (the caller hands a
//!    reference over with it).
//!
//! # Memory ordering
//! The `Release` half of the pushing exchange pairs with the `Acquire` half of the
//! swap in `drain`: the link and all that the pusher wrote are visible to the owner.

#![allow(unsafe_code)]

use super::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::ptr::NonNull;

/// A node that an [`Inbox`] can link.
///
/// # Safety
/// `next` always gives the same field of the node, which nothing else uses
/// between a push and the end of the drain that took it.
pub(crate) unsafe trait Linked: Sized {
    fn next(&self) -> &AtomicPtr<Self>;
}

#[derive(Debug)]
pub(crate) struct Inbox<N> {
    head: AtomicPtr<N>,
}

impl<N: Linked> Inbox<N> {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Adds `node`; true if the inbox was empty, so that its owner may be asleep.
    ///
    /// # Safety
    /// Invariants 1 and 2 hold for `node`.
    pub(crate) unsafe fn push(&self, node: NonNull<N>) -> bool {
        // SAFETY: the caller keeps the node valid until it is taken out (invariant 2).
        let next = unsafe { node.as_ref() }.next();
        let mut head = self.head.load(Relaxed);
        loop {
            // Published by the exchange below.
            next.store(head, Relaxed);
            match self
                .head
                .compare_exchange_weak(head, node.as_ptr(), Release, Relaxed)
            {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    /// True if nothing waits here. May be out of date at once, except for the
    /// owner's own earlier pushes.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Acquire).is_null()
    }

    /// Takes all nodes and gives them to `each` in arrival order. Owner only.
    #[inline]
    pub(crate) fn drain(&self, mut each: impl FnMut(NonNull<N>)) {
        if self.head.load(Relaxed).is_null() {
            return;
        }
        let mut newest = self.head.swap(std::ptr::null_mut(), AcqRel);
        let mut oldest = std::ptr::null_mut();
        while let Some(node) = NonNull::new(newest) {
            // SAFETY: taken out by the swap and not yet given away, so valid (invariant 2).
            let next = unsafe { node.as_ref() }.next();
            newest = next.load(Relaxed);
            next.store(oldest, Relaxed);
            oldest = node.as_ptr();
        }
        while let Some(node) = NonNull::new(oldest) {
            // SAFETY: as above; read before `each`, which may free the node.
            oldest = unsafe { node.as_ref() }.next().load(Relaxed);
            each(node);
        }
    }
}
