//! A result on its way from whoever makes it to the one who waits for it.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::time::Instant;

use super::cancel;
use super::completion::{Completed, Completion};
use super::wait::{Outcome, Unparker, wait, yield_if_slice_over};

/// A one-shot slot with one reader; shared through an `Arc`.
#[derive(Debug)]
pub(crate) struct Packet<T> {
    pub(crate) completion: Completion<Unparker>,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: `value` is handed over by the completion's protocol: written before
// `complete`, read after `is_done`, by one reader.
unsafe impl<T: Send> Sync for Packet<T> {}

impl<T> Packet<T> {
    pub(crate) fn new() -> Self {
        Self {
            completion: Completion::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// Delivers the value and wakes the reader. At most once.
    pub(crate) fn deliver(&self, value: T) {
        // SAFETY: not done yet, so the slot is the writer's (completion, invariant 1).
        unsafe { *self.value.get() = Some(value) };
        if let Completed::Wake(waiter) = self.completion.complete() {
            waiter.unpark();
        }
    }

    /// Takes the value; `None` if there is none yet or it was taken before. Only by the
    /// one reader.
    pub(crate) fn take(&self) -> Option<T> {
        if !self.completion.is_done() {
            return None;
        }
        // SAFETY: done, so the slot is the reader's (completion, invariant 1).
        unsafe { (*self.value.get()).take() }
    }
}

/// Waits until `completion` is done; false at the deadline. A cancel unwinds.
#[track_caller]
pub(crate) fn wait_done(
    completion: &Completion<Unparker>,
    what: &'static &'static str,
    deadline: Option<Instant>,
) -> bool {
    yield_if_slice_over();
    if completion.is_done() {
        return true;
    }
    if !completion.watch(Unparker::current()) {
        return true;
    }
    loop {
        let outcome = wait(what, deadline);
        if completion.is_done() {
            return true;
        }
        match outcome {
            Outcome::Woken => {}
            Outcome::TimedOut => return !completion.unwatch(),
            Outcome::Interrupted => {
                if !completion.unwatch() {
                    return true;
                }
                cancel::raise();
                // Not raised after all: wait on.
                if !completion.watch(Unparker::current()) {
                    return true;
                }
            }
        }
    }
}
