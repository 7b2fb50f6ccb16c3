//! `fair`: the echo server of tokio, beside tasks that compute.

use crate::echo;
use crate::runtimes::{self, in_tokio};
use harness::{Args, Figures, compute_step};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static STEPS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    match args.contender.as_str() {
        "tokio" | "tokio-current" => {
            let (computing, iterations) = (args.number("computing"), args.number("iterations"));
            in_tokio(&runtimes::tokio(args), tokio(computing, iterations));
        }
        _ => args.unknown(),
    }
}

async fn tokio(computing: u64, iterations: u64) {
    for seed in 0..computing {
        tokio::spawn(async move {
            let mut x = seed;
            loop {
                x = compute_step(x, iterations);
                STEPS.fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    let start = Instant::now();
    echo::tokio(move || {
        let rate = STEPS.load(Relaxed) as f64 / start.elapsed().as_secs_f64();
        Figures::new().with("compute_steps_per_s", rate)
    })
    .await;
}
