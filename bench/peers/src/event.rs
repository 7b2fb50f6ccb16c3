//! `event`: one signal wakes all who wait; the last to arrive again asks for the next. With tokio's `Notify` and with
//! `event-listener`, which smol's locks are made of.

use crate::runtimes::{self, SMOL, in_smol, in_tokio};
use event_listener::{Event, Listener};
use harness::{Args, Figures};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

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
        _ => args.unknown(),
    };
    Figures::new().with("ns_per_op", ns).print();
}

#[derive(Default)]
struct TokioGate {
    back: AtomicU64,
    opened: Notify,
    all_back: Notify,
}

async fn tokio_rounds(waiters: u64, rounds: u64) -> Duration {
    let gate = Arc::new(TokioGate::default());
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

#[derive(Default)]
struct SmolGate {
    back: AtomicU64,
    opened: Event,
    all_back: Event,
}

async fn smol_rounds(waiters: u64, rounds: u64) -> Duration {
    let gate = Arc::new(SmolGate::default());
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let gate = Arc::clone(&gate);
            SMOL.spawn(async move {
                for _ in 0..rounds {
                    let opened = gate.opened.listen();
                    if gate.back.fetch_add(1, SeqCst) + 1 == waiters {
                        gate.all_back.notify(1);
                    }
                    opened.await;
                }
            })
        })
        .collect();
    let mut start = None;
    for _ in 0..rounds {
        // It keeps nothing for who comes later, so the look comes after the listening.
        let all_back = gate.all_back.listen();
        if gate.back.load(SeqCst) < waiters {
            all_back.await;
        } else {
            all_back.discard();
        }
        start.get_or_insert_with(Instant::now);
        gate.back.store(0, SeqCst);
        gate.opened.notify(usize::MAX);
    }
    for handle in handles {
        handle.await;
    }
    start.expect("at least one round").elapsed()
}
