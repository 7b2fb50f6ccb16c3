//! Transfers to and from stored files, which no readiness announces: what is in memory is
//! transferred at once, and for the rest a coroutine waits without holding its worker,
//! through its ring or a thread of the blocking pool.
//!
//! An operation that has begun completes, so a cancel or a timeout acts before it or at
//! the next wait.
//!
//! Only calls that name their place go to the ring. There a transfer at the file's own
//! position reads that position without the kernel's lock on it, so two that are under
//! way at once would write over each other; `read(2)` and `write(2)` take turns.
//!
//! # Invariants
//! 1. [`on_ring`] returns only when the kernel has finished with the pointers of its
//!    operation, so borrowed buffers may be lent to it.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::ptr;

use crate::park::local;
use crate::park::wait::yield_if_slice_over;
use crate::reactor::{FileOp, Op, OpKind};
use crate::sched::{op as sched_op, worker};
use crate::sys::errno;
use crate::sys::file::{Place, read_now, write_now};

pub(crate) use crate::sched::blocking::complete;

/// What is longer is not copied on the worker, which has others to serve.
const LONGEST_COPY: usize = 1 << 20;

/// Reads at the file's own position.
#[track_caller]
pub(crate) fn read(mut file: &File, buf: &mut [u8]) -> io::Result<usize> {
    if buf.len() <= LONGEST_COPY
        && let Some(n) = read_now(file.as_fd(), buf, Place::Cursor)
    {
        yield_if_slice_over();
        return Ok(n);
    }
    complete(&"read", || file.read(buf))
}

/// Writes at the file's own position, or at its end if it was opened to append.
#[track_caller]
pub(crate) fn write(mut file: &File, buf: &[u8]) -> io::Result<usize> {
    if buf.len() <= LONGEST_COPY
        && let Some(n) = write_now(file.as_fd(), buf, Place::Cursor)
    {
        yield_if_slice_over();
        return Ok(n);
    }
    complete(&"write", || file.write(buf))
}

/// Reads at `offset`.
#[track_caller]
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    if buf.len() <= LONGEST_COPY
        && let Some(n) = read_now(file.as_fd(), buf, Place::At(offset))
    {
        yield_if_slice_over();
        return Ok(n);
    }
    let op = FileOp::ReadAt {
        buf: buf.as_mut_ptr(),
        len: buf.len(),
        offset,
    };
    // SAFETY: `buf` is borrowed for the call.
    match unsafe { on_ring(file, op, &"read") } {
        Some(done) => done,
        None => complete(&"read", || file.read_at(buf, offset)),
    }
}

/// Writes at `offset`, or at the end if the file was opened to append.
#[track_caller]
pub(crate) fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    if buf.len() <= LONGEST_COPY
        && let Some(n) = write_now(file.as_fd(), buf, Place::At(offset))
    {
        yield_if_slice_over();
        return Ok(n);
    }
    let op = FileOp::WriteAt {
        buf: buf.as_ptr(),
        len: buf.len(),
        offset,
    };
    // SAFETY: `buf` is borrowed for the call.
    match unsafe { on_ring(file, op, &"write") } {
        Some(done) => done,
        None => complete(&"write", || file.write_at(buf, offset)),
    }
}

/// Waits until the file is on its device: all of it, or what is needed to read its data.
#[track_caller]
pub(crate) fn sync(file: &File, data_only: bool) -> io::Result<()> {
    loop {
        // SAFETY: `Sync` has no pointers.
        let done = match unsafe { on_ring(file, FileOp::Sync { data_only }, &"sync") } {
            Some(done) => done.map(|_| ()),
            None if data_only => complete(&"sync", || file.sync_data()),
            None => complete(&"sync", || file.sync_all()),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Has the calling coroutine's ring do `op`. `None` if the caller has none, or the call has
/// to be made in another way: a ring would not wait if the file is `O_NONBLOCK`, which for
/// stored files means nothing.
///
/// # Safety
/// The pointers in `op` are valid, for what its system call does with them, until this
/// function returns or unwinds.
#[track_caller]
unsafe fn on_ring(
    file: &File,
    op: FileOp,
    what: &'static &'static str,
) -> Option<io::Result<usize>> {
    if let FileOp::ReadAt { offset, .. } | FileOp::WriteAt { offset, .. } = op
        && offset > i64::MAX as u64
    {
        return None; // an error; and to a ring, the largest means the file's own position
    }
    let frame = local::frame()?;
    let worker = worker::current().filter(|worker| worker.does_files())?;
    let mut op = Op::new(OpKind::File(op), file.as_raw_fd(), None, ptr::null());
    // The pointers are valid until the operation is done, by the caller's contract, and
    // `complete` returns only then (invariant 1).
    let result = sched_op::complete(worker, frame, &mut op, what, Location::caller());
    if result == -errno::EAGAIN {
        return None;
    }
    Some(usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)))
}
