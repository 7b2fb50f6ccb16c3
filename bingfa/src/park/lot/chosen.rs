//! Waiters taken out of their queue under the lock: first served, then woken without it.
//!
//! # Invariants
//! Those of the [room](super).

#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::waiter::{Waiter, hand_out};
use crate::park::wait::Unparker;

/// How many waiters are woken at a time, outside of the bucket's lock.
pub(super) const BATCH: usize = 16;

/// Waiters taken out of their queue under the lock: first served, then woken without it.
pub(super) struct Chosen {
    few: [Option<Picked>; BATCH],
    rest: Vec<Picked>,
    pub(super) len: usize,
}

enum Picked {
    Waiter(NonNull<Waiter>, usize),
    Served(Option<Unparker>),
}

impl Chosen {
    pub(super) fn new() -> Self {
        Self {
            few: [const { None }; BATCH],
            rest: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn add(&mut self, waiter: NonNull<Waiter>, token: usize) {
        let picked = Picked::Waiter(waiter, token);
        match self.few.get_mut(self.len) {
            Some(place) => *place = Some(picked),
            None => self.rest.push(picked),
        }
        self.len += 1;
    }

    /// # Safety
    /// The bucket is still locked, and what was added has left its queue.
    pub(super) unsafe fn serve(&mut self) {
        let few = self.few.iter_mut().map_while(Option::as_mut);
        for picked in few.chain(&mut self.rest) {
            if let Picked::Waiter(waiter, token) = *picked {
                // SAFETY: the caller's duty.
                *picked = Picked::Served(unsafe { hand_out(waiter, token) });
            }
        }
    }

    pub(super) fn wake(self) -> usize {
        for picked in self.few.into_iter().map_while(|few| few).chain(self.rest) {
            if let Picked::Served(Some(unparker)) = picked {
                unparker.wake();
            }
        }
        self.len
    }
}
