//! A limit on whatever a piece of code waits for.

use std::fmt;
use std::time::{Duration, Instant};

use crate::park::cancel;

/// The limit of a [`timeout`] was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit was reached")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs `f`; if it still waits for something after `limit`, that wait unwinds `f`.
///
/// Only waits of this crate are cut short: code that computes ends by itself (or at its
/// next [`checkpoint`](crate::coroutine::checkpoint)). If `f` ends first, its result counts,
/// however late. Timeouts nest: the outermost that is over wins. Works in coroutines and on
/// plain threads, in both without any help from `f`.
///
/// # Errors
/// [`Elapsed`] if `f` was cut short. Its destructors have run.
///
/// # Panics
/// If `f` panics. If the limit is reached in a program built with `panic = "abort"`.
///
/// # Cancellation
/// A cancel from outside unwinds through it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use bingfa::{coroutine, time};
///
/// let limit = Duration::from_millis(10);
/// let hour = Duration::from_secs(3600);
/// assert!(time::timeout(limit, || coroutine::sleep(hour)).is_err());
/// assert_eq!(time::timeout(hour, || 5), Ok(5));
/// ```
#[doc(alias = "wait_for")]
pub fn timeout<T>(limit: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    match Instant::now().checked_add(limit) {
        Some(deadline) => timeout_at(deadline, f),
        None => Ok(f()), // further away than the clock goes
    }
}

/// As [`timeout`], with a point in time as the limit.
///
/// # Errors
/// [`Elapsed`] if `f` was cut short.
pub fn timeout_at<T>(deadline: Instant, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    cancel::within(deadline, f).ok_or(Elapsed(()))
}
