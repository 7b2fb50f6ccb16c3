//! `mutex`: lock, add, unlock; by one, by four threads, or by many coroutines that wait with the lock held.

use crate::{inside, runtime};
use bingfa::coroutine;
use bingfa::sync::{Arc, Mutex};
use harness::{Args, Figures, LockShape};
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) {
    let ns = match LockShape::of(args) {
        LockShape::Alone => {
            let lock = Mutex::new(0);
            harness::switch_rounds(args.number("seconds"), |count| {
                harness::lock_alone(count, || *lock.lock().expect("not poisoned") += 1)
            })
        }
        LockShape::Threads(threads) => harness::switch_rounds(args.number("seconds"), |count| {
            let lock = Mutex::new(0);
            let taken = harness::lock_by_threads(threads, count, || {
                *lock.lock().expect("not poisoned") += 1;
            });
            assert_eq!(
                lock.into_inner().expect("not poisoned"),
                count / threads * threads
            );
            taken
        }),
        LockShape::Tasks(tasks) => {
            let runtime = runtime(args);
            harness::switch_rounds(args.number("seconds"), |count| {
                inside(&runtime, move || coroutines(tasks, count / tasks))
            })
        }
    };
    Figures::new()
        .with("ns_per_op", ns)
        .with("ops_per_s", 1e9 / ns)
        .print();
}

/// Each lets others run while it has the lock, so that they have to wait for it.
fn coroutines(tasks: u64, each: u64) -> Duration {
    let lock = Arc::new(Mutex::new(0));
    let start = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let lock = Arc::clone(&lock);
            coroutine::spawn(move || {
                for _ in 0..each {
                    let mut sum = lock.lock().expect("not poisoned");
                    *sum += 1;
                    coroutine::yield_now();
                }
            })
        })
        .collect();
    coroutine::join_all(handles).expect("no coroutine panics");
    let taken = start.elapsed();
    assert_eq!(*lock.lock().expect("not poisoned"), tasks * each);
    taken
}
