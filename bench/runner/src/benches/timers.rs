//! `timers`: tasks that sleep for a random time of 0 to 2 s; two workers on both cores.

use crate::options::Options;
use crate::plan::{Bench, Cell, Curve, Group, Metric, Run};
use std::time::Duration;

/// So many tasks, under this name.
const SIZES: [(usize, &str); 4] = [
    (1_000, "sleepers=1k"),
    (10_000, "sleepers=10k"),
    (100_000, "sleepers=100k"),
    (1_000_000, "sleepers=1M"),
];

const CONTENDERS: [&str; 7] = [
    "bingfa", "tokio", "go", "smol", "python", "uvloop", "gevent",
];

/// Two times two seconds, whatever the size.
const BUDGET: Duration = Duration::from_secs(300);

pub(crate) fn bench(options: &Options) -> Bench {
    let curve = |temperature: &str| Curve {
        axis: "sleepers",
        metric: "cpu_s",
        points: SIZES
            .iter()
            .map(|(sleepers, name)| (*sleepers as f64, format!("{name} {temperature}")))
            .collect(),
    };
    // The smaller ones spend most of their time asleep, the largest takes long: a first look does without them.
    let sizes = if options.quick {
        &SIZES[2..3]
    } else {
        &SIZES[..]
    };
    Bench {
        name: "timers",
        about: "CPU time of up to a million sleeps of 0 to 2 s; warm: again in the same process",
        fair: "the same list of sleeps in the same order, a task each, joined in that order; CPU time counts all threads of the process",
        rounds: options.rounds_within(3, 1, BUDGET),
        groups: sizes
            .iter()
            .map(|(sleepers, name)| group(*sleepers, name))
            .collect(),
        curves: if options.quick {
            vec![]
        } else {
            vec![curve("cold"), curve("warm")]
        },
    }
}

fn group(sleepers: usize, name: &str) -> Group {
    let args = [format!("sleepers={sleepers}")];
    let able = |name: &&&str| match **name {
        "python" | "uvloop" | "gevent" => sleepers == 10_000,
        _ => true,
    };
    let runs: Vec<_> = CONTENDERS
        .iter()
        .filter(able)
        .map(|name| {
            let run = Run::new(name, "timers", &args).on_both_cores();
            run.taking(4.4 + sleepers as f64 * 3e-6)
        })
        .collect();
    let cpu = Metric::lower("cpu_s");
    let wall = Metric::lower("wall_s");
    let cold = [cpu.of("cold_cpu_s"), wall.of("cold_wall_s")];
    let warm = [cpu.of("warm_cpu_s"), wall.of("warm_wall_s")];
    let mut cells = vec![
        Cell::of_all(format!("{name} cold"), &runs, &cold),
        Cell::of_all(format!("{name} warm"), &runs, &warm),
    ];
    let note = "python: asyncio; the three in Python have one thread, and 10,000 sleepers only, for lack of time";
    cells.iter_mut().for_each(|cell| cell.notes = vec![note]);
    Group { runs, cells }
}
