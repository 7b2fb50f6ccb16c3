//! Whom to wake: a coroutine without counting a reference, where nobody needs one.
//!
//! # Invariants
//! 1. `Borrowed` points to the header of a coroutine that cannot end: its node is linked (it
//!    waits), or it lives on this very thread, which has not switched since the node was
//!    unlinked.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::node::Hold;
use crate::park::local;
use crate::park::task::{Header, TaskRef};
use crate::park::wait::Unparker;

pub(crate) enum Waiter {
    Owned(Unparker),
    /// The caller, as long as it waits.
    Borrowed(NonNull<Header>),
}

// SAFETY: the header may be used from any thread, as a `TaskRef` may, while it lives; where a
// borrowed one is woken, invariant 1 says.
unsafe impl Send for Waiter {}

impl Waiter {
    /// The calling thread or coroutine, for a node on its own frame.
    #[track_caller]
    #[inline]
    pub(super) fn current() -> Self {
        match local::frame() {
            Some(frame) => Waiter::Borrowed(NonNull::from(frame.task())),
            None => Waiter::Owned(Unparker::current()),
        }
    }

    #[inline]
    pub(super) fn wake(self) {
        match self {
            Waiter::Owned(unparker) => unparker.unpark(),
            // SAFETY: invariant 1: it has not run since.
            Waiter::Borrowed(header) => unsafe { borrow(header) }.unpark(),
        }
    }
}

/// The task of a header, without a reference of its own.
///
/// # Safety
/// The task outlives the result.
#[inline(always)]
unsafe fn borrow(header: NonNull<Header>) -> ManuallyDrop<TaskRef> {
    // SAFETY: never dropped, so the reference that it does not own is not given back.
    ManuallyDrop::new(unsafe { TaskRef::from_raw(header) })
}

impl Hold for Waiter {
    #[inline]
    fn hold(self) -> Self {
        match self {
            // SAFETY: invariant 1: it still waits.
            Waiter::Borrowed(header)
                if !unsafe { header.as_ref() }
                    .home()
                    .is_some_and(|home| home.is_here()) =>
            {
                self.own()
            }
            here => here,
        }
    }

    fn own(self) -> Self {
        match self {
            Waiter::Borrowed(header) => {
                // SAFETY: invariant 1: it still waits.
                let task = unsafe { borrow(header) };
                Waiter::Owned(Unparker::Coroutine(TaskRef::clone(&task)))
            }
            owned => owned,
        }
    }
}
