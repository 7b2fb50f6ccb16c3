//! Raw reads from any descriptor.
//!
//! # Invariants
//! 1. A `&mut [u8]` is valid for writes of its length, and the kernel writes no more.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `read(2)`: blocks the thread unless the descriptor is ready or non-blocking.
pub(crate) fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: by invariant 1 the kernel stays inside `buf`.
    let n = unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}
