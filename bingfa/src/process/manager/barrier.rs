//! Proxies of barriers.

use std::io;
use std::time::Duration;

use super::client::patience;
use super::protocol::{BarrierOp, Kind, Patience, Reply, Request};
use super::proxy::sealed;
use super::{Client, Proxy};
use crate::sync::BarrierWaitResult;

/// A meeting point that a manager keeps: [`Client::barrier`].
///
/// The first `n - 1` who come wait for the `n`-th; then all go on, and the next round begins.
/// Who leaves before all have come, because of a time limit or a cancel, takes its arrival back.
///
/// # When it breaks
/// If a process that has come at least once is killed, panics, or calls `exit`, it will not come
/// again: all who wait have an error at once that names it, and so have all who come later,
/// until somebody [resets](Proxy::reset) it. A process that has dropped its proxies, as a
/// function does that returns, breaks nothing; nor does one that has never come.
#[doc(alias = "BarrierProxy")]
#[doc(alias = "BrokenBarrierError")]
#[derive(Debug)]
pub struct Barrier(());

impl sealed::Sealed for Barrier {
    const KIND: Kind = Kind::Barrier;
}

impl Client {
    /// Makes a barrier for `n`. With 0 it is as with 1: nobody waits.
    ///
    /// # Errors
    /// If the manager has ended.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, manager::{Barrier, Manager, Proxy}};
    ///
    /// let manager = Manager::new()?;
    /// let barrier = manager.barrier(2)?;
    /// let other = process::spawn(barrier.clone(), |barrier: Proxy<Barrier>| {
    ///     barrier.wait().unwrap().is_leader()
    /// });
    /// let leads = barrier.wait()?.is_leader();
    /// assert_ne!(leads, other.join().unwrap());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.Barrier")]
    pub fn barrier(&self, n: usize) -> io::Result<Proxy<Barrier>> {
        let request = Request::CreateBarrier(n as u64);
        let id = self.ask(&request, Vec::new(), None)?.number()?;
        Ok(Proxy::new(self.clone(), id))
    }
}

impl Proxy<Barrier> {
    /// Waits until all have come.
    ///
    /// # Errors
    /// If it is broken: then it says by whom. If the barrier or its manager is gone.
    ///
    /// # Cancellation
    /// A cancelled waiter takes its arrival back.
    pub fn wait(&self) -> io::Result<BarrierWaitResult> {
        loop {
            if let Some(result) = self.wait_within(None)? {
                return Ok(result);
            }
        }
    }

    /// Waits until all have come, for at most `limit`; `None`: they did not, and the caller's
    /// arrival is taken back.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Cancellation
    /// A cancelled waiter takes its arrival back.
    pub fn wait_timeout(&self, limit: Duration) -> io::Result<Option<BarrierWaitResult>> {
        self.wait_within(patience(limit))
    }

    fn wait_within(&self, limit: Patience) -> io::Result<Option<BarrierWaitResult>> {
        self.client.stay(limit)?; // others rely on it from now on
        let request = Request::Barrier(self.id, BarrierOp::Wait(limit));
        let answer = self.client.ask(&request, Vec::new(), limit)?;
        if matches!(answer.reply()?, Reply::TooLate) {
            return Ok(None);
        }
        Ok(Some(BarrierWaitResult::new(answer.flag()?)))
    }

    /// Whether it is broken.
    ///
    /// # Errors
    /// If the barrier or its manager is gone.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> io::Result<bool> {
        let request = Request::Barrier(self.id, BarrierOp::IsBroken);
        self.client.ask(&request, Vec::new(), None)?.flag()
    }

    /// Makes a broken barrier as good as new, for those who are left. (They are as many as
    /// before.)
    ///
    /// # Errors
    /// If the barrier or its manager is gone.
    pub fn reset(&self) -> io::Result<()> {
        let request = Request::Barrier(self.id, BarrierOp::Reset);
        self.client
            .ask(&request, Vec::new(), None)?
            .done()
            .map(drop)
    }
}
