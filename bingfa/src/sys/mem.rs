//! Memory from the kernel: mappings, guard pages, residency.
//!
//! Addresses are plain numbers here, because their users (the stack switch, the
//! fault handler) deal in numbers. The provenance of every mapping is exposed when it
//! is made.
//!
//! # Invariants
//! 1. A [`Mapping`] owns its whole range: nothing else in the process maps or unmaps
//!    any of it before the `Mapping` is dropped.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::{io, ptr};

/// Size of a page on x86-64.
pub(crate) const PAGE: usize = 4096;

// Linux 6.13; libc has no name for it yet.
const MADV_GUARD_INSTALL: c_int = 102;
// "This process" in place of a pidfd; Linux 6.14, also without a name in libc.
const PIDFD_SELF: c_int = -10_001;
/// How many slots [`prepare_slots`] does at a time: of 256 KiB each, a page table's worth.
pub(crate) const SLOTS_AT_ONCE: usize = 8;

/// A private, zero-filled, lazily committed range of memory, unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: usize,
    len: usize,
}

impl Mapping {
    /// Reserves `len` bytes (a multiple of [`PAGE`]), readable and writable, in pages of 4 KiB.
    ///
    /// Not excluded from core dumps: a dump without the stack that crashed is of no use.
    pub(crate) fn reserve(len: usize) -> io::Result<Mapping> {
        debug_assert!(len.is_multiple_of(PAGE));
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = Mapping {
            start: start.expose_provenance(),
            len,
        };
        // With huge pages one touched byte could commit 2 MiB. A kernel built without
        // huge pages answers EINVAL, and then there is nothing to switch off.
        // SAFETY: the range is this mapping's, and the advice does not change its contents.
        unsafe { libc::madvise(start, len, libc::MADV_NOHUGEPAGE) };
        Ok(mapping)
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours (invariant 1). Who holds pointers into it must have
        // ended before; that is what their own `unsafe` promises.
        unsafe { libc::munmap(ptr::with_exposed_provenance_mut(self.start), self.len) };
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes every access to the range fault, without splitting the mapping (Linux 6.13).
/// Survives [`discard`] and `fork`.
///
/// # Safety
/// The range is page-aligned and the caller's alone; what it held is lost.
pub(crate) unsafe fn install_guard(addr: usize, len: usize) -> io::Result<()> {
    // SAFETY: the caller gives up the contents of a range that is its own.
    check(unsafe {
        libc::madvise(
            ptr::with_exposed_provenance_mut(addr),
            len,
            MADV_GUARD_INSTALL,
        )
    })
}

/// Installs a guard of `guard` bytes at the start of each of `count` slots (at most
/// [`SLOTS_AT_ONCE`]) and commits the page at its end, in two calls of process_madvise(2).
/// One slot after the other, with a page fault each, takes a quarter more time.
///
/// # Errors
/// Whatever the kernel says, `EBADF` before Linux 6.14: some may have been done, and all can
/// be done again.
///
/// # Safety
/// The slots of `size` bytes from `start` on are page-aligned and the caller's alone; what
/// the guards' pages held is lost.
pub(crate) unsafe fn prepare_slots(
    start: usize,
    size: usize,
    guard: usize,
    count: usize,
) -> io::Result<()> {
    let advise = |offset: usize, len: usize, advice: c_int| {
        let ranges: [libc::iovec; SLOTS_AT_ONCE] = std::array::from_fn(|slot| libc::iovec {
            iov_base: ptr::with_exposed_provenance_mut(start + slot * size + offset),
            iov_len: len,
        });
        let ranges = &ranges[..count];
        // SAFETY: the ranges lie in the caller's slots, which it lets us change so.
        let done = unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                PIDFD_SELF,
                ranges.as_ptr(),
                ranges.len(),
                advice,
                0,
            )
        };
        match usize::try_from(done) {
            Ok(done) if done == count * len => Ok(()),
            Ok(_) => Err(io::ErrorKind::Interrupted.into()),
            Err(_) => Err(io::Error::last_os_error()),
        }
    };
    advise(0, guard, MADV_GUARD_INSTALL)?;
    advise(size - PAGE, PAGE, libc::MADV_POPULATE_WRITE)
}

/// Makes every access to the range fault, at the price of two more mappings.
///
/// # Safety
/// The range is page-aligned and the caller's alone.
pub(crate) unsafe fn protect_none(addr: usize, len: usize) -> io::Result<()> {
    // SAFETY: the caller gives up access to a range that is its own.
    check(unsafe { libc::mprotect(ptr::with_exposed_provenance_mut(addr), len, libc::PROT_NONE) })
}

/// Gives the memory behind the range back to the kernel; it reads as zeroes afterwards.
///
/// # Safety
/// The range is page-aligned, the caller's alone and part of a [`Mapping`].
pub(crate) unsafe fn discard(addr: usize, len: usize) -> io::Result<()> {
    // SAFETY: the caller gives up the contents of a range that is its own.
    check(unsafe {
        libc::madvise(
            ptr::with_exposed_provenance_mut(addr),
            len,
            libc::MADV_DONTNEED,
        )
    })
}

/// The address of the lowest page in the page-aligned range that occupies memory, if any does.
///
/// A page that was swapped out counts as not resident.
pub(crate) fn lowest_resident(addr: usize, len: usize) -> io::Result<Option<usize>> {
    const CHUNK: usize = 256;
    let mut flags = [0u8; CHUNK];
    let mut at = addr;
    while at < addr + len {
        let pages = ((addr + len - at) / PAGE).min(CHUNK);
        // SAFETY: mincore only asks about the range and writes one byte per page to `flags`,
        // which has room for CHUNK of them.
        check(unsafe {
            libc::mincore(
                ptr::with_exposed_provenance_mut(at),
                pages * PAGE,
                flags.as_mut_ptr(),
            )
        })?;
        if let Some(page) = flags[..pages].iter().position(|flag| flag & 1 == 1) {
            return Ok(Some(at + page * PAGE));
        }
        at += pages * PAGE;
    }
    Ok(None)
}

/// Whether the eight bytes at `addr` can be read. Never faults: the kernel tries.
pub(crate) fn is_readable(addr: usize) -> bool {
    const NO_SUCH_HOW: c_int = -1;
    // The kernel copies the signal set before it looks at `how`, so that an unreadable
    // address gives EFAULT and a readable one EINVAL; the signal mask never changes.
    // SAFETY: the kernel checks the pointer itself, and writes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, NO_SUCH_HOW, addr, 0usize, 8usize) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(addr: usize) {
        // SAFETY: the tests touch only their own mappings, outside of guards.
        unsafe { ptr::with_exposed_provenance_mut::<u8>(addr).write_volatile(1) }
    }

    #[test]
    fn a_reserved_range_is_empty_until_it_is_touched() {
        let mapping = Mapping::reserve(1024 * PAGE).unwrap();
        let (start, len) = (mapping.start(), mapping.len());
        assert_eq!(lowest_resident(start, len).unwrap(), None);
        touch(start + 700 * PAGE);
        touch(start + 900 * PAGE + 5);
        assert_eq!(
            lowest_resident(start, len).unwrap(),
            Some(start + 700 * PAGE)
        );
        // SAFETY: the mapping is this test's, and nobody holds a pointer into it.
        unsafe { discard(start, len) }.unwrap();
        assert_eq!(lowest_resident(start, len).unwrap(), None);
    }

    #[test]
    fn a_protected_page_is_unreadable_and_its_neighbours_are_not() {
        let mapping = Mapping::reserve(3 * PAGE).unwrap();
        let start = mapping.start();
        // SAFETY: the mapping is this test's, and nobody holds a pointer into it.
        unsafe { protect_none(start + PAGE, PAGE) }.unwrap();
        assert!(is_readable(start));
        assert!(!is_readable(start + PAGE));
        assert!(is_readable(start + 2 * PAGE));
    }

    #[test]
    fn an_impossible_reservation_is_an_error() {
        let error = Mapping::reserve(1 << 60).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
