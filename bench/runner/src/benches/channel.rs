//! `channel`: u64 messages from so many senders to so many receivers.

use crate::options::Options;
use crate::plan::{Bench, Cell, Curve, Group, Metric, Run};
use std::time::Duration;

const SHAPES: [(u32, u32); 3] = [(1, 1), (4, 1), (4, 4)];
/// What a cell calls it, and the capacity as contenders know it.
const ROOMS: [(&str, &str); 3] = [
    ("bounded=1024", "1024"),
    ("unbounded", "all"),
    ("rendezvous", "0"),
];

/// Some twenty shapes.
const BUDGET: Duration = Duration::from_secs(300);

pub(crate) fn bench(options: &Options) -> Bench {
    let seconds = if options.quick { 0.12 } else { 0.25 };
    let mut groups = Vec::new();
    for carrier in ["threads", "coroutines"] {
        for shape in SHAPES {
            for room in ROOMS {
                groups.push(group(carrier, shape, room, seconds, 2));
            }
        }
    }
    groups.push(group("coroutines", (1, 1), ROOMS[2], seconds, 1));
    let mut curves = vec![];
    if !options.quick {
        for carrier in ["threads", "coroutines"] {
            for ends in [2, 8] {
                groups.push(group(carrier, (ends, ends), ROOMS[0], seconds, 2));
            }
            curves.push(Curve {
                axis: "senders and as many receivers",
                metric: "msgs_per_s",
                points: [1, 2, 4, 8]
                    .map(|ends| {
                        let cell = format!("carrier={carrier} shape={ends}x{ends} bounded=1024");
                        (f64::from(ends), cell)
                    })
                    .into(),
            });
        }
    }
    Bench {
        name: "channel",
        about: "u64 messages through one channel, senders x receivers, on both cores",
        fair: "the same loops everywhere: each sender sends its share, each receiver receives until the channel is disconnected, and \
               the sum is checked; async channels run on tokio with two workers",
        rounds: options.rounds_within(7, 1, BUDGET),
        groups,
        curves,
    }
}

fn group(
    carrier: &'static str,
    (senders, receivers): (u32, u32),
    (room, capacity): (&str, &str),
    seconds: f64,
    workers: usize,
) -> Group {
    let one_receiver = receivers == 1;
    let names: Vec<&'static str> = match carrier {
        "threads" => [
            ("bingfa", true),
            ("crossbeam", true),
            ("flume", true),
            ("kanal", true),
            ("std", one_receiver),
        ]
        .into_iter()
        .filter_map(|(name, takes_part)| takes_part.then_some(name))
        .collect(),
        _ => [
            ("bingfa", true),
            ("flume", true),
            ("kanal", true),
            ("tokio", one_receiver && capacity != "0"),
            ("may", capacity == "all"),
            ("go", capacity != "all"),
        ]
        .into_iter()
        .filter_map(|(name, takes_part)| takes_part.then_some(name))
        .collect(),
    };
    let args = [
        format!("carrier={carrier}"),
        format!("senders={senders}"),
        format!("receivers={receivers}"),
        format!("capacity={capacity}"),
        format!("seconds={seconds}"),
    ];
    let runs: Vec<_> = names
        .iter()
        .map(|name| {
            let run = Run::new(name, "channel", &args).filling(seconds);
            if workers == 1 {
                run
            } else {
                run.on_both_cores()
            }
        })
        .collect();
    let mut name = format!("carrier={carrier} shape={senders}x{receivers} {room}");
    if workers == 1 {
        name += " workers=1";
    }
    let mut cell = Cell::of_all(
        name,
        &runs,
        &[
            Metric::higher("msgs_per_s"),
            Metric::shown("cpu_ns_per_msg"),
        ],
    );
    cell.notes = match carrier {
        "threads" => vec!["std: sync::mpsc, one receiver"],
        _ => vec![
            "kanal, flume: on tokio",
            "tokio: its mpsc, one receiver, no rendezvous; may: unbounded only; go: not unbounded",
        ],
    };
    Group {
        runs,
        cells: vec![cell],
    }
}
