//! `mutex`: lock, add, unlock; by one, by four threads, or by many tasks that wait with the lock held.

use crate::runtimes::{self, SMOL, in_may, in_smol, in_tokio, may_spawn};
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
        ("smol", LockShape::Tasks(tasks)) => {
            runtimes::smol(args);
            harness::switch_rounds(seconds, |count| in_smol(smol_tasks(tasks, count / tasks)))
        }
        ("may", LockShape::Tasks(tasks)) => {
            runtimes::may(args);
            harness::switch_rounds(seconds, |count| {
                in_may(move || may_tasks(tasks, count / tasks))
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

async fn smol_tasks(tasks: u64, each: u64) -> Duration {
    let lock = Arc::new(smol::lock::Mutex::new(0));
    let start = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let lock = Arc::clone(&lock);
            SMOL.spawn(async move {
                for _ in 0..each {
                    let mut sum = lock.lock().await;
                    *sum += 1;
                    smol::future::yield_now().await;
                }
            })
        })
        .collect();
    for handle in handles {
        handle.await;
    }
    let taken = start.elapsed();
    assert_eq!(*lock.lock().await, tasks * each);
    taken
}

fn may_tasks(tasks: u64, each: u64) -> Duration {
    let lock = Arc::new(may::sync::Mutex::new(0));
    let start = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let lock = Arc::clone(&lock);
            may_spawn(move || {
                for _ in 0..each {
                    let mut sum = lock.lock().expect("not poisoned");
                    *sum += 1;
                    may::coroutine::yield_now();
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no coroutine panics");
    }
    let taken = start.elapsed();
    assert_eq!(*lock.lock().expect("not poisoned"), tasks * each);
    taken
}
