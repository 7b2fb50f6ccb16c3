//! What the workers share about one socket of ours.

use std::os::fd::RawFd;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use super::drivers;
use crate::sys::cache::fetch;

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// The readiness registrations of one descriptor.
///
/// Its number tells the descriptor from an earlier one with the same `fd`: a worker
/// that finds another source under the `fd` knows that its registration is stale.
#[derive(Debug)]
pub(crate) struct Source {
    /// Never 0 and never used again.
    pub(super) id: u64,
    /// The seats (see `drivers`) whose epoll knows the descriptor, as bits.
    pub(super) registered: AtomicU64,
    /// Whether this is a byte stream, where order matters and messages do not.
    pub(super) stream: bool,
    /// Where the socket's owner reads before each operation: a hint.
    near: usize,
}

impl Source {
    /// The source of a descriptor that was just opened. `stream` for `SOCK_STREAM`; `near`
    /// is what the socket's owner reads before each operation.
    pub(crate) fn new<T>(stream: bool, near: &T) -> Source {
        // Relaxed: only the number's uniqueness counts.
        let id = LAST_ID.fetch_add(1, Relaxed) + 1;
        Source {
            id,
            registered: AtomicU64::new(0),
            stream,
            near: std::ptr::from_ref(near).addr(),
        }
    }

    /// Has the processor fetch what the operation after the current one will read.
    #[inline]
    pub(super) fn fetch_near(&self) {
        fetch(std::ptr::without_provenance(self.near));
    }

    /// Removes `fd` from every worker's epoll. Called before `fd` is closed or given
    /// away; no operation may use the source afterwards.
    pub(crate) fn release(&self, fd: RawFd) {
        // Relaxed: whoever registered did so in an operation, and the caller, who owns
        // the descriptor alone by now, has learnt of the end of every operation on it.
        if self.registered.load(Relaxed) == 0 {
            return;
        }
        // AcqRel, against a registration that should not be there any more: one of the
        // two sees the other.
        drivers::unregister(fd, self.registered.swap(0, AcqRel));
    }
}
