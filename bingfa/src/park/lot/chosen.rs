//! Waiters taken out of their queue under the lock: first served, then woken without it.
//!
//! # Invariants
//! Those of the [room](super).

#![allow(unsafe_code)]

use std::ptr::NonNull;

use smallvec::SmallVec;

use super::waiter::{Waiter, hand_out};
use crate::park::wait::Unparker;

/// How many waiters are woken at a time, outside of the bucket's lock.
pub(super) const BATCH: usize = 16;

/// Waiters taken out of their queue under the lock: first served, then woken without it.
///
/// Used where it stands: moving it would cost more than waking one.
pub(super) struct Chosen {
    waiters: SmallVec<[(NonNull<Waiter>, usize); BATCH]>,
    /// Of those who were served, who is still to be woken.
    unparkers: SmallVec<[Unparker; BATCH]>,
}

impl Chosen {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            waiters: SmallVec::new(),
            unparkers: SmallVec::new(),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, waiter: NonNull<Waiter>, token: usize) {
        self.waiters.push((waiter, token));
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// # Safety
    /// The bucket is still locked, and what was added has left its queue.
    #[inline]
    pub(super) unsafe fn serve(&mut self) {
        for &(waiter, token) in &self.waiters {
            // SAFETY: the caller's duty.
            self.unparkers.extend(unsafe { hand_out(waiter, token) });
        }
    }

    /// Gives back how many were served.
    #[inline]
    pub(super) fn wake(&mut self) -> usize {
        self.unparkers.drain(..).for_each(Unparker::wake);
        self.len()
    }
}
