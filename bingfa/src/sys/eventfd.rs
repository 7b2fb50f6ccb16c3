//! Event counters (`eventfd(2)`), the fallback way to wake a sleeping worker.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A new counter, at zero, that never blocks.
pub(crate) fn create() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds one, which is an event for everyone who polls the counter.
pub(crate) fn signal(counter: BorrowedFd<'_>) {
    let one = 1u64;
    loop {
        // SAFETY: `one` is eight readable bytes.
        let written = unsafe {
            libc::write(
                counter.as_raw_fd(),
                (&raw const one).cast(),
                size_of::<u64>(),
            )
        };
        if written >= 0 {
            return;
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => {}
            // 2^64 - 2 signals that nobody has read: any value will do.
            Some(libc::EAGAIN) => drain(counter),
            other => panic!("the event counter of a worker cannot be written: errno {other:?}"),
        }
    }
}

/// Sets the counter to zero.
pub(crate) fn drain(counter: BorrowedFd<'_>) {
    let mut value = 0u64;
    // SAFETY: `value` is eight writable bytes. A counter that is zero already
    // gives EAGAIN, which is as good.
    unsafe {
        libc::read(
            counter.as_raw_fd(),
            (&raw mut value).cast(),
            size_of::<u64>(),
        );
    }
}
