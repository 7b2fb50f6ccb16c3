//! `mutex`: lock, add, unlock; by one, by four threads, or by many tasks that wait with the lock held.

use crate::runtimes::{self, in_tokio};
use harness::{Args, Figures, LockShape};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) {
    let seconds = args.number("seconds");
    let ns = match (args.contender.as_str(), LockShape::of(args)) {
        ("std", LockShape::Alone) => {
            let lock = std::sync::Mutex::new(0);
            harness::switch_rounds(seconds, |count| {
                harness::lock_alone(count, || *lock.lock().expect("not poisoned") += 1)
            })
        }
        ("parking_lot", LockShape::Alone) => {
            let lock = parking_lot::Mutex::new(0);
            harness::switch_rounds(seconds, |count| {
                harness::lock_alone(count, || *lock.lock() += 1)
            })
        }
        ("std", LockShape::Threads(threads)) => harness::switch_rounds(seconds, |count| {
            let lock = std::sync::Mutex::new(0);
            let taken = harness::lock_by_threads(threads, count, || {
                *lock.lock().expect("not poisoned") += 1;
            });
            assert_eq!(
                lock.into_inner().expect("not poisoned"),
                count / threads * threads
            );
            taken
        }),
        ("parking_lot", LockShape::Threads(threads)) => harness::switch_rounds(seconds, |count| {
            let lock = parking_lot::Mutex::new(0);
            let taken = harness::lock_by_threads(threads, count, || *lock.lock() += 1);
            assert_eq!(lock.into_inner(), count / threads * threads);
            taken
        }),
        ("tokio", LockShape::Tasks(tasks)) => {
            let runtime = runtimes::tokio(args);
            harness::switch_rounds(seconds, |count| {
                in_tokio(&runtime, tokio_tasks(tasks, count / tasks))
            })
        }
        _ => args.unknown(),
    };
    Figures::new()
        .with("ns_per_op", ns)
        .with("ops_per_s", 1e9 / ns)
        .print();
}

async fn tokio_tasks(tasks: u64, each: u64) -> Duration {
    let lock = Arc::new(tokio::sync::Mutex::new(0));
    let start = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let lock = Arc::clone(&lock);
            tokio::spawn(async move {
                for _ in 0..each {
                    let mut sum = lock.lock().await;
                    *sum += 1;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for handle in handles {
        handle.await.expect("no task panics");
    }
    let taken = start.elapsed();
    assert_eq!(*lock.lock().await, tasks * each);
    taken
}
