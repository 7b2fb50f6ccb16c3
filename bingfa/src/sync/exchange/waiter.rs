//! Whom to wake, in one word: it is moved about under the lock. A coroutine that waits needs
//! no reference of its own to be woken by a neighbour on its thread, and most are.
//!
//! # Invariants
//! 1. The word is a pointer with a tag in its two lowest bits, which its alignment leaves free.
//!    [`BORROWED`] points to the header of a coroutine; the others own what they point to.
//! 2. A borrowed coroutine cannot end: its node is linked (it waits), or it lives on this very
//!    thread, which has not switched since the node was unlinked.

#![allow(unsafe_code)]

use std::mem::{self, ManuallyDrop};
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;

use super::node::Hold;
use crate::park::local;
use crate::park::task::{Header, TaskRef};
use crate::park::thread::ThreadRecord;
use crate::park::wait::Unparker;

const BORROWED: usize = 0;
/// A reference to a coroutine's header.
const COROUTINE: usize = 1;
/// A reference to a thread's record.
const THREAD: usize = 2;
/// A box with the waker of an async task.
const ASYNC: usize = 3;
const TAGS: usize = 3;

const _: () = assert!(
    align_of::<Header>() > TAGS && align_of::<ThreadRecord>() > TAGS && align_of::<Waker>() > TAGS
);

pub(crate) struct Waiter(NonZeroUsize);

/// What a word owns.
enum Owned {
    Coroutine(TaskRef),
    Thread(Arc<ThreadRecord>),
    Async(Box<Waker>),
}

impl Waiter {
    fn new<T>(pointer: *const T, tag: usize) -> Self {
        let word = pointer.expose_provenance() | tag;
        Self(NonZeroUsize::new(word).expect("no pointer to a live thing is null"))
    }

    /// The calling thread or coroutine, for a node on its own frame.
    #[track_caller]
    #[inline(always)]
    pub(super) fn current() -> Self {
        match local::frame() {
            Some(frame) => Self::new(frame.task(), BORROWED),
            None => Unparker::current().into(),
        }
    }

    #[inline(always)]
    fn borrowed(&self) -> Option<NonNull<Header>> {
        let word = self.0.get();
        if word & TAGS == BORROWED {
            NonNull::new(std::ptr::with_exposed_provenance_mut(word))
        } else {
            None
        }
    }

    /// # Safety
    /// The word owns something, and is not used any more.
    unsafe fn owned(&self) -> Owned {
        let word = self.0.get();
        let address = word & !TAGS;
        // SAFETY: each was made from such a pointer (invariant 1), whose ownership passes on.
        unsafe {
            match word & TAGS {
                COROUTINE => {
                    let header = std::ptr::with_exposed_provenance_mut(address);
                    Owned::Coroutine(TaskRef::from_raw(NonNull::new_unchecked(header)))
                }
                THREAD => Owned::Thread(Arc::from_raw(std::ptr::with_exposed_provenance(address))),
                _ => Owned::Async(Box::from_raw(std::ptr::with_exposed_provenance_mut(
                    address,
                ))),
            }
        }
    }

    /// To be called at once where [`Hold::hold`] gave it.
    #[inline(always)]
    pub(super) fn wake(self) {
        match self.borrowed() {
            // SAFETY: invariant 2: it has not run since.
            Some(header) => unsafe { borrow(header) }.unpark(),
            None => self.wake_owned(),
        }
    }

    fn wake_owned(self) {
        let this = ManuallyDrop::new(self);
        // SAFETY: the caller has looked; never dropped, so not used any more.
        match unsafe { this.owned() } {
            Owned::Thread(record) => record.unpark(),
            Owned::Coroutine(task) => task.unpark(),
            Owned::Async(waker) => waker.wake(),
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

impl From<Unparker> for Waiter {
    fn from(unparker: Unparker) -> Self {
        match unparker {
            Unparker::Thread(record) => Self::new(Arc::into_raw(record), THREAD),
            Unparker::Coroutine(task) => Self::new(task.into_raw().as_ptr(), COROUTINE),
            Unparker::Async(waker) => Self::new(Box::into_raw(Box::new(waker)), ASYNC),
        }
    }
}

impl Drop for Waiter {
    #[inline(always)]
    fn drop(&mut self) {
        if self.borrowed().is_none() {
            // SAFETY: not borrowed, and being dropped.
            mem::drop(unsafe { self.owned() });
        }
    }
}

impl Hold for Waiter {
    #[inline(always)]
    fn hold(self) -> Self {
        match self.borrowed() {
            Some(header) if !is_here(header) => self.own(),
            _ => self,
        }
    }

    fn own(self) -> Self {
        match self.borrowed() {
            Some(header) => {
                // SAFETY: invariant 2: it still waits.
                let task = unsafe { borrow(header) };
                Unparker::Coroutine(TaskRef::clone(&task)).into()
            }
            None => self,
        }
    }
}

/// Whether the coroutine, which waits, lives on this thread.
#[inline(always)]
fn is_here(header: NonNull<Header>) -> bool {
    // SAFETY: invariant 2.
    let home = unsafe { header.as_ref() }.home();
    home.is_some_and(|home| home.is_here())
}
