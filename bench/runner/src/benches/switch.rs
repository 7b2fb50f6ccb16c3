//! `switch`: tasks that do nothing but yield, on one worker on core 0.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

const CONTENDERS: [&str; 10] = [
    "bingfa",
    "may",
    "go",
    "tokio",
    "tokio-current",
    "smol",
    "python",
    "uvloop",
    "gevent",
    "corosensei",
];

pub(crate) fn bench(options: &Options) -> Bench {
    let seconds = if options.quick { 0.3 } else { 0.4 };
    let group = |tasks: u32| {
        let args = [format!("tasks={tasks}"), format!("seconds={seconds}")];
        let runs: Vec<_> = CONTENDERS
            .iter()
            .map(|name| Run::new(name, "switch", &args).filling(seconds))
            .collect();
        let mut cell = Cell::of_all(
            format!("tasks={tasks}"),
            &runs,
            &[Metric::lower("ns_per_switch")],
        );
        cell.notes = vec!["python: asyncio"];
        Group {
            runs,
            cells: vec![cell],
        }
    };
    Bench {
        name: "switch",
        about: "yield_now among so many tasks on one worker",
        fair: "every contender spins the same loop of its own yield call and counts it; on one core, so that nobody hides work on a second",
        rounds: options.rounds(7, 3),
        groups: vec![group(2), group(1000)],
        curves: vec![],
    }
}
