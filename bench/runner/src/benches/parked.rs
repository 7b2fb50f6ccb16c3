//! `parked`: memory of tasks that wait and do nothing else.

use crate::options::Options;
use crate::plan::{Bench, Cell, Curve, Group, Metric, Run};

/// So many tasks, under this name.
const SIZES: [(usize, &str); 4] = [
    (1_000, "parked=1k"),
    (10_000, "parked=10k"),
    (100_000, "parked=100k"),
    (1_000_000, "parked=1M"),
];

const CONTENDERS: [&str; 10] = [
    "bingfa",
    "smol",
    "tokio",
    "tokio-current",
    "go",
    "may",
    "std",
    "python",
    "uvloop",
    "gevent",
];

pub(crate) fn bench(options: &Options) -> Bench {
    Bench {
        name: "parked",
        about: "growth of RSS per waiting task; page tables (VmPTE) are not in RSS and have their own row",
        fair: "each task waits by its runtime's own cheapest means (park, Notify, channel), and the growth of the process's memory is read from the kernel",
        rounds: options.rounds(3, 1),
        groups: SIZES
            .map(|(tasks, name)| group(tasks, name, options.quick))
            .into(),
        curves: vec![Curve {
            axis: "tasks",
            metric: "bytes_per_task",
            points: SIZES
                .iter()
                .map(|&(tasks, name)| (tasks as f64, name.to_string()))
                .collect(),
        }],
    }
}

fn group(tasks: usize, name: &str, quick: bool) -> Group {
    let most_in_python = if quick { 10_000 } else { 100_000 };
    let run = |name: &&'static str| {
        let run = Run::new(name, "parked", &[format!("tasks={tasks}")]);
        run.on_both_cores().taking(0.3 + tasks as f64 * 2e-6)
    };
    let able = |name: &&&str| match **name {
        "may" | "std" => tasks <= 10_000,
        "python" | "uvloop" | "gevent" => tasks <= most_in_python,
        _ => true,
    };
    let runs: Vec<_> = CONTENDERS.iter().filter(able).map(run).collect();
    let metrics = [
        Metric::lower("bytes_per_task"),
        Metric::lower("page_table_bytes_per_task"),
    ];
    let mut cell = Cell::of_all(name, &runs, &metrics);
    cell.notes = vec![
        "python: asyncio; the three in Python up to 100,000 (10,000 with --quick), for lack of time",
        "may: no more than about 30,000; each stack takes two mappings, and vm.max_map_count is 65,530 by default",
        "std: no more than some 10,000 threads; the 20 to 30 KB that the kernel keeps for each are not in its RSS",
    ];
    Group {
        runs,
        cells: vec![cell],
    }
}
