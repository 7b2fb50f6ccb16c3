//! What a run of `channel` is to do, and how it is measured and checked.

use crate::{Args, Figures, process_cpu_seconds, switch_rounds};
use std::time::Duration;

/// The channel and who is at its ends.
#[derive(Clone, Copy, Debug)]
pub struct ChannelShape {
    /// How many send.
    pub senders: usize,
    /// How many receive.
    pub receivers: usize,
    /// Room for so many messages; `None`: for all.
    pub capacity: Option<usize>,
    seconds: f64,
}

impl ChannelShape {
    /// From `senders=`, `receivers=`, `capacity=` (or `all`) and `seconds=`.
    pub fn of(args: &Args) -> Self {
        Self {
            senders: args.number("senders"),
            receivers: args.number("receivers"),
            capacity: (args.text("capacity") != Some("all")).then(|| args.number("capacity")),
            seconds: args.number("seconds"),
        }
    }

    /// Measures `run`, which has each sender send `0..each` and gives the time and the sum of all that was received.
    ///
    /// # Panics
    /// If the sum is wrong.
    pub fn measure(self, mut run: impl FnMut(u64) -> (Duration, u64)) {
        let senders = self.senders as u64;
        let mut cpu_ns = 0.0;
        let ns = switch_rounds(self.seconds, |messages| {
            let each = messages / senders;
            let before = process_cpu_seconds();
            let (taken, sum) = run(each);
            cpu_ns = (process_cpu_seconds() - before) * 1e9 / messages as f64;
            assert_eq!(sum, senders * (each * (each - 1) / 2), "lost or doubled");
            taken
        });
        Figures::new()
            .with("msgs_per_s", 1e9 / ns)
            .with("cpu_ns_per_msg", cpu_ns)
            .print();
    }
}
