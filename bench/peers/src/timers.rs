//! `timers`: tasks that sleep for a random time, twice in the same process.

use crate::runtimes::{self, SMOL, in_smol, in_tokio};
use harness::{Args, Figures, process_cpu_seconds};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static WOKEN: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    let sleepers = args.number("sleepers");
    match args.contender.as_str() {
        "tokio" | "tokio-current" => in_tokio(&runtimes::tokio(args), tokio(sleepers)),
        "smol" => {
            runtimes::smol(args);
            in_smol(smol(sleepers));
        }
        _ => args.unknown(),
    }
}

async fn tokio(sleepers: usize) {
    let mut figures = Figures::new();
    for round in ["cold", "warm"] {
        let (cpu, start) = (process_cpu_seconds(), Instant::now());
        let handles: Vec<_> = harness::sleep_lengths(sleepers)
            .map(|length| {
                tokio::spawn(async move {
                    tokio::time::sleep(length).await;
                    WOKEN.fetch_add(1, Relaxed);
                })
            })
            .collect();
        for handle in handles {
            handle.await.expect("no task panics");
        }
        figures = with_round(figures, round, cpu, start);
    }
    report(&figures, sleepers);
}

async fn smol(sleepers: usize) {
    let mut figures = Figures::new();
    for round in ["cold", "warm"] {
        let (cpu, start) = (process_cpu_seconds(), Instant::now());
        let handles: Vec<_> = harness::sleep_lengths(sleepers)
            .map(|length| {
                SMOL.spawn(async move {
                    smol::Timer::after(length).await;
                    WOKEN.fetch_add(1, Relaxed);
                })
            })
            .collect();
        for handle in handles {
            handle.await;
        }
        figures = with_round(figures, round, cpu, start);
    }
    report(&figures, sleepers);
}

fn with_round(figures: Figures, round: &str, cpu: f64, start: Instant) -> Figures {
    figures
        .with(format!("{round}_cpu_s"), process_cpu_seconds() - cpu)
        .with(format!("{round}_wall_s"), start.elapsed().as_secs_f64())
}

fn report(figures: &Figures, sleepers: usize) {
    assert_eq!(WOKEN.load(Relaxed), 2 * sleepers as u64);
    figures.print();
}
