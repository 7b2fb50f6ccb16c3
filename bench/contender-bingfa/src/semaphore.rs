//! `semaphore`: a permit for each of those who wait; the last to arrive again asks for the next.

use crate::{inside, runtime};
use bingfa::coroutine;
use bingfa::sync::{Arc, Semaphore};
use harness::{Args, Figures};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) {
    let runtime = runtime(args);
    let waiters: u64 = args.number("waiters");
    let ns = harness::wake_rounds(args.number("seconds"), waiters, |count| {
        inside(&runtime, move || rounds(waiters, count))
    });
    Figures::new().with("ns_per_op", ns).print();
}

fn rounds(waiters: u64, rounds: u64) -> Duration {
    let permits = Arc::new(Semaphore::new(0));
    let all_back = Arc::new(Semaphore::new(0));
    let back = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let (permits, all_back, back) = (permits.clone(), all_back.clone(), back.clone());
            coroutine::spawn(move || {
                for _ in 0..rounds {
                    if back.fetch_add(1, SeqCst) + 1 == waiters {
                        all_back.add_permits(1);
                    }
                    permits.acquire().forget();
                }
            })
        })
        .collect();
    let mut start = None;
    for _ in 0..rounds {
        all_back.acquire().forget();
        start.get_or_insert_with(Instant::now);
        back.store(0, SeqCst);
        permits.add_permits(waiters as usize);
    }
    coroutine::join_all(handles).expect("no coroutine panics");
    assert_eq!(permits.available_permits(), 0);
    start.expect("at least one round").elapsed()
}
