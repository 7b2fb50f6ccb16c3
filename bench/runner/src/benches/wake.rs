//! `condvar`, `event` and `semaphore`: waking those who wait.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn condvar(options: &Options) -> Bench {
    Bench {
        about: "notify_all of 1 or 10,000 waiting tasks on one worker, per wake-up",
        fair: "a round ends when all have come back to wait. bingfa uses a Mutex and a Condvar, tokio its Notify and an atomic counter, \
               which has no lock to take after the wake-up; tokio-mutex guards the same state as bingfa by std's mutex beside Notify",
        ..bench("condvar", &["bingfa", "tokio", "tokio-mutex"], options)
    }
}

pub(crate) fn event(options: &Options) -> Bench {
    Bench {
        about: "Event::set for 1 or 10,000 waiting tasks on one worker, per wake-up",
        fair: "a round ends when all have come back to wait, counted by an atomic. tokio has no event: its Notify does the same, \
               and nobody has to clear it",
        ..bench("event", OF_BOTH, options)
    }
}

pub(crate) fn semaphore(options: &Options) -> Bench {
    Bench {
        about: "add_permits for 1 or 10,000 tasks that wait for one each, on one worker, per wake-up",
        fair: "the same loops, with a semaphore that serves in order on both sides",
        ..bench("semaphore", OF_BOTH, options)
    }
}

const OF_BOTH: &[&str] = &["bingfa", "tokio"];

fn bench(name: &'static str, contenders: &[&'static str], options: &Options) -> Bench {
    let seconds = if options.quick { 0.2 } else { 0.4 };
    let group = |waiters: u32| {
        let args = [format!("waiters={waiters}"), format!("seconds={seconds}")];
        let runs: Vec<_> = contenders
            .iter()
            .map(|contender| Run::new(contender, name, &args).filling(seconds))
            .collect();
        let metrics = [Metric::lower("ns_per_op")];
        let cell = Cell::of_all(format!("waiters={waiters}"), &runs, &metrics);
        Group {
            runs,
            cells: vec![cell],
        }
    };
    Bench {
        name,
        about: "",
        fair: "",
        rounds: options.rounds(7, 3),
        groups: vec![group(1), group(10_000)],
        curves: vec![],
    }
}
