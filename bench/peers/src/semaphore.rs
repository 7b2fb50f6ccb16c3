//! `semaphore`: a permit for each of those who wait; the last to arrive again asks for the next. With the semaphores of tokio,
//! of smol (`async-lock`) and of may.

use crate::runtimes::{self, SMOL, in_may, in_smol, in_tokio, may_spawn};
use harness::{Args, Figures};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

pub(crate) fn run(args: &Args) {
    let waiters: u64 = args.number("waiters");
    let seconds = args.number("seconds");
    let ns = match args.contender.as_str() {
        "tokio" => {
            let runtime = runtimes::tokio(args);
            harness::wake_rounds(seconds, waiters, |rounds| {
                in_tokio(&runtime, tokio_rounds(waiters, rounds))
            })
        }
        "smol" => {
            runtimes::smol(args);
            harness::wake_rounds(seconds, waiters, |rounds| {
                in_smol(smol_rounds(waiters, rounds))
            })
        }
        "may" => {
            runtimes::may(args);
            harness::wake_rounds(seconds, waiters, |rounds| {
                in_may(move || may_rounds(waiters, rounds))
            })
        }
        _ => args.unknown(),
    };
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

async fn smol_rounds(waiters: u64, rounds: u64) -> Duration {
    let permits = Arc::new(smol::lock::Semaphore::new(0));
    let all_back = Arc::new(smol::lock::Semaphore::new(0));
    let back = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let (permits, all_back, back) = (permits.clone(), all_back.clone(), back.clone());
            SMOL.spawn(async move {
                for _ in 0..rounds {
                    if back.fetch_add(1, SeqCst) + 1 == waiters {
                        all_back.add_permits(1);
                    }
                    permits.acquire().await.forget();
                }
            })
        })
        .collect();
    let mut start = None;
    for _ in 0..rounds {
        all_back.acquire().await.forget();
        start.get_or_insert_with(Instant::now);
        back.store(0, SeqCst);
        permits.add_permits(waiters as usize);
    }
    for handle in handles {
        handle.await;
    }
    assert!(permits.try_acquire().is_none());
    start.expect("at least one round").elapsed()
}

fn may_rounds(waiters: u64, rounds: u64) -> Duration {
    let permits = Arc::new(may::sync::Semphore::new(0));
    let all_back = Arc::new(may::sync::Semphore::new(0));
    let back = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let (permits, all_back, back) = (permits.clone(), all_back.clone(), back.clone());
            may_spawn(move || {
                for _ in 0..rounds {
                    if back.fetch_add(1, SeqCst) + 1 == waiters {
                        all_back.post();
                    }
                    permits.wait();
                }
            })
        })
        .collect();
    let mut start = None;
    for _ in 0..rounds {
        all_back.wait();
        start.get_or_insert_with(Instant::now);
        back.store(0, SeqCst);
        for _ in 0..waiters {
            permits.post();
        }
    }
    for handle in handles {
        handle.join().expect("no coroutine panics");
    }
    assert_eq!(permits.get_value(), 0);
    start.expect("at least one round").elapsed()
}
