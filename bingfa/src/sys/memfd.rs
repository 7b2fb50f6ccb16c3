//! Memory files: `memfd_create(2)`, their mappings, and files under an advisory lock.
//!
//! # Invariants
//! 1. A shared mapping made here is never unmapped by this file; who unmaps knows that nobody
//!    points into it.
//! 2. A page is touched only after [`commit`] of it has succeeded: a file that cannot grow is
//!    an error of a call then, and not a SIGBUS.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use super::errno;

/// Flag of `open(2)`: a symbolic link is an error.
pub(crate) const NOFOLLOW: i32 = libc::O_NOFOLLOW;
/// Flag of `open(2)`: a file in that directory that has no name yet.
pub(crate) const WITHOUT_A_NAME: i32 = libc::O_TMPFILE;

/// A new memory file, empty, close-on-exec, that nobody can shrink.
pub(crate) fn create(name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a string; the new descriptor is ours.
    let file = unsafe {
        let fd = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) })?;
    Ok(file)
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the range memory, growing the file if need be. What was there stays.
///
/// # Errors
/// If there is no more memory.
pub(crate) fn commit(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    allocate(file, 0, offset, len)
}

/// Takes the memory of the range back; it reads as zeroes. The file keeps its size.
pub(crate) fn discard(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    allocate(file, mode, offset, len)
}

fn allocate(file: BorrowedFd<'_>, mode: i32, offset: u64, len: u64) -> io::Result<()> {
    let out_of_range = |_| io::Error::from(io::ErrorKind::OutOfMemory);
    let offset = libc::off_t::try_from(offset).map_err(out_of_range)?;
    let len = libc::off_t::try_from(len).map_err(out_of_range)?;
    loop {
        // SAFETY: takes no pointers.
        if unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, len) } == 0 {
            return Ok(());
        }
        if errno::last() != errno::EINTR {
            return Err(io::Error::last_os_error());
        }
    }
}

/// Gives a file that was opened [`WITHOUT_A_NAME`] its name.
///
/// # Errors
/// `AlreadyExists`, or what the kernel says.
pub(crate) fn give_name(file: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let own = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both are strings.
    check(unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            own.as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    })
}

/// Maps the range, readable and writable, for as long as the process lives or until [`unmap`].
/// It need not be there yet.
pub(crate) fn map(file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<NonNull<u8>> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: a new mapping, placed by the kernel.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_NORESERVE,
            file.as_raw_fd(),
            offset,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(start.cast()).expect("the kernel never maps at null"))
}

/// The user whose files this process makes (`geteuid(2)`).
pub(crate) fn effective_user() -> u32 {
    // SAFETY: takes nothing, and always succeeds.
    unsafe { libc::geteuid() }
}

/// Takes a mapping away.
///
/// # Safety
/// It was made by [`map`] with this length, and nobody points into it any more.
pub(crate) unsafe fn unmap(start: NonNull<u8>, len: usize) {
    // SAFETY: by the caller's contract.
    unsafe { libc::munmap(start.as_ptr().cast(), len) };
}
