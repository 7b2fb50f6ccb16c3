//! Time: twin of [`std::time`], with timeouts around any code and intervals.

#![forbid(unsafe_code)]

mod interval;
mod timeout;

pub use interval::{Interval, interval};
pub use std::time::{
    Duration, Instant, SystemTime, SystemTimeError, TryFromFloatSecsError, UNIX_EPOCH,
};
pub use timeout::{Elapsed, timeout, timeout_at};
