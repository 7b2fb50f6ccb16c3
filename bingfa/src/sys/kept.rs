//! A descriptor that is kept for long, and known again: a program may close all that it finds open
//! (`close_range(2)`), and what it opens next has the same numbers.
//!
//! What is known is the inode. Those of `eventfd(2)`, `epoll(7)` and their like have one in common,
//! so they are taken for one another; files, sockets and pipes never are. And a thread that closes
//! and opens between the look and the use is not seen.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::fstat;

/// What has it, what it leads to, and what for, in words.
#[derive(Debug)]
pub(crate) struct Kept<F = OwnedFd> {
    owner: F,
    device: u64,
    inode: u64,
    what: &'static str,
}

impl<F: AsFd> Kept<F> {
    /// # Errors
    /// If it is not open.
    pub(crate) fn new(owner: F, what: &'static str) -> io::Result<Kept<F>> {
        let stat = fstat(&owner)?;
        Ok(Kept {
            owner,
            device: stat.st_dev,
            inode: stat.st_ino,
            what,
        })
    }

    /// # Errors
    /// If the program has closed it, by its number.
    #[inline]
    pub(crate) fn get(&self) -> io::Result<&F> {
        match fstat(&self.owner) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == (self.device, self.inode) => Ok(&self.owner),
            _ => Err(self.closed()),
        }
    }

    /// The same, to have for good.
    ///
    /// # Errors
    /// As for [`get`](Self::get). Then the number is somebody else's, and stays open.
    pub(crate) fn into_inner(self) -> io::Result<F> {
        if let Err(error) = self.get() {
            std::mem::forget(self.owner);
            return Err(error);
        }
        Ok(self.owner)
    }

    #[cold]
    fn closed(&self) -> io::Error {
        io::Error::other(format!(
            "bingfa: this process has closed descriptor {}, {}",
            self.owner.as_fd().as_raw_fd(),
            self.what
        ))
    }
}
