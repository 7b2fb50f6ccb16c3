//! `condvar`: waking those who wait for a condition.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn bench(options: &Options) -> Bench {
    let seconds = if options.quick { 0.2 } else { 0.6 };
    let group = |waiters: u32| {
        let args = [format!("waiters={waiters}"), format!("seconds={seconds}")];
        let runs: Vec<_> = ["bingfa", "tokio"]
            .iter()
            .map(|name| Run::new(name, "condvar", &args))
            .collect();
        let cell = Cell::of_all(
            format!("waiters={waiters}"),
            &runs,
            &[Metric::lower("ns_per_op")],
        );
        Group {
            runs,
            cells: vec![cell],
        }
    };
    Bench {
        name: "condvar",
        about: "notify_all of 1 or 10,000 waiting tasks on one worker, per wake-up",
        fair: "a round ends when all have come back to wait. bingfa uses a Mutex and a Condvar, tokio its Notify and an atomic counter, \
               which has no lock to take after the wake-up",
        rounds: options.rounds(9, 3),
        groups: vec![group(1), group(10_000)],
        curves: vec![],
    }
}
