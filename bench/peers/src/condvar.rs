//! `condvar`: one notification wakes all who wait; the last to arrive again asks for the next. With tokio's `Notify`, which has
//! no lock; `tokio-mutex` is the same with a state that a mutex guards, as a condition variable is used; and with the mutex
//! and condvar of may.

use crate::event;
use crate::runtimes::{self, in_may, in_tokio, may_spawn};
use harness::{Args, Figures};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

pub(crate) fn run(args: &Args) {
    let waiters: u64 = args.number("waiters");
    let seconds = args.number("seconds");
    let ns = match args.contender.as_str() {
        "tokio" => return event::run(args), // Notify is used in one way alone
        "tokio-mutex" => {
            let runtime = runtimes::tokio(args);
            harness::wake_rounds(seconds, waiters, |rounds| {
                in_tokio(&runtime, mutex_rounds(waiters, rounds))
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

#[derive(Default)]
struct Gate {
    /// How often it was opened, and how many have come back since.
    state: may::sync::Mutex<(u64, u64)>,
    opened: may::sync::Condvar,
    all_back: may::sync::Condvar,
}

fn may_rounds(waiters: u64, rounds: u64) -> Duration {
    let gate = Arc::new(Gate::default());
    let handles: Vec<_> = (0..waiters)
        .map(|_| {
            let gate = Arc::clone(&gate);
            may_spawn(move || {
                for round in 0..rounds {
                    let mut state = gate.state.lock().expect("not poisoned");
                    state.1 += 1;
                    if state.1 == waiters {
                        gate.all_back.notify_one();
                    }
                    while state.0 <= round {
                        state = gate.opened.wait(state).expect("not poisoned");
                    }
                }
            })
        })
        .collect();
    let all_back = || {
        let mut state = gate.state.lock().expect("not poisoned");
        while state.1 < waiters {
            state = gate.all_back.wait(state).expect("not poisoned");
        }
        state
    };
    drop(all_back());
    let start = Instant::now();
    for round in 0..rounds {
        let mut state = all_back();
        *state = (round + 1, 0);
        drop(state);
        gate.opened.notify_all();
    }
    for handle in handles {
        handle.join().expect("no coroutine panics");
    }
    start.elapsed()
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
