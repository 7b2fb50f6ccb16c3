//! `Barrier`: std's, on every carrier.

use std::fmt;
use std::time::{Duration, Instant};

use super::raw_barrier::{BarrierFuture, RawBarrier, Waited};
use crate::park::cancel;

/// A meeting point: [`std::sync::Barrier`], which suspends only the calling carrier.
///
/// The first `n - 1` who come wait for the `n`-th; then all go on, and the next round begins.
///
/// # Leaving early
/// Who leaves before all have arrived, because of a time limit or a cancel or because its future
/// is dropped, takes its arrival back: others go on waiting for `n`. (Python's barrier is
/// broken by that.) If all have arrived at that very moment it returns with them, and a
/// cancel unwinds at its next wait.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
/// use bingfa::sync::{Arc, Barrier};
///
/// let barrier = Arc::new(Barrier::new(3));
/// let tasks: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = barrier.clone();
///         coroutine::spawn(move || barrier.wait().is_leader())
///     })
///     .collect();
/// let leaders = coroutine::join_all(tasks).unwrap();
/// assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
/// ```
#[doc(alias = "parties")]
#[doc(alias = "BrokenBarrierError")]
pub struct Barrier {
    raw: RawBarrier,
}

/// Tells one of those who have met from the others.
#[derive(Debug)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

impl BarrierWaitResult {
    pub(crate) fn new(is_leader: bool) -> Self {
        Self { is_leader }
    }

    /// True for exactly one of those who have met: the last who came.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}

impl Barrier {
    /// Makes a barrier for `n`. With 0 it is as with 1: nobody waits.
    #[must_use]
    #[inline]
    pub const fn new(n: usize) -> Self {
        Self {
            raw: RawBarrier::new(n as u64),
        }
    }

    /// Waits until all have come.
    ///
    /// # Cancellation
    /// A cancelled waiter takes its arrival back; see [`Barrier`].
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        loop {
            if let Some(result) = self.wait_until(None) {
                return result;
            }
        }
    }

    /// Waits until all have come, for at most `limit`; `None`: they did not, and the
    /// caller's arrival is taken back.
    ///
    /// # Cancellation
    /// A cancelled waiter takes its arrival back; see [`Barrier`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::sync::Barrier;
    ///
    /// let barrier = Barrier::new(2);
    /// assert!(barrier.wait_timeout(Duration::from_millis(1)).is_none());
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Option<BarrierWaitResult> {
        self.wait_until(Instant::now().checked_add(limit))
    }

    /// Waits until all have come or `deadline` passes; `None`: they did not, and the
    /// caller's arrival is taken back.
    ///
    /// # Cancellation
    /// A cancelled waiter takes its arrival back; see [`Barrier`].
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<BarrierWaitResult> {
        self.wait_until(Some(deadline))
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> Option<BarrierWaitResult> {
        loop {
            let is_leader = match self.raw.wait(deadline) {
                Waited::Leader => true,
                Waited::Follower => false,
                Waited::TimedOut => return None,
                Waited::Interrupted => {
                    cancel::raise();
                    continue;
                }
            };
            return Some(BarrierWaitResult::new(is_leader));
        }
    }

    /// Waits, as an async task, until all have come. It arrives with the first poll.
    ///
    /// # Cancellation
    /// Dropping the future takes the arrival back.
    pub async fn wait_async(&self) -> BarrierWaitResult {
        let is_leader = BarrierFuture::new(&self.raw).await;
        BarrierWaitResult::new(is_leader)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}
