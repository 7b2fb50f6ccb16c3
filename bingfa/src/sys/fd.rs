//! Raw reads and writes of any descriptor.
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

/// Whether it is `O_NONBLOCK`.
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: takes no pointers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
}

/// Has the descriptor closed when the process becomes a new image.
#[cfg(feature = "process")]
pub(crate) fn set_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let done = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether there is a descriptor of this number.
#[cfg(feature = "process")]
pub(crate) fn is_open(number: std::os::fd::RawFd) -> bool {
    // SAFETY: takes no pointers; of a number that is not open it says so.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// A second descriptor of what `number` is, close-on-exec; an error if it is not open.
#[cfg(feature = "process")]
pub(crate) fn duplicate(number: std::os::fd::RawFd) -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: takes no pointers; the result is new and ours.
    unsafe {
        match libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(std::os::fd::FromRawFd::from_raw_fd(fd)),
        }
    }
}

/// One read that does not wait; `WouldBlock` if it would have to.
pub(crate) fn read_now(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let part = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: by invariant 1 the kernel stays inside `buf`.
    let n = unsafe { libc::preadv2(fd.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) };
    match usize::try_from(n) {
        Ok(n) => Ok(n),
        // A kernel whose pipes do not know the flag: ask first. (The caller is the one reader.)
        Err(_) if super::errno::last() == libc::EOPNOTSUPP => {
            if super::socket::poll(fd.as_raw_fd(), super::socket::POLLIN, 0) == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            read(fd, buf)
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// `write(2)`: blocks the thread unless the descriptor is ready or non-blocking.
pub(crate) fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: `buf` is valid for reads of its length.
    let n = unsafe { libc::write(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len()) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// One write that does not wait; `WouldBlock` if it would have to.
pub(crate) fn write_now(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    let part = libc::iovec {
        iov_base: buf.as_ptr().cast_mut().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: `buf` is valid for reads of its length.
    let n = unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) };
    match usize::try_from(n) {
        Ok(n) => Ok(n),
        // As in `read_now`. A pipe that is writable has room for this much.
        Err(_) if super::errno::last() == libc::EOPNOTSUPP => {
            if super::socket::poll(fd.as_raw_fd(), super::socket::POLLOUT, 0) == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            write(fd, &buf[..buf.len().min(libc::PIPE_BUF)])
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}
