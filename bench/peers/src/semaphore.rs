//! `semaphore`: a permit for each of those who wait; the last to arrive again asks for the next. With tokio's `Semaphore`.

use crate::runtimes::{self, in_tokio};
use harness::{Args, Figures};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

pub(crate) fn run(args: &Args) {
    if args.contender != "tokio" {
        args.unknown();
    }
    let runtime = runtimes::tokio(args);
    let waiters: u64 = args.number("waiters");
    let ns = harness::wake_rounds(args.number("seconds"), waiters, |rounds| {
        in_tokio(&runtime, tokio_rounds(waiters, rounds))
    });
    Figures::new().with("ns_per_op", ns).print();
}

async fn tokio_rounds(waiters: u64, rounds: u64) -> Duration {
    let permits = Arc::new(Semaphore::new(0));
    let all_back = Arc::new(Semaphore::new(0));
    let back = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let (permits, all_back, back) = (permits.clone(), all_back.clone(), back.clone());
            tokio::spawn(async move {
                for _ in 0..rounds {
                    if back.fetch_add(1, SeqCst) + 1 == waiters {
                        all_back.add_permits(1);
                    }
                    permits.acquire().await.expect("not closed").forget();
                }
            })
        })
        .collect();
    let mut start = None;
    for _ in 0..rounds {
        all_back.acquire().await.expect("not closed").forget();
        start.get_or_insert_with(Instant::now);
        back.store(0, SeqCst);
        permits.add_permits(waiters as usize);
    }
    for handle in handles {
        handle.await.expect("no task panics");
    }
    assert_eq!(permits.available_permits(), 0);
    start.expect("at least one round").elapsed()
}
