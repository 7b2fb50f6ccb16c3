//! How a coroutine waits for an I/O operation.

#![allow(unsafe_code)]

use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

use super::worker::Worker;
use crate::park::cancel::{self, sooner};
use crate::park::frame::{Frame, Request};
use crate::park::wait::{arm, yield_now};
use crate::reactor::{Block, Op, OpKind, READY};
use crate::sys::errno;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpEnd {
    /// What the system call returned: a value of 0 or more, or a negated `errno`.
    Done(i32),
    /// The deadline passed first; nothing was transferred.
    TimedOut,
}

/// Runs `op` for the calling coroutine: returns its result, or unwinds if the coroutine
/// is cancelled while it waits.
///
/// However the wait ends, the kernel has finished with the operation's buffers by then.
#[inline]
pub(crate) fn run(
    worker: &Worker,
    frame: &Frame,
    op: &mut Op,
    deadline: Option<Instant>,
    what: &'static &'static str,
    at: &'static Location<'static>,
) -> OpEnd {
    if worker.home.take_slice_over() {
        yield_now();
    }
    op.owner = std::ptr::from_ref(frame).cast();
    op.tries_again = true;
    if let Some(result) = attempt(worker, frame, op) {
        if worker.count_streak() {
            yield_now();
        }
        return OpEnd::Done(result);
    }
    frame.about_to_suspend();
    // A destructor that runs because its coroutine unwinds may wait, but not for long.
    let until = sooner(deadline, cancel::grace());
    cancel::observe(frame);
    loop {
        cancel::raise();
        if until.is_some_and(|at| at <= Instant::now()) {
            return given_up(op, deadline);
        }
        op.result.set(None);
        frame.timed_out.set(false);
        let timer = until.map(|until| arm(frame, until));
        frame.live.waits(what, at);
        let op_ptr = NonNull::from(&mut *op);
        frame.op.set(op_ptr.as_ptr().cast_const().cast());
        // SAFETY: we do not leave this frame before the result is there, and the
        // worker resumes us only then; see the loop below. No driver suspends.
        unsafe { frame.on_worker_stack(|| worker.submit(op_ptr)) };
        let result = loop {
            frame.suspend(Request::Wait);
            // SAFETY: `op` is ours again once completed; read through the pointer that
            // the driver was given.
            if let Some(result) = unsafe { op_ptr.as_ref() }.result.get() {
                break result;
            }
        };
        if let Some(key) = timer
            && !frame.timed_out.get()
        {
            worker.home.timers(|timers| timers.disarm(key));
        }
        if result == READY {
            if let Some(result) = attempt(worker, frame, op) {
                return OpEnd::Done(result);
            }
            continue;
        }
        if result != -errno::ECANCELED {
            return OpEnd::Done(result);
        }
        // Cancelled before it did anything. Which of the reasons was it?
        if frame.timed_out.get() {
            return given_up(op, deadline);
        }
        // A cancel of the coroutine: `raise` above unwinds, unless a shield went up or a
        // neighbour unwinds; then the operation simply starts again.
    }
}

/// Tries `op` without waiting.
#[inline(always)]
fn attempt(worker: &Worker, frame: &Frame, op: &Op) -> Option<i32> {
    // SAFETY: we run on the coroutine of `frame`, and no driver suspends.
    unsafe { frame.on_worker_stack(|| worker.attempt(op)) }
}

/// Runs `op`, on a file, for the calling coroutine: neither a cancel nor a timeout cuts it
/// short once it has begun. Returns what the system call returned.
pub(crate) fn complete(
    worker: &Worker,
    frame: &Frame,
    op: &mut Op,
    what: &'static &'static str,
    at: &'static Location<'static>,
) -> i32 {
    debug_assert!(matches!(op.kind, OpKind::File(_)) && worker.does_files());
    if worker.home.take_slice_over() {
        yield_now();
    }
    frame.about_to_suspend();
    cancel::checkpoint();
    op.owner = std::ptr::from_ref(frame).cast();
    frame.live.waits(what, at);
    let op = NonNull::from(op);
    // SAFETY: we do not leave this frame before the result is there. `frame.op` is not
    // set, so nobody cancels it.
    unsafe { worker.submit(op) };
    loop {
        frame.suspend(Request::Wait);
        // SAFETY: `op` is ours again once completed; read through the pointer that the
        // driver was given.
        if let Some(result) = unsafe { op.as_ref() }.result.get() {
            return result;
        }
    }
}

/// The time is over.
#[cold]
fn given_up(op: &Op, deadline: Option<Instant>) -> OpEnd {
    // A worker that was held up may have seen the time before the data.
    // SAFETY: `run`'s caller keeps the pointers valid, and the operation is not in flight.
    let result = unsafe { op.kind.call(op.fd, Block::No) };
    if result != -errno::EAGAIN {
        return OpEnd::Done(result);
    }
    cancel::raise();
    match deadline {
        Some(at) if at <= Instant::now() => OpEnd::TimedOut,
        _ => OpEnd::Done(-errno::ECANCELED), // the grace of a destructor is over
    }
}
