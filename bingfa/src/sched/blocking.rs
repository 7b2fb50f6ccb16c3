//! Threads for what blocks in a way that no driver can wait for, such as DNS.
//!
//! A job owns its data. A coroutine that is cancelled while it waits abandons its
//! job: the thread finishes it and throws the result away.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::park::local;
use crate::park::packet::{Packet, wait_done};

type Job = Box<dyn FnOnce() + Send>;

const MAX_THREADS: usize = 64;
const KEEP_IDLE: Duration = Duration::from_secs(10);

struct Pool {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    jobs: VecDeque::new(),
    threads: 0,
    idle: 0,
});
static WORK: Condvar = Condvar::new();

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner) // jobs run outside the lock
}

/// Runs `job` so that it blocks no worker: on a pool thread if called in a coroutine,
/// here on a plain thread.
///
/// # Panics
/// If `job` panics, or not a single thread can be had.
///
/// # Cancellation
/// The job is abandoned.
#[track_caller]
pub(crate) fn run<T: Send + 'static>(
    what: &'static &'static str,
    job: impl FnOnce() -> T + Send + 'static,
) -> T {
    if local::frame().is_none() {
        return job();
    }
    let packet = Arc::new(Packet::new());
    let deliver = packet.clone();
    submit(Box::new(move || {
        deliver.deliver(catch_unwind(AssertUnwindSafe(job)))
    }));
    while !wait_done(&packet.completion, what, None) {}
    let result: std::thread::Result<T> = packet.take().expect("delivered and not yet taken");
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

fn submit(job: Job) {
    let mut pool = pool();
    pool.jobs.push_back(job);
    if pool.idle >= pool.jobs.len() {
        WORK.notify_one();
    } else if pool.threads < MAX_THREADS {
        pool.threads += 1;
        drop(pool);
        let started = std::thread::Builder::new()
            .name("bingfa-blocking".into())
            .spawn(serve);
        if let Err(error) = started {
            let mut pool = self::pool();
            pool.threads -= 1;
            assert!(
                pool.threads > 0,
                "bingfa: no thread for blocking work: {error}"
            );
        }
    }
}

fn serve() {
    let mut pool = pool();
    loop {
        if let Some(job) = pool.jobs.pop_front() {
            drop(pool);
            job();
            pool = self::pool();
            continue;
        }
        pool.idle += 1;
        let (woken, timeout) = WORK
            .wait_timeout(pool, KEEP_IDLE)
            .unwrap_or_else(PoisonError::into_inner);
        pool = woken;
        pool.idle -= 1;
        if timeout.timed_out() && pool.jobs.is_empty() {
            pool.threads -= 1;
            return;
        }
    }
}
