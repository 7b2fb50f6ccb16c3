//! Workers, run-queue policies, stealing, the watchdog and the blocking pool.
//!
//! A coroutine that has not started is a closure in a queue that any worker may
//! steal from; once started it stays on its worker. Its worker resumes it when it
//! is on the run queue, and puts it there when it yields, when somebody unparks it
//! (through the inbox, or directly on the same thread), when its I/O completes or
//! when a deadline passes.

#![allow(unsafe_code)]

pub(crate) mod blocking;
pub(crate) mod entry;
pub(crate) mod exit;
pub(crate) mod guest;
pub(crate) mod info;
pub(crate) mod op;
pub(crate) mod queue;
pub(crate) mod runtime;
pub(crate) mod shells;
pub(crate) mod spawn;
mod watchdog;
pub(crate) mod worker;

use std::os::fd::RawFd;
use std::ptr::NonNull;

use crate::park::frame::Frame;
use crate::park::task::{Discard, TaskRef};

/// The control block behind a frame pointer of this worker.
#[inline(always)]
fn alive(frame: &NonNull<Frame>) -> &Frame {
    // SAFETY: a worker holds pointers only to frames that it made and has not
    // destroyed (worker, invariant 2), and uses them on its own thread.
    unsafe { frame.as_ref() }
}

fn priority_of(frame: &Frame) -> u8 {
    frame.task().priority
}

/// A descriptor that coroutines may be waiting for is being closed: their waits end with
/// `EBADF`, on whatever worker they are.
pub(crate) fn closed(fd: RawFd, epoch: u64) {
    watchdog::for_each_home(|home| home.post_closed(fd, epoch));
}

/// Ends a task that will never run.
pub(crate) fn discard(task: TaskRef, why: Discard) {
    task.word.finish();
    // SAFETY: it has not run, and whoever holds the scheduler's reference (us) is the
    // only one who may run or discard it.
    unsafe { (task.vtable.discard)(task.as_ptr(), why) };
}
