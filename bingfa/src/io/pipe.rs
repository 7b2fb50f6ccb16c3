//! One end of a pipe: its waits suspend a coroutine and block a thread.
//!
//! The descriptor stays blocking, as the process at the other end, or one that is given this
//! end, expects it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::op::{self, Wait};
use crate::park::wait::yield_if_slice_over;
use crate::sys::{fd, socket};

/// An end of a pipe.
#[derive(Debug)]
pub(crate) struct Pipe(OwnedFd);

impl Pipe {
    #[track_caller]
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if op::kernel_may_block() {
            return fd::read(self.as_fd(), buf);
        }
        yield_if_slice_over();
        loop {
            match fd::read_now(self.as_fd(), buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    op::wait_for(self.as_fd(), None, socket::POLLIN, Wait::Forever)?;
                }
                done => return done,
            }
        }
    }

    #[track_caller]
    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        if op::kernel_may_block() {
            return fd::write(self.as_fd(), buf);
        }
        yield_if_slice_over();
        loop {
            match fd::write_now(self.as_fd(), buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    op::wait_for(self.as_fd(), None, socket::POLLOUT, Wait::Forever)?;
                }
                done => return done,
            }
        }
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
#[track_caller]
pub(crate) fn wait_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    op::wait_for(fd, None, socket::POLLIN, Wait::Forever)?;
    Ok(())
}
