//! `mutex`: lock, add 1, unlock.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn bench(options: &Options) -> Bench {
    let seconds = if options.quick { 0.2 } else { 0.4 };
    let alone = group(
        "uncontended",
        &["bingfa", "parking_lot", "std"],
        "shape=alone",
        seconds,
        1,
        Metric::lower("ns_per_op"),
    );
    let threads = group(
        "threads=4 contended",
        &["bingfa", "parking_lot", "std"],
        "shape=threads=4",
        seconds,
        2,
        Metric::higher("ops_per_s"),
    );
    let tasks = [1, 2].map(|workers| {
        group(
            &format!("coroutines=1000 workers={workers}"),
            &["bingfa", "tokio", "smol", "may", "go", "python"],
            "shape=tasks=1000",
            seconds,
            workers,
            Metric::higher("ops_per_s"),
        )
    });
    Bench {
        name: "mutex",
        about: "lock, add 1, unlock: alone; by four threads on two cores, with 20 steps of work in between; by 1,000 tasks of \
                which each yields with the lock held",
        fair: "the same loops everywhere, and the sum is checked. Fairness is not measured: the Mutexes of tokio and asyncio \
               serve strictly in order, the others let whoever runs take a free lock, those of bingfa, smol and Go for a bounded time or \
               number of times",
        rounds: options.rounds(7, 3),
        groups: [alone, threads].into_iter().chain(tasks).collect(),
        curves: vec![],
    }
}

fn group(
    cell: &str,
    names: &[&'static str],
    shape: &str,
    seconds: f64,
    workers: usize,
    metric: Metric,
) -> Group {
    let args = &[shape.to_string(), format!("seconds={seconds}")];
    let run = |name: &&'static str| {
        let run = Run::new(name, "mutex", args).filling(seconds);
        match workers {
            1 => run,
            _ => run.on_both_cores(),
        }
    };
    let runs: Vec<_> = names.iter().map(run).collect();
    let cell = Cell::of_all(cell, &runs, &[metric]);
    Group {
        runs,
        cells: vec![cell],
    }
}
