//! The live drivers, for threads that are about to close a descriptor.
//!
//! Two things have to reach other workers then: the registrations of a socket in
//! their epolls go ([`unregister`]), and who still waits on the descriptor is woken
//! with EBADF. For the latter, [`closing`] says whether anybody waits, and gives the
//! epoch that the scheduler then broadcasts to `Driver::closed`: operations carry the
//! epoch of their submission, so those on a new descriptor with the same number are
//! told from those on the old one.
//!
//! # Invariants
//! 1. While a seat is in the table, its epoll descriptor is open: a driver leaves the
//!    table, which takes the lock for writing, before it closes the descriptor.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::waiting::Waiting;
use crate::sys;
use crate::sys::fork::Mark;

/// Seats from this one on share the last bit of a mask.
const LAST_BIT: usize = 63;

static DRIVERS: RwLock<Vec<Option<Arc<Shared>>>> = RwLock::new(Vec::new());

/// Goes up by one with every close of a descriptor on which somebody may wait.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// What other threads see of a driver.
#[derive(Debug)]
struct Shared {
    waiting: Waiting,
    epoll: Option<RawFd>,
    /// A fork shares the epoll itself with its parent, and must leave it alone.
    process: Mark,
}

/// A driver's place in the table; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    index: usize,
    shared: Arc<Shared>,
}

impl Seat {
    /// Takes a seat for a driver with this epoll.
    pub(super) fn take(epoll: Option<RawFd>, process: Mark) -> Seat {
        let shared = Arc::new(Shared {
            waiting: Waiting::new(),
            epoll,
            process,
        });
        let mut drivers = DRIVERS.write().unwrap_or_else(PoisonError::into_inner);
        let index = drivers.iter().position(Option::is_none).unwrap_or_else(|| {
            drivers.push(None);
            drivers.len() - 1
        });
        drivers[index] = Some(shared.clone());
        Seat { index, shared }
    }

    /// The bit of this seat in `Source::registered`.
    #[inline]
    pub(super) fn bit(&self) -> u64 {
        1 << self.index.min(LAST_BIT)
    }

    /// The operations that wait in this driver.
    #[inline]
    pub(super) fn waiting(&self) -> &Waiting {
        &self.shared.waiting
    }

    /// Whether this is a fork of the process that took the seat.
    #[inline]
    pub(super) fn forked(&self) -> bool {
        self.shared.process.forked()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        DRIVERS.write().unwrap_or_else(PoisonError::into_inner)[self.index] = None;
    }
}

fn drivers() -> RwLockReadGuard<'static, Vec<Option<Arc<Shared>>>> {
    DRIVERS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Removes `fd` from the epolls of the seats in `mask`.
#[cold]
pub(super) fn unregister(fd: RawFd, mask: u64) {
    for (index, driver) in drivers().iter().enumerate() {
        if mask & (1 << index.min(LAST_BIT)) == 0 {
            continue;
        }
        if let Some(driver) = driver
            && let Some(epoll) = driver.epoll
            && !driver.process.forked()
        {
            // Open, by invariant 1: the lock is held.
            sys::epoll::remove(epoll, fd);
        }
    }
}

/// To be called before `fd` is closed: `Some` if a coroutine may be waiting on it, in
/// some worker. Then `(fd, epoch)` has to reach `Driver::closed` of every worker.
pub(crate) fn closing(fd: RawFd) -> Option<u64> {
    let waits = drivers()
        .iter()
        .flatten()
        .any(|driver| driver.waiting.any(fd));
    // The next epoch begins with the close: whoever can know the descriptor's
    // successor submits in a later one.
    waits.then(|| EPOCH.fetch_add(1, SeqCst))
}

/// The epoch of an operation that is submitted now.
#[inline]
pub(super) fn epoch() -> u64 {
    EPOCH.load(SeqCst)
}
