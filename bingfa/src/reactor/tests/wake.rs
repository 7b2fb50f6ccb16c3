//! Sleeping and waking, across threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

/// Wakes as fast as they come; the last must not be lost.
#[test]
fn a_hundred_thousand_wake_ups() {
    const COUNT: usize = 100_000;
    on_each(|worker| {
        let sent = Arc::new(AtomicUsize::new(0));
        let (count, sleeper) = (sent.clone(), worker.sleeper.clone());
        let waker = thread::spawn(move || {
            for _ in 0..COUNT {
                count.fetch_add(1, Ordering::Relaxed);
                sleeper.wake();
            }
        });
        await_count(worker, &sent, COUNT);
        waker.join().unwrap();
    });
}

/// Each wake-up finds the worker asleep, or about to be.
#[test]
fn wake_ups_one_by_one() {
    const COUNT: usize = 3_000;
    on_each(|worker| {
        let (sent, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, answer, sleeper) = (sent.clone(), seen.clone(), worker.sleeper.clone());
        let waker = thread::spawn(move || {
            for i in 1..=COUNT {
                count.store(i, Ordering::Relaxed);
                sleeper.wake();
                while answer.load(Ordering::Relaxed) < i {
                    thread::park_timeout(WATCHDOG);
                }
            }
        });
        for i in 1..=COUNT {
            await_count(worker, &sent, i);
            seen.store(i, Ordering::Relaxed);
            waker.thread().unpark();
        }
        waker.join().unwrap();
    });
}

/// I/O ends some sleeps, so that the wait for the sleeper stays armed.
#[test]
fn wake_ups_between_completions() {
    use std::io::Write;
    const COUNT: usize = 3_000;
    on_each(|worker| {
        let (ours, mut peer) = unix();
        let sent = Arc::new(AtomicUsize::new(0));
        let (count, sleeper) = (sent.clone(), worker.sleeper.clone());
        let waker = thread::spawn(move || {
            for _ in 0..COUNT {
                peer.write_all(b"x").unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                sleeper.wake();
            }
            peer
        });
        for _ in 0..COUNT {
            let call = ours.recv(1);
            worker.start(&call);
            assert_eq!(worker.finish(&call), 1);
        }
        await_count(worker, &sent, COUNT);
        drop(waker.join().unwrap());
    });
}

/// Sleeps, without a limit, until `sent` is `count`.
fn await_count(worker: &mut Worker, sent: &AtomicUsize, count: usize) {
    while sent.load(Ordering::Relaxed) < count {
        worker.sleeper.prepare();
        // Relaxed: the swaps of the sleeper's word order it.
        if sent.load(Ordering::Relaxed) < count {
            let start = Instant::now();
            worker.driver.wait(Some(WATCHDOG), &mut worker.done);
            assert!(start.elapsed() < WATCHDOG, "a wake-up was lost");
        }
        worker.sleeper.awake();
    }
}

#[test]
fn who_was_woken_before_does_not_sleep() {
    on_each(|worker| {
        worker.sleeper.prepare();
        worker.sleeper.wake();
        let start = Instant::now();
        worker.driver.wait(Some(WATCHDOG), &mut worker.done);
        assert!(start.elapsed() < WATCHDOG);
        worker.sleeper.awake();
    });
}
