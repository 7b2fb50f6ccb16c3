//! One end of a pipe: its waits suspend a coroutine and block a thread.
//!
//! The descriptor stays blocking, as the process at the other end, or one that is given this
//! end, expects it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::polled;

/// An end of a pipe.
#[derive(Debug)]
pub(crate) struct Pipe(OwnedFd);

impl Pipe {
    #[track_caller]
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        polled::read(self.as_fd(), buf)
    }

    #[track_caller]
    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        polled::write(self.as_fd(), buf)
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Pipe {
    fn from(fd: OwnedFd) -> Pipe {
        Pipe(fd)
    }
}

impl From<Pipe> for OwnedFd {
    fn from(pipe: Pipe) -> OwnedFd {
        pipe.0
    }
}

/// Waits until `fd` is readable, on any carrier.
#[cfg(feature = "process")]
#[track_caller]
pub(crate) fn wait_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    super::op::wait_for(
        fd,
        None,
        crate::sys::socket::POLLIN,
        super::op::Wait::Forever,
    )?;
    Ok(())
}
