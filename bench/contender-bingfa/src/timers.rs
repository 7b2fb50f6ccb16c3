//! `timers`: coroutines that sleep for a random time, twice in the same process.

use crate::{inside, runtime};
use bingfa::coroutine;
use harness::{Args, Figures, process_cpu_seconds};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static WOKEN: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    let sleepers = args.number("sleepers");
    inside(&runtime(args), move || timers(sleepers));
}

fn timers(sleepers: usize) {
    let mut figures = Figures::new();
    for round in ["cold", "warm"] {
        let (cpu, start) = (process_cpu_seconds(), Instant::now());
        let handles: Vec<_> = harness::sleep_lengths(sleepers)
            .map(|length| {
                coroutine::spawn(move || {
                    coroutine::sleep(length);
                    WOKEN.fetch_add(1, Relaxed);
                })
            })
            .collect();
        for handle in handles {
            handle.join().expect("no coroutine panics");
        }
        figures = figures
            .with(format!("{round}_cpu_s"), process_cpu_seconds() - cpu)
            .with(format!("{round}_wall_s"), start.elapsed().as_secs_f64());
    }
    assert_eq!(WOKEN.load(Relaxed), 2 * sleepers as u64);
    figures.print();
}
