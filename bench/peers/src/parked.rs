//! `parked`: tasks that wait and do nothing else; `spawn alive=all` uses the same ones.

use crate::runtimes::{self, SMOL, THREAD_STACK, in_smol, in_tokio, may_spawn};
use harness::{Args, Figures, Memory};
use smol::channel::Receiver;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use tokio::sync::Notify;

/// Tasks that have got as far as waiting.
static PARKED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    let total = args.number("tasks");
    match args.contender.as_str() {
        "tokio" | "tokio-current" => in_tokio(&runtimes::tokio(args), tokio(total)),
        "smol" => {
            runtimes::smol(args);
            in_smol(smol(total));
        }
        "may" => {
            runtimes::may(args);
            may(total);
        }
        "std" => threads(total),
        _ => args.unknown(),
    }
}

/// Prints the figures and ends the process: unparking all of them would take longer than the measurement.
fn report(before: Memory, total: usize) -> ! {
    Figures::new().with_memory_per_task(before, total).print();
    std::process::exit(0);
}

async fn tokio(total: usize) {
    let before = Memory::now();
    let gate = Arc::new(Notify::new());
    drop(tokio_park(total, &gate).await);
    report(before, total)
}

/// Starts `total` tasks that wait at `gate`, and returns when all of them do.
pub(crate) async fn tokio_park(
    total: usize,
    gate: &Arc<Notify>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let handles = (0..total)
        .map(|_| {
            let gate = Arc::clone(gate);
            tokio::spawn(async move {
                // Made before the task counts as parked: a later notify_waiters reaches it.
                let released = gate.notified();
                PARKED.fetch_add(1, Relaxed);
                released.await;
            })
        })
        .collect();
    while PARKED.load(Relaxed) < total as u64 {
        tokio::task::yield_now().await;
    }
    handles
}

async fn smol(total: usize) {
    let before = Memory::now();
    let (_gate, at_gate) = smol::channel::bounded::<()>(1);
    smol_park(total, at_gate)
        .await
        .into_iter()
        .for_each(smol::Task::detach);
    report(before, total)
}

/// Starts `total` tasks that wait until the channel is closed, and returns when all of them do.
pub(crate) async fn smol_park(total: usize, gate: Receiver<()>) -> Vec<smol::Task<()>> {
    let handles = (0..total)
        .map(|_| {
            let gate = gate.clone();
            SMOL.spawn(async move {
                PARKED.fetch_add(1, Relaxed);
                let closed = gate.recv().await;
                assert!(closed.is_err());
            })
        })
        .collect();
    while PARKED.load(Relaxed) < total as u64 {
        smol::future::yield_now().await;
    }
    handles
}

fn may(total: usize) {
    let before = Memory::now();
    let _handles: Vec<_> = (0..total)
        .map(|_| {
            may_spawn(|| {
                PARKED.fetch_add(1, Relaxed);
                loop {
                    may::coroutine::park();
                }
            })
        })
        .collect();
    while PARKED.load(Relaxed) < total as u64 {
        thread::yield_now();
    }
    report(before, total)
}

fn threads(total: usize) {
    let before = Memory::now();
    for _ in 0..total {
        let body = || {
            PARKED.fetch_add(1, Relaxed);
            loop {
                thread::park();
            }
        };
        thread::Builder::new()
            .stack_size(THREAD_STACK)
            .spawn(body)
            .expect("the system has room for the threads");
    }
    while PARKED.load(Relaxed) < total as u64 {
        thread::yield_now();
    }
    report(before, total)
}
