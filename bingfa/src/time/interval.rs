//! Ticks at regular times.

use std::time::{Duration, Instant};

use crate::park::wait;

/// Ticks every so often, without drift: made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    next: Instant,
    period: Duration,
}

/// A clock that ticks at once and then every `period`.
///
/// Ticks keep to the grid: a late one does not move those after it, and those that were
/// missed altogether are left out.
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let mut ticks = bingfa::time::interval(Duration::from_millis(2));
/// for _ in 0..3 {
///     ticks.tick();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(4));
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval of zero would never wait");
    Interval {
        next: Instant::now(),
        period,
    }
}

impl Interval {
    /// Waits for the next tick and gives back when it was due.
    ///
    /// # Cancellation
    /// A cancelled waiter has not consumed the tick.
    #[track_caller]
    pub fn tick(&mut self) -> Instant {
        wait::sleep_until(self.next);
        let due = self.next;
        let late = Instant::now().saturating_duration_since(due);
        let periods = late.as_nanos() / self.period.as_nanos() + 1;
        let step = self
            .period
            .checked_mul(u32::try_from(periods).unwrap_or(u32::MAX));
        self.next = step
            .and_then(|step| due.checked_add(step))
            .unwrap_or_else(Instant::now);
        due
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}
