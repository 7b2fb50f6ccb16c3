//! `process-spawn`: a trivial function in a process of its own, and its result back.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn bench(options: &Options) -> Bench {
    let names = ["std-command", "procspawn", "python", "fork"];
    let mut runs: Vec<_> = ["zygote", "exec"]
        .iter()
        .map(|method| run("bingfa", &[format!("method={method}"), "total=300".into()]))
        .collect();
    runs.extend(names.iter().map(|name| {
        let total = if *name == "python" { 30 } else { 200 };
        run(name, &[format!("total={total}")])
    }));
    let cell = |name: &str, own: usize| {
        let mut cell = Cell::of_all(name, &runs, &[Metric::lower("us_per_process")]);
        cell.entries
            .retain(|(entry, index)| *entry != "bingfa" || *index == own);
        cell.notes = vec![
            "std-command: /bin/true, without arguments or result",
            "fork: a copy of a small process of one thread that ends at once: no function, no result",
            "python: multiprocessing's forkserver, started before the clock",
        ];
        cell
    };
    let cells = vec![cell("zygote", 0), cell("exec", 1)];
    Bench {
        name: "process-spawn",
        about: "start a process, run a function of one number in it, get its result, reap it",
        fair: "one after the other, each waited for to its end; the median of a run counts, after a warm-up that starts the servers",
        rounds: options.rounds(7, 1),
        groups: vec![Group { runs, cells }],
        curves: vec![],
    }
}

fn run(contender: &'static str, args: &[String]) -> Run {
    Run::new(contender, "process-spawn", args)
        .on_both_cores()
        .taking(1.0)
}
