//! The end of a carrier, as its one joiner sees it.
//!
//! The result itself lies beside this word; the word decides who may touch it.
//! There is one handle, so at most one waiter at a time.
//!
//! # Invariants
//! 1. The result is written by the completer before `DONE` is set, and read or
//!    dropped afterwards by exactly one: the handle, or, if `DETACHED` was set
//!    first, the completer.
//! 2. The waiter slot belongs to the handle while `WAITER` is clear, and to the
//!    completer from the moment it sets `DONE` and finds `WAITER` set.
//!
//! # Memory ordering
//! `complete` is `AcqRel`: its release half publishes the result to the
//! `Acquire` of `is_done`, `watch` and `detach`; its acquire half sees the waiter
//! that `watch` published with `AcqRel`.

#![allow(unsafe_code)]

use super::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire},
    UnsafeCell,
};

const DONE: u32 = 1;
const WAITER: u32 = 1 << 1;
const DETACHED: u32 = 1 << 2;

/// What the completer has to do next.
#[derive(Debug)]
pub(crate) enum Completed<W> {
    /// Nobody waits yet; the handle will find the result.
    Unwatched,
    /// Wake this waiter.
    Wake(W),
    /// The handle is gone: drop the result.
    Detached,
}

#[derive(Debug)]
pub(crate) struct Completion<W> {
    state: AtomicU32,
    waiter: UnsafeCell<Option<W>>,
}

// SAFETY: the slot is handed between threads by the protocol of invariant 2 alone.
unsafe impl<W: Send> Send for Completion<W> {}
// SAFETY: as above.
unsafe impl<W: Send> Sync for Completion<W> {}

impl<W> Completion<W> {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            waiter: UnsafeCell::new(None),
        }
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Acquire) & DONE != 0
    }

    /// The result has been written.
    pub(crate) fn complete(&self) -> Completed<W> {
        let before = self.state.fetch_or(DONE, AcqRel);
        if before & DETACHED != 0 {
            Completed::Detached
        } else if before & WAITER != 0 {
            // SAFETY: `WAITER` was set when `DONE` was, so the slot is ours (invariant 2).
            let waiter = self.waiter.with_mut(|slot| unsafe { (*slot).take() });
            Completed::Wake(waiter.expect("WAITER is set only with a waiter in the slot"))
        } else {
            Completed::Unwatched
        }
    }

    /// The handle registers `waiter`, in place of an earlier one; false: already done.
    pub(crate) fn watch(&self, waiter: W) -> bool {
        if !self.unwatch() {
            return false;
        }
        // SAFETY: `WAITER` is clear and only the handle sets it (invariant 2).
        self.waiter.with_mut(|slot| unsafe { *slot = Some(waiter) });
        self.state.fetch_or(WAITER, AcqRel) & DONE == 0
    }

    /// The handle withdraws its waiter; false: already done.
    pub(crate) fn unwatch(&self) -> bool {
        self.state.fetch_and(!WAITER, AcqRel) & DONE == 0
    }

    /// The handle goes away; true: the result is there and the caller must drop it.
    pub(crate) fn detach(&self) -> bool {
        self.state.fetch_or(DETACHED, AcqRel) & DONE != 0
    }
}
