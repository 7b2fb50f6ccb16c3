//! One I/O operation: what a coroutine hands to its worker's driver.
//!
//! An [`Op`] lives on the stack frame that waits for it. The frame is suspended
//! until the operation has completed, so the borrowed buffers that
//! [`OpKind`] points to stay valid and the kernel may fill them directly.
//!
//! # Invariants
//! 1. From `submit` until its completion has been reported, the frame that holds
//!    an `Op` (and every buffer that its kind points to) is not left.
//! 2. An `Op` is touched only by the thread that submitted it.
//! 3. Every submitted `Op` is reported exactly once, cancelled or not.
//! 4. Its driver has it in the list of its descriptor (`link`) from `submit` until
//!    just before `result` is set.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

use super::source::Source;
use crate::sys::cache::fetch;
use crate::sys::errno;
use crate::sys::socket::{self, MSG_DONTWAIT, POLLIN, POLLOUT, msghdr};

/// The system call that an operation stands for.
///
/// Pointers are valid from submission to completion (invariant 1).
///
/// `MSG_DONTWAIT` is an answer at once, `EAGAIN` included. `MSG_WAITALL` is not for
/// these: only io_uring would wait for the rest.
///
/// On a descriptor that is `O_NONBLOCK`, io_uring completes a transfer with `EAGAIN`
/// where epoll waits. The caller, who knows which of the two its user asked for,
/// passes `MSG_DONTWAIT`, or waits by [`Poll`](Self::Poll) and tries again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpKind {
    /// `recv(2)` into `buf`.
    Recv {
        buf: *mut u8,
        len: usize,
        flags: i32,
    },
    /// `send(2)` from `buf`; `MSG_NOSIGNAL` is always added.
    Send {
        buf: *const u8,
        len: usize,
        flags: i32,
    },
    /// `recvmsg(2)`.
    RecvMsg { msg: *mut msghdr, flags: i32 },
    /// `sendmsg(2)`; `MSG_NOSIGNAL` is always added.
    SendMsg { msg: *const msghdr, flags: i32 },
    /// Waits until `poll(2)` would report one of `events`; the result is the events seen.
    Poll { events: i16 },
    /// A call on a file. Files have no readiness: only a driver that [`does_files`] is
    /// given these.
    ///
    /// [`does_files`]: super::Driver::does_files
    File(FileOp),
    /// Waits while the word, which processes share, is `value`; 0 once it is not, or was woken.
    /// It has no descriptor. Only for a driver that [`waits_for_futexes`].
    ///
    /// [`waits_for_futexes`]: super::Driver::waits_for_futexes
    #[cfg(feature = "process")]
    Futex { word: *const u32, value: u32 },
}

/// In place of a descriptor, for operations that have none.
pub(crate) const NONE: RawFd = -1;

/// What is done to a file that is stored somewhere, at a place that the call names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileOp {
    /// `pread(2)` into `buf`.
    ReadAt {
        buf: *mut u8,
        len: usize,
        offset: u64,
    },
    /// `pwrite(2)` from `buf`.
    WriteAt {
        buf: *const u8,
        len: usize,
        offset: u64,
    },
    /// `fsync(2)`, or `fdatasync(2)`.
    Sync { data_only: bool },
}

/// Why the questions of readiness-based drivers never come up for files.
const NO_READINESS: &str = "files are given only to a driver that does them";

/// The result of an operation that has not been done, but can be now: to be attempted
/// again by its owner, who asked for that with `tries_again`. No system call returns it.
pub(crate) const READY: i32 = i32::MIN;

/// An operation in flight, on the frame that waits for it.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) kind: OpKind,
    pub(crate) fd: RawFd,
    /// The readiness registration of a socket of ours; `None` for a foreign descriptor.
    /// What it points to outlives the operation.
    pub(crate) source: Option<NonNull<Source>>,
    /// Whom the scheduler resumes; opaque here.
    pub(crate) owner: *const (),
    /// What the call returned: a value of 0 or more, or a negated `errno`.
    /// `None` until completed.
    pub(crate) result: Cell<Option<i32>>,
    /// Whoever waits makes the call itself when it is told [`READY`]. The whole request is
    /// then handled in one go, while the kernel's side of the socket is in the cache.
    pub(crate) tries_again: bool,
    /// The driver's own.
    pub(super) link: Link,
}

/// What the driver notes in an operation.
#[derive(Debug)]
pub(super) struct Link {
    /// Neighbours in the list of the descriptor, a ring; null while in none.
    pub(super) next: Cell<*const Op>,
    pub(super) prev: Cell<*const Op>,
    /// The epoch in which it was submitted, see `drivers`.
    pub(super) epoch: Cell<u64>,
    /// The descriptor was closed, so a cancel means EBADF.
    pub(super) closed: Cell<bool>,
    /// epoll: the round in which the call was tried last. io_uring: how often it began again.
    pub(super) tried: Cell<u64>,
}

impl Op {
    /// An operation that has not been submitted.
    #[inline]
    pub(crate) fn new(
        kind: OpKind,
        fd: RawFd,
        source: Option<NonNull<Source>>,
        owner: *const (),
    ) -> Op {
        let link = Link {
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            epoch: Cell::new(0),
            closed: Cell::new(false),
            tried: Cell::new(0),
        };
        Op {
            kind,
            fd,
            source,
            owner,
            result: Cell::new(None),
            tries_again: false,
            link,
        }
    }

    /// Has the processor fetch what the owner, among thousands, will touch after the wait.
    /// Soon: the socket.
    #[inline]
    pub(crate) fn fetch_source(&self) {
        if let Some(source) = self.source {
            fetch(source.as_ptr().cast());
        }
    }

    /// Next: what the socket, fetched by now, points to.
    #[inline]
    pub(crate) fn fetch_near(&self) {
        if let Some(source) = self.source {
            // SAFETY: a source outlives the operations that name it.
            unsafe { source.as_ref() }.fetch_near();
        }
    }

    /// Reports `op`, which is in no list any more.
    ///
    /// # Safety
    /// `op` was submitted and has not been reported.
    #[inline]
    pub(super) unsafe fn report(op: NonNull<Op>, result: i32, done: &mut Vec<NonNull<Op>>) {
        // SAFETY: not reported, so its frame is still there (invariant 1).
        let previous = unsafe { op.as_ref() }.result.replace(Some(result));
        debug_assert!(previous.is_none(), "an operation was reported twice");
        done.push(op);
    }
}

/// Whether a system call may block the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Yes,
    No,
}

/// What has to become possible on a descriptor before a call can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
    /// Whatever the operation asks `poll(2)` for.
    Poll,
}

impl OpKind {
    /// Makes the system call: its value, or the negated `errno`.
    ///
    /// # Safety
    /// The pointers are valid for the call.
    pub(crate) unsafe fn call(self, fd: RawFd, block: Block) -> i32 {
        let (extra, poll_timeout) = match block {
            Block::Yes => (0, -1),
            Block::No => (MSG_DONTWAIT, 0),
        };
        match self {
            // SAFETY: by the caller's contract.
            OpKind::Recv { buf, len, flags } => unsafe {
                socket::recv(fd, buf, len, flags | extra)
            },
            // SAFETY: by the caller's contract.
            OpKind::Send { buf, len, flags } => unsafe {
                socket::send(fd, buf, len, flags | extra)
            },
            // SAFETY: by the caller's contract.
            OpKind::RecvMsg { msg, flags } => unsafe { socket::recvmsg(fd, msg, flags | extra) },
            // SAFETY: by the caller's contract.
            OpKind::SendMsg { msg, flags } => unsafe { socket::sendmsg(fd, msg, flags | extra) },
            OpKind::Poll { events } => match socket::poll(fd, events, poll_timeout) {
                0 => -errno::EAGAIN,
                seen => seen,
            },
            OpKind::File(_) => unreachable!("{NO_READINESS}"),
            // Whether it has changed is the caller's to look at, who knows the word.
            #[cfg(feature = "process")]
            OpKind::Futex { .. } => -errno::EAGAIN,
        }
    }

    pub(super) fn direction(self) -> Direction {
        match self {
            OpKind::Recv { .. } | OpKind::RecvMsg { .. } => Direction::Read,
            OpKind::Send { .. } | OpKind::SendMsg { .. } => Direction::Write,
            OpKind::Poll { .. } => Direction::Poll,
            OpKind::File(_) => unreachable!("{NO_READINESS}"),
            #[cfg(feature = "process")]
            OpKind::Futex { .. } => Direction::Poll,
        }
    }

    /// The `poll(2)` events for which it waits.
    pub(super) fn interest(self) -> i16 {
        match self {
            OpKind::Recv { .. } | OpKind::RecvMsg { .. } => POLLIN,
            OpKind::Send { .. } | OpKind::SendMsg { .. } => POLLOUT,
            OpKind::Poll { events } => events,
            OpKind::File(_) => unreachable!("{NO_READINESS}"),
            #[cfg(feature = "process")]
            OpKind::Futex { .. } => 0,
        }
    }

    /// The `MSG_` flags of a transfer.
    pub(super) fn flags(self) -> i32 {
        match self {
            OpKind::Recv { flags, .. }
            | OpKind::Send { flags, .. }
            | OpKind::RecvMsg { flags, .. }
            | OpKind::SendMsg { flags, .. } => flags,
            OpKind::Poll { .. } | OpKind::File(_) => 0,
            #[cfg(feature = "process")]
            OpKind::Futex { .. } => 0,
        }
    }

    /// Whether it completes with EAGAIN instead of waiting.
    pub(super) fn never_waits(self) -> bool {
        self.flags() & MSG_DONTWAIT != 0
    }

    /// The bytes that a transfer has room for.
    ///
    /// # Safety
    /// The pointers are valid.
    pub(super) unsafe fn len(self) -> usize {
        match self {
            OpKind::Recv { len, .. } | OpKind::Send { len, .. } => len.min(socket::MAX_TRANSFER),
            // SAFETY: by the caller's contract.
            OpKind::RecvMsg { msg, .. } => unsafe { socket::msg_len(msg) },
            // SAFETY: by the caller's contract.
            OpKind::SendMsg { msg, .. } => unsafe { socket::msg_len(msg) },
            OpKind::Poll { .. } | OpKind::File(_) => 0,
            #[cfg(feature = "process")]
            OpKind::Futex { .. } => 0,
        }
    }

    /// Whether it is an operation on a descriptor.
    pub(super) fn has_descriptor(self) -> bool {
        match self {
            #[cfg(feature = "process")]
            OpKind::Futex { .. } => false,
            _ => true,
        }
    }
}
