//! Standard input and output of children: what they are, and this end of their pipes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use crate::io::pipe::{Pipe, is_a_pipe_end};

/// What a child's standard input, output or error is; twin of [`std::process::Stdio`].
#[derive(Debug)]
pub struct Stdio(pub(super) Kind);

#[derive(Debug)]
pub(super) enum Kind {
    Inherit,
    Null,
    Piped,
    Given(OwnedFd),
}

impl Stdio {
    /// A new pipe, whose other end the handle has.
    #[must_use]
    #[doc(alias = "PIPE")]
    pub fn piped() -> Stdio {
        Stdio(Kind::Piped)
    }

    /// The same as this process's.
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio(Kind::Inherit)
    }

    /// Nothing to read, and what is written is lost.
    #[must_use]
    #[doc(alias = "DEVNULL")]
    pub fn null() -> Stdio {
        Stdio(Kind::Null)
    }
}

impl From<Stdio> for std::process::Stdio {
    fn from(stdio: Stdio) -> Self {
        match stdio.0 {
            Kind::Inherit => Self::inherit(),
            Kind::Null => Self::null(),
            Kind::Piped => Self::piped(),
            Kind::Given(fd) => fd.into(),
        }
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Stdio {
        Stdio(Kind::Given(fd))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        OwnedFd::from(file).into()
    }
}

impl From<io::PipeReader> for Stdio {
    fn from(pipe: io::PipeReader) -> Stdio {
        OwnedFd::from(pipe).into()
    }
}

impl From<crate::io::PipeReader> for Stdio {
    fn from(pipe: crate::io::PipeReader) -> Stdio {
        OwnedFd::from(pipe).into()
    }
}

impl From<crate::io::PipeWriter> for Stdio {
    fn from(pipe: crate::io::PipeWriter) -> Stdio {
        OwnedFd::from(pipe).into()
    }
}

impl From<io::PipeWriter> for Stdio {
    fn from(pipe: io::PipeWriter) -> Stdio {
        OwnedFd::from(pipe).into()
    }
}

/// One of the three pipe ends, which differ in their name and direction only.
macro_rules! pipe_end {
    ($name:ident, $std:ty, $what:literal) => {
        #[doc = concat!("This end of ", $what, "; twin of [`", stringify!($std), "`].")]
        ///
        /// A coroutine that waits for it gives its worker back meanwhile.
        pub struct $name(Pipe);

        is_a_pipe_end!($name, $std);

        impl From<$name> for Stdio {
            fn from(end: $name) -> Stdio {
                OwnedFd::from(end).into()
            }
        }
    };
}

pipe_end!(
    ChildStdin,
    std::process::ChildStdin,
    "a child's standard input"
);
pipe_end!(
    ChildStdout,
    std::process::ChildStdout,
    "a child's standard output"
);
pipe_end!(
    ChildStderr,
    std::process::ChildStderr,
    "a child's standard error"
);

impl Write for &ChildStdin {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for ChildStdin {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for ChildStdout {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Read for ChildStderr {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}
