//! Queues with many at both ends: threads, coroutines, async tasks, and those who give up.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bingfa::coroutine;
use bingfa::queue::{Closed, Queue};
use common::{Drops, block_on, until_in};

/// All items of all producers arrive once, those of one producer in order.
fn traffic(capacity: Option<usize>, run: impl Fn(&(dyn Fn(usize) + Sync))) {
    const EACH: usize = 2000;
    let queue = Queue::new(capacity);
    let seen = Mutex::new(Vec::new());
    let done = AtomicUsize::new(0);
    run(&|role| {
        if role < 4 {
            for n in 0..EACH {
                queue.put((role, n)).unwrap();
            }
            if done.fetch_add(1, SeqCst) == 3 {
                queue.close();
            }
        } else {
            let mut last = [None; 4];
            let mine: Vec<_> = queue.iter().collect();
            for &(producer, n) in &mine {
                assert!(last[producer] < Some(n), "out of order");
                last[producer] = Some(n);
            }
            seen.lock().unwrap().extend(mine);
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort();
    let all: Vec<_> = (0..4)
        .flat_map(|producer| (0..EACH).map(move |n| (producer, n)))
        .collect();
    assert_eq!(seen, all);
}

const CAPACITIES: [Option<usize>; 4] = [Some(0), Some(1), Some(16), None];

fn on_threads(body: &(dyn Fn(usize) + Sync)) {
    std::thread::scope(|s| {
        for role in 0..8 {
            s.spawn(move || body(role));
        }
    });
}

fn on_coroutines(body: &(dyn Fn(usize) + Sync)) {
    coroutine::scope(|s| {
        for role in 0..8 {
            s.spawn(move || body(role));
        }
    });
}

#[test]
fn traffic_between_threads() {
    CAPACITIES
        .into_iter()
        .for_each(|capacity| traffic(capacity, on_threads));
}

#[test]
fn traffic_between_coroutines() {
    for io in common::backends() {
        for workers in [1, 2] {
            common::runtime(io, workers).run(|| {
                CAPACITIES
                    .into_iter()
                    .for_each(|capacity| traffic(capacity, on_coroutines));
            });
        }
    }
}

#[test]
fn traffic_between_both() {
    for capacity in CAPACITIES {
        traffic(capacity, |body| {
            std::thread::scope(|s| {
                for role in [0, 1, 4, 5] {
                    s.spawn(move || body(role));
                }
                coroutine::scope(|s| {
                    for role in [2, 3, 6, 7] {
                        s.spawn(move || body(role));
                    }
                });
            });
        });
    }
}

#[test]
fn a_waiter_that_ends_when_it_is_served_loses_and_doubles_nothing() {
    // Getters and putters with limits about as long as the other side takes, and cancels.
    let dog = common::Watchdog::new("brute force");
    for capacity in [Some(0), Some(1)] {
        let queue = Arc::new(Queue::new(capacity));
        let put = Arc::new(AtomicUsize::new(0));
        let got = Arc::new(AtomicUsize::new(0));
        let stop = common::Flag::new();
        let putters: Vec<_> = (0..3)
            .map(|seed| {
                let (queue, put, stop) = (queue.clone(), put.clone(), stop.clone());
                let body = move || {
                    let mut n: u32 = seed;
                    while !stop.is_set() {
                        n = n.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                        let limit = Duration::from_nanos(u64::from(n >> 8) % 30_000);
                        if queue.put_timeout((), limit).is_ok() {
                            put.fetch_add(1, SeqCst);
                        }
                    }
                };
                (seed == 0)
                    .then(|| std::thread::spawn(body.clone()))
                    .ok_or_else(|| coroutine::spawn(body))
            })
            .collect();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1500) {
            // A getter that is cancelled at any moment counts what it has got.
            let getter = {
                let (queue, got) = (queue.clone(), got.clone());
                coroutine::spawn(move || {
                    loop {
                        queue.get().unwrap();
                        got.fetch_add(1, SeqCst);
                    }
                })
            };
            let limited = {
                let (queue, got) = (queue.clone(), got.clone());
                std::thread::spawn(move || {
                    for n in 0..50 {
                        if queue.get_timeout(Duration::from_nanos(n * 500)).is_ok() {
                            got.fetch_add(1, SeqCst);
                        }
                    }
                })
            };
            limited.join().unwrap();
            getter.cancel();
            drop(getter.join());
        }
        stop.set();
        for putter in putters {
            match putter {
                Ok(thread) => thread.join().unwrap(),
                Err(coroutine) => coroutine.join().unwrap(),
            }
        }
        got.fetch_add(queue.try_iter().count(), SeqCst);
        assert_eq!(put.load(SeqCst), got.load(SeqCst), "{capacity:?}");
        assert!(put.load(SeqCst) > 100);
    }
    drop(dog);
}

// -- async -----------------------------------------------------------------------

#[test]
fn async_tasks_meet_threads_and_coroutines() {
    for capacity in CAPACITIES {
        traffic(capacity, |body| {
            std::thread::scope(|s| {
                for role in 0..8 {
                    s.spawn(move || body(role));
                }
            });
        });
        let queue = Queue::new(capacity);
        std::thread::scope(|s| {
            let sum = s.spawn(|| {
                block_on(async {
                    let mut sum = 0;
                    while let Ok(n) = queue.get_async().await {
                        sum += n;
                        queue.task_done().unwrap();
                    }
                    sum
                })
            });
            let coroutine_sum = s.spawn(|| {
                coroutine::scope(|c| {
                    let sum = c.spawn(|| {
                        queue
                            .iter()
                            .inspect(|_| queue.task_done().unwrap())
                            .sum::<u64>()
                    });
                    sum.join().unwrap()
                })
            });
            block_on(async {
                for n in 0..1000 {
                    queue.put_async(n).await.unwrap();
                }
                queue.join_async().await;
            });
            queue.close();
            assert_eq!(sum.join().unwrap() + coroutine_sum.join().unwrap(), 499_500);
            assert_eq!(block_on(queue.put_async(5)), Err(Closed(5)));
        });
    }
}

/// Polls once, with a waker that does nothing.
fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[bingfa::test]
fn a_future_that_was_served_and_dropped_gives_the_item_back() {
    for capacity in [Some(0), Some(2), None] {
        let queue = Arc::new(Queue::new(capacity));
        {
            let mut get = std::pin::pin!(queue.get_async());
            assert!(poll_once(get.as_mut()).is_pending());
            queue.put(1).unwrap(); // into the future
            assert!(queue.is_empty());
        }
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.unfinished(), 1);
        assert_eq!(queue.try_get(), Ok(1));
        // To the next in line, if there is one.
        let mut first = Box::pin(queue.get_async());
        assert!(poll_once(first.as_mut()).is_pending());
        let second = {
            let queue = queue.clone();
            coroutine::spawn(move || queue.get())
        };
        until_in(&second, "queue get");
        queue.put(2).unwrap();
        drop(first);
        assert_eq!(second.join().unwrap(), Ok(2));
        // Nowhere, if all was thrown away.
        let mut get = Box::pin(queue.get_async());
        assert!(poll_once(get.as_mut()).is_pending());
        queue.put(3).unwrap();
        queue.shutdown(true);
        drop(get);
        assert!(queue.is_empty());
        assert_eq!(queue.unfinished(), 2);
    }
}

#[bingfa::test]
fn a_put_future_that_is_dropped_takes_its_item_along() {
    let drops = Drops::new();
    let queue = Queue::bounded(0);
    let mut put = Box::pin(queue.put_async(drops.droplet()));
    assert!(poll_once(put.as_mut()).is_pending());
    drop(put);
    assert_eq!(drops.count(), 1);
    assert!(queue.try_get().is_err());
    drop(queue.put_async(drops.droplet())); // never polled
    assert_eq!(drops.count(), 2);
}
