//! One child, as its parent sees it.
//!
//! The keeper moves bytes to and from the child whenever the socket is ready, and reaps it
//! when its pidfd says that it has ended, unless a thread does that which waits for nothing
//! else. Whoever wants to know the state at this moment looks himself ([`Record::refresh`]); the lock decides who is first.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::family::Seat;
use super::wire::Encoded;
use super::{StartMethod, keeper};
use crate::park::packet::Packet;
use crate::sched::exit::KeepAlive;
use crate::sys::launch::Made;
use crate::sys::pass;
use crate::sys::pidfd::{self, Reaped};

/// What is left of a child that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// `None`: somebody else in this program has reaped it.
    pub(super) status: Option<ExitStatus>,
    /// All that it has sent.
    pub(super) received: Encoded,
}

/// One child.
pub(super) struct Record {
    /// Its number in the keeper's table.
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) method: StartMethod,
    state: Mutex<State>,
    /// Its place among those who share memory.
    seat: Option<Seat>,
    /// For the one handle.
    pub(super) end: Packet<Ended>,
}

enum State {
    Running(Running),
    Ended(Option<ExitStatus>),
}

struct Running {
    pidfd: Arc<OwnedFd>,
    link: Link,
    /// What the keeper has registered.
    watched: Option<Interest>,
    _keep_alive: Option<KeepAlive>,
}

/// The parent's end of the socket, what is still to go out, and what has come in.
#[derive(Debug)]
pub(super) struct Link {
    /// Non-blocking. `None` after the end of the stream.
    socket: Option<UnixStream>,
    unsent: Vec<u8>,
    sent: usize,
    received: Encoded,
}

/// What the keeper is to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    /// Readable, and perhaps writable; `None` after the end of the stream.
    pub(super) socket: Option<RawFd>,
    pub(super) writable: bool,
}

impl Record {
    pub(super) fn new(
        id: u64,
        made: Made,
        name: String,
        method: StartMethod,
        link: Link,
        seat: Option<Seat>,
        keep_alive: Option<KeepAlive>,
    ) -> Record {
        Record {
            id,
            pid: made.pid,
            name,
            daemon: keep_alive.is_none(),
            method,
            state: Mutex::new(State::Running(Running {
                pidfd: Arc::new(made.pidfd),
                link,
                watched: None,
                _keep_alive: keep_alive,
            })),
            seat,
            end: Packet::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // each step leaves it whole
    }

    /// Sends and receives what can be at this moment, and reaps the child if it has ended.
    ///
    /// Returns whether it runs.
    pub(super) fn refresh(&self) -> bool {
        let mut state = self.state();
        let State::Running(running) = &mut *state else {
            return false;
        };
        // Asked first: what a child has sent before its end is read below.
        let has_ended = pidfd::has_ended(running.pidfd.as_fd());
        running.link.transfer();
        if !has_ended {
            return true;
        }
        let status = match pidfd::reap(running.pidfd.as_fd()) {
            Reaped::NotYet => return true,
            Reaped::Ended(status) => Some(status),
            Reaped::ByOthers => None,
        };
        let State::Running(ended) = std::mem::replace(&mut *state, State::Ended(status)) else {
            unreachable!("seen above, under the lock");
        };
        drop(state);
        keeper::remove(self.id, ended.pidfd.as_fd());
        if let Some(seat) = &self.seat {
            seat.leave(status);
        }
        self.end.deliver(Ended {
            status,
            received: ended.link.received,
        });
        false
    }

    /// Calls `register` with the pidfd and what else is to be watched, if that has changed since
    /// the last call. Not if the child has ended.
    pub(super) fn watch(
        &self,
        register: impl FnOnce(RawFd, Interest) -> io::Result<()>,
    ) -> io::Result<()> {
        if let State::Running(running) = &mut *self.state()
            && running.watched != Some(running.interest())
        {
            let interest = running.interest();
            register(running.pidfd.as_raw_fd(), interest)?;
            running.watched = Some(interest);
        }
        Ok(())
    }

    /// Ends a child that the keeper cannot look after, and waits until it is gone.
    pub(super) fn end(&self) {
        if let State::Running(running) = &*self.state() {
            let _ = pidfd::send_signal(running.pidfd.as_fd(), pidfd::SIGKILL);
            pidfd::wait(running.pidfd.as_fd());
        }
        self.refresh();
    }

    /// Whether it runs; asked of the kernel.
    pub(super) fn is_alive(&self) -> bool {
        self.refresh()
    }

    /// How it ended: `None` while it runs, `Some(None)` if nobody can tell.
    pub(super) fn status(&self) -> Option<Option<ExitStatus>> {
        self.refresh();
        match &*self.state() {
            State::Running(_) => None,
            State::Ended(status) => Some(*status),
        }
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        match &*self.state() {
            State::Running(running) => pidfd::send_signal(running.pidfd.as_fd(), signal),
            State::Ended(_) => Ok(()),
        }
    }

    /// A descriptor that becomes readable when the child ends; `None`: it has.
    pub(super) fn sentinel(&self) -> io::Result<Option<OwnedFd>> {
        match &*self.state() {
            State::Running(running) => running.pidfd.try_clone().map(Some),
            State::Ended(_) => Ok(None),
        }
    }

    /// Waits on this thread until the child has ended, and reaps it, in place of the keeper: a
    /// thread that is woken by the kernel need not be woken by another.
    pub(super) fn wait_here(&self) {
        let pidfd = match &*self.state() {
            State::Running(running) => running.pidfd.clone(),
            State::Ended(_) => return,
        };
        keeper::leave_end(pidfd.as_fd());
        loop {
            pidfd::wait(pidfd.as_fd());
            if !self.refresh() {
                return;
            }
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Process");
        debug.field("name", &self.name).field("pid", &self.pid);
        match self.status() {
            None => debug.field("state", &format_args!("running")),
            Some(None) => debug.field("state", &format_args!("ended")),
            Some(Some(status)) => debug.field("state", &format_args!("ended, {status}")),
        };
        debug.finish_non_exhaustive()
    }
}

impl Running {
    fn interest(&self) -> Interest {
        Interest {
            socket: self.link.socket.as_ref().map(AsRawFd::as_raw_fd),
            writable: self.link.sent < self.link.unsent.len(),
        }
    }
}

impl Link {
    /// Sends `fds` with the first of `unsent`, as many as there is room for.
    ///
    /// # Errors
    /// If the socket cannot be made non-blocking, or too many descriptors are on their way.
    pub(super) fn new(socket: OwnedFd, unsent: Vec<u8>, fds: Vec<OwnedFd>) -> io::Result<Link> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let sent = pass::send_some(socket.as_fd(), &unsent, &raw)?; // empty, so there is room
        let mut link = Link {
            socket: Some(socket),
            unsent,
            sent,
            received: Encoded::default(),
        };
        link.send();
        Ok(link)
    }

    /// Moves bytes as far as the socket takes and gives them.
    pub(super) fn transfer(&mut self) {
        self.send();
        if self.receive().is_err() {
            self.socket = None;
        }
    }

    /// A child that no longer reads has ended, or will be asked why not by its result.
    fn send(&mut self) {
        let Some(mut socket) = self.socket.as_ref() else {
            return;
        };
        while self.sent < self.unsent.len() {
            match socket.write(&self.unsent[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.unsent = Vec::new();
        self.sent = 0;
    }

    /// An error is the end of the stream.
    fn receive(&mut self) -> io::Result<()> {
        let Some(mut socket) = self.socket.as_ref() else {
            return Ok(());
        };
        let Encoded { bytes, fds, .. } = &mut self.received;
        if bytes.is_empty() {
            // The child sends no descriptors later than with its first bytes.
            let mut first = [0; 4096];
            match pass::receive(socket.as_fd(), &mut first) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
                Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok((len, passed)) => {
                    bytes.extend_from_slice(&first[..len]);
                    *fds = passed;
                }
            }
        }
        loop {
            match socket.read_to_end(bytes) {
                // All that there is has been appended when it would block.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(error),
            }
        }
    }
}
