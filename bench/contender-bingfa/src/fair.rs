//! `fair`: the echo server beside coroutines that compute; `bingfa` under `Policy::Mlfq`, `bingfa-fifo` under `Fifo`.

use crate::echo::serve;
use crate::{builder, inside};
use bingfa::{Policy, coroutine};
use harness::{Args, Figures, compute_step};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static STEPS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    let policy = match args.contender.as_str() {
        "bingfa" => Policy::Mlfq,
        _ => Policy::Fifo,
    };
    let runtime = builder(args).policy(policy).build().expect("a runtime");
    let (computing, iterations) = (args.number("computing"), args.number("iterations"));
    inside(&runtime, move || fair(computing, iterations));
}

fn fair(computing: u64, iterations: u64) {
    for seed in 0..computing {
        coroutine::spawn(move || {
            let mut x = seed;
            loop {
                x = compute_step(x, iterations);
                STEPS.fetch_add(1, Relaxed);
                coroutine::checkpoint();
            }
        });
    }
    let start = Instant::now();
    serve(move || {
        let rate = STEPS.load(Relaxed) as f64 / start.elapsed().as_secs_f64();
        Figures::new().with("compute_steps_per_s", rate)
    });
}
