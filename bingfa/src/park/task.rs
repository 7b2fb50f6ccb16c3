//! What others can reach of a coroutine: a small counted header outside its stack.
//!
//! # Invariants
//! 1. A [`TaskRef`] owns one reference of the record; the last one to go frees the task,
//!    on whatever thread that is. By then its closure and its
//!    result are gone (the completion protocol), or may be dropped anywhere.
//! 2. `home` is null until the coroutine starts, then its worker's for ever;
//!    `frame` points to its control block from start to end, and only its worker's
//!    thread follows it.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicBool, AtomicPtr as StdAtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};

use super::atomic::AtomicPtr;
use super::frame::Frame;
use super::home::Home;
use super::inbox::Linked;
use super::word::Word;
use crate::registry::Entry;
use crate::registry::cells::Record;

/// What depends on the types of the closure and its result.
#[derive(Debug)]
pub(crate) struct Vtable {
    /// Runs the closure to its end and completes the task. Called on the coroutine.
    pub(crate) run: unsafe fn(NonNull<Header>),
    /// Completes a task that never ran as cancelled and drops its closure.
    pub(crate) discard: unsafe fn(NonNull<Header>, Discard),
}

/// Why a task never ran.
#[derive(Debug)]
pub(crate) enum Discard {
    /// It was cancelled first, or its runtime was shut down.
    Cancelled,
    /// No stack could be had.
    NoStack(std::io::Error),
}

/// The part of a task that does not depend on its types. Lives in a cell of the registry.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    /// First, as in every cell.
    pub(crate) record: Record,
    pub(crate) word: Word,
    /// The token of `coroutine::park`, never used by other waits.
    pub(crate) user_token: AtomicBool,
    pub(crate) priority: u8,
    pub(crate) stack_class: u8,
    pub(crate) vtable: &'static Vtable,
    home: StdAtomicPtr<Home>,
    frame: StdAtomicPtr<Frame>,
    next: AtomicPtr<Header>,
}

// At most two cache lines: a parked coroutine is to cost little beside its stack page.
#[cfg(not(loom))]
const _: () = assert!(size_of::<Header>() <= 128);

// SAFETY: `next` is used by the inbox alone.
unsafe impl Linked for Header {
    fn next(&self) -> &AtomicPtr<Self> {
        &self.next
    }
}

impl Header {
    /// Makes the header of a task in a cell that was just taken, with two references: the
    /// scheduler's and the handle's.
    ///
    /// # Safety
    /// The cell is the caller's, and what belongs to the task beside the header has been
    /// written; `free` drops all of it and gives the cell back.
    #[inline]
    pub(crate) unsafe fn init(
        header: NonNull<Header>,
        vtable: &'static Vtable,
        free: unsafe fn(NonNull<Record>),
        entry: Entry,
        priority: u8,
        stack_class: u8,
    ) {
        let this = header.as_ptr();
        // SAFETY: the cell is the caller's; snapshots look at the record only, which comes
        // into being with the last line.
        unsafe {
            (&raw mut (*this).word).write(Word::new());
            (&raw mut (*this).user_token).write(AtomicBool::new(false));
            (&raw mut (*this).priority).write(priority);
            (&raw mut (*this).stack_class).write(stack_class);
            (&raw mut (*this).vtable).write(vtable);
            (&raw mut (*this).home).write(StdAtomicPtr::new(std::ptr::null_mut()));
            (&raw mut (*this).frame).write(StdAtomicPtr::new(std::ptr::null_mut()));
            (&raw mut (*this).next).write(AtomicPtr::new(std::ptr::null_mut()));
            Record::init(header.cast(), 2, free, entry);
        }
    }

    /// Who it is.
    #[inline]
    pub(crate) fn entry(&self) -> &Entry {
        &self.record.entry
    }

    /// Where it lives, once it has started.
    #[inline(always)]
    pub(crate) fn home(&self) -> Option<&'static Home> {
        // SAFETY: homes are never freed.
        NonNull::new(self.home.load(Acquire)).map(|home| unsafe { home.as_ref() })
    }

    /// Its control block; to be followed only on its worker's thread.
    #[inline(always)]
    pub(crate) fn frame(&self) -> Option<NonNull<Frame>> {
        NonNull::new(self.frame.load(Relaxed)) // only its own thread reads what it wrote
    }

    /// The coroutine is about to run for the first time; false if it was cancelled before.
    pub(crate) fn start(&self, home: &'static Home, frame: NonNull<Frame>) -> bool {
        self.frame.store(frame.as_ptr(), Relaxed);
        self.home.store((&raw const *home).cast_mut(), Release);
        self.word.start()
    }
}

/// A counted reference to a task.
#[derive(Debug)]
pub(crate) struct TaskRef(NonNull<Header>);

// SAFETY: the header is made of atomics and constants; `frame` is followed only on
// the coroutine's own thread (invariant 2), closure and result only by the protocol
// of their owner (invariant 1).
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// Takes over one reference.
    ///
    /// # Safety
    /// The caller gives up a reference that it owns.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Self(header)
    }

    /// Gives the reference up without dropping it.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> NonNull<Header> {
        self.0
    }

    /// Leaves a token and, if the coroutine is parked, gets it resumed.
    #[inline]
    pub(crate) fn unpark(&self) {
        if let (Some(home), Some(frame)) = (self.home(), self.frame())
            && home.is_here()
        {
            if self.word.notify_local() {
                home.make_ready(frame);
            }
        } else if self.word.notify() {
            self.send_home();
        }
    }

    /// As [`unpark`](Self::unpark), without need of the reference any longer.
    #[inline]
    pub(crate) fn wake(self) {
        if let Some(home) = self.home()
            && !home.is_here()
        {
            if self.word.notify() {
                // SAFETY: as in `send_home`; our reference goes with the node.
                unsafe { home.post(self.into_raw()) };
            }
        } else {
            self.unpark();
        }
    }

    /// Asks the coroutine to end; see `coroutine::JoinHandle::cancel`.
    pub(crate) fn cancel(&self) {
        if self.word.cancel() {
            self.send_home();
        }
    }

    fn send_home(&self) {
        let home = self.home().expect("only a started coroutine can be parked");
        // SAFETY: the wake word's QUEUED bit, which the caller has just set, keeps
        // everybody else from pushing; the clone's reference goes with the node.
        unsafe { home.post(self.clone().into_raw()) };
    }
}

impl Clone for TaskRef {
    #[inline]
    fn clone(&self) -> Self {
        self.record.add_ref();
        Self(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we own a reference and do not use it any more.
        unsafe { Record::drop_ref(self.0.cast()) };
    }
}

impl Deref for TaskRef {
    type Target = Header;

    #[inline(always)]
    fn deref(&self) -> &Header {
        // SAFETY: we own a reference, so the header is alive.
        unsafe { self.0.as_ref() }
    }
}
