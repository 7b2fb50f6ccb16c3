//! `timers`: a million tasks that sleep for a random time of 0 to 2 s; two workers on both cores.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn bench(options: &Options) -> Bench {
    let args = ["sleepers=1000000".to_string()];
    let names = ["bingfa", "tokio", "go", "smol"];
    let runs: Vec<_> = names
        .iter()
        .map(|name| Run::new(name, "timers", &args).on_both_cores())
        .collect();
    let cpu = Metric::lower("cpu_s");
    let wall = Metric::lower("wall_s");
    let cells = vec![
        Cell::of_all(
            "sleepers=1M cold",
            &runs,
            &[cpu.of("cold_cpu_s"), wall.of("cold_wall_s")],
        ),
        Cell::of_all(
            "sleepers=1M warm",
            &runs,
            &[cpu.of("warm_cpu_s"), wall.of("warm_wall_s")],
        ),
    ];
    Bench {
        name: "timers",
        about: "CPU time of a million sleeps of 0 to 2 s; warm: again in the same process",
        rounds: options.rounds(5, 1),
        groups: vec![Group { runs, cells }],
    }
}
