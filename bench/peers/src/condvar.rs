//! `condvar` and `event`: one notification wakes all who wait; the last to arrive again asks for the next. With tokio's `Notify`;
//! `tokio-mutex` is the same with a state that a mutex guards, as a condition variable is used.

use crate::runtimes::{self, in_tokio};
use harness::{Args, Figures};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

#[derive(Default)]
struct Gate {
    back: AtomicU64,
    opened: Notify,
    all_back: Notify,
}

pub(crate) fn run(args: &Args) {
    let runtime = runtimes::tokio(args);
    let waiters: u64 = args.number("waiters");
    let ns = harness::wake_rounds(args.number("seconds"), waiters, |rounds| {
        match args.contender.as_str() {
            "tokio" => in_tokio(&runtime, tokio_rounds(waiters, rounds)),
            "tokio-mutex" => in_tokio(&runtime, mutex_rounds(waiters, rounds)),
            _ => args.unknown(),
        }
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
                    let mut opened = pin!(gate.opened.notified());
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
struct Monitor {
    /// How often it was opened, and how many have come back since. std's mutex, as tokio advises for what is not held
    /// across a wait.
    state: Mutex<(u64, u64)>,
    opened: Notify,
    all_back: Notify,
}

impl Monitor {
    fn lock(&self) -> MutexGuard<'_, (u64, u64)> {
        self.state.lock().expect("not poisoned")
    }

    async fn until_all_are_back(&self, waiters: u64) {
        while self.lock().1 < waiters {
            self.all_back.notified().await;
        }
    }

    /// The caller, one of so many, has come back, and waits until it was opened after `round`.
    async fn until_opened(&self, round: u64, waiters: u64) {
        let mut arrives = true;
        loop {
            let mut opened = pin!(self.opened.notified());
            {
                let mut state = self.lock();
                if std::mem::take(&mut arrives) {
                    state.1 += 1;
                    if state.1 == waiters {
                        self.all_back.notify_one();
                    }
                }
                if state.0 > round {
                    return;
                }
                opened.as_mut().enable();
            }
            opened.await;
        }
    }
}

async fn mutex_rounds(waiters: u64, rounds: u64) -> Duration {
    let gate = Arc::new(Monitor::default());
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                for round in 0..rounds {
                    gate.until_opened(round, waiters).await;
                }
            })
        })
        .collect();
    gate.until_all_are_back(waiters).await;
    let start = Instant::now();
    for round in 0..rounds {
        gate.until_all_are_back(waiters).await;
        *gate.lock() = (round + 1, 0);
        gate.opened.notify_waiters();
    }
    for handle in handles {
        handle.await.expect("no task panics");
    }
    start.elapsed()
}
