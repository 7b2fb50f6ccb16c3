//! The epoll driver: the kernel says when a call can be made, and the driver makes it.
//!
//! Sockets of ours are registered once per worker, for all edges. What the edges and
//! the calls have said is kept per descriptor, so that calls which are known to block
//! are not made: on TCP a short read has emptied the queue, and a short write has
//! filled it, until the next edge. Nowhere else does a short transfer say that: a
//! datagram has its own length, and a Unix stream stops behind a message that carried
//! descriptors. Nor do transfers that look without taking (`MSG_PEEK` and the like).
//!
//! # Why no edge is lost
//! Only this thread collects events. Between a call that would have blocked and the
//! next `epoll_wait`, an edge stays in the kernel's list; the operation is in `waiting`
//! before the list is read. A registration reports what is ready already as an edge.
//!
//! Foreign descriptors (no [`Source`](super::Source)) are registered for one event, in
//! an epoll of their own, nested in the first: there a number may be a socket of ours
//! at the same time, and one whose file was closed behind our back.
//!
//! # Invariants
//! 1. An operation is in `waiting` and counted in `in_flight` from when `submit` does
//!    not report it at once until it is reported, and until then its frame is not left
//!    (invariant 1 of `op`).
//! 2. `seat` is dropped before `poll` (order of the fields; invariant 1 of `drivers`).
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::time::Duration;

use super::drivers::{self, Seat};
use super::op::{Block, Direction, Op, OpKind, READY};
use super::source::Source;
use super::{Driver, refuse_fork};
use crate::park::sleep::Sleeper;
use crate::sys::epoll::{self, EDGE, ERR, Event, HUP, IN, ONESHOT, OUT, PRI, Poll, RDHUP};
use crate::sys::errno;
use crate::sys::fork::Mark;
use crate::sys::socket::{
    self, MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM,
    POLLWRNORM,
};

const ALL_EDGES: u32 = IN | OUT | PRI | RDHUP | EDGE;

/// Tokens of events that are no socket's: their lower half is no descriptor.
const BELL: u64 = u64::MAX;
const FOREIGN: u64 = u64::MAX - 1;

/// Events taken per call; more stay for the next one.
const BATCH: usize = 512;

/// What is known about one descriptor.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The source it was registered for, or 0.
    source: u64,
    /// The events for which it is registered as foreign.
    foreign: u32,
    readable: bool,
    writable: bool,
    /// The peer has finished or failed, or sent urgent data: no more edges may come, or
    /// reads stop short at a mark. Reads are tried always.
    unsteady: bool,
    /// A short transfer shows that the next one would block.
    exact: bool,
}

#[derive(Debug)]
pub(super) struct Epoll {
    seat: Seat,
    poll: Poll,
    /// Made when the first foreign descriptor is waited for.
    foreign: Option<Poll>,
    states: Vec<State>,
    events: Vec<Event>,
    in_flight: usize,
    /// Goes up with every collection of events.
    round: u64,
    sleeper: Arc<Sleeper>,
    not_send: PhantomData<*const ()>,
}

impl Epoll {
    pub(super) fn open(sleeper: &Arc<Sleeper>) -> io::Result<Epoll> {
        let poll = Poll::new()?;
        // By edge, so that the counter never has to be read: each signal is an edge.
        poll.set(sleeper.event()?, IN | EDGE, BELL, false)
            .map_err(io::Error::from_raw_os_error)?;
        Ok(Epoll {
            seat: Seat::take(Some(poll.as_raw_fd()), Mark::here()?),
            poll,
            foreign: None,
            states: Vec::new(),
            events: Vec::with_capacity(BATCH),
            in_flight: 0,
            round: 1,
            sleeper: sleeper.clone(),
            not_send: PhantomData,
        })
    }

    fn state(&mut self, fd: RawFd) -> &mut State {
        let index = fd as usize;
        if index >= self.states.len() {
            self.states
                .resize((index + 1).next_power_of_two(), State::default());
        }
        &mut self.states[index]
    }

    /// Whether `fd` is registered here for `source`.
    #[inline]
    fn is_registered(&self, fd: RawFd, source: &Source) -> bool {
        self.states.get(fd as usize).is_some_and(|state| state.source == source.id)
            // Relaxed: only this thread sets its bit, and what takes it away is ordered
            // after the last operation on the source.
            && source.registered.load(Relaxed) & self.seat.bit() != 0
    }

    /// Registers the descriptor of `op` for `source`, in place of a stale registration.
    fn register(
        &mut self,
        op: &Op,
        source: &Source,
        done: &mut Vec<NonNull<Op>>,
    ) -> Result<(), i32> {
        let fd = op.fd;
        // Whoever waits under the old number waits for a descriptor that is gone.
        self.fail(fd, done, |waiter| waiter.source.is_some());
        // AcqRel pairs with the swap in `release`.
        source.registered.fetch_or(self.seat.bit(), AcqRel);
        self.poll.set(fd, ALL_EDGES, token(fd, source.id), false)?;
        let exact = source.stream && socket::is_tcp(fd);
        let state = self.state(fd);
        *state = State {
            source: source.id,
            exact,
            foreign: state.foreign,
            ..State::default()
        };
        Ok(())
    }

    /// Reports the operations on `fd` that `which` selects with EBADF.
    fn fail(&mut self, fd: RawFd, done: &mut Vec<NonNull<Op>>, which: impl Fn(&Op) -> bool) {
        let Epoll {
            seat, in_flight, ..
        } = self;
        seat.waiting().for_each(fd, |op, waiter| {
            if which(waiter) {
                *in_flight -= 1;
                // SAFETY: it is being visited, so it waits here.
                unsafe {
                    seat.waiting().remove(op);
                    Op::report(op, -errno::EBADF, done);
                }
            }
            true
        });
    }

    /// Whether another operation waits on the same socket in the same direction.
    fn is_behind(&self, op: &Op) -> bool {
        let direction = op.kind.direction();
        let mut behind = false;
        if direction != Direction::Poll {
            self.seat.waiting().for_each(op.fd, |_, waiter| {
                behind = waiter.source.is_some() && waiter.kind.direction() == direction;
                !behind
            });
        }
        behind
    }

    /// Appends `op` to those that wait.
    fn enqueue(&mut self, op: NonNull<Op>) {
        // SAFETY: this is the owner's thread, and the operation is being submitted.
        unsafe { self.seat.waiting().push(op) };
        self.in_flight += 1;
    }

    fn submit_foreign(&mut self, op: NonNull<Op>, new: &Op, done: &mut Vec<NonNull<Op>>) {
        // SAFETY: the operation is being submitted, so its pointers are valid.
        if let Some(result) = unsafe { call_once(new) } {
            // SAFETY: being submitted.
            unsafe { Op::report(op, result, done) };
            return;
        }
        if let Err(error) = self.register_foreign(new.fd, new.kind.interest()) {
            let result = match (error, new.kind) {
                // Files that cannot be waited for are always ready.
                (errno::EPERM, OpKind::Poll { events }) => {
                    match events & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM) {
                        0 => -errno::EPERM,
                        ready => i32::from(ready),
                    }
                }
                _ => -error,
            };
            // SAFETY: being submitted.
            unsafe { Op::report(op, result, done) };
            return;
        }
        self.enqueue(op);
    }

    /// Registers `fd` for one event of `interest`, and of what others wait for.
    fn register_foreign(&mut self, fd: RawFd, interest: i16) -> Result<(), i32> {
        if self.foreign.is_none() {
            let nested = Poll::new().map_err(|e| e.raw_os_error().unwrap_or(errno::ENOMEM))?;
            self.poll.set(nested.as_raw_fd(), IN, FOREIGN, false)?;
            self.foreign = Some(nested);
        }
        let registered = self.state(fd).foreign;
        // poll(2) and epoll have the same bits.
        let events = registered | u32::from(interest as u16) | ONESHOT;
        let nested = self.foreign.as_ref().expect("made above");
        nested.set(fd, events, fd as u64, registered != 0)?;
        self.state(fd).foreign = events;
        Ok(())
    }

    /// Tells the kernel what is still waited for on the foreign descriptor `fd`.
    fn update_foreign(&mut self, fd: RawFd, done: &mut Vec<NonNull<Op>>) {
        let mut interest = None;
        self.seat.waiting().for_each(fd, |_, waiter| {
            if waiter.source.is_none() {
                interest = Some(interest.unwrap_or(0) | waiter.kind.interest());
            }
            true
        });
        let registered = self.state(fd).foreign != 0;
        match interest {
            Some(interest) => {
                if registered {
                    self.state(fd).foreign = ONESHOT;
                }
                if self.register_foreign(fd, interest).is_err() {
                    self.state(fd).foreign = 0;
                    self.fail(fd, done, |waiter| waiter.source.is_none());
                }
            }
            None if registered => {
                self.state(fd).foreign = 0;
                if let Some(nested) = &self.foreign {
                    epoll::remove(nested.as_raw_fd(), fd);
                }
            }
            None => {}
        }
    }

    /// Collects events and makes the calls that they allow.
    fn collect(&mut self, timeout: Option<Duration>, done: &mut Vec<NonNull<Op>>) {
        self.round += 1;
        let mut events = std::mem::take(&mut self.events);
        wait(&self.poll, &mut events, timeout);
        let mut foreign = false;
        for event in &events {
            // Of thousands of operations, each lies in a page of its own, in no cache.
            match event.u64 {
                BELL | FOREIGN => {}
                token => self.seat.waiting().fetch_first(descriptor(token)),
            }
        }
        for event in &events {
            match event.u64 {
                BELL => {}
                FOREIGN => foreign = true,
                token => self.edge(token, event.events, done),
            }
        }
        if foreign && let Some(nested) = &self.foreign {
            wait(nested, &mut events, Some(Duration::ZERO));
            for event in &events {
                self.foreign_event(event.u64 as RawFd, done);
            }
        }
        self.events = events;
    }

    /// An edge on a socket of ours.
    fn edge(&mut self, token_seen: u64, events: u32, done: &mut Vec<NonNull<Op>>) {
        let fd = descriptor(token_seen);
        let Some(state) = self.states.get_mut(fd as usize) else {
            return;
        };
        if token(fd, state.source) != token_seen {
            return; // of a registration that is stale
        }
        if events & (IN | PRI | RDHUP | HUP | ERR) != 0 {
            state.readable = true;
        }
        if events & (OUT | HUP | ERR) != 0 {
            state.writable = true;
        }
        if events & (PRI | RDHUP | HUP | ERR) != 0 {
            state.unsteady = true;
        }
        let Epoll {
            seat,
            states,
            in_flight,
            ..
        } = self;
        let state = &mut states[fd as usize];
        let (mut reads, mut writes, mut polled) = (true, true, None);
        seat.waiting().for_each(fd, |op, waiter| {
            if waiter.source.is_none() {
                return true;
            }
            let open = match waiter.kind.direction() {
                Direction::Read => &mut reads,
                Direction::Write => &mut writes,
                Direction::Poll => &mut true,
            };
            let result = match waiter.kind {
                // One call answers all who poll.
                OpKind::Poll { events } => {
                    let ready = *polled.get_or_insert_with(|| socket::poll(fd, !0, 0));
                    meet(ready, events)
                }
                kind if waiter.tries_again && *open && state.allows(kind.direction()) && {
                    ptr::eq(waiter.link.next.get(), waiter) // nobody else waits here
                } =>
                {
                    Some(READY)
                }
                _ if *open => {
                    // SAFETY: it waits, so its pointers are valid (invariant 1).
                    unsafe { state.perform(waiter) }
                }
                _ => None,
            };
            match result {
                Some(result) => {
                    *in_flight -= 1;
                    // SAFETY: it is being visited, so it waits here.
                    unsafe {
                        seat.waiting().remove(op);
                        Op::report(op, result, done);
                    }
                }
                None => *open = false,
            }
            true
        });
    }

    /// An event on a foreign descriptor. What it says is not believed: it may be about a
    /// file that had the number before.
    fn foreign_event(&mut self, fd: RawFd, done: &mut Vec<NonNull<Op>>) {
        let Epoll {
            seat, in_flight, ..
        } = self;
        seat.waiting().for_each(fd, |op, waiter| {
            if waiter.source.is_some() {
                return true;
            }
            // SAFETY: it waits, so its pointers are valid (invariant 1).
            if let Some(result) = unsafe { call_once(waiter) } {
                *in_flight -= 1;
                // SAFETY: it is being visited, so it waits here.
                unsafe {
                    seat.waiting().remove(op);
                    Op::report(op, result, done);
                }
            }
            true
        });
        self.update_foreign(fd, done);
    }
}

impl Driver for Epoll {
    fn attempt(&mut self, op: &Op) -> Option<i32> {
        if self.seat.forked() {
            refuse_fork();
        }
        if op.fd < 0 {
            return Some(-errno::EBADF);
        }
        op.link.tried.set(self.round);
        // SAFETY: a source outlives the operations that name it.
        let source = op.source.map(|source| unsafe { source.as_ref() });
        match source {
            Some(source) if self.is_registered(op.fd, source) => {
                if self.is_behind(op) {
                    // Not tried: by the time of `submit`, the line may be gone.
                    op.link.tried.set(0);
                    return None;
                }
                source.fetch_near(); // while the kernel works
                // SAFETY: the caller holds the operation, so its pointers are valid.
                unsafe { self.states[op.fd as usize].perform(op) }
            }
            // SAFETY: as above.
            _ => unsafe { call_once(op) },
        }
    }

    fn does_files(&self) -> bool {
        false
    }

    unsafe fn submit(&mut self, op: NonNull<Op>, done: &mut Vec<NonNull<Op>>) {
        if self.seat.forked() {
            refuse_fork();
        }
        // SAFETY: alive, by the caller's contract.
        let new = unsafe { op.as_ref() };
        if new.fd < 0 {
            // SAFETY: being submitted.
            unsafe { Op::report(op, -errno::EBADF, done) };
            return;
        }
        new.link.epoch.set(drivers::epoch());
        let Some(source) = new.source else {
            return self.submit_foreign(op, new, done);
        };
        // SAFETY: a source outlives the operations that name it.
        let source = unsafe { source.as_ref() };
        let result = if !self.is_registered(new.fd, source) {
            match self.register(new, source, done) {
                // The registration reports as an edge what is ready already. A call that
                // never waits is made now.
                Ok(()) if new.kind.never_waits() => {
                    // SAFETY: being submitted, so its pointers are valid.
                    unsafe { call_once(new) }
                }
                Ok(()) => None,
                Err(error) => Some(-error),
            }
        } else if new.kind.never_waits()
            || (new.link.tried.get() != self.round && !self.is_behind(new))
        {
            // SAFETY: being submitted, so its pointers are valid.
            unsafe { self.states[new.fd as usize].perform(new) }
        } else {
            None
        };
        match result {
            // SAFETY: being submitted.
            Some(result) => unsafe { Op::report(op, result, done) },
            None => self.enqueue(op),
        }
    }

    unsafe fn cancel(&mut self, op: NonNull<Op>, done: &mut Vec<NonNull<Op>>) {
        if self.seat.forked() {
            refuse_fork();
        }
        // SAFETY: alive, by the caller's contract.
        let old = unsafe { op.as_ref() };
        if old.result.get().is_some() {
            return;
        }
        self.in_flight -= 1;
        // SAFETY: submitted and not reported, so it waits here (invariant 1).
        unsafe {
            self.seat.waiting().remove(op);
            Op::report(op, -errno::ECANCELED, done);
        }
        if old.source.is_none() {
            self.update_foreign(old.fd, done);
        }
    }

    fn flush(&mut self, done: &mut Vec<NonNull<Op>>) {
        if self.in_flight == 0 {
            return;
        }
        if self.seat.forked() {
            refuse_fork();
        }
        self.collect(Some(Duration::ZERO), done);
    }

    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<NonNull<Op>>) {
        if self.seat.forked() {
            refuse_fork();
        }
        let blocks = self.sleeper.is_sleeping();
        self.collect(
            if blocks {
                timeout
            } else {
                Some(Duration::ZERO)
            },
            done,
        );
    }

    #[cfg(feature = "process")]
    fn waits_for_futexes(&self) -> bool {
        false
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn closed(&mut self, fd: RawFd, epoch: u64, done: &mut Vec<NonNull<Op>>) {
        if fd < 0 {
            return;
        }
        self.fail(fd, done, |waiter| waiter.link.epoch.get() <= epoch);
        self.update_foreign(fd, done);
    }
}

impl State {
    /// Whether a transfer in this direction may succeed.
    fn allows(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.readable || self.unsteady,
            Direction::Write => self.writable,
            Direction::Poll => true,
        }
    }

    /// Makes the call of `op` unless it is known to block, and learns from its result.
    /// `None` if it has to wait.
    ///
    /// # Safety
    /// The pointers of `op` are valid.
    unsafe fn perform(&mut self, op: &Op) -> Option<i32> {
        let direction = op.kind.direction();
        let blocked = !self.allows(direction);
        // A look without taking says nothing about what a transfer would find, and the
        // other way round.
        let takes = op.kind.flags() & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE) == 0;
        // A call that never waits is made in any case: who only ever makes such calls
        // has nothing in flight, so no events would be collected for it.
        if blocked && takes && !op.kind.never_waits() {
            return None;
        }
        // SAFETY: by the caller's contract.
        let result = unsafe { op.kind.call(op.fd, Block::No) };
        if takes {
            let full = result == -errno::EAGAIN
                // SAFETY: by the caller's contract.
                || (self.exact && result > 0 && (result as usize) < unsafe { op.kind.len() });
            match direction {
                Direction::Read if full => self.readable = false,
                Direction::Write if full => self.writable = false,
                _ => {}
            }
        }
        answer(op, result)
    }
}

/// The call of `op`, on a descriptor of which nothing is known. `None` if it has to wait.
///
/// # Safety
/// The pointers of `op` are valid.
unsafe fn call_once(op: &Op) -> Option<i32> {
    // SAFETY: by the caller's contract.
    answer(op, unsafe { op.kind.call(op.fd, Block::No) })
}

fn answer(op: &Op, result: i32) -> Option<i32> {
    (result != -errno::EAGAIN || op.kind.never_waits()).then_some(result)
}

/// What of a `poll(2)` for everything answers a wait for `events`.
fn meet(ready: i32, events: i16) -> Option<i32> {
    if ready < 0 {
        return Some(ready);
    }
    let seen = ready & i32::from(events | POLLERR | POLLHUP);
    (seen != 0).then_some(seen)
}

/// The token of a socket's edges.
fn token(fd: RawFd, source: u64) -> u64 {
    u64::from(fd as u32) | source << 32
}

/// The descriptor of a token.
fn descriptor(token: u64) -> RawFd {
    token as u32 as RawFd
}

/// Collects events into `events`.
fn wait(poll: &Poll, events: &mut Vec<Event>, timeout: Option<Duration>) {
    match poll.wait(events, timeout) {
        Ok(()) | Err(errno::EINTR) => {}
        Err(error) => panic!(
            "epoll_wait failed on a running worker: {}",
            io::Error::from_raw_os_error(error)
        ),
    }
}

#[cfg(test)]
impl Epoll {
    /// Whether the kernel has a registration of `fd` here.
    pub(super) fn knows(&self, fd: RawFd) -> bool {
        let info = format!("/proc/self/fdinfo/{}", self.poll.as_raw_fd());
        let info = std::fs::read_to_string(info).expect("an open descriptor has an entry");
        info.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("tfd:") && words.next() == Some(&fd.to_string())
        })
    }
}
