//! `switch`: coroutines that do nothing but yield.

use crate::{inside, runtime};
use bingfa::coroutine;
use harness::{Args, Figures};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) {
    let runtime = runtime(args);
    let tasks: u64 = args.number("tasks");
    let ns = harness::switch_rounds(args.number("seconds"), |switches| {
        inside(&runtime, move || yields(tasks, switches / tasks))
    });
    Figures::new().with("ns_per_switch", ns).print();
}

fn yields(tasks: u64, each: u64) -> Duration {
    let start = Arc::new(OnceLock::new());
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let start = Arc::clone(&start);
            coroutine::spawn(move || {
                start.get_or_init(Instant::now);
                let mut done = 0;
                while done < each {
                    coroutine::yield_now();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done = coroutine::join_all(handles).expect("no coroutine panics");
    let taken = start.get().expect("a coroutine has run").elapsed();
    assert_eq!(done.iter().sum::<u64>(), tasks * each);
    taken
}
