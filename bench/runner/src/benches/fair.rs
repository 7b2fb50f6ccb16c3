//! `fair`: 900 connections with a request each 10 ms, beside 100 connections that always have data in flight and 10
//! tasks that compute for 20 us and then let others run; server on core 0, load on core 1.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Load, Metric, Run};
use std::time::Duration;

const CONTENDERS: [&str; 5] = ["bingfa", "bingfa-fifo", "tokio", "tokio-current", "go"];

const METRICS: [Metric; 5] = [
    Metric::lower("p99_us"),
    Metric::lower("p50_us"),
    Metric::shown("busy_mb_per_s"),
    Metric::shown("compute_steps_per_s"),
    Metric::shown("load_late_p99_us")
        .suspect_above(1000.0, "the load generator was late: its core was not free"),
];

pub(crate) fn bench(options: &Options) -> Bench {
    let (warmup, seconds) = if options.quick {
        (0.5, 1.5)
    } else {
        (0.7, 2.0)
    };
    let load = Load::Fair {
        paced: 900,
        busy: 100,
        warmup,
        seconds,
    };
    let iterations = harness::iterations_of(Duration::from_micros(20));
    let args = [
        "computing=10".to_string(),
        format!("iterations={iterations}"),
    ];
    let runs: Vec<_> = CONTENDERS
        .iter()
        .map(|name| Run::new(name, "fair", &args).under(load.clone()))
        .collect();
    let mut cell = Cell::of_all("paced=900 busy=100 computing=10", &runs, &METRICS);
    cell.notes = vec![
        "bingfa: policy Mlfq, checkpoint() between the steps; bingfa-fifo: the same with Fifo",
        "tokio: yield_now between the steps; go: runtime.Gosched",
    ];
    Bench {
        name: "fair",
        about: "latency of paced echo requests beside busy connections and computing tasks, on one core",
        fair: "the same paced and busy connections and the same chain of multiplications; each runtime gives way between steps by its own means",
        rounds: options.rounds(5, 1),
        groups: vec![Group {
            runs,
            cells: vec![cell],
        }],
        curves: vec![],
    }
}
