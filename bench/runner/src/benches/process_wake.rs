//! `process-wake`: how long after another process has sent something a waiter runs, and what waiting costs.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn bench(options: &Options) -> Bench {
    let total = if options.quick { 1000 } else { 2000 };
    let args = |waiters: u32| [format!("waiters={waiters}"), format!("total={total}")];
    let run = |name, waiters| {
        let run = Run::new(name, "process-wake", &args(waiters)).on_both_cores();
        // A message each 0.5 ms and a little, and half a second of waiting for nothing.
        run.taking(f64::from(total) * 0.6e-3 + 1.0 + f64::from(waiters) * 1e-4)
    };
    let mut runs: Vec<_> = ["bingfa", "bingfa-thread", "ipc-channel", "python", "pipe"]
        .map(|name| run(name, 1))
        .into();
    runs.push(run("bingfa", 10_000));
    let metrics = [
        Metric::lower("p50_us"),
        Metric::lower("p99_us"),
        Metric::shown("idle_cpu_percent").suspect_above(
            1.0,
            "waiting took CPU time: more than 1 % of a core while nothing was sent",
        ),
    ];
    let cell = |name: &str, own: usize| {
        let mut cell = Cell::of_all(name, &runs, &metrics);
        cell.entries
            .retain(|(entry, index)| *entry != "bingfa" || *index == own);
        cell.notes = vec![
            "bingfa-thread: one thread at a queue; bingfa: coroutines on two workers, at a queue each",
            "python: multiprocessing.Queue, one thread; pipe: one thread in read",
        ];
        cell
    };
    let cells = vec![cell("waiting=1", 0), cell("waiting=10k", 5)];
    Bench {
        name: "process-wake",
        about: "from the call that sends to the waiter that has it, by another process each 0.5 ms; all others have one waiter",
        fair: "both sides sleep in between, and share two cores; the moment travels in the message, by the clock that processes share. \
               idle_cpu_percent: CPU time of the waiting process in half a second in which nothing is sent",
        rounds: options.rounds(5, 1),
        groups: vec![Group { runs, cells }],
        curves: vec![],
    }
}
