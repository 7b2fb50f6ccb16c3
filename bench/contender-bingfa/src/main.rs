//! bingfa as a contender: a module per bench. Other settings of bingfa have names of their own (`bingfa-fifo`).
//!
//! Started by the runner as `contender-bingfa CONTENDER BENCH key=value ...`; what it prints is told in the crate
//! `harness`.

mod channel;
mod condvar;
mod echo;
mod event;
mod fair;
mod guard;
mod manager;
mod mutex;
mod parked;
mod process_queue;
mod process_spawn;
mod process_wake;
mod semaphore;
mod spawn;
mod switch;
mod timers;

use bingfa::{IoBackend, Runtime, RuntimeBuilder, coroutine};
use harness::Args;
use std::time::Duration;

fn main() {
    let args = Args::from_env();
    harness::raise_descriptor_limit();
    match args.bench.as_str() {
        "channel" => channel::run(&args),
        "condvar" => condvar::run(&args),
        "echo" => echo::run(&args),
        "event" => event::run(&args),
        "fair" => fair::run(&args),
        "guard" => guard::run(&args),
        "manager" => manager::run(&args),
        "mutex" => mutex::run(&args),
        "parked" => parked::run(&args),
        "process-queue" => process_queue::run(&args),
        "process-spawn" => process_spawn::run(&args),
        "process-wake" => process_wake::run(&args),
        "semaphore" => semaphore::run(&args),
        "spawn" => spawn::run(&args),
        "switch" => switch::run(&args),
        "timers" => timers::run(&args),
        _ => args.unknown(),
    }
}

/// The runtime that the runner has asked for: `workers=N`, and perhaps `io=` and `polling_us=`.
fn runtime(args: &Args) -> Runtime {
    builder(args).build().expect("a bingfa runtime")
}

/// The same, not yet built: for a bench that has a setting of its own.
fn builder(args: &Args) -> RuntimeBuilder {
    // Parents here spawn a million coroutines without a wait: the watchdog would name them, rightly, in each run.
    let builder = Runtime::builder()
        .workers(args.number("workers"))
        .hog_threshold(Duration::from_secs(3600));
    let builder = match args.text("io") {
        Some("uring") => builder.io(IoBackend::Uring),
        Some("epoll") => builder.io(IoBackend::Epoll),
        _ => builder.io(IoBackend::Auto),
    };
    match args.text("polling_us") {
        Some(_) => builder.polling(Duration::from_micros(args.number("polling_us"))),
        None => builder,
    }
}

/// Runs `f` on a worker, and not on the thread that waits for it.
fn inside<T: Send + 'static>(runtime: &Runtime, f: impl FnOnce() -> T + Send + 'static) -> T {
    runtime
        .run(|| coroutine::spawn(f).join())
        .expect("the main coroutine ends well")
}
