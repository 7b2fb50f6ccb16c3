//! Twin of [`std::io::pipe`]: its ends, whose waits suspend a coroutine and block a thread.

#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::pipe::{Pipe, is_a_pipe_end};

/// Makes a pipe: bytes that go in at one end come out at the other; twin of [`std::io::pipe`].
///
/// A read waits until there is something, and gives 0 when all writers are gone and nothing is
/// left. A write waits for room, and is the error `BrokenPipe` when all readers are gone.
///
/// # Errors
/// The operating system's, if there are no more descriptors.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
/// use bingfa::io::{self, Read, Write};
///
/// let (mut reader, mut writer) = io::pipe()?;
/// let sender = coroutine::spawn(move || writer.write_all(b"hello"));
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// sender.join().unwrap()?;
/// # Ok::<(), io::Error>(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = std::io::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// The end of a [`pipe()`] to read from; twin of [`std::io::PipeReader`].
///
/// # Cancellation
/// Who is cancelled while it waits has taken nothing.
pub struct PipeReader(Pipe);

/// The end of a [`pipe()`] to write to; twin of [`std::io::PipeWriter`].
///
/// # Cancellation
/// Who is cancelled while it waits in one `write` has written nothing; a `write_all` may have
/// written a part.
pub struct PipeWriter(Pipe);

is_a_pipe_end!(PipeReader, std::io::PipeReader);
is_a_pipe_end!(PipeWriter, std::io::PipeWriter);

/// What these two have beside that.
macro_rules! an_end {
    ($name:ident) => {
        impl $name {
            /// A second handle of the same end.
            ///
            /// # Errors
            /// The operating system's, if there are no more descriptors.
            pub fn try_clone(&self) -> io::Result<Self> {
                Ok(self.as_fd().try_clone_to_owned()?.into())
            }
        }

        impl FromRawFd for $name {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the caller hands over an open descriptor that it owns.
                unsafe { OwnedFd::from_raw_fd(fd) }.into()
            }
        }

        impl From<$name> for std::io::$name {
            fn from(end: $name) -> Self {
                OwnedFd::from(end).into()
            }
        }

        impl From<$name> for std::process::Stdio {
            fn from(end: $name) -> Self {
                OwnedFd::from(end).into()
            }
        }
    };
}

an_end!(PipeReader);
an_end!(PipeWriter);

impl Read for &PipeReader {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Read for PipeReader {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for &PipeWriter {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for PipeWriter {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
