//! Threads for what blocks in a way that no driver can wait for, such as DNS and files.
//!
//! There are two ways to wait for such a job. [`run`] takes one that owns its data: a
//! coroutine that is cancelled meanwhile abandons it, and the thread throws the result
//! away. [`complete`] takes one that may borrow, and waits for its end whatever happens.
//!
//! Some jobs wait for somebody: the open of a FIFO for its other end, say. They must not stop
//! the others, so where all threads are stuck there are more of them, for a while.
//!
//! # Invariants
//! 1. A job that was submitted is run exactly once and dropped by that, on whatever thread.
//! 2. The frame of [`complete`] is not left between the submission of its job and the
//!    moment its packet is done; after that moment nothing of the job is touched but the
//!    packet's own memory, which is shared.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::park::packet::{Packet, wait_done};
use crate::park::wait::{Unparker, about_to_wait, wait_until};
use crate::park::{cancel, local};

type Job = Box<dyn FnOnce() + Send>;

/// As many threads as there are, unless they are stuck.
const ENOUGH_THREADS: usize = 64;
/// And then.
const MAX_THREADS: usize = 4096;
/// They are stuck if none of them ends a job for so long, and others wait.
const STUCK: Duration = Duration::from_millis(20);
const KEEP_IDLE: Duration = Duration::from_secs(10);

struct Pool {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// How many jobs have ended.
    ended: u64,
    /// Somebody looks whether the threads are stuck.
    is_watched: bool,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    jobs: VecDeque::new(),
    threads: 0,
    idle: 0,
    ended: 0,
    is_watched: false,
});
static WORK: Condvar = Condvar::new();

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner) // jobs run outside the lock
}

/// Runs `job` so that it blocks no worker: on a pool thread if called in a coroutine,
/// here on a plain thread.
///
/// # Panics
/// If `job` panics.
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
    result(&packet)
}

/// The same for a `job` that may borrow, because it is always waited for.
///
/// # Panics
/// If `job` panics.
///
/// # Cancellation
/// Before the job is begun; then it completes first, and the next wait unwinds.
#[track_caller]
pub(crate) fn complete<T: Send>(what: &'static &'static str, job: impl FnOnce() -> T + Send) -> T {
    cancel::checkpoint();
    if local::frame().is_none() {
        return job();
    }
    about_to_wait();
    let packet = Arc::new(Packet::new());
    let deliver = packet.clone();
    let job: Box<dyn FnOnce() + Send + '_> =
        Box::new(move || deliver.deliver(catch_unwind(AssertUnwindSafe(job))));
    // SAFETY: only the lifetime changes. What the job borrows outlives this frame, which
    // is not left before the job has run (invariant 2): nothing from here to the end of
    // `wait_until` unwinds.
    let job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
    let waiter = Unparker::current();
    submit(job);
    if packet.completion.watch(waiter) {
        wait_until(what, || packet.completion.is_done());
    }
    result(&packet)
}

/// What a job that has been waited for returned.
fn result<T>(packet: &Packet<std::thread::Result<T>>) -> T {
    let result = packet.take().expect("delivered and not yet taken");
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

fn submit(job: Job) {
    let mut pool = pool();
    pool.jobs.push_back(job);
    if pool.idle >= pool.jobs.len() {
        WORK.notify_one();
    } else if pool.threads < ENOUGH_THREADS {
        if !more_threads(&mut pool, 1) && pool.threads == 0 {
            // Nobody else will: better to hold this worker than to lose a job.
            drop(work_off(pool));
        }
    } else if !pool.is_watched {
        let watch = std::thread::Builder::new().name("bingfa-blocking".into());
        pool.is_watched = watch.spawn(watch_for_stuck_threads).is_ok();
    }
}

/// False: there can be no more.
fn more_threads(pool: &mut Pool, count: usize) -> bool {
    (0..count).all(|_| {
        let thread = std::thread::Builder::new().name("bingfa-blocking".into());
        let started = thread.spawn(serve).is_ok();
        pool.threads += usize::from(started);
        started
    })
}

/// Doubles the threads while they are stuck and jobs wait.
fn watch_for_stuck_threads() {
    let mut ended = None;
    loop {
        let mut pool = pool();
        if pool.jobs.is_empty() {
            pool.is_watched = false;
            return;
        }
        if ended == Some(pool.ended) {
            let room = MAX_THREADS.saturating_sub(pool.threads);
            let more = pool.jobs.len().min(pool.threads).min(room);
            more_threads(&mut pool, more);
        }
        ended = Some(pool.ended);
        drop(pool);
        std::thread::sleep(STUCK);
    }
}

/// Runs what is queued.
fn work_off(mut pool: MutexGuard<'static, Pool>) -> MutexGuard<'static, Pool> {
    while let Some(job) = pool.jobs.pop_front() {
        drop(pool);
        job();
        pool = self::pool();
        pool.ended += 1;
    }
    pool
}

fn serve() {
    let mut pool = pool();
    loop {
        pool = work_off(pool);
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
