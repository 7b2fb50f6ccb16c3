//! The work of `bench guard`: single operations, so many times, to be counted in instructions under valgrind.
//!
//! All of it happens on one worker, over epoll and with `mprotect` guards: valgrind 3.19 knows neither io_uring nor
//! `MADV_GUARD_INSTALL`. Nothing here looks at a clock.

use crate::inside;
use bingfa::{GuardPages, IoBackend, Runtime, coroutine, queue, sync};
use harness::{Args, Figures};
use std::hint::black_box;
use std::time::Duration;

/// Coroutines alive at a time: their stacks are recycled from the second wave on.
const WAVE: u64 = 100;

pub(crate) fn run(args: &Args) {
    let count: u64 = args.number("count");
    let runtime = Runtime::builder()
        .workers(1)
        .io(IoBackend::Epoll)
        .guard_pages(GuardPages::Protect)
        .hog_threshold(Duration::from_secs(3600))
        .build()
        .expect("a runtime");
    let operation = args.text("operation").unwrap_or_default().to_string();
    let done = inside(&runtime, move || match operation.as_str() {
        "switch" => switch(count),
        "spawn" => spawn(count),
        "lock" => lock(count),
        "read lock" => read_lock(count),
        "put and get" => put_and_get(count),
        "send and recv" => send_and_recv(count),
        other => panic!("no operation is called {other:?}"),
    });
    assert_eq!(done, count);
    Figures::new().with("operations", done as f64).print();
}

/// Two coroutines that yield to each other.
fn switch(count: u64) -> u64 {
    let yields = move || {
        for _ in 0..count / 2 {
            coroutine::yield_now();
        }
        count / 2
    };
    let handles = vec![coroutine::spawn(yields), coroutine::spawn(yields)];
    let done = coroutine::join_all(handles).expect("no coroutine panics");
    done.iter().sum()
}

/// Spawn and join.
fn spawn(count: u64) -> u64 {
    let mut done = 0;
    for _ in 0..count / WAVE {
        let handles: Vec<_> = (0..WAVE)
            .map(|_| coroutine::spawn(|| black_box(1)))
            .collect();
        for handle in handles {
            done += handle.join().expect("no coroutine panics");
        }
    }
    done
}

/// Lock and unlock of a mutex that nobody else wants.
fn lock(count: u64) -> u64 {
    let mutex = sync::Mutex::new(0);
    for _ in 0..count {
        *black_box(&mutex).lock().expect("no holder panics") += 1;
    }
    mutex.into_inner().expect("no holder has panicked")
}

/// Lock and unlock, for reading, of a lock that nobody else has.
fn read_lock(count: u64) -> u64 {
    let lock = sync::RwLock::new(1);
    let mut done = 0;
    for _ in 0..count {
        done += *black_box(&lock).read().expect("no holder panics");
    }
    done
}

/// An item into a bounded queue that is empty, and out again.
fn put_and_get(count: u64) -> u64 {
    let queue = queue::Queue::bounded(16);
    let mut done = 0;
    for _ in 0..count {
        black_box(&queue).put(1).expect("the queue is open");
        done += queue.get().expect("the queue is open");
    }
    done
}

/// A message into a bounded channel that is empty, and out again.
fn send_and_recv(count: u64) -> u64 {
    let (sender, receiver) = queue::bounded(16);
    let mut done = 0;
    for _ in 0..count {
        black_box(&sender).send(1).expect("the receiver is there");
        done += receiver.recv().expect("the sender is there");
    }
    done
}
