//! `spawn`: tasks that add to an atomic, in waves of 10,000, or all alive at once.

use crate::floors;
use crate::parked::{smol_park, tokio_park};
use crate::runtimes::{self, SMOL, THREAD_STACK, in_may, in_smol, in_tokio, may_spawn};
use harness::{Args, Figures, SPAWN_WAVE};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

static SUM: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    let total: usize = args.number("total");
    let all = args.text("alive") == Some("all");
    let taken = match args.contender.as_str() {
        "tokio" | "tokio-current" => {
            let runtime = runtimes::tokio(args);
            if all {
                in_tokio(&runtime, tokio_all_alive(total))
            } else {
                in_tokio(&runtime, tokio_waves(total))
            }
        }
        "smol" => {
            runtimes::smol(args);
            if all {
                in_smol(smol_all_alive(total))
            } else {
                in_smol(smol_waves(total))
            }
        }
        "may" if !all => {
            runtimes::may(args);
            // Stacks for a whole wave: with its default of 1,000, may would map and unmap the other 9,000 each time.
            may::config().set_pool_capacity(2 * SPAWN_WAVE);
            in_may(move || may_waves(total))
        }
        "rayon" if !all => rayon_waves(args, total),
        "std" if !all => threads(total),
        "page-touch" | "page-touch-1" => floors::page_touch(total, args.number("threads")),
        _ => args.unknown(),
    };
    Figures::new()
        .with("ns_per_task", taken.as_nanos() as f64 / total as f64)
        .print();
}

/// What all waves but the first, which is the warm-up, have to add up to.
fn check(total: usize) {
    assert_eq!(SUM.load(Relaxed), (total + SPAWN_WAVE) as u64);
}

async fn tokio_waves(total: usize) -> Duration {
    tokio_wave().await;
    let start = Instant::now();
    for _ in 0..total / SPAWN_WAVE {
        tokio_wave().await;
    }
    let taken = start.elapsed();
    check(total);
    taken
}

async fn tokio_wave() {
    let handles: Vec<_> = (0..SPAWN_WAVE)
        .map(|_| {
            tokio::spawn(async {
                SUM.fetch_add(1, Relaxed);
            })
        })
        .collect();
    for handle in handles {
        handle.await.expect("no task panics");
    }
}

async fn tokio_all_alive(total: usize) -> Duration {
    let start = Instant::now();
    let gate = Arc::new(Notify::new());
    let handles = tokio_park(total, &gate).await;
    gate.notify_waiters();
    for handle in handles {
        handle.await.expect("no task panics");
    }
    start.elapsed()
}

fn rayon_waves(args: &Args, total: usize) -> Duration {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.number("workers"));
    pool.build().expect("a pool").install(|| {
        rayon_wave();
        let start = Instant::now();
        for _ in 0..total / SPAWN_WAVE {
            rayon_wave();
        }
        let taken = start.elapsed();
        check(total);
        taken
    })
}

fn rayon_wave() {
    rayon::scope(|scope| {
        for _ in 0..SPAWN_WAVE {
            scope.spawn(|_| {
                SUM.fetch_add(1, Relaxed);
            });
        }
    });
}

async fn smol_waves(total: usize) -> Duration {
    smol_wave().await;
    let start = Instant::now();
    for _ in 0..total / SPAWN_WAVE {
        smol_wave().await;
    }
    let taken = start.elapsed();
    check(total);
    taken
}

async fn smol_wave() {
    let handles: Vec<_> = (0..SPAWN_WAVE)
        .map(|_| {
            SMOL.spawn(async {
                SUM.fetch_add(1, Relaxed);
            })
        })
        .collect();
    for handle in handles {
        handle.await;
    }
}

async fn smol_all_alive(total: usize) -> Duration {
    let start = Instant::now();
    let (gate, at_gate) = smol::channel::bounded::<()>(1);
    let handles = smol_park(total, at_gate).await;
    gate.close();
    for handle in handles {
        handle.await;
    }
    start.elapsed()
}

fn may_waves(total: usize) -> Duration {
    may_wave();
    let start = Instant::now();
    for _ in 0..total / SPAWN_WAVE {
        may_wave();
    }
    let taken = start.elapsed();
    check(total);
    taken
}

fn may_wave() {
    let handles: Vec<_> = (0..SPAWN_WAVE)
        .map(|_| may_spawn(|| SUM.fetch_add(1, Relaxed)))
        .collect();
    for handle in handles {
        handle.join().expect("no coroutine panics");
    }
}

fn threads(total: usize) -> Duration {
    let start = Instant::now();
    for _ in 0..total / SPAWN_WAVE {
        let start_one = |_| {
            let thread = thread::Builder::new()
                .stack_size(THREAD_STACK)
                .spawn(|| SUM.fetch_add(1, Relaxed));
            thread.expect("the system has room for a wave of threads")
        };
        let handles: Vec<_> = (0..SPAWN_WAVE).map(start_one).collect();
        for handle in handles {
            handle.join().expect("no thread panics");
        }
    }
    let taken = start.elapsed();
    assert_eq!(SUM.load(Relaxed), total as u64);
    taken
}
