//! Twin of [`std::os::unix`]: Unix-domain sockets.

pub mod net;

/// Twin of [`std::os::unix::io`]: descriptors, owned and borrowed.
pub mod io {
    pub use crate::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
}
