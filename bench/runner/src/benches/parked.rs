//! `parked`: memory of tasks that wait and do nothing else.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn bench(options: &Options) -> Bench {
    let tasks = |name: &str| match name {
        "may" => 30_000,
        "std" => 10_000,
        _ => 1_000_000,
    };
    let names = [
        "bingfa",
        "smol",
        "tokio",
        "tokio-current",
        "go",
        "may",
        "std",
    ];
    let run = |name: &&'static str| {
        Run::new(name, "parked", &[format!("tasks={}", tasks(name))]).on_both_cores()
    };
    let runs: Vec<_> = names.iter().map(run).collect();
    let metrics = [
        Metric::lower("bytes_per_task"),
        Metric::lower("page_table_bytes_per_task"),
        Metric::shown("tasks"),
    ];
    let mut cell = Cell::of_all("parked=1M", &runs, &metrics);
    cell.notes = vec![
        "may: 30,000 tasks; each stack takes two mappings, and vm.max_map_count is 65,530 by default",
        "std: 10,000 threads; the 20 to 30 KB that the kernel keeps for each are not in its RSS",
    ];
    Bench {
        name: "parked",
        about: "growth of RSS per waiting task; page tables (VmPTE) are not in RSS and have their own row",
        rounds: options.rounds(3, 1),
        groups: vec![Group {
            runs,
            cells: vec![cell],
        }],
    }
}
