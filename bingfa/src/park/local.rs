//! The current carrier of this thread: which coroutine runs here, if any.
//!
//! Plain cells without destructors, so that reading them is one instruction.
//! Coroutines are pinned, so an address of this thread-local stays right across
//! every suspension.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::panic::Location;
use std::ptr::NonNull;

use super::cancel::Interrupts;
use super::frame::Frame;
use super::home::Home;
use super::thread;

struct Local {
    frame: Cell<*const Frame>,
    home: Cell<*const Home>,
    /// The plain thread's id in the registry; 0 until somebody asks.
    thread_id: Cell<u64>,
    /// For code on the plain thread.
    interrupts: Interrupts,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            frame: Cell::new(std::ptr::null()),
            home: Cell::new(std::ptr::null()),
            thread_id: Cell::new(0),
            interrupts: Interrupts::new(),
        }
    };
}

/// The control block of the running coroutine; `None` on a plain thread.
///
/// The reference must not outlive the calling frame: callers use it inside one
/// blocking call, which runs on that very coroutine.
#[inline(always)]
pub(crate) fn frame<'a>() -> Option<&'a Frame> {
    let frame = LOCAL.with(|local| local.frame.get());
    // SAFETY: set by `resume` for as long as that coroutine runs, and only code of
    // the running coroutine can ask.
    NonNull::new(frame.cast_mut()).map(|frame| unsafe { frame.as_ref() })
}

#[inline(always)]
pub(super) fn set_frame(frame: *const Frame) {
    LOCAL.with(|local| local.frame.set(frame));
}

/// The worker's own code runs again: no coroutine is current.
#[inline(always)]
pub(crate) fn leave() {
    set_frame(std::ptr::null());
}

/// The id of the calling thread or coroutine, as the registry shows it.
#[inline(always)]
#[track_caller]
pub(crate) fn carrier_id() -> u64 {
    let here = Location::caller();
    LOCAL.with(|local| {
        // SAFETY: as in `frame`.
        match unsafe { local.frame.get().as_ref() } {
            Some(frame) => frame.id.get(),
            None if local.thread_id.get() != 0 => local.thread_id.get(),
            None => first_id(local, here),
        }
    })
}

#[cold]
fn first_id(local: &Local, here: &'static Location<'static>) -> u64 {
    let id = thread::current_at(here).entry.id.get();
    local.thread_id.set(id);
    local.thread_id.get()
}

#[inline(always)]
pub(super) fn home_ptr() -> *const Home {
    LOCAL.with(|local| local.home.get())
}

/// The home of the worker on this thread.
#[inline(always)]
pub(crate) fn home() -> Option<&'static Home> {
    // SAFETY: homes are never freed.
    NonNull::new(home_ptr().cast_mut()).map(|home| unsafe { home.as_ref() })
}

/// A worker begins (or ends) on this thread; gives back what was there before.
pub(crate) fn set_home(home: Option<&'static Home>) -> Option<&'static Home> {
    let before = self::home();
    LOCAL.with(|local| {
        local
            .home
            .set(home.map_or(std::ptr::null(), std::ptr::from_ref))
    });
    before
}

/// Cancels and timeouts of the calling carrier.
#[inline(always)]
pub(crate) fn interrupts<R>(f: impl FnOnce(&Interrupts) -> R) -> R {
    match frame() {
        Some(frame) => f(&frame.interrupts),
        None => LOCAL.with(|local| f(&local.interrupts)),
    }
}
