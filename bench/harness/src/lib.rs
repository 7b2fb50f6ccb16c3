//! What every contender shares, so that none of them measures or works differently.
//!
//! A contender is a process: `PROGRAM CONTENDER BENCH key=value ...`. It prints one line of JSON with its figures.
//! A contender that serves prints `{"port": N}` first, serves until its standard input ends, and then prints its figures.

mod args;
mod channel;
mod clock;
mod dict;
mod locks;
mod process_queue;
mod report;
mod work;

pub use args::Args;
pub use channel::ChannelShape;
pub use clock::{Cpu, Memory, children_cpu_seconds, process_cpu_seconds};
pub use dict::DictWork;
pub use locks::{LockShape, lock_alone, lock_by_threads, wake_rounds};
pub use process_queue::{Item, QueueShape, latency_figures, monotonic_ns, send_moments};
pub use report::{Figures, serve_until_stdin_ends};
pub use work::{
    ECHO_BUFFER, SPAWN_WAVE, compute_step, iterations_of, median_us, sleep_lengths, switch_rounds,
};

/// Raises the limit of open descriptors as far as this process may: first the hard limit (root), then the soft one.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const WANTED: u64 = 100_000;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= WANTED) {
        return;
    }
    let both = Rlimit {
        current: Some(WANTED),
        maximum: Some(WANTED),
    };
    if setrlimit(Resource::Nofile, both).is_err() {
        // Not root: what is left is to use all of the hard limit.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: now.maximum,
                maximum: now.maximum,
            },
        );
    }
}
