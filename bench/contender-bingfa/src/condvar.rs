//! `condvar`: one notification wakes all who wait; the last to arrive again asks for the next.

use crate::{inside, runtime};
use bingfa::coroutine;
use bingfa::sync::{Arc, Condvar, Mutex};
use harness::{Args, Figures};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Gate {
    /// How often it was opened, and how many have come back since.
    state: Mutex<(u64, u64)>,
    opened: Condvar,
    all_back: Condvar,
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
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let gate = Arc::clone(&gate);
            coroutine::spawn(move || {
                for round in 0..rounds {
                    let mut state = gate.state.lock().expect("not poisoned");
                    state.1 += 1;
                    if state.1 == waiters {
                        gate.all_back.notify_one();
                    }
                    let waits = gate.opened.wait_while(state, |state| state.0 <= round);
                    drop(waits.expect("not poisoned"));
                }
            })
        })
        .collect();
    let all_back = || {
        let state = gate.state.lock().expect("not poisoned");
        let state = gate.all_back.wait_while(state, |state| state.1 < waiters);
        state.expect("not poisoned")
    };
    drop(all_back());
    let start = Instant::now();
    for round in 0..rounds {
        let mut state = all_back();
        *state = (round + 1, 0);
        drop(state);
        gate.opened.notify_all();
    }
    coroutine::join_all(handles).expect("no coroutine panics");
    start.elapsed()
}
