//! `process-queue`: items from so many processes to so many others.

use crate::options::Options;
use crate::plan::{Bench, Cell, Curve, Group, Metric, Run};

/// So many bytes, under this name.
const SIZES: [(u32, &str); 5] = [
    (8, "size=8B"),
    (1 << 10, "size=1KiB"),
    (1 << 15, "size=32KiB"),
    (1 << 20, "size=1MiB"),
    (1 << 24, "size=16MiB"),
];

pub(crate) fn bench(options: &Options) -> Bench {
    let seconds = if options.quick { 0.15 } else { 0.3 };
    let mut groups = Vec::new();
    for shape in [(1, 1), (4, 1), (2, 2), (4, 4)] {
        let sizes = match shape {
            (1, 1) => &SIZES[..],
            (2, 2) => &SIZES[..1], // a point of a curve
            _ => &SIZES[..2],
        };
        groups.extend(sizes.iter().map(|&size| one_way(shape, size, seconds)));
    }
    groups.extend([SIZES[0], SIZES[3]].map(|size| round_trip(size, seconds)));
    Bench {
        name: "process-queue",
        about: "items through one queue between processes, producers x consumers, and there and back; 8 B is a number, else bytes",
        fair: "the same loops everywhere, each end in a process of its own: an item is made, encoded, sent, received and decoded, its \
               number is looked at, and the sum is checked. bingfa's and Python's queues are bounded (1,024 items, at most 64 MiB), \
               ipc-channel is bounded by its socket. Time runs from the first item put to the last received",
        rounds: options.rounds(5, 1),
        groups,
        curves: vec![
            Curve {
                axis: "bytes",
                metric: "us_per_msg",
                points: SIZES
                    .iter()
                    .map(|&(size, name)| (f64::from(size), format!("shape=1x1 {name}")))
                    .collect(),
            },
            Curve {
                axis: "producers and as many consumers",
                metric: "msgs_per_s",
                points: [1, 2, 4]
                    .map(|ends| (f64::from(ends), format!("shape={ends}x{ends} size=8B")))
                    .into(),
            },
        ],
    }
}

fn one_way((producers, consumers): (u32, u32), (size, name): (u32, &str), seconds: f64) -> Group {
    let args = args(producers, consumers, size, seconds);
    let names: &[&str] = match (producers, consumers) {
        (1, 1) => &["bingfa", "ipc-channel", "iceoryx2", "python", "pipe"],
        (_, 1) => &["bingfa", "ipc-channel", "python", "pipe"],
        _ => &["bingfa", "python", "pipe"],
    };
    group(
        format!("shape={producers}x{consumers} {name}"),
        names,
        &args,
        seconds,
        &[
            Metric::higher("msgs_per_s"),
            Metric::shown("us_per_msg"),
            Metric::shown("mb_per_s"),
        ],
    )
}

fn round_trip((size, name): (u32, &str), seconds: f64) -> Group {
    let mut args = args(1, 1, size, seconds);
    args.push("round_trip=yes".into());
    group(
        format!("round trip {name}"),
        &["bingfa", "ipc-channel", "iceoryx2", "python", "pipe"],
        &args,
        seconds,
        &[Metric::lower("us_per_round_trip")],
    )
}

fn args(producers: u32, consumers: u32, size: u32, seconds: f64) -> Vec<String> {
    vec![
        format!("producers={producers}"),
        format!("consumers={consumers}"),
        format!("size={size}"),
        format!("seconds={seconds}"),
    ]
}

fn group(
    cell: String,
    names: &[&'static str],
    args: &[String],
    seconds: f64,
    metrics: &[Metric],
) -> Group {
    let run = |name: &&'static str| {
        let run = Run::new(name, "process-queue", args).on_both_cores();
        run.taking(2.0 * seconds + 0.3)
    };
    let runs: Vec<_> = names.iter().map(run).collect();
    let mut cell = Cell::of_all(cell, &runs, metrics);
    cell.notes = vec![
        "ipc-channel: has one receiver",
        "iceoryx2: its receiver spins, as it cannot wait for a message, and reads it where the sender wrote it",
        "python: multiprocessing.Queue; processes are forked",
        "pipe: read and write of plain bytes from and to one buffer, without encoding; it holds 64 KiB",
    ];
    Group {
        runs,
        cells: vec![cell],
    }
}
