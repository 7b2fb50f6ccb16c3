//! The benches: a file each, which says what is measured, against whom and why that is fair.

mod channel;
mod echo;
mod fair;
mod manager;
mod mutex;
mod parked;
mod process_queue;
mod process_spawn;
mod process_wake;
mod spawn;
mod switch;
mod timers;
mod wake;

use crate::options::Options;
use crate::plan::Bench;

/// Lays out a bench as the options want it.
type Plan = fn(&Options) -> Bench;

/// Every NAME of the command line, in the order of `list` and `all`.
const ALL: &[(&str, Plan)] = &[
    ("switch", switch::bench),
    ("spawn", spawn::bench),
    ("parked", parked::bench),
    ("echo", echo::bench),
    ("timers", timers::bench),
    ("mutex", mutex::bench),
    ("condvar", wake::condvar),
    ("semaphore", wake::semaphore),
    ("event", wake::event),
    ("fair", fair::bench),
    ("channel", channel::bench),
    ("process-spawn", process_spawn::bench),
    ("process-queue", process_queue::bench),
    ("process-wake", process_wake::bench),
    ("manager", manager::bench),
];

/// The names of the command line.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// The benches that `options` names, as it wants them.
pub(crate) fn chosen(options: &Options) -> Vec<Bench> {
    ALL.iter()
        .filter(|(name, _)| options.names.iter().any(|wanted| wanted == name))
        .map(|(_, plan)| plan(options))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn planned(quick: bool) -> (Options, Vec<Bench>) {
        let options = Options {
            names: names().map(str::to_string).collect(),
            quick,
            ..Options::default()
        };
        let benches = chosen(&options);
        (options, benches)
    }

    #[test]
    fn all_of_it_ends_within_its_time() {
        for quick in [false, true] {
            let (options, benches) = planned(quick);
            let all: Duration = benches.iter().map(Bench::estimate).sum();
            // Not every machine is as fast, nor as quiet.
            assert!(all.mul_f64(1.2) <= options.limit(), "{all:?}");
        }
    }

    #[test]
    fn a_first_look_takes_less_than_a_minute_per_name() {
        for bench in planned(true).1 {
            let round = bench.round();
            assert!(
                round.mul_f64(1.5) <= bench.rounds.end(),
                "{}: {round:?}",
                bench.name
            );
            assert!(
                bench.rounds.end() <= Duration::from_secs(50),
                "{}",
                bench.name
            );
        }
    }

    #[test]
    fn every_bench_has_time_for_three_full_rounds() {
        for bench in planned(false).1 {
            let rounds = bench.rounds.budget.as_secs_f64() / bench.round().as_secs_f64();
            assert!(rounds >= 3.0, "{}: {rounds:.1}", bench.name);
        }
    }

    #[test]
    fn every_bench_says_what_it_measures_and_why_that_is_fair() {
        for quick in [false, true] {
            for (bench, name) in planned(quick).1.iter().zip(names()) {
                assert_eq!(bench.name, name);
                assert!(!bench.about.is_empty() && !bench.fair.is_empty(), "{name}");
                for cell in bench.groups.iter().flat_map(|group| &group.cells) {
                    let subjects = cell.entries.iter().filter(|(entry, _)| *entry == "bingfa");
                    assert_eq!(subjects.count(), 1, "{name} {}", cell.name);
                    assert!(cell.metrics.iter().any(|metric| metric.better.is_some()));
                }
                for curve in &bench.curves {
                    for (_, cell) in &curve.points {
                        let known = bench.groups.iter().flat_map(|group| &group.cells);
                        assert!(
                            known.into_iter().any(|known| known.name == *cell),
                            "{name}: {cell}"
                        );
                    }
                }
            }
        }
    }
}
