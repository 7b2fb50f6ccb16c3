//! Runs one operation on the carrier that calls.
//!
//! Every blocking call on a socket or a foreign descriptor ends in [`run`]. It is the
//! only place that asks what the caller is: a call that must not wait is tried once, a
//! coroutine hands the operation to its worker and suspends, and a plain thread blocks
//! in the kernel.
//!
//! # Invariants
//! 1. The pointers of the `OpKind` that [`run`] is given stay valid until it returns or
//!    unwinds (its callers promise this); nothing keeps them for longer.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use crate::park::frame::Frame;
use crate::park::{cancel, local, wait as parking};
use crate::reactor::{Block, Op, OpKind, Source};
use crate::sched::op::{self as sched_op, OpEnd};
use crate::sched::worker;
use crate::sys::{errno, socket};

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all. What is not ready is `WouldBlock`.
    No,
    /// Until it is done.
    Forever,
    /// For the socket's own read or write timeout, which the kernel keeps as well
    /// (`SO_RCVTIMEO`, `SO_SNDTIMEO`). Too late is `WouldBlock`, as it is for the kernel.
    For(Duration),
    /// Until this moment. Too late is `TimedOut`.
    Until(Instant),
}

impl Wait {
    /// When this wait ends, counted from now; `None` if it has no end.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Wait::No => Some(Instant::now()),
            Wait::Forever => None,
            // A timeout past the end of the clock is none.
            Wait::For(timeout) => Instant::now().checked_add(timeout),
            Wait::Until(at) => Some(at),
        }
    }

    /// The error of a call that was not done in time.
    pub(crate) fn too_late(self) -> io::Error {
        match self {
            Wait::No | Wait::Forever | Wait::For(_) => would_block(),
            Wait::Until(_) => io::Error::new(io::ErrorKind::TimedOut, "the deadline has passed"),
        }
    }
}

/// Runs `kind` on `fd` and returns what the system call returned.
///
/// `source` is the registration of a socket of ours; a foreign descriptor has none.
/// Errors are those of the system call, plus `wait`'s if it ends first. A wait for
/// readiness (`OpKind::Poll`) goes on after a signal; transfers report `Interrupted`.
///
/// # Safety
/// The pointers in `kind` are valid, for what its system call does with them, until
/// this function returns or unwinds.
#[inline(always)]
#[track_caller]
pub(crate) unsafe fn run(
    fd: BorrowedFd<'_>,
    source: Option<&Source>,
    kind: OpKind,
    wait: Wait,
) -> io::Result<usize> {
    if wait == Wait::No {
        // SAFETY: invariant 1.
        return unsafe { at_once(fd.as_raw_fd(), kind) };
    }
    if let Some(frame) = local::frame() {
        // SAFETY: invariant 1.
        return unsafe { in_coroutine(frame, fd, source, kind, wait) };
    }
    // SAFETY: invariant 1.
    unsafe { on_thread(fd.as_raw_fd(), kind, wait) }
}

/// Waits until `poll(2)` would report one of `events`, and returns those it reports.
#[inline(always)]
#[track_caller]
pub(crate) fn wait_for(
    fd: BorrowedFd<'_>,
    source: Option<&Source>,
    events: i16,
    wait: Wait,
) -> io::Result<i16> {
    // SAFETY: `Poll` has no pointers.
    let seen = unsafe { run(fd, source, OpKind::Poll { events }, wait) }?;
    // `revents` is 16 bits wide.
    Ok(seen as i16)
}

/// The events among `events` (and errors) that `fd` shows now; 0 for none.
pub(crate) fn seen_now(fd: BorrowedFd<'_>, events: i16) -> io::Result<i16> {
    let seen = socket::poll(fd.as_raw_fd(), events, 0);
    value(seen).map(|seen| seen as i16)
}

/// Whether this carrier may leave a whole wait to the kernel: it is a plain thread
/// without an enclosing timeout.
pub(crate) fn kernel_may_block() -> bool {
    local::frame().is_none() && cancel::ambient_deadline().is_none()
}

/// A coroutine's operation: suspends it until the completion is in.
///
/// A deadline or a cancel first cancels the operation and awaits its completion; an
/// operation that was done all the same returns what it did. Otherwise a deadline is
/// `wait.too_late()`, and a cancel unwinds. A readiness wait goes on after a signal.
///
/// Not inlined: a read and a write of one function then use the same lines of its stack.
///
/// # Safety
/// As for [`run`].
#[inline(never)]
#[track_caller]
unsafe fn in_coroutine(
    frame: &Frame,
    fd: BorrowedFd<'_>,
    source: Option<&Source>,
    kind: OpKind,
    wait: Wait,
) -> io::Result<usize> {
    let worker = worker::current().expect("a coroutine runs on a worker");
    let at = Location::caller();
    let deadline = match wait {
        Wait::Forever => None,
        wait => wait.deadline(),
    };
    let source = source.map(NonNull::from);
    let mut op = Op::new(kind, fd.as_raw_fd(), source, ptr::null());
    let mut waits_for_readiness = false;
    loop {
        let result = match sched_op::run(worker, frame, &mut op, deadline, name(kind), at) {
            OpEnd::Done(result) => result,
            OpEnd::TimedOut => return Err(wait.too_late()),
        };
        let next = if waits_for_readiness && (result >= 0 || result == -errno::EINTR) {
            waits_for_readiness = false;
            kind
        } else if result == -errno::EAGAIN && !waits_for_readiness {
            // The descriptor is O_NONBLOCK, though this call is not.
            waits_for_readiness = true;
            let events = readiness(kind);
            OpKind::Poll { events }
        } else if result == -errno::EINTR && goes_on_after_signal(kind) {
            kind
        } else {
            return value(result);
        };
        op = Op::new(next, op.fd, source, ptr::null());
    }
}

/// What snapshots call a wait.
#[inline(always)]
fn name(kind: OpKind) -> &'static &'static str {
    match kind {
        OpKind::Recv { .. } | OpKind::RecvMsg { .. } => &"recv",
        OpKind::Send { .. } | OpKind::SendMsg { .. } => &"send",
        OpKind::Poll { .. } => &"poll",
        OpKind::File(_) => &"file",
        #[cfg(feature = "process")]
        OpKind::Futex { .. } => &"futex",
    }
}

/// A call that must not wait, on any carrier.
///
/// # Safety
/// As for [`run`].
unsafe fn at_once(fd: RawFd, kind: OpKind) -> io::Result<usize> {
    // SAFETY: invariant 1.
    let result = value(unsafe { kind.call(fd, Block::No) });
    // A loop over calls that never wait must not starve its neighbours.
    parking::yield_if_slice_over();
    result
}

/// A plain thread's operation.
///
/// # Safety
/// As for [`run`].
unsafe fn on_thread(fd: RawFd, kind: OpKind, wait: Wait) -> io::Result<usize> {
    let ambient = cancel::ambient_deadline();
    let kernel_keeps_time = matches!(wait, Wait::Forever | Wait::For(_));
    if ambient.is_some() || !kernel_keeps_time {
        // SAFETY: invariant 1.
        return unsafe { on_thread_until(fd, kind, wait, ambient) };
    }
    loop {
        // SAFETY: invariant 1.
        let result = unsafe { kind.call(fd, Block::Yes) };
        if result == -libc::EINTR && goes_on_after_signal(kind) {
            continue;
        }
        return value(result);
    }
}

/// A plain thread's operation under a deadline that the kernel does not know: waits by
/// `poll(2)` and transfers without blocking.
///
/// # Safety
/// As for [`run`].
unsafe fn on_thread_until(
    fd: RawFd,
    kind: OpKind,
    wait: Wait,
    ambient: Option<Instant>,
) -> io::Result<usize> {
    let own = wait.deadline();
    loop {
        // SAFETY: invariant 1.
        let result = unsafe { kind.call(fd, Block::No) };
        if result != -libc::EAGAIN {
            return value(result);
        }
        let left = time_left(wait, own, ambient)?;
        let seen = socket::poll(fd, readiness(kind), left.map_or(-1, poll_millis));
        if seen < 0 && !(seen == -libc::EINTR && goes_on_after_signal(kind)) {
            return value(seen);
        }
    }
}

/// The time until the first of the two deadlines, if there is one.
///
/// The call's own deadline ends it with an error, the enclosing timeout's leaves it.
fn time_left(
    wait: Wait,
    own: Option<Instant>,
    ambient: Option<Instant>,
) -> io::Result<Option<Duration>> {
    let now = Instant::now();
    if own.is_some_and(|at| at <= now) {
        return Err(wait.too_late());
    }
    if ambient.is_some_and(|at| at <= now) {
        cancel::raise();
        // Not raised: this is a destructor of an unwinding thread, whose grace is over.
        return Err(io::Error::from_raw_os_error(errno::ECANCELED));
    }
    let first = own.into_iter().chain(ambient).min();
    Ok(first.map(|at| at.saturating_duration_since(now)))
}

/// Waits between attempts where the kernel offers nothing to wait for.
#[derive(Debug)]
pub(crate) struct Backoff {
    wait: Wait,
    deadline: Option<Instant>,
    delay: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(32);

    /// Attempts for as long as `wait` says, from now on.
    pub(crate) fn new(wait: Wait) -> Backoff {
        Backoff {
            wait,
            deadline: wait.deadline(),
            delay: Self::FIRST,
        }
    }

    /// Waits a little, longer each time; an error when the wait is over.
    #[track_caller]
    pub(crate) fn pause(&mut self) -> io::Result<()> {
        let left = time_left(self.wait, self.deadline, cancel::ambient_deadline())?;
        let nap = left.map_or(self.delay, |left| left.min(self.delay));
        parking::sleep_until(Instant::now() + nap);
        self.delay = (self.delay * 2).min(Self::LONGEST);
        Ok(())
    }
}

/// What to wait for before `kind` is tried again.
fn readiness(kind: OpKind) -> i16 {
    match kind {
        OpKind::Recv { .. } | OpKind::RecvMsg { .. } => libc::POLLIN,
        OpKind::Send { .. } | OpKind::SendMsg { .. } => libc::POLLOUT,
        OpKind::Poll { events } => events,
        OpKind::File(_) => 0, // files have no readiness, and do not come here
        #[cfg(feature = "process")]
        OpKind::Futex { .. } => 0,
    }
}

/// std repeats `accept`, `connect` and `poll` after a signal, and reports it for transfers.
fn goes_on_after_signal(kind: OpKind) -> bool {
    matches!(kind, OpKind::Poll { .. })
}

/// Milliseconds for `poll(2)`, rounded up so that it does not end early.
fn poll_millis(left: Duration) -> i32 {
    let millis = left.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).unwrap_or(i32::MAX)
}

/// A value, or the error of a negated `errno`.
#[inline]
fn value(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn would_block() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn milliseconds_are_rounded_up_and_clamped() {
        assert_eq!(poll_millis(Duration::ZERO), 0);
        assert_eq!(poll_millis(Duration::from_nanos(1)), 1);
        assert_eq!(poll_millis(Duration::from_millis(7)), 7);
        assert_eq!(poll_millis(Duration::MAX), i32::MAX);
    }

    #[test]
    fn each_wait_has_its_own_error() {
        assert_eq!(
            Wait::For(Duration::from_millis(1)).too_late().kind(),
            io::ErrorKind::WouldBlock
        );
        let past = Instant::now();
        assert_eq!(Wait::Until(past).too_late().kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            time_left(Wait::Until(past), Some(past), None)
                .unwrap_err()
                .kind(),
            io::ErrorKind::TimedOut
        );
    }

    fn recv(fd: &impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
        let kind = OpKind::Recv {
            buf: buf.as_mut_ptr(),
            len: buf.len(),
            flags: 0,
        };
        // SAFETY: `buf` is borrowed for the call.
        unsafe { on_thread(fd.as_fd().as_raw_fd(), kind, Wait::Forever) }
    }

    #[test]
    fn an_enclosing_timeout_ends_a_call_but_not_one_that_has_data() {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let past = Instant::now();
        assert!(cancel::within(past, || recv(&a, &mut [0])).is_none());

        let soon = Instant::now() + Duration::from_millis(5);
        assert!(cancel::within(soon, || recv(&a, &mut [0])).is_none());

        (&b).write_all(b"x").unwrap();
        let mut buf = [0; 2];
        let read = cancel::within(past, || recv(&a, &mut buf));
        assert_eq!(read.unwrap().unwrap(), 1);
        assert_eq!(buf[0], b'x');
    }

    #[test]
    fn a_wait_under_a_deadline_ends_when_data_comes() {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || (&b).write_all(b"x").map(|()| b));
        let watchdog = Instant::now() + Duration::from_secs(60);
        let read = cancel::within(watchdog, || recv(&a, &mut [0]));
        assert_eq!(read.unwrap().unwrap(), 1);
        drop(writer.join().unwrap().unwrap());
    }

    #[test]
    fn attempts_end_with_the_wait() {
        let timeout = Duration::from_millis(3);
        let mut backoff = Backoff::new(Wait::For(timeout));
        let start = Instant::now();
        let end = loop {
            if let Err(e) = backoff.pause() {
                break e;
            }
        };
        assert_eq!(end.kind(), io::ErrorKind::WouldBlock);
        assert!(start.elapsed() >= timeout);
    }

    #[test]
    fn a_timeout_past_the_end_of_the_clock_is_none() {
        assert_eq!(Wait::For(Duration::MAX).deadline(), None);
    }
}
