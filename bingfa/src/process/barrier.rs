//! `Barrier`: a meeting point of processes.
//!
//! # Invariants
//! 1. The payload of the object is a [`barrier::Barrier`], initialised before anybody else has
//!    it.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::poison::Owner;
use super::shared::{Shared, can_be_sent};
use super::{polling, waiting};
use crate::park::cancel;
use crate::shm::barrier::{self, Arrival, Arrived, End};
use crate::shm::kind::Kind;
use crate::shm::later;
use crate::sync::BarrierWaitResult;

/// A meeting point of threads and coroutines of several processes: as
/// [`sync::Barrier`](crate::sync::Barrier), and it breaks when one of the processes ends.
///
/// The first `n - 1` who come wait for the `n`-th; then all go on, and the next round begins.
///
/// A handle: clones are the same barrier, and so is what arrives in another process, as an
/// argument or a result of [`spawn`](super::spawn()) or in another message of this module.
///
/// # Leaving early
/// Who leaves before all have arrived, because of a time limit or a cancel, takes its arrival
/// back: others go on waiting for `n`. (Python's barrier is broken by that.) If all have
/// arrived at that very moment it returns with them, and a cancel unwinds at its next wait.
///
/// # When it breaks
/// A process that ends while it has a handle (killed, aborted, or by `exit` in the middle of
/// its work) can never come: all who wait have an error at once that names it, and so have
/// all who come later, until somebody [resets](Self::reset) it. So does a panic that drops a
/// handle. A process that has dropped its handles, as a function does that returns, breaks
/// nothing.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Barrier};
///
/// let barrier = Barrier::new(3)?;
/// let others: Vec<_> = (0..2)
///     .map(|_| {
///         process::spawn(barrier.clone(), |barrier: Barrier| {
///             barrier.wait().unwrap().is_leader()
///         })
///     })
///     .collect();
/// let leads = barrier.wait().unwrap().is_leader();
/// let leaders = others.into_iter().filter_map(|other| other.join().unwrap().then_some(()));
/// assert_eq!(leaders.count() + usize::from(leads), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "multiprocessing.Barrier")]
#[doc(alias = "parties")]
pub struct Barrier {
    shared: Shared,
}

/// Not all will come: a process that had the barrier has ended, or has panicked.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Barrier};
///
/// let barrier = Barrier::new(2)?;
/// let other = process::spawn(barrier.clone(), |_barrier: Barrier| -> () {
///     std::process::exit(3); // in the middle of its work
/// });
/// let broken = barrier.wait().unwrap_err();
/// assert_eq!(broken.pid(), other.pid());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "BrokenBarrierError")]
pub struct BrokenBarrier(Owner);

impl BrokenBarrier {
    /// The number of the process that broke it; it may be another process's by now.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Whether that process has ended; else it panicked.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.0.has_died()
    }

    /// How it has ended; `None` if it has not, or if nobody who saw it was its parent.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.exit_status()
    }
}

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid();
        match self.exit_status() {
            _ if !self.has_died() => write!(f, "broken barrier: process {pid} panicked"),
            Some(status) => write!(f, "broken barrier: process {pid} ended: {status}"),
            None => write!(f, "broken barrier: process {pid} ended"),
        }
    }
}

impl std::error::Error for BrokenBarrier {}

/// What a wait is called in snapshots.
const WHAT: &&str = &"process barrier";

impl Barrier {
    /// Makes a barrier for `n`. With 0 it is as with 1: nobody waits.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects, or
    /// `n` is above 2²⁴ - 1.
    pub fn new(n: usize) -> io::Result<Self> {
        if n as u64 > barrier::MOST {
            let why = format!("bingfa: a barrier for {n}: the most are {}", barrier::MOST);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let len = size_of::<barrier::Barrier>() as u64;
        let shared = Shared::create::<Self>(Kind::Barrier, len, |payload| {
            // SAFETY: the payload has room for it, and zeroes are one.
            unsafe { payload.cast::<barrier::Barrier>().as_ref() }.set_parties(n as u64);
            Ok(())
        })?;
        Ok(Self::over(shared))
    }

    fn over(shared: Shared) -> Self {
        Self { shared }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn barrier(&self) -> &barrier::Barrier {
        // SAFETY: invariant 1; the object lives as long as its handle.
        unsafe { self.shared.payload().cast().as_ref() }
    }

    /// Waits until all have come.
    ///
    /// # Errors
    /// [`BrokenBarrier`], which names the process that will not.
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    ///
    /// # Cancellation
    /// A cancelled waiter takes its arrival back; see [`Barrier`].
    #[track_caller]
    pub fn wait(&self) -> Result<BarrierWaitResult, BrokenBarrier> {
        loop {
            if let Some(result) = self.wait_until(None)? {
                return Ok(result);
            }
        }
    }

    /// Waits until all have come, for at most `limit`; `None`: they did not, and the
    /// caller's arrival is taken back.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// As for [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(
        &self,
        limit: Duration,
    ) -> Result<Option<BarrierWaitResult>, BrokenBarrier> {
        self.wait_until(Instant::now().checked_add(limit))
    }

    /// Waits until all have come or `deadline` passes; `None`: they did not, and the
    /// caller's arrival is taken back.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// As for [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Option<BarrierWaitResult>, BrokenBarrier> {
        self.wait_until(Some(deadline))
    }

    /// Waits until all have come, as an async task.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// Dropping the future takes the arrival back.
    pub async fn wait_async(&self) -> Result<BarrierWaitResult, BrokenBarrier> {
        let mut present = match self.arrive()? {
            None => return Ok(BarrierWaitResult::new(true)),
            Some(present) => present,
        };
        let word = &self.barrier().word;
        let end = polling::done(&self.shared, word, |_| present.end().into()).await;
        present.arrival = None;
        match end {
            End::Met => Ok(BarrierWaitResult::new(false)),
            End::Broken => Err(self.broken()),
        }
    }

    /// Whether it is broken.
    #[doc(alias = "broken")]
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.barrier().is_broken()
    }

    /// Makes a broken barrier as good as new, for those who are left. (They are as many as
    /// before.)
    pub fn reset(&self) {
        self.barrier().reset();
    }

    /// `None`: all are there, and the caller leads them.
    #[track_caller]
    fn arrive(&self) -> Result<Option<Present<'_>>, BrokenBarrier> {
        let (barrier, arena) = (self.barrier(), self.shared.arena());
        match barrier.arrive(arena) {
            Arrived::Leader => Ok(None),
            Arrived::Broken => Err(self.broken()),
            Arrived::Follower(arrival) => Ok(Some(Present {
                barrier,
                arrival: Some(arrival),
            })),
        }
    }

    #[track_caller]
    fn wait_until(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Option<BarrierWaitResult>, BrokenBarrier> {
        let Some(mut present) = self.arrive()? else {
            return Ok(Some(BarrierWaitResult::new(true)));
        };
        let barrier = self.barrier();
        let ended = |_| present.end().into();
        let family = self.shared.family();
        let ended = waiting::wait_for(family, &barrier.word, WHAT, deadline, ended);
        match ended.or_else(|| present.leave()) {
            None => Ok(None),
            Some(End::Met) => Ok(Some(BarrierWaitResult::new(false))),
            Some(End::Broken) => Err(self.broken()),
        }
    }

    fn broken(&self) -> BrokenBarrier {
        let blame = self.barrier().blame();
        BrokenBarrier(Owner(blame.expect("a broken barrier says by whom")))
    }
}

/// An arrival, which is taken back if the wait unwinds.
struct Present<'a> {
    barrier: &'a barrier::Barrier,
    arrival: Option<Arrival>,
}

impl Present<'_> {
    fn end(&self) -> Option<End> {
        self.barrier.end(self.arrival?)
    }

    /// How the round has ended, unless the arrival is taken back.
    fn leave(&mut self) -> Option<End> {
        self.barrier.leave(self.arrival.take()?)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        let arena = self.shared.family().arena();
        if cancel::is_panicking() && !arena.forked() {
            let pid = std::process::id() as i32;
            let tell = move |barrier: &Barrier| {
                let arena = arena.lock_briefly();
                arena.is_some_and(|arena| {
                    barrier.barrier().panicked(&arena, pid);
                    true
                })
            };
            if !tell(self) {
                let same = self.clone();
                later::until_done(move || tell(&same));
            }
        }
    }
}

can_be_sent!(Barrier: Kind::Barrier);

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("is_broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}
