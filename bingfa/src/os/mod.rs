//! Twin of [`std::os`]: what only this operating system has.

pub mod linux;
pub mod unix;

/// Twin of [`std::os::fd`]: descriptors, owned and borrowed.
pub mod fd {
    pub use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
}
