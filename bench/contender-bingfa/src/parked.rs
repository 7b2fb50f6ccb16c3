//! `parked`: coroutines that wait and do nothing else; `spawn alive=all` uses the same ones.

use crate::{inside, runtime};
use bingfa::coroutine::{self, JoinHandle};
use harness::{Args, Figures, Memory};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Coroutines that have got as far as parking.
static PARKED: AtomicU64 = AtomicU64::new(0);
static RELEASED: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(args: &Args) {
    let total = args.number("tasks");
    inside(&runtime(args), move || {
        let before = Memory::now();
        drop(park_all(total));
        Figures::new().with_memory_per_task(before, total).print();
        // Releasing all of them would take longer than the measurement.
        std::process::exit(0);
    });
}

/// Starts `total` coroutines that park, and returns when all of them have.
pub(crate) fn park_all(total: usize) -> Vec<JoinHandle<()>> {
    let body = || {
        PARKED.fetch_add(1, Relaxed);
        while !RELEASED.load(Relaxed) {
            coroutine::park();
        }
    };
    let handles = (0..total).map(|_| coroutine::spawn(body)).collect();
    while PARKED.load(Relaxed) < total as u64 {
        coroutine::yield_now();
    }
    handles
}

/// Ends the wait of all that [`park_all`] has started.
pub(crate) fn release(handles: &[JoinHandle<()>]) {
    // Each is unparked after this store, and sees it by that.
    RELEASED.store(true, Relaxed);
    for handle in handles {
        handle.unpark();
    }
}
