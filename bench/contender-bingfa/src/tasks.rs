//! The benches without sockets: `switch`, `spawn`, `parked`, `timers`.

use crate::inside;
use bingfa::Runtime;
use bingfa::coroutine::{self, JoinHandle};
use harness::{Args, Figures, Memory, SPAWN_WAVE, process_cpu_seconds};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

static SUM: AtomicU64 = AtomicU64::new(0);
static RELEASED: AtomicBool = AtomicBool::new(false);

pub(crate) fn switch(runtime: &Runtime, args: &Args) {
    let tasks: u64 = args.number("tasks");
    let ns = harness::switch_rounds(args.number("seconds"), |switches| {
        inside(runtime, move || yields(tasks, switches / tasks))
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

pub(crate) fn spawn(runtime: &Runtime, args: &Args) {
    let total: usize = args.number("total");
    let taken = match args.text("alive") {
        Some("all") => inside(runtime, move || all_alive(total)),
        _ => inside(runtime, move || waves(total)),
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
    // Each is unparked after this store, and sees it by that.
    RELEASED.store(true, Relaxed);
    for handle in &handles {
        handle.unpark();
    }
    for handle in handles {
        handle.join().expect("no coroutine panics");
    }
    start.elapsed()
}

/// Starts `total` coroutines that park, and returns when all of them have.
fn park_all(total: usize) -> Vec<JoinHandle<()>> {
    let body = || {
        SUM.fetch_add(1, Relaxed);
        while !RELEASED.load(Relaxed) {
            coroutine::park();
        }
    };
    let handles = (0..total).map(|_| coroutine::spawn(body)).collect();
    while SUM.load(Relaxed) < total as u64 {
        coroutine::yield_now();
    }
    handles
}

pub(crate) fn parked(total: usize) {
    let before = Memory::now();
    drop(park_all(total));
    Figures::new().with_memory_per_task(before, total).print();
    std::process::exit(0);
}

pub(crate) fn timers(sleepers: usize) {
    let mut figures = Figures::new();
    for round in ["cold", "warm"] {
        let (cpu, start) = (process_cpu_seconds(), Instant::now());
        let handles: Vec<_> = harness::sleep_lengths(sleepers)
            .map(|length| {
                coroutine::spawn(move || {
                    coroutine::sleep(length);
                    SUM.fetch_add(1, Relaxed);
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
    assert_eq!(SUM.load(Relaxed), 2 * sleepers as u64);
    figures.print();
}
