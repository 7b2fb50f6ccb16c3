//! `condvar` and `event`: one notification wakes all who wait; the last to arrive again asks for the next. With tokio's `Notify`.

use crate::runtimes::{self, in_tokio};
use harness::{Args, Figures};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

#[derive(Default)]
struct Gate {
    back: AtomicU64,
    opened: Notify,
    all_back: Notify,
}

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
    let gate = Arc::new(Gate::default());
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                for _ in 0..rounds {
                    let mut opened = std::pin::pin!(gate.opened.notified());
                    opened.as_mut().enable();
                    if gate.back.fetch_add(1, SeqCst) + 1 == waiters {
                        gate.all_back.notify_one();
                    }
                    opened.await;
                }
            })
        })
        .collect();
    let mut start = None;
    for _ in 0..rounds {
        gate.all_back.notified().await;
        start.get_or_insert_with(Instant::now);
        gate.back.store(0, SeqCst);
        gate.opened.notify_waiters();
    }
    for handle in handles {
        handle.await.expect("no task panics");
    }
    start.expect("at least one round").elapsed()
}
