//! Transfers on descriptors that `poll(2)` can wait for and that stay blocking: pipes,
//! terminals and what else is read as it comes. A wait suspends a coroutine and blocks a
//! thread.

use std::io;
use std::os::fd::BorrowedFd;

use super::op::{self, Wait};
use crate::park::wait::yield_if_slice_over;
use crate::sys::{fd, socket};

/// Reads what is there, waiting until there is something.
#[track_caller]
pub(crate) fn read(from: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    if op::kernel_may_block() {
        return fd::read(from, buf);
    }
    yield_if_slice_over();
    loop {
        match fd::read_now(from, buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                op::wait_for(from, None, socket::POLLIN, Wait::Forever)?;
            }
            done => return done,
        }
    }
}

/// Writes what there is room for, waiting until there is some.
#[track_caller]
pub(crate) fn write(to: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    if op::kernel_may_block() {
        return fd::write(to, buf);
    }
    yield_if_slice_over();
    loop {
        match fd::write_now(to, buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                op::wait_for(to, None, socket::POLLOUT, Wait::Forever)?;
            }
            done => return done,
        }
    }
}
