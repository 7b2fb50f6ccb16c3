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

/// Makes a type around a [`Pipe`] a descriptor, that can become std's twin and be made of it:
/// implementations of foreign traits for several types, which only a macro writes once.
macro_rules! is_a_pipe_end {
    ($name:ident, $std:ty) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name))
                    .field(&self.as_raw_fd())
                    .finish()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_fd().as_raw_fd()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self.0).into_raw_fd()
            }
        }

        impl From<OwnedFd> for $name {
            fn from(fd: OwnedFd) -> Self {
                $name(fd.into())
            }
        }

        impl From<$name> for OwnedFd {
            fn from(end: $name) -> OwnedFd {
                end.0.into()
            }
        }

        impl From<$std> for $name {
            fn from(end: $std) -> Self {
                OwnedFd::from(end).into()
            }
        }
    };
}
pub(crate) use is_a_pipe_end;
