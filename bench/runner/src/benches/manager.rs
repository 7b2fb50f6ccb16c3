//! `manager`: a dict that a process keeps for others.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn bench(options: &Options) -> Bench {
    let seconds = if options.quick { 0.5 } else { 1.0 };
    let groups = [1, 8].map(|clients| {
        let args = [format!("clients={clients}"), format!("seconds={seconds}")];
        let names = ["bingfa", "python", "redis", "socket-echo"];
        let runs: Vec<_> = names
            .iter()
            .map(|name| {
                Run::new(name, "manager", &args)
                    .on_both_cores()
                    .taking(seconds + 0.3)
            })
            .collect();
        let metrics = [Metric::higher("ops_per_s")];
        let mut cell = Cell::of_all(format!("clients={clients}"), &runs, &metrics);
        cell.notes = vec![
            "redis: SET and GET as text over its Unix socket, clients without a library; one redis-server",
            "socket-echo: 16 bytes there and back over a Unix socket, a thread for each client at the other end",
        ];
        Group {
            runs,
            cells: vec![cell],
        }
    });
    Bench {
        name: "manager",
        about: "set a key of a shared dict to a number, get it, check it: by 1 or 8 clients, each waiting for every answer",
        fair: "each client has 1,000 keys of its own and goes through them; no pipelining. bingfa's and Python's clients are \
               processes and send typed values, redis's are threads and send text",
        rounds: options.rounds(7, 1),
        groups: groups.into(),
        curves: vec![],
    }
}
