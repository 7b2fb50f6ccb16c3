//! The io_uring driver: operations are handed to the kernel and come back done.
//!
//! Submissions gather until the next `flush` or `wait`, so one system call carries a
//! whole scheduling round. The address of an [`Op`] is its `user_data`; addresses are
//! aligned, so odd numbers are free for the driver's own submissions.
//!
//! # Invariants
//! 1. An operation is in `waiting` and counted in `in_flight` from `submit` until its
//!    completion is reaped, and until then its frame is not left (invariant 1 of `op`).
//! 2. A cancel stands behind the operation that it names in the submission queue, and in
//!    front of any later one that happens to live at the same address. The kernel
//!    carries cancels out while it takes them, in order, so they never hit the wrong one.
//! 3. `armed` means that a wait on the sleeper's word (or event) is queued or submitted
//!    and its completion has not been reaped.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use super::drivers::{self, Seat};
use super::op::{FileOp, Op, OpKind, READY};
use super::{Driver, refuse_fork};
use crate::park::sleep::Sleeper;
use crate::sys::errno;
use crate::sys::fork::Mark;
use crate::sys::socket::{self, POLLIN};
use crate::sys::uring::{self, Abilities, Entry, Ring};

/// `user_data` of cancels, whose completions say nothing that the operation's does not.
const CANCEL: u64 = 1;
/// `user_data` of the wait for the sleeper.
const BELL: u64 = 3;

/// Sizes of the queues, tried in turn where the memory limit is low.
const SIZES: [(u32, u32); 3] = [(1024, 8192), (256, 2048), (64, 512)];

/// How often a full queue is offered to a kernel that takes nothing.
const PATIENCE: u32 = 100_000;

/// How often a wait begins again at most: for a file that io_uring cannot wait for at all,
/// it would for ever.
const MOST_TRIES: u64 = 10_000;

/// How the sleeper's wake-up reaches the ring.
#[derive(Clone, Copy, Debug)]
enum Bell {
    Futex,
    Event(RawFd),
}

#[derive(Debug)]
pub(super) struct Uring {
    seat: Seat,
    ring: Ring,
    in_flight: usize,
    sleeper: Arc<Sleeper>,
    bell: Bell,
    armed: bool,
    #[cfg(feature = "process")]
    futex: bool,
}

impl Uring {
    pub(super) fn open(abilities: Abilities, sleeper: &Arc<Sleeper>) -> io::Result<Uring> {
        let bell = if abilities.futex && !sleeper.has_event() {
            Bell::Futex
        } else {
            Bell::Event(sleeper.event()?)
        };
        let ring = make_ring(abilities)?;
        Ok(Uring {
            seat: Seat::take(None, Mark::here()?),
            ring,
            in_flight: 0,
            sleeper: sleeper.clone(),
            bell,
            armed: false,
            #[cfg(feature = "process")]
            futex: abilities.futex,
        })
    }

    /// Queues `entry`, submitting what is there if the queue is full.
    ///
    /// # Safety
    /// What `entry` points to stays valid until its completion is reaped.
    #[inline]
    unsafe fn push(&mut self, entry: &Entry, done: &mut Vec<NonNull<Op>>) {
        // SAFETY: by the caller's contract.
        if !unsafe { self.ring.push(entry) } {
            // SAFETY: by the caller's contract.
            unsafe { self.push_to_full(entry, done) }
        }
    }

    /// # Safety
    /// As for `push`.
    #[cold]
    unsafe fn push_to_full(&mut self, entry: &Entry, done: &mut Vec<NonNull<Op>>) {
        for _ in 0..PATIENCE {
            self.enter(|ring| ring.submit());
            self.reap(done);
            // SAFETY: by the caller's contract.
            if unsafe { self.ring.push(entry) } {
                return;
            }
            // The kernel is out of memory for requests; others may free some.
            std::thread::yield_now();
        }
        panic!("io_uring is stuck: the kernel takes no more submissions from a full queue");
    }

    /// Queues the cancel of `op`, which is in flight.
    fn push_cancel(&mut self, op: NonNull<Op>, done: &mut Vec<NonNull<Op>>) {
        // SAFETY: a cancel points to nothing; the address in it is but a number.
        unsafe { self.push(&uring::cancel(name(op)).user_data(CANCEL), done) };
    }

    fn enter(&mut self, call: impl FnOnce(&mut Ring) -> Result<(), i32>) {
        match call(&mut self.ring) {
            Ok(()) => {}
            // A signal came, the time is over, or the kernel is short of memory or wants
            // its completions reaped first. What was not submitted is still queued.
            Err(errno::EINTR | errno::ETIME | errno::EAGAIN | errno::EBUSY | errno::ENOMEM) => {}
            Err(error) => ring_died(error),
        }
    }

    /// Reports all completions.
    #[inline]
    fn reap(&mut self, done: &mut Vec<NonNull<Op>>) {
        let Uring {
            seat,
            ring,
            in_flight,
            armed,
            sleeper,
            ..
        } = self;
        ring.reap(|user_data, result| match user_data {
            CANCEL => {}
            BELL => {
                *armed = false;
                sleeper.drain_event();
            }
            address => {
                let op = NonNull::new(address as *mut Op).expect("no operation lives at null");
                // SAFETY: every other `user_data` is an operation in flight, so it is
                // alive and in `waiting` (invariant 1), from which it goes now.
                unsafe {
                    seat.waiting().remove(op);
                    let mut result = result;
                    if result == -errno::ECANCELED && op.as_ref().link.closed.get() {
                        result = -errno::EBADF;
                    } else if result == -errno::EINVAL {
                        result = given_up(op.as_ref());
                    }
                    *in_flight -= 1;
                    Op::report(op, result, done);
                }
            }
        });
    }

    /// Makes sure that a wake-up of the sleeper completes something.
    fn arm(&mut self, done: &mut Vec<NonNull<Op>>) {
        if self.armed {
            return;
        }
        let entry = match self.bell {
            Bell::Futex => uring::futex_wait(self.sleeper.address(), Sleeper::SLEEPING),
            Bell::Event(fd) => uring::poll(fd, POLLIN),
        };
        // SAFETY: the word belongs to the sleeper, which this driver keeps alive; once
        // the wait is queued, the kernel goes by the address alone.
        unsafe { self.push(&entry.user_data(BELL), done) };
        self.armed = true;
    }
}

impl Driver for Uring {
    #[inline]
    fn attempt(&mut self, _op: &Op) -> Option<i32> {
        None
    }

    fn does_files(&self) -> bool {
        true
    }

    unsafe fn submit(&mut self, op: NonNull<Op>, done: &mut Vec<NonNull<Op>>) {
        if self.ring.forked() {
            refuse_fork();
        }
        // SAFETY: alive, by the caller's contract.
        let new = unsafe { op.as_ref() };
        if new.fd < 0 && new.kind.has_descriptor() {
            // SAFETY: just submitted.
            unsafe { Op::report(op, -errno::EBADF, done) };
            return;
        }
        new.link.epoch.set(drivers::epoch());
        // SAFETY: this is the owner's thread, and the operation is new.
        unsafe { self.seat.waiting().push(op) };
        self.in_flight += 1;
        let fd = new.fd;
        let entry = match new.kind {
            OpKind::Recv { buf, len, flags } => uring::recv(fd, buf, len, flags),
            OpKind::Send { buf, len, flags } => uring::send(fd, buf, len, flags),
            OpKind::RecvMsg { msg, flags } => uring::recvmsg(fd, msg, flags),
            OpKind::SendMsg { msg, flags } => uring::sendmsg(fd, msg, flags),
            OpKind::Poll { events } => uring::poll(fd, events),
            OpKind::File(FileOp::ReadAt { buf, len, offset }) => {
                uring::read_at(fd, buf, len, offset)
            }
            OpKind::File(FileOp::WriteAt { buf, len, offset }) => {
                uring::write_at(fd, buf, len, offset)
            }
            OpKind::File(FileOp::Sync { data_only }) => uring::sync(fd, data_only),
            #[cfg(feature = "process")]
            OpKind::Futex { word, value } => uring::futex_wait_shared(word, value),
        };
        // SAFETY: the operation's buffers are valid until it is reported, which is not
        // before its completion is reaped (invariant 1).
        unsafe { self.push(&entry.user_data(name(op)), done) };
    }

    unsafe fn cancel(&mut self, op: NonNull<Op>, done: &mut Vec<NonNull<Op>>) {
        if self.ring.forked() {
            refuse_fork();
        }
        // SAFETY: alive, by the caller's contract.
        if unsafe { op.as_ref() }.result.get().is_none() {
            self.push_cancel(op, done);
        }
    }

    fn flush(&mut self, done: &mut Vec<NonNull<Op>>) {
        if self.ring.forked() {
            refuse_fork();
        }
        if self.ring.wants_submit() {
            self.enter(|ring| ring.submit());
        }
        self.reap(done);
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<NonNull<Op>>) {
        if self.ring.forked() {
            refuse_fork();
        }
        let before = done.len();
        self.reap(done);
        if done.len() > before
            || timeout.is_some_and(|t| t.is_zero())
            || !self.sleeper.is_sleeping()
        {
            return self.flush(done);
        }
        self.arm(done);
        if done.len() > before {
            return self.flush(done);
        }
        self.enter(|ring| ring.submit_and_wait(timeout));
        self.reap(done);
    }

    #[cfg(feature = "process")]
    fn waits_for_futexes(&self) -> bool {
        self.futex
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn closed(&mut self, fd: RawFd, epoch: u64, done: &mut Vec<NonNull<Op>>) {
        if fd < 0 {
            return;
        }
        let mut old = Vec::new();
        self.seat.waiting().for_each(fd, |op, waiter| {
            if waiter.link.epoch.get() <= epoch {
                waiter.link.closed.set(true);
                old.push(op);
            }
            true
        });
        for op in old {
            // SAFETY: no frame runs in between, so it is still there even if queueing the
            // cancel of another one has reported it.
            unsafe { self.cancel(op, done) };
        }
    }
}

impl Drop for Uring {
    /// Frames must not be left while the kernel may write to them: whatever is still in
    /// flight is cancelled and awaited. Nobody is told.
    fn drop(&mut self) {
        if self.in_flight == 0 || self.ring.forked() {
            return;
        }
        let mut done = Vec::new();
        for op in self.seat.waiting().all() {
            self.push_cancel(op, &mut done);
        }
        while self.in_flight > 0 {
            self.enter(|ring| ring.submit_and_wait(None));
            self.reap(&mut done);
        }
    }
}

/// What the EINVAL of an operation means.
///
/// A wait for a file with two queues of waiters, as terminals have, ends so when it was woken
/// for nothing (by a change of the terminal's modes, say): Linux finds the second queue of the
/// first attempt in the way of another. Whoever waits has to begin again.
#[cold]
fn given_up(op: &Op) -> i32 {
    let OpKind::Poll { events } = op.kind else {
        return -errno::EINVAL;
    };
    match socket::poll(op.fd, events, 0) {
        0 if op.tries_again && op.link.tried.get() < MOST_TRIES => {
            op.link.tried.set(op.link.tried.get() + 1);
            READY
        }
        0 => -errno::EINVAL,
        seen => seen,
    }
}

/// The `user_data` of an operation.
#[inline]
fn name(op: NonNull<Op>) -> u64 {
    const { assert!(align_of::<Op>() >= 2, "odd numbers are the driver's own") };
    op.as_ptr() as u64
}

fn make_ring(abilities: Abilities) -> io::Result<Ring> {
    let mut outcome = Err(io::Error::from_raw_os_error(errno::ENOMEM));
    for (submissions, completions) in SIZES {
        outcome = Ring::new(abilities.setup, submissions, completions);
        match &outcome {
            // Before Linux 5.12 rings count as locked memory, of which there is little.
            Err(error) if error.raw_os_error() == Some(errno::ENOMEM) => {}
            _ => break,
        }
    }
    outcome.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot set up a worker's io_uring: {error}; BINGFA_IO=epoll does without"),
        )
    })
}

#[cold]
#[inline(never)]
fn ring_died(error: i32) -> ! {
    let cause = io::Error::from_raw_os_error(error);
    let why = if error == errno::EBADR {
        "the kernel dropped completions for want of memory"
    } else {
        "its operations cannot be completed any more"
    };
    panic!(
        "io_uring_enter failed on a running worker: {cause}; {why}. BINGFA_IO=epoll does without"
    )
}
