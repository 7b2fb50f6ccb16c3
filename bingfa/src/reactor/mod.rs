//! Where a worker waits for the world: one [`Driver`] per worker thread.
//!
//! A driver knows no coroutines. It takes pointers to [`Op`]s that live on suspended
//! frames, and reports those that have completed. io_uring does the calls itself;
//! epoll learns when they can be done and does them then. Callers cannot tell the
//! two apart, and one conformance suite (`tests/`) runs over both.
//!
//! # Who may do what
//! A driver is made on its worker's thread, used by it alone, and dropped by it when
//! nothing is in flight. Other threads touch only the [`Sleeper`], and, through
//! [`Source::release`] and [`closing`], the table of `drivers`.
#![allow(unsafe_code)] // declares unsafe methods; has no unsafe block

mod choose;
mod drivers;
mod epoll;
mod op;
mod source;
mod uring;
mod waiting;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::park::sleep::Sleeper;
pub use choose::IoBackend;
pub(crate) use choose::{Kind, choose};
pub(crate) use drivers::closing;
#[cfg(feature = "process")]
pub(crate) use op::NONE;
pub(crate) use op::{Block, FileOp, Op, OpKind, READY};
pub(crate) use source::Source;

/// What performs a worker's operations.
///
/// # Panics
/// Every call but [`in_flight`](Self::in_flight) panics in a process that was forked
/// from the one that made the driver, and if the kernel's side of it fails for good.
pub(crate) trait Driver {
    /// Tries the call at once, without waiting: `Some(result)` if that finished it.
    /// io_uring: always `None`. epoll: the call is made unless it is known to block, or
    /// others wait for the same on this descriptor.
    fn attempt(&mut self, op: &Op) -> Option<i32>;

    /// Whether it takes `OpKind::File`.
    fn does_files(&self) -> bool;

    /// Starts `op`; it may be reported at once.
    ///
    /// # Safety
    /// The invariants of `op` hold until it has been reported, and it has not been
    /// submitted before.
    unsafe fn submit(&mut self, op: NonNull<Op>, done: &mut Vec<NonNull<Op>>);

    /// Asks for `op` to be reported soon: with `-ECANCELED`, or with its real result if
    /// that won the race. Does nothing if it has been reported already.
    ///
    /// # Safety
    /// `op` was submitted here and its frame is still there.
    unsafe fn cancel(&mut self, op: NonNull<Op>, done: &mut Vec<NonNull<Op>>);

    /// Starts what is queued and reports what has completed, without blocking.
    /// Without operations in flight it makes no system call.
    fn flush(&mut self, done: &mut Vec<NonNull<Op>>);

    /// Like [`flush`](Self::flush), but blocks until something is reported, the
    /// [`Sleeper`] is woken, or `timeout` is over (`None`: never). It may also return
    /// early with nothing, and does not block at all unless `Sleeper::prepare` came
    /// first.
    fn wait(&mut self, timeout: Option<Duration>, done: &mut Vec<NonNull<Op>>);

    /// Whether it takes operations that wait for a futex.
    #[cfg(feature = "process")]
    fn waits_for_futexes(&self) -> bool;

    /// How many operations were submitted and not yet reported.
    fn in_flight(&self) -> usize;

    /// Another carrier closed `fd`: operations on it that were submitted in `epoch` (see
    /// [`closing`]) or before are reported with `-EBADF`, now or soon, unless they
    /// completed for another reason.
    fn closed(&mut self, fd: RawFd, epoch: u64, done: &mut Vec<NonNull<Op>>);
}

/// Makes the calling thread's driver, to be woken through `sleeper`.
///
/// # Errors
/// If the kernel refuses the descriptors or the memory.
pub(crate) fn open(kind: Kind, sleeper: &Arc<Sleeper>) -> io::Result<Box<dyn Driver>> {
    Ok(match kind {
        Kind::Uring(abilities) => Box::new(uring::Uring::open(abilities, sleeper)?),
        Kind::Epoll => Box::new(epoll::Epoll::open(sleeper)?),
    })
}

/// Panics, because this process was forked from the driver's.
#[cold]
#[inline(never)]
fn refuse_fork() -> ! {
    panic!(
        "this worker belongs to the process that was forked: in a child made by a plain fork(), \
         coroutines must not wait. Call exec there, or start the child by bingfa::process::spawn"
    )
}
