//! The peers and floors that bingfa is measured against: a module per bench, in which all of them do the same work.
//!
//! Started by the runner as `peers CONTENDER BENCH key=value ...`; what it prints is told in the crate `harness`.

mod channel;
mod condvar;
mod echo;
mod epoll_loop;
mod event;
mod fair;
mod floors;
mod forked;
mod iceoryx;
mod manager;
mod mutex;
mod parked;
mod process_queue;
mod process_spawn;
mod process_wake;
mod runtimes;
mod semaphore;
mod spawn;
mod switch;
mod timers;

use harness::Args;

fn main() {
    procspawn::init(); // its children begin here
    let args = Args::from_env();
    harness::raise_descriptor_limit();
    match args.bench.as_str() {
        "channel" => channel::run(&args),
        "condvar" => condvar::run(&args),
        "echo" => echo::run(&args),
        "event" => event::run(&args),
        "fair" => fair::run(&args),
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
