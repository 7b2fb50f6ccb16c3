//! The loops of `mutex` and `condvar`, and who runs them.

use crate::Args;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Steps of work between two locks of a thread.
const WORK: u32 = 20;

/// Who locks.
#[derive(Clone, Copy, Debug)]
pub enum LockShape {
    /// One thread.
    Alone,
    /// So many threads at once.
    Threads(u64),
    /// So many tasks at once.
    Tasks(u64),
}

impl LockShape {
    /// What `shape=` says.
    ///
    /// # Panics
    /// If it is none of `alone`, `threads=N` and `tasks=N`.
    pub fn of(args: &Args) -> Self {
        let text = args.text("shape").unwrap_or_default();
        let number = |text: &str| text.parse().expect("a number");
        match text.split_once('=') {
            None if text == "alone" => Self::Alone,
            Some(("threads", n)) => Self::Threads(number(n)),
            Some(("tasks", n)) => Self::Tasks(number(n)),
            _ => panic!("shape={text} is no shape"),
        }
    }
}

/// How long it takes to call `lock_and_add` so often.
pub fn lock_alone(count: u64, lock_and_add: impl Fn()) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        black_box(&lock_and_add)();
    }
    start.elapsed()
}

/// How long it takes if threads share the work.
pub fn lock_by_threads(threads: u64, count: u64, lock_and_add: impl Fn() + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| {
                for _ in 0..count / threads {
                    lock_and_add();
                    for step in 0..WORK {
                        black_box(step);
                    }
                }
            });
        }
    });
    start.elapsed()
}

/// Nanoseconds per wake-up, where `run` takes a number of rounds in each of which so many waiters are woken.
pub fn wake_rounds(seconds: f64, waiters: u64, mut run: impl FnMut(u64) -> Duration) -> f64 {
    crate::switch_rounds(seconds, |wakes| {
        let rounds = wakes.div_ceil(waiters);
        run(rounds).mul_f64(wakes as f64 / (rounds * waiters) as f64)
    })
}
