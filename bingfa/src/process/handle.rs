//! Handles: a process, and the right to its result.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::Location;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::error::{Cause, JoinError};
use super::record::{Ended, Record};
use super::spawn::Ends;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout};
use super::wire::{self, CodecError, Encoded, Outcome};
use super::{StartMethod, identity, keeper};
use crate::io::op;
use crate::park::packet::wait_done;
use crate::park::select::{Selectable, Ticket};
use crate::park::thread;
use crate::park::wait::Unparker;
use crate::registry::State;
use crate::sys::{attributes, eventfd, pidfd};

/// A process: this one, its parent, or a child made by [`spawn`](super::spawn).
///
/// Says who it is and how it is, and sends signals; the right to a child's result is its
/// [`JoinHandle`]'s.
#[derive(Clone)]
pub struct Process(Who);

#[derive(Clone)]
enum Who {
    Myself,
    /// By name, pid, and a descriptor that was opened while it was the parent.
    Parent(String, i32, Arc<OwnedFd>),
    Child(Arc<Record>),
}

/// This process.
///
/// # Examples
/// ```
/// use bingfa::process;
///
/// assert_eq!(process::current().name(), "main");
/// let child = process::spawn((), |()| process::current().name().to_owned());
/// assert_eq!(child.join().unwrap(), "Process-1");
/// ```
#[doc(alias = "current_process")]
#[must_use]
pub fn current() -> Process {
    Process(Who::Myself)
}

/// The process that has spawned this one; `None` in a process that was started otherwise, and
/// when the parent has ended.
///
/// # Examples
/// ```
/// use bingfa::process;
///
/// assert!(process::parent().is_none());
/// let child = process::spawn((), |()| process::parent().unwrap().pid());
/// assert_eq!(child.join().unwrap(), std::process::id());
/// ```
#[doc(alias = "parent_process")]
#[must_use]
pub fn parent() -> Option<Process> {
    let (name, pid) = identity::current().parent.clone()?;
    let is_parent = || attributes::parent_pid() == pid;
    if !is_parent() {
        return None;
    }
    let process = pidfd::open(pid).ok()?;
    // If it still is the parent, it was when the descriptor was opened.
    is_parent().then(|| Process(Who::Parent(name, pid, Arc::new(process))))
}

/// The children of this process that were made by [`spawn`](super::spawn) and run, oldest
/// first.
///
/// # Examples
/// ```
/// use bingfa::process;
///
/// let child = process::spawn((), |()| std::thread::park());
/// assert!(process::active_children().iter().any(|c| c.pid() == child.pid()));
/// child.kill().unwrap();
/// child.join().unwrap_err();
/// assert!(process::active_children().is_empty());
/// ```
#[must_use]
pub fn active_children() -> Vec<Process> {
    let mut children = keeper::children();
    children.retain(|child| child.is_alive());
    children
        .into_iter()
        .map(|child| Process(Who::Child(child)))
        .collect()
}

impl Process {
    /// The process id.
    #[doc(alias = "ident")]
    #[must_use]
    pub fn pid(&self) -> u32 {
        match &self.0 {
            Who::Myself => std::process::id(),
            Who::Parent(_, pid, _) => pid.unsigned_abs(),
            Who::Child(record) => record.pid.unsigned_abs(),
        }
    }

    /// The name that was given to its [`Builder`](super::Builder), else "Process-1" and so
    /// on; "main" for a process that was not spawned by this crate.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Who::Myself => &identity::current().name,
            Who::Parent(name, ..) => name,
            Who::Child(record) => &record.name,
        }
    }

    /// Whether it ends with its parent, as far as it is known: of a parent it is not.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        match &self.0 {
            Who::Myself => identity::current().daemon,
            Who::Parent(..) => false,
            Who::Child(record) => record.daemon,
        }
    }

    /// How a child was made; `None` for others.
    #[must_use]
    pub fn start_method(&self) -> Option<StartMethod> {
        match &self.0 {
            Who::Child(record) => Some(record.method),
            _ => None,
        }
    }

    /// Whether it runs at this moment.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match &self.0 {
            Who::Myself => true,
            Who::Parent(_, _, process) => !pidfd::has_ended(process.as_fd()),
            Who::Child(record) => record.is_alive(),
        }
    }

    /// How a child ended; `None` while it runs (and if something else in this program has
    /// reaped it). Shown as text, a signal has its name: `signal: 9 (SIGKILL)`.
    #[must_use]
    #[doc(alias = "exitcode")]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match &self.0 {
            Who::Child(record) => record.status().flatten(),
            _ => None,
        }
    }

    /// Asks it to end, by SIGTERM. What it holds is not cleaned up. A process that has ended is
    /// no error.
    ///
    /// # Errors
    /// If this process may not send signals to it.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(pidfd::SIGTERM)
    }

    /// Ends it at once, by SIGKILL. A process that has ended is no error.
    ///
    /// # Errors
    /// If this process may not send signals to it.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(pidfd::SIGKILL)
    }

    /// Sends the signal of this number. A process that has ended is no error.
    ///
    /// # Errors
    /// If there is no such signal, or this process may not send signals to it.
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        match &self.0 {
            Who::Myself => pidfd::send_signal(pidfd::open(own_pid())?.as_fd(), signal),
            Who::Parent(_, _, process) => pidfd::send_signal(process.as_fd(), signal),
            Who::Child(record) => record.signal(signal),
        }
    }

    /// A descriptor that becomes readable when the process ends, for
    /// [`io::readable`](crate::io::readable) and for waiting for any of several.
    ///
    /// # Errors
    /// If this process can have no more descriptors.
    ///
    /// # Examples
    /// ```
    /// use bingfa::{io, process};
    ///
    /// let child = process::spawn(3, |n: u32| n + 1);
    /// io::readable(&child.process().sentinel()?, None)?;
    /// assert!(!child.is_alive());
    /// # Ok::<(), io::Error>(())
    /// ```
    pub fn sentinel(&self) -> io::Result<OwnedFd> {
        match &self.0 {
            Who::Myself => pidfd::open(own_pid()),
            Who::Parent(_, _, process) => process.try_clone(),
            Who::Child(record) => match record.sentinel()? {
                Some(process) => Ok(process),
                None => {
                    let ended = eventfd::create()?;
                    eventfd::signal(ended.as_fd());
                    Ok(ended)
                }
            },
        }
    }
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Who::Child(record) => record.fmt(f),
            _ => f
                .debug_struct("Process")
                .field("name", &self.name())
                .field("pid", &self.pid())
                .finish_non_exhaustive(),
        }
    }
}

/// The right to a child's result. Dropping it leaves the child running.
///
/// Nobody has to join: a child that has ended is never left as a zombie. At normal exit the
/// process waits for its children, except for daemons.
///
/// Also a [`Future`] of the same result, on any executor.
pub struct JoinHandle<T> {
    /// This end of its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// This end of its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// This end of its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    process: Process,
    decode: Decode<T>,
}

/// [`wire::decode`] of one type.
type Decode<T> = fn(&[u8], Vec<OwnedFd>) -> Result<T, CodecError>;

impl<T> JoinHandle<T> {
    pub(super) fn new(
        record: Arc<Record>,
        decode: Decode<T>,
        [stdin, stdout, stderr]: Ends,
    ) -> Self {
        Self {
            stdin: stdin.map(ChildStdin::from),
            stdout: stdout.map(ChildStdout::from),
            stderr: stderr.map(ChildStderr::from),
            process: Process(Who::Child(record)),
            decode,
        }
    }

    fn record(&self) -> &Arc<Record> {
        match &self.process.0 {
            Who::Child(record) => record,
            _ => unreachable!("made only of children"),
        }
    }

    /// The process, to ask and to signal it while another waits for it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// See [`Process::pid`].
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// See [`Process::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// See [`Process::is_alive`].
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// True once the child has ended, so that `join` does not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !self.is_alive()
    }

    /// See [`Process::exit_status`].
    #[must_use]
    #[doc(alias = "exitcode")]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.process.exit_status()
    }

    /// See [`Process::terminate`].
    ///
    /// # Errors
    /// If this process may not send signals to it.
    pub fn terminate(&self) -> io::Result<()> {
        self.process.terminate()
    }

    /// See [`Process::kill`].
    ///
    /// # Errors
    /// If this process may not send signals to it.
    pub fn kill(&self) -> io::Result<()> {
        self.process.kill()
    }

    /// Waits until the child has ended and gives back its result. Closes its standard input
    /// first, if that is a pipe; a standard output that is a pipe has to be read by then.
    ///
    /// Suspends only the caller: a coroutine gives its worker back meanwhile. The child is
    /// gone from the process table afterwards.
    ///
    /// # Errors
    /// A [`JoinError`] that names the child, if it panicked, was killed, called `exit`, or a
    /// value could not be encoded or decoded.
    ///
    /// # Cancellation
    /// A cancelled waiter detaches the child, which goes on.
    ///
    /// # Examples
    /// ```
    /// let handle = bingfa::process::spawn(vec![1, 2, 3], |v: Vec<u32>| v.len());
    /// assert_eq!(handle.join().unwrap(), 3);
    /// ```
    #[track_caller]
    pub fn join(mut self) -> Result<T, JoinError> {
        drop(self.stdin.take());
        if op::kernel_may_block() {
            let me = thread::current();
            me.live.waits(&"join", Location::caller());
            self.record().wait_here();
            me.live.set(State::Running);
        }
        while !wait_done(&self.record().end.completion, &"join", None) {}
        self.result()
    }

    /// As [`join`](Self::join), but waits for at most `limit`.
    ///
    /// # Errors
    /// The handle itself, if the child has not ended by then.
    ///
    /// # Cancellation
    /// A cancelled waiter detaches the child, which goes on.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::process;
    ///
    /// let handle = process::spawn((), |()| std::thread::park());
    /// let handle = handle.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// handle.kill().unwrap();
    /// assert!(handle.join().is_err());
    /// ```
    #[track_caller]
    pub fn join_timeout(self, limit: Duration) -> Result<Result<T, JoinError>, Self> {
        let deadline = Instant::now().checked_add(limit);
        if wait_done(&self.record().end.completion, &"join", deadline) {
            Ok(self.result())
        } else {
            Err(self)
        }
    }

    /// The result of a child that has ended.
    fn result(&self) -> Result<T, JoinError> {
        let record = self.record();
        let Ended { status, received } = record
            .end
            .take()
            .expect("done, and the one handle takes it once");
        let cause = match wire::outcome(received) {
            Some(Outcome::Returned(Encoded { bytes, fds, .. })) => match (self.decode)(&bytes, fds)
            {
                Ok(value) => return Ok(value),
                Err(error) => Cause::Refused(format!("its result: {error}")),
            },
            Some(Outcome::Panicked(panic)) => Cause::Panicked(panic),
            Some(Outcome::Refused(why)) => Cause::Refused(why),
            None => Cause::Ended,
        };
        Err(JoinError {
            name: record.name.clone(),
            pid: record.pid,
            status,
            cause,
        })
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let completion = &self.record().end.completion;
        let waiter = || Unparker::Async(context.waker().clone());
        if completion.is_done() || !completion.watch(waiter()) {
            Poll::Ready(self.result())
        } else {
            Poll::Pending
        }
    }
}

/// As an arm of a select: the child has ended, so that `join` does not wait.
impl<T> Selectable for JoinHandle<T> {
    fn attempt(&mut self) -> bool {
        self.record().end.completion.is_done()
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        let completion = &self.record().end.completion;
        completion.watch(ticket.unparker.clone())
    }

    fn delist(&mut self) -> bool {
        self.record().end.completion.unwatch();
        false // the next attempt sees it
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}
