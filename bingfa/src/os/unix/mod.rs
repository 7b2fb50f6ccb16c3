//! Twin of [`std::os::unix`]: Unix-domain sockets, and what files have only here.

pub mod fs;
pub mod net;

/// Twin of [`std::os::unix::io`]: descriptors, owned and borrowed.
pub mod io {
    pub use crate::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
}
