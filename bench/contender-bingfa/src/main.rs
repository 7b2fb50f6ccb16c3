//! bingfa as a contender: `bingfa`, and `bingfa-fifo` where `bingfa` itself runs under `Policy::Mlfq`.
//!
//! Started by the runner as `contender-bingfa CONTENDER BENCH key=value ...`; what it prints is told in the crate
//! `harness`.

mod serve;
mod tasks;

use bingfa::{IoBackend, Policy, Runtime, coroutine};
use harness::Args;
use std::time::Duration;

fn main() {
    let args = Args::from_env();
    harness::raise_descriptor_limit();
    let runtime = runtime(&args);
    match args.bench.as_str() {
        "switch" => tasks::switch(&runtime, &args),
        "spawn" => tasks::spawn(&runtime, &args),
        "parked" => {
            let count = args.number("tasks");
            inside(&runtime, move || tasks::parked(count));
        }
        "timers" => {
            let sleepers = args.number("sleepers");
            inside(&runtime, move || tasks::timers(sleepers));
        }
        "echo" => inside(&runtime, || serve::serve(0, 0)),
        "fair" => {
            let (computing, iterations) = (args.number("computing"), args.number("iterations"));
            inside(&runtime, move || serve::serve(computing, iterations));
        }
        _ => args.unknown(),
    }
}

fn runtime(args: &Args) -> Runtime {
    // Parents here spawn a million coroutines without a wait: the watchdog would name them, rightly, in each run.
    let builder = Runtime::builder()
        .workers(args.number("workers"))
        .hog_threshold(Duration::from_secs(3600));
    let builder = match (args.bench.as_str(), args.contender.as_str()) {
        ("fair", "bingfa") => builder.policy(Policy::Mlfq),
        _ => builder.policy(Policy::Fifo),
    };
    let builder = match args.text("io") {
        Some("uring") => builder.io(IoBackend::Uring),
        Some("epoll") => builder.io(IoBackend::Epoll),
        _ => builder.io(IoBackend::Auto),
    };
    let builder = match args.text("polling_us") {
        Some(_) => builder.polling(Duration::from_micros(args.number("polling_us"))),
        None => builder,
    };
    builder.build().expect("a bingfa runtime")
}

/// Runs `f` on a worker, and not on the thread that waits for it.
fn inside<T: Send + 'static>(runtime: &Runtime, f: impl FnOnce() -> T + Send + 'static) -> T {
    runtime
        .run(|| coroutine::spawn(f).join())
        .expect("the main coroutine ends well")
}
