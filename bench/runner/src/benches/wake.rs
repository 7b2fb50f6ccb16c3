//! `condvar`, `event` and `semaphore`: waking those who wait.

use crate::options::Options;
use crate::plan::{Bench, Cell, Group, Metric, Run};

pub(crate) fn condvar(options: &Options) -> Bench {
    Bench {
        about: "notify_all of 1 or 10,000 waiting tasks on one worker, per wake-up",
        fair: "a round ends when all have come back to wait. bingfa, may, Go and asyncio use a mutex and a condition variable, \
               tokio its Notify and an atomic counter, which has no lock to take after the wake-up; tokio-mutex guards the same state \
               as bingfa by std's mutex beside Notify",
        ..bench(
            "condvar",
            &["bingfa", "tokio", "tokio-mutex", "may", "go", "python"],
            options,
        )
    }
}

pub(crate) fn event(options: &Options) -> Bench {
    Bench {
        about: "Event::set for 1 or 10,000 waiting tasks on one worker, per wake-up",
        fair: "a round ends when all have come back to wait, counted by an atomic. tokio has no event: its Notify does the same, \
               and nobody has to clear it; smol's is event-listener, Go closes a channel, asyncio has an Event",
        ..bench(
            "event",
            &["bingfa", "tokio", "smol", "go", "python"],
            options,
        )
    }
}

pub(crate) fn semaphore(options: &Options) -> Bench {
    Bench {
        about: "add_permits for 1 or 10,000 tasks that wait for one each, on one worker, per wake-up",
        fair: "the same loops; the semaphores of bingfa, tokio and asyncio serve in order. Go's is a channel with room for the permits; \
               may, Go and asyncio have no call for many permits, so they add them one by one",
        ..bench(
            "semaphore",
            &["bingfa", "tokio", "smol", "may", "go", "python"],
            options,
        )
    }
}

fn bench(name: &'static str, contenders: &[&'static str], options: &Options) -> Bench {
    let seconds = if options.quick { 0.2 } else { 0.4 };
    let group = |waiters: u32| {
        let args = [format!("waiters={waiters}"), format!("seconds={seconds}")];
        let runs: Vec<_> = contenders
            .iter()
            // smol's semaphore wakes all who wait for each permit: 10,000 of them take minutes.
            .filter(|contender| (name, **contender, waiters) != ("semaphore", "smol", 10_000))
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
