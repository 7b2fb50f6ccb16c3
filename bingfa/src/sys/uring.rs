//! io_uring: a ring, the submissions that the reactor needs, and the probe.
//!
//! # Invariants
//! 1. A [`Ring`] is used by the thread that made it, in the process that made it;
//!    its memory does not exist in a fork (`MADV_DONTFORK`).
//! 2. Whoever pushes a submission keeps its buffers valid until its completion has
//!    been reaped.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, opcode, types};

use super::errno;
use super::fork::Mark;
use super::socket::{MAX_TRANSFER, MSG_NOSIGNAL, msghdr};

pub(crate) use io_uring::squeue::Entry;

/// The kernel takes seconds as signed; a wait may end early in any case.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 30);

const FUTEX2_SIZE_U32: u32 = 2;
const FUTEX2_PRIVATE: u32 = libc::FUTEX_PRIVATE_FLAG as u32;
const FUTEX_MATCH_ANY: u64 = u32::MAX as u64;

/// How a ring runs the work that completes its operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// In the waits of the one thread that submits (Linux 6.1).
    Defer,
    /// In the next system call of that thread, without interrupting it (5.19).
    Coop,
    /// At once, by interrupting it.
    Plain,
}

/// What the kernel's io_uring can do for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) setup: Setup,
    /// Whether a futex can be waited for (6.7).
    pub(crate) futex: bool,
}

/// Why there is no io_uring for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Setting up or entering a ring failed with this `errno`.
    Refused(i32),
    /// The kernel's io_uring is too old: it lacks this.
    Lacks(&'static str),
}

/// A submission and a completion queue.
pub(crate) struct Ring {
    ring: ManuallyDrop<IoUring>,
    made_in: Mark,
    /// Invariant 1.
    not_send: PhantomData<*const ()>,
}

impl Ring {
    /// A ring with `submissions` entries, and `completions` before the kernel has to
    /// keep more on a list.
    pub(crate) fn new(setup: Setup, submissions: u32, completions: u32) -> io::Result<Ring> {
        let made_in = Mark::here()?;
        let mut builder = IoUring::builder();
        builder.dontfork().setup_cqsize(completions);
        match setup {
            Setup::Defer => {
                builder.setup_single_issuer().setup_defer_taskrun();
                builder.setup_taskrun_flag().setup_submit_all()
            }
            Setup::Coop => builder
                .setup_coop_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all(),
            Setup::Plain => &mut builder,
        };
        let ring = ManuallyDrop::new(builder.build(submissions)?);
        Ok(Ring {
            ring,
            made_in,
            not_send: PhantomData,
        })
    }

    /// Whether this is a fork of the ring's process, where the ring must not be used.
    #[inline]
    pub(crate) fn forked(&self) -> bool {
        self.made_in.forked()
    }

    /// Queues a submission; `false` if the queue is full.
    ///
    /// # Safety
    /// What `entry` points to stays valid until its completion (invariant 2).
    #[inline]
    #[must_use]
    pub(crate) unsafe fn push(&mut self, entry: &Entry) -> bool {
        // SAFETY: by the caller's contract.
        unsafe { self.ring.submission().push(entry).is_ok() }
    }

    /// Whether [`submit`](Self::submit) has anything to do.
    #[inline]
    pub(crate) fn wants_submit(&mut self) -> bool {
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Submits what is queued and runs what is due, without waiting.
    pub(crate) fn submit(&mut self) -> Result<(), i32> {
        let queued = self.ring.submission().len() as u32;
        // GETEVENTS always: work that became due since the flag was looked at is run
        // for nothing more than this call.
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed, and what is queued is valid (invariant 2).
        let entered = unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(queued, 0, flags, None)
        };
        status(entered)
    }

    /// Submits what is queued and waits until there is a completion or `timeout` is over.
    pub(crate) fn submit_and_wait(&mut self, timeout: Option<Duration>) -> Result<(), i32> {
        let submitter = self.ring.submitter();
        status(match timeout {
            None => submitter.submit_and_wait(1),
            Some(timeout) => {
                let limit = types::Timespec::from(timeout.min(LONGEST_WAIT));
                submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&limit))
            }
        })
    }

    /// Takes all completions: `(user_data, result)` each.
    #[inline]
    pub(crate) fn reap(&mut self, mut each: impl FnMut(u64, i32)) {
        for entry in self.ring.completion() {
            each(entry.user_data(), entry.result());
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // In a fork the mappings are not there, and unmapping their addresses could
        // hit something else: there the ring is leaked.
        if !self.made_in.forked() {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.ring) };
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

fn status(entered: io::Result<usize>) -> Result<(), i32> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => Err(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// `recv(2)` into borrowed memory.
pub(crate) fn recv(fd: RawFd, buf: *mut u8, len: usize, flags: i32) -> Entry {
    let len = len.min(MAX_TRANSFER) as u32;
    opcode::Recv::new(types::Fd(fd), buf, len)
        .flags(flags)
        .build()
}

/// `send(2)` from borrowed memory, without SIGPIPE.
pub(crate) fn send(fd: RawFd, buf: *const u8, len: usize, flags: i32) -> Entry {
    let len = len.min(MAX_TRANSFER) as u32;
    opcode::Send::new(types::Fd(fd), buf, len)
        .flags(flags | MSG_NOSIGNAL)
        .build()
}

/// `recvmsg(2)`.
pub(crate) fn recvmsg(fd: RawFd, msg: *mut msghdr, flags: i32) -> Entry {
    opcode::RecvMsg::new(types::Fd(fd), msg.cast())
        .flags(flags as u32)
        .build()
}

/// `sendmsg(2)`, without SIGPIPE.
pub(crate) fn sendmsg(fd: RawFd, msg: *const msghdr, flags: i32) -> Entry {
    let flags = (flags | MSG_NOSIGNAL) as u32;
    opcode::SendMsg::new(types::Fd(fd), msg.cast())
        .flags(flags)
        .build()
}

/// `pread(2)` into borrowed memory.
pub(crate) fn read_at(fd: RawFd, buf: *mut u8, len: usize, offset: u64) -> Entry {
    let len = len.min(MAX_TRANSFER) as u32;
    opcode::Read::new(types::Fd(fd), buf, len)
        .offset(offset)
        .build()
}

/// `pwrite(2)` from borrowed memory.
pub(crate) fn write_at(fd: RawFd, buf: *const u8, len: usize, offset: u64) -> Entry {
    let len = len.min(MAX_TRANSFER) as u32;
    opcode::Write::new(types::Fd(fd), buf, len)
        .offset(offset)
        .build()
}

/// `fsync(2)`, or `fdatasync(2)`.
pub(crate) fn sync(fd: RawFd, data_only: bool) -> Entry {
    let flags = if data_only {
        types::FsyncFlags::DATASYNC
    } else {
        types::FsyncFlags::empty()
    };
    opcode::Fsync::new(types::Fd(fd)).flags(flags).build()
}

/// Waits once for any of `events` (and for error and hang-up).
pub(crate) fn poll(fd: RawFd, events: i16) -> Entry {
    opcode::PollAdd::new(types::Fd(fd), u32::from(events as u16)).build()
}

/// Waits while the private futex `word` is `value`.
pub(crate) fn futex_wait(word: *const u32, value: u32) -> Entry {
    futex_wait_by(FUTEX2_PRIVATE, word, value)
}

/// Waits while `word`, which other processes may have mapped, too, is `value`.
#[cfg(feature = "process")]
pub(crate) fn futex_wait_shared(word: *const u32, value: u32) -> Entry {
    futex_wait_by(0, word, value)
}

fn futex_wait_by(flag: u32, word: *const u32, value: u32) -> Entry {
    let flags = FUTEX2_SIZE_U32 | flag;
    opcode::FutexWait::new(word, value.into(), FUTEX_MATCH_ANY, flags).build()
}

/// Cancels the operation that was submitted with `user_data`.
pub(crate) fn cancel(user_data: u64) -> Entry {
    opcode::AsyncCancel::new(user_data).build()
}

/// Sets up a small ring, looks at what it offers, and makes one round trip.
pub(crate) fn probe() -> Result<Abilities, Missing> {
    for setup in [Setup::Defer, Setup::Coop, Setup::Plain] {
        match Ring::new(setup, 4, 8) {
            Ok(mut ring) => return examine(setup, &mut ring),
            // These flags are unknown here: try older ones.
            Err(error) if error.raw_os_error() == Some(errno::EINVAL) => {}
            Err(error) => return Err(Missing::Refused(error.raw_os_error().unwrap_or(libc::EIO))),
        }
    }
    Err(Missing::Refused(errno::EINVAL))
}

fn examine(setup: Setup, ring: &mut Ring) -> Result<Abilities, Missing> {
    let features = ring.ring.params();
    if !features.is_feature_nodrop() {
        return Err(Missing::Lacks(
            "completions that are never dropped (Linux 5.5)",
        ));
    }
    if !features.is_feature_fast_poll() {
        return Err(Missing::Lacks("waits without kernel threads (Linux 5.7)"));
    }
    if !features.is_feature_ext_arg() {
        return Err(Missing::Lacks("waits with a timeout (Linux 5.11)"));
    }
    let mut offers = io_uring::Probe::new();
    if let Err(error) = ring.ring.submitter().register_probe(&mut offers) {
        return Err(Missing::Refused(error.raw_os_error().unwrap_or(libc::EIO)));
    }
    for (code, name) in [
        (opcode::Recv::CODE, "the operation RECV"),
        (opcode::Send::CODE, "the operation SEND"),
        (opcode::RecvMsg::CODE, "the operation RECVMSG"),
        (opcode::SendMsg::CODE, "the operation SENDMSG"),
        (opcode::PollAdd::CODE, "the operation POLL_ADD"),
        (opcode::Read::CODE, "the operation READ"),
        (opcode::Write::CODE, "the operation WRITE"),
        (opcode::Fsync::CODE, "the operation FSYNC"),
        (opcode::AsyncCancel::CODE, "the operation ASYNC_CANCEL"),
    ] {
        if !offers.is_supported(code) {
            return Err(Missing::Lacks(name));
        }
    }
    // A filter may allow `io_uring_setup` and forbid `io_uring_enter`.
    // SAFETY: a no-op points to nothing.
    let queued = unsafe { ring.push(&opcode::Nop::new().build()) };
    assert!(queued, "a new ring is empty");
    ring.submit_and_wait(None).map_err(Missing::Refused)?;
    Ok(Abilities {
        setup,
        futex: offers.is_supported(opcode::FutexWait::CODE),
    })
}

/// The release of the running kernel, such as `6.18.2`.
pub(crate) fn kernel_release() -> String {
    // SAFETY: `utsname` is arrays of bytes, for which zero is a value.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` is writable; it was zeroed, so its strings end in any case.
    let release = unsafe {
        libc::uname(&raw mut names);
        CStr::from_ptr(names.release.as_ptr())
    };
    release.to_string_lossy().into_owned()
}
