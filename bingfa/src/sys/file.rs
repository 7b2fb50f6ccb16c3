//! Transfers to and from files that do only what can be done at once.
//!
//! # Invariants
//! 1. A slice is valid for its length, and the kernel stays inside it.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

/// Where a transfer begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// At the file's own position, which moves on.
    Cursor,
    /// So many bytes behind the start.
    At(u64),
}

impl Place {
    /// As system calls take it: -1 is the cursor. (No file reaches as far as an offset that
    /// would be negative; `None` for those.)
    fn offset(self) -> Option<i64> {
        match self {
            Place::Cursor => Some(-1),
            Place::At(offset) => i64::try_from(offset).ok(),
        }
    }
}

/// Reads what is in memory. `None`: nothing was done, and whoever wants to know why makes
/// the call that waits.
///
/// The end of the file is `None` as well: Linux 5.9 and 5.10 report it where the data are
/// merely not in memory.
pub(crate) fn read_now(fd: BorrowedFd<'_>, buf: &mut [u8], place: Place) -> Option<usize> {
    let part = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let (fd, offset) = (fd.as_raw_fd(), place.offset()?);
    // SAFETY: by invariant 1.
    let n = unsafe { libc::preadv2(fd, &raw const part, 1, offset, libc::RWF_NOWAIT) };
    usize::try_from(n).ok().filter(|n| *n > 0)
}

/// Writes what memory has room for. `None`: as for [`read_now`].
pub(crate) fn write_now(fd: BorrowedFd<'_>, buf: &[u8], place: Place) -> Option<usize> {
    let part = libc::iovec {
        iov_base: buf.as_ptr().cast_mut().cast(),
        iov_len: buf.len(),
    };
    let (fd, offset) = (fd.as_raw_fd(), place.offset()?);
    // SAFETY: by invariant 1.
    let n = unsafe { libc::pwritev2(fd, &raw const part, 1, offset, libc::RWF_NOWAIT) };
    usize::try_from(n).ok().filter(|n| *n > 0)
}
