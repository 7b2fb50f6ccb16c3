//! Twin of [`std::os::unix`]: Unix-domain sockets, and what files have only here.

pub mod fs;
pub mod net;

/// Twin of [`std::os::unix::thread`]: what the operating system calls a thread.
pub mod thread {
    pub use std::os::unix::thread::{JoinHandleExt, RawPthread};
}

/// Twin of [`std::os::unix::io`]: descriptors, owned and borrowed.
pub mod io {
    pub use crate::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
}
