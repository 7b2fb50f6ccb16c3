//! `spawn`: coroutines that add to an atomic, in waves of 10,000, or all alive at once.

use crate::parked::{park_all, release};
use crate::{inside, runtime};
use bingfa::coroutine;
use harness::{Args, Figures, SPAWN_WAVE};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

static SUM: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    let runtime = runtime(args);
    let total: usize = args.number("total");
    let taken = match args.text("alive") {
        Some("all") => inside(&runtime, move || all_alive(total)),
        _ => inside(&runtime, move || waves(total)),
    };
    let ns = taken.as_nanos() as f64 / total as f64;
    Figures::new().with("ns_per_task", ns).print();
}

fn waves(total: usize) -> Duration {
    wave();
    let start = Instant::now();
    for _ in 0..total / SPAWN_WAVE {
        wave();
    }
    let taken = start.elapsed();
    assert_eq!(SUM.load(Relaxed), (total + SPAWN_WAVE) as u64);
    taken
}

fn wave() {
    let add = || {
        SUM.fetch_add(1, Relaxed);
    };
    let handles: Vec<_> = (0..SPAWN_WAVE).map(|_| coroutine::spawn(add)).collect();
    for handle in handles {
        handle.join().expect("no coroutine panics");
    }
}

fn all_alive(total: usize) -> Duration {
    let start = Instant::now();
    let handles = park_all(total);
    release(&handles);
    for handle in handles {
        handle.join().expect("no coroutine panics");
    }
    start.elapsed()
}
