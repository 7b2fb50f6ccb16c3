//! Twin of [`std::io::Stdin`]: a coroutine that waits for a line never holds its worker.
//!
//! All handles share one buffer, which the carrier that reads has to itself
//! ([`Turns`]); the others are parked until it is their turn.

use std::fmt;
use std::io::{self, BufRead, IsTerminal as _, Read};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::line_buffer::LineBuffer;
use super::op::{self, Wait};
use super::turns::Turns;
use crate::sys;

static INPUT: Turns<LineBuffer<Input>> = Turns::new(LineBuffer::new(Input));

/// A handle to the standard input of this process.
///
/// The twin of [`std::io::Stdin`], made by [`stdin()`]. Its buffer is not that of
/// `std::io::stdin()`: a program should read by one or the other.
pub struct Stdin {
    std: io::Stdin,
}

/// The standard input, locked: nobody else reads until this is dropped.
///
/// The twin of [`std::io::StdinLock`], made by [`Stdin::lock`]. A carrier that waits for
/// input, or holds this across any other wait, does not hold its thread.
#[must_use = "if unused stdin will immediately unlock"]
pub struct StdinLock<'a> {
    std: io::Stdin,
    /// Always here, except while dropping.
    buffer: Option<LineBuffer<Input>>,
    handle: PhantomData<&'a Stdin>,
}

/// Makes a handle to the standard input of this process.
///
/// # Examples
/// ```no_run
/// let mut name = String::new();
/// bingfa::io::stdin().read_line(&mut name)?;
/// println!("hello, {}", name.trim_end());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn stdin() -> Stdin {
    Stdin { std: io::stdin() }
}

impl Stdin {
    /// Locks the standard input and gives access to its buffer.
    ///
    /// Waits while another has it locked; the lock goes round in order of arrival.
    ///
    /// # Cancellation
    /// A cancelled waiter leaves the queue; if it was its turn, the next one gets it.
    ///
    /// # Examples
    /// ```no_run
    /// use bingfa::io::BufRead;
    ///
    /// let mut header = String::new();
    /// let mut input = bingfa::io::stdin().lock();
    /// input.read_line(&mut header)?; // nobody can take the next line
    /// for line in input.lines() {
    ///     println!("{}", line?);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn lock(&self) -> StdinLock<'static> {
        StdinLock {
            std: io::stdin(),
            buffer: Some(INPUT.take()),
            handle: PhantomData,
        }
    }

    /// Locks the standard input and appends one line, with its newline, to `buf`.
    ///
    /// Returns how many bytes were read; 0 is the end of the input. When several call
    /// this at once, each gets a whole line.
    ///
    /// # Errors
    /// Those of `read(2)`; [`InvalidData`](io::ErrorKind::InvalidData) for a line that is
    /// not UTF-8.
    ///
    /// # Cancellation
    /// A cancelled reader leaves a partial line to the next one.
    ///
    /// # Examples
    /// ```no_run
    /// let mut line = String::new();
    /// while bingfa::io::stdin().read_line(&mut line)? > 0 {
    ///     print!("{}", line.to_uppercase());
    ///     line.clear();
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// Locks the standard input and iterates over its lines.
    ///
    /// The lock is held until the iterator is dropped.
    ///
    /// # Examples
    /// ```no_run
    /// for line in bingfa::io::stdin().lines() {
    ///     println!("got {}", line?);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "`self` will be dropped if the result is not used"]
    #[track_caller]
    pub fn lines(self) -> io::Lines<StdinLock<'static>> {
        self.lock().lines()
    }

    /// Whether the standard input is a terminal, as
    /// [`IsTerminal`](std::io::IsTerminal) says for std's types.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.std.is_terminal()
    }
}

impl StdinLock<'_> {
    /// Whether the standard input is a terminal, as
    /// [`IsTerminal`](std::io::IsTerminal) says for std's types.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.std.is_terminal()
    }

    fn buffer(&mut self) -> &mut LineBuffer<Input> {
        self.buffer.as_mut().expect("is only taken by drop")
    }
}

impl Drop for StdinLock<'_> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            INPUT.give(buffer);
        }
    }
}

/// Descriptor 0, unbuffered.
#[derive(Debug)]
struct Input;

impl Read for Input {
    /// One read, after waiting for it where the kernel must not block.
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let std = io::stdin();
        let fd = std.as_fd();
        // A regular file is always ready, but epoll refuses to watch it: hence first
        // `seen_now`.
        if !op::kernel_may_block() && op::seen_now(fd, libc::POLLIN)? == 0 {
            op::wait_for(fd, None, libc::POLLIN, Wait::Forever)?;
        }
        match sys::fd::read(fd, buf) {
            // A process without standard input reads nothing, as in std.
            Err(e) if e.raw_os_error() == Some(libc::EBADF) => Ok(0),
            read => read,
        }
    }
}

impl Read for StdinLock<'_> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let unread = self.buffer().fill()?;
        let n = unread.len().min(buf.len());
        buf[..n].copy_from_slice(&unread[..n]);
        self.buffer().consume(n);
        Ok(n)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        let n = self.buffer().through_end()?;
        self.buffer().move_text(n, buf)
    }
}

impl BufRead for StdinLock<'_> {
    #[track_caller]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.buffer().fill()
    }

    fn consume(&mut self, n: usize) {
        self.buffer().consume(n);
    }

    #[track_caller]
    fn read_until(&mut self, delimiter: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        let n = self.buffer().through(delimiter)?;
        buf.extend_from_slice(&self.buffer().unread()[..n]);
        self.buffer().consume(n);
        Ok(n)
    }

    #[track_caller]
    fn read_line(&mut self, buf: &mut String) -> io::Result<usize> {
        let n = self.buffer().through(b'\n')?;
        self.buffer().move_text(n, buf)
    }
}

impl Read for Stdin {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }

    #[track_caller]
    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        (&*self).read_exact(buf)
    }
}

// Each call holds the lock until it is done, so that nobody reads in between.
impl Read for &Stdin {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().read_to_end(buf)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_to_string(buf)
    }

    #[track_caller]
    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.lock().read_exact(buf)
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}

impl AsRawFd for Stdin {
    fn as_raw_fd(&self) -> RawFd {
        self.std.as_raw_fd()
    }
}

impl AsFd for StdinLock<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}

impl AsRawFd for StdinLock<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.std.as_raw_fd()
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdin").finish_non_exhaustive()
    }
}

impl fmt::Debug for StdinLock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdinLock").finish_non_exhaustive()
    }
}
