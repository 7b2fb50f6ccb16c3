//! Waiting for descriptors that are not sockets of ours.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::op::{self, Wait};
use crate::park::wait;

/// Waits until a read from `fd` would not block.
///
/// For descriptors that others made: a pipe, an eventfd, a device, the connection inside
/// a C library. It is ready as well when the next read reports the end or an error, and a
/// regular file is always ready. Suspends only the caller: a coroutine gives its thread
/// back to the scheduler, a plain thread sleeps in the kernel.
///
/// "Ready" is an observation, not a claim: when several read from `fd`, another may
/// take what was there. Only a non-blocking read is then sure not to wait.
///
/// # Errors
/// [`TimedOut`](io::ErrorKind::TimedOut) if `deadline` passes first.
///
/// # Cancellation
/// A cancelled waiter has taken nothing from `fd`.
///
/// # Examples
/// ```
/// use bingfa::io::{self, Read, Write};
/// use std::time::{Duration, Instant};
///
/// let (mut out, mut inp) = std::io::pipe()?;
/// let soon = Instant::now() + Duration::from_millis(1);
/// assert_eq!(io::readable(&out, soon).unwrap_err().kind(), io::ErrorKind::TimedOut);
///
/// inp.write_all(b"x")?;
/// io::readable(&out, None)?;
/// out.read_exact(&mut [0])?; // does not wait
/// # Ok::<(), io::Error>(())
/// ```
#[track_caller]
pub fn readable(fd: impl AsFd, deadline: impl Into<Option<Instant>>) -> io::Result<()> {
    ready(fd.as_fd(), libc::POLLIN, deadline.into())
}

/// Waits until a write to `fd` would not block.
///
/// The counterpart of [`readable`]. A pipe is writable when it has room for
/// `PIPE_BUF` (4,096) bytes; a longer write may still wait.
///
/// # Errors
/// [`TimedOut`](io::ErrorKind::TimedOut) if `deadline` passes first.
///
/// # Cancellation
/// A cancelled waiter has put nothing into `fd`.
///
/// # Examples
/// ```
/// let (_out, inp) = std::io::pipe()?;
/// bingfa::io::writable(&inp, None)?; // empty, so there is room
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn writable(fd: impl AsFd, deadline: impl Into<Option<Instant>>) -> io::Result<()> {
    ready(fd.as_fd(), libc::POLLOUT, deadline.into())
}

#[track_caller]
fn ready(fd: BorrowedFd<'_>, events: i16, deadline: Option<Instant>) -> io::Result<()> {
    // Asked first, because a regular file is always ready but epoll refuses to watch it.
    let mut seen = op::seen_now(fd, events)?;
    if seen == 0 {
        let wait = deadline.map_or(Wait::Forever, Wait::Until);
        seen = op::wait_for(fd, None, events, wait)?;
    } else {
        wait::yield_if_slice_over();
    }
    let _ = seen;
    Ok(())
}
