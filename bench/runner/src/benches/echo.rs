//! `echo`: 64-byte messages over TCP in a closed loop; server on core 0, load on core 1.

use crate::options::Options;
use crate::plan::{Bench, Cell, Curve, Group, Load, Metric, Run};
use std::time::Duration;

const PEERS: [&str; 12] = [
    "tokio",
    "tokio-current",
    "may",
    "smol",
    "monoio",
    "go",
    "std",
    "python",
    "uvloop",
    "gevent",
    "epoll-loop",
    "epoll-loop-buffers",
];

/// A thread per connection: as many threads as are still sensible.
const MOST_THREADS: usize = 1000;

/// Six sizes and a dozen servers.
const BUDGET: Duration = Duration::from_secs(440);

const METRICS: [Metric; 7] = [
    Metric::higher("requests_per_s"),
    Metric::lower("cpu_us_per_request"),
    Metric::lower("p50_us"),
    Metric::lower("p99_us"),
    Metric::shown("load_core_use").suspect_above(
        0.95,
        "the load generator was the limit: compare CPU time, not rates",
    ),
    Metric::shown("load_capacity_per_s"),
    Metric::shown("starved_connections"),
];

pub(crate) fn bench(options: &Options) -> Bench {
    let connections: &[usize] = if options.quick {
        &[1, 64, 1000, 8000]
    } else {
        &[1, 8, 64, 512, 1000, 8000]
    };
    Bench {
        name: "echo",
        about: "64-byte TCP echo, one request in flight per connection; server on core 0, load on core 1",
        fair: "one load generator for all servers, a 4 KiB buffer per connection, TCP_NODELAY and one core everywhere; epoll-loop and epoll-loop-buffers are floors without a runtime, the first with one buffer for all",
        rounds: options.rounds_within(11, 1, BUDGET),
        groups: connections
            .iter()
            .map(|&count| group(count, options.quick))
            .collect(),
        curves: ["cpu_us_per_request", "requests_per_s", "p99_us"]
            .map(|metric| Curve {
                axis: "connections",
                metric,
                points: connections
                    .iter()
                    .map(|&count| (count as f64, format!("conns={count} io=uring")))
                    .collect(),
            })
            .into(),
    }
}

fn group(connections: usize, quick: bool) -> Group {
    let (warmup, seconds) = if quick { (0.1, 0.3) } else { (0.15, 0.45) };
    let load = Load::Closed {
        connections,
        warmup,
        seconds,
    };
    let conns = format!("conns={connections}");
    let run = |name, args: &[String]| {
        let args: Vec<_> = [vec![conns.clone()], args.to_vec()].concat();
        Run::new(name, "echo", &args).under(load.clone())
    };
    let able = |name: &&str| match *name {
        // Two more points of the curve.
        _ if matches!(connections, 8 | 512) => {
            matches!(*name, "tokio-current" | "go" | "epoll-loop")
        }
        // A first look has no time for all of them everywhere.
        "std" if quick => connections <= 64,
        "may" | "smol" if quick => connections <= 1000,
        "epoll-loop-buffers" => !quick,
        "std" => connections <= MOST_THREADS,
        "python" | "uvloop" | "gevent" => connections == 64,
        _ => true,
    };
    let mut runs: Vec<_> = PEERS
        .into_iter()
        .filter(able)
        .map(|name| run(name, &[]))
        .collect();
    let peers: Vec<_> = runs
        .iter()
        .enumerate()
        .map(|(index, run)| (run.contender, index))
        .collect();

    let mut variants = vec![(format!("{conns} io=uring"), vec!["io=uring".to_string()])];
    variants.push((format!("{conns} io=epoll"), vec!["io=epoll".to_string()]));
    if connections == 1 {
        variants.push((
            format!("{conns} polling"),
            vec!["polling_us=50".to_string()],
        ));
    }
    let mut cells = Vec::new();
    for (name, args) in variants {
        let mut entries = vec![("bingfa", runs.len())];
        entries.extend_from_slice(&peers);
        runs.push(run("bingfa", &args));
        cells.push(Cell {
            name,
            metrics: METRICS.to_vec(),
            entries,
            notes: vec!["python: asyncio; it and uvloop serve by a Protocol, which is faster than their streams"],
        });
    }
    Group { runs, cells }
}
