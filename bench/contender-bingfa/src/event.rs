//! `event`: one `set` wakes all who wait; the last to arrive again asks for the next.

use crate::{inside, runtime};
use bingfa::coroutine;
use bingfa::sync::{Arc, Event};
use harness::{Args, Figures};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Gate {
    /// By turns: one is cleared while all wait for the other.
    opened: [Event; 2],
    back: AtomicU64,
    all_back: Event,
}

pub(crate) fn run(args: &Args) {
    let runtime = runtime(args);
    let waiters: u64 = args.number("waiters");
    let ns = harness::wake_rounds(args.number("seconds"), waiters, |count| {
        inside(&runtime, move || rounds(waiters, count))
    });
    Figures::new().with("ns_per_op", ns).print();
}

fn rounds(waiters: u64, rounds: u64) -> Duration {
    let gate = Arc::new(Gate::default());
    let turn = |round: u64| (round % 2) as usize;
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let gate = Arc::clone(&gate);
            coroutine::spawn(move || {
                for round in 0..rounds {
                    if gate.back.fetch_add(1, SeqCst) + 1 == waiters {
                        gate.all_back.set();
                    }
                    gate.opened[turn(round)].wait();
                }
            })
        })
        .collect();
    gate.all_back.wait();
    let start = Instant::now();
    for round in 0..rounds {
        gate.all_back.wait();
        gate.all_back.clear();
        gate.back.store(0, SeqCst);
        gate.opened[turn(round + 1)].clear();
        gate.opened[turn(round)].set();
    }
    coroutine::join_all(handles).expect("no coroutine panics");
    start.elapsed()
}
