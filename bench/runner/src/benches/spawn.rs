//! `spawn`: tasks that add to an atomic, spawned from inside the runtime and joined; two workers on both cores.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn bench(options: &Options) -> Bench {
    Bench {
        name: "spawn",
        about: "spawn and join of tasks that add to an atomic, two workers",
        fair: "the same closure and the same waves everywhere, spawned from inside the runtime with all handles kept and joined",
        rounds: options.rounds(5, 1),
        groups: vec![waves(options.quick), all_alive(options.quick)],
        curves: vec![],
    }
}

/// 10,000 alive at a time, one million in all; fewer where a task takes long, and for a first look.
fn waves(quick: bool) -> Group {
    let total = |name: &str| match name {
        "std" | "python" | "uvloop" | "gevent" | "futures" => {
            if quick {
                10_000
            } else {
                50_000
            }
        }
        "may" if quick => 200_000,
        _ => 1_000_000,
    };
    let names = [
        "bingfa",
        "go",
        "smol",
        "tokio",
        "tokio-current",
        "may",
        "rayon",
        "std",
        "python",
        "uvloop",
        "gevent",
        "futures",
    ];
    let run = |name: &&'static str| {
        Run::new(name, "spawn", &[format!("total={}", total(name))]).on_both_cores()
    };
    let runs: Vec<_> = names.iter().map(run).collect();
    let mut cell = Cell::of_all("alive=10k", &runs, &[Metric::lower("ns_per_task")]);
    cell.notes = vec![
        "std: 50,000 threads in all (10,000 with --quick), for lack of time",
        "python: asyncio; it, uvloop and gevent have one thread, and 50,000 tasks in all (10,000 with --quick), as futures has",
        "futures: concurrent.futures, a pool of two threads",
        "may: its pool is set to 20,000 stacks; with its default of 1,000 it is four times slower",
        "tokio-current: has one thread only",
        "rayon: its tasks are calls that cannot wait, and are joined by the end of their scope",
    ];
    Group {
        runs,
        cells: vec![cell],
    }
}

/// One million, or 200,000 for a first look, all waiting at a gate before the first is released.
fn all_alive(quick: bool) -> Group {
    let (total, cell) = if quick {
        (200_000, "alive=200k")
    } else {
        (1_000_000, "alive=1M")
    };
    let seconds = 0.2 + total as f64 * 2.5e-6;
    let args = [format!("total={total}"), "alive=all".to_string()];
    let tasks = ["bingfa", "go", "smol", "tokio", "tokio-current"];
    let mut runs: Vec<_> = tasks
        .iter()
        .map(|name| {
            Run::new(name, "spawn", &args)
                .on_both_cores()
                .taking(seconds)
        })
        .collect();
    for (name, threads) in [("page-touch", 2), ("page-touch-1", 1)] {
        let args = [format!("total={total}"), format!("threads={threads}")];
        runs.push(
            Run::new(name, "spawn", &args)
                .on_both_cores()
                .taking(seconds),
        );
    }
    let mut cell = Cell::of_all(cell, &runs, &[Metric::lower("ns_per_task")]);
    cell.notes = vec![
        "page-touch: two threads install a guard and touch a page for each of as many stacks",
        "page-touch-1: the same by one thread",
        "tokio-current: has one thread only",
    ];
    Group {
        runs,
        cells: vec![cell],
    }
}
