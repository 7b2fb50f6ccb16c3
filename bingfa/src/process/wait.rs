//! Waiting for any of several descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use crate::io::op::{self, Wait};
use crate::sys::epoll::{self, Poll};
use crate::sys::{errno, socket};

/// Waits until some of several can be read from, and says which, by their places.
///
/// For ends of pipes ([`Connection`](super::Connection)), for sockets, and for processes by
/// their [`sentinel`](super::Process::sentinel)s. An end that is closed can be read from: that
/// gives the error. Suspends only the caller.
///
/// "Readable" is an observation: another that shares the end may take the message first.
///
/// Empty if `deadline` passes first.
///
/// # Errors
/// The operating system's, when no more descriptors can be opened.
///
/// # Cancellation
/// A cancelled waiter has taken nothing.
///
/// # Examples
/// ```
/// use std::os::fd::AsFd;
/// use bingfa::process::{self, Connection};
///
/// let (ours, theirs) = process::pipe::<(), u32>()?;
/// let child = process::spawn(theirs, |to_parent: Connection<u32, ()>| {
///     to_parent.send(7).unwrap();
/// });
/// let end = child.process().sentinel()?;
/// let ready = process::wait(&[ours.as_fd(), end.as_fd()], None)?;
/// if ready.contains(&0) {
///     assert_eq!(ours.recv()?, 7);
/// }
/// # child.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "multiprocessing.connection.wait")]
#[track_caller]
pub fn wait<F: AsFd>(any: &[F], deadline: impl Into<Option<Instant>>) -> io::Result<Vec<usize>> {
    let wait = deadline.into().map_or(Wait::Forever, Wait::Until);
    let raw: Vec<RawFd> = any.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
    let poll = Poll::new()?;
    let mut ready = vec![false; raw.len()];
    for (place, &fd) in raw.iter().enumerate() {
        // The same one twice is registered once.
        match poll.set(fd, epoll::IN, fd as u64, false) {
            Ok(()) => {}
            Err(errno::EPERM) => ready[place] = true, // a regular file, which is always ready
            Err(error) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    let mut events = Vec::with_capacity(raw.len().max(1));
    loop {
        poll.wait(&mut events, Some(std::time::Duration::ZERO))
            .map_err(io::Error::from_raw_os_error)?;
        for event in &events {
            let fd = event.u64 as RawFd;
            let places = raw
                .iter()
                .zip(&mut ready)
                .filter(|(known, _)| **known == fd);
            places.for_each(|(_, ready)| *ready = true);
        }
        let places = ready.iter().enumerate().filter(|(_, ready)| **ready);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        if !places.is_empty() {
            return Ok(places);
        }
        match op::wait_for(poll.as_fd(), None, socket::POLLIN, wait) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(places),
            Err(error) => return Err(error),
        }
    }
}
