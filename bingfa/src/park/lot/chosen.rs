//! Waiters taken out of their queue under the lock: first served, then woken without it.
//!
//! # Invariants
//! Those of the [room](super).

#![allow(unsafe_code)]

use std::ptr::NonNull;

use smallvec::SmallVec;

use super::waiter::{Waiter, hand_out, inner};
use crate::park::wait::Unparker;
use crate::sys::cache::fetch_lines;

/// How many waiters are woken at a time, outside of the bucket's lock.
pub(super) const BATCH: usize = 16;

/// Waiters taken out of their queue under the lock: first served, then woken without it.
///
/// Used where it stands: moving it would cost more than waking one.
pub(super) struct Chosen {
    waiters: SmallVec<[(NonNull<Waiter>, usize); BATCH]>,
    served: usize,
    /// Of those who were served, who is still to be woken.
    unparkers: SmallVec<[Unparker; BATCH]>,
}

impl Chosen {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            waiters: SmallVec::new(),
            served: 0,
            unparkers: SmallVec::new(),
        }
    }

    /// # Safety
    /// The bucket is locked, and the waiter has just left its queue.
    #[inline]
    pub(super) unsafe fn add(&mut self, waiter: NonNull<Waiter>, token: usize) {
        // SAFETY: the caller's duty.
        unsafe {
            inner(waiter.as_ptr(), |this| {
                fetch_lines(this.ahead.cast(), 3);
                if let Some(who) = &this.who {
                    who.fetch();
                }
            });
        }
        self.waiters.push((waiter, token));
    }

    /// How many were added and not served yet.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// # Safety
    /// The bucket is still locked, and what was added has left its queue.
    #[inline]
    pub(super) unsafe fn serve(&mut self) {
        // SAFETY: the caller's duty.
        unsafe {
            if self.waiters.len() > 1 {
                for &(waiter, _) in &self.waiters {
                    inner(waiter.as_ptr(), |this| {
                        this.who.as_ref().map(|who| who.fetch_more())
                    });
                }
            }
            self.served += self.waiters.len();
            for (waiter, token) in self.waiters.drain(..) {
                self.unparkers.extend(hand_out(waiter, token));
            }
        }
    }

    /// Gives back how many were served.
    #[inline]
    pub(super) fn wake(&mut self) -> usize {
        self.unparkers.drain(..).for_each(Unparker::wake);
        self.served
    }
}
