//! Where and when coroutines start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bingfa::{Runtime, coroutine};

/// Spawning from a plain thread must not depend on some worker running out of work.
#[test]
fn what_a_plain_thread_spawns_starts_beside_coroutines_that_never_wait() {
    for workers in [1, 2] {
        let runtime = Runtime::builder().workers(workers).build().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..workers * 2)
            .map(|_| {
                let (stop, started) = (stop.clone(), Arc::new(AtomicBool::new(false)));
                let flag = started.clone();
                let handle = runtime.spawn(move || {
                    flag.store(true, SeqCst);
                    while !stop.load(SeqCst) {
                        coroutine::yield_now();
                    }
                });
                (handle, started)
            })
            .collect();
        while !busy.iter().all(|(_, started)| started.load(SeqCst)) {
            std::thread::yield_now();
        }
        let late = runtime.spawn(|| "started");
        let late = late.join_timeout(Duration::from_secs(30));
        stop.store(true, SeqCst);
        assert_eq!(late.expect("it starved").unwrap(), "started");
        for (handle, _) in busy {
            handle.join().unwrap();
        }
    }
}
