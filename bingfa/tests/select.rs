//! `select!` and the builder beneath it.

mod common;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bingfa::coroutine;
use bingfa::queue::{Closed, GetError, PutError, Queue, Select, Selecting};
use bingfa::{select, thread};
use common::{Drops, Flag, LONG, SHORT, Watchdog, block_on, cancel_and_join, on_both, until_in};

#[bingfa::test]
fn what_is_ready_is_done() {
    let (numbers, words) = (Queue::unbounded(), Queue::bounded(1));
    numbers.put(1).unwrap();
    words.put("full").unwrap();
    let what = select! {
        get(numbers) -> number => number.unwrap(),
        put(words, "none") -> _ => unreachable!(),
    };
    assert_eq!(what, 1);
    assert_eq!(words.get(), Ok("full"));
    let what = select! {
        get(numbers) => false,
        put(words, "now") -> put => { put.unwrap(); true }
    };
    assert!(what);
    assert_eq!(words.get(), Ok("now"));
}

#[bingfa::test]
fn nothing_ready_is_the_default_or_a_timeout() {
    let queue = Queue::<u8>::unbounded();
    assert_eq!(select! { get(queue) -> _ => 1, default => 2 }, 2);
    assert_eq!(select! { get(queue) -> _ => 1, timeout(SHORT) => 2, }, 2);
    assert_eq!(select! { timeout(SHORT) => 3 }, 3);
    let mut get = queue.get_async();
    let late = Select::new().arm(&mut get).wait_deadline(Instant::now());
    assert_eq!(late, None);
    assert_eq!(get.take(), Err(GetError::Empty));
}

#[bingfa::test]
fn a_closed_queue_is_ready() {
    let queue = Queue::bounded(0);
    queue.close();
    let got = select! { get(queue) -> item => item, timeout(LONG) => unreachable!() };
    assert_eq!(got, Err(GetError::Closed));
    let put = select! { put(queue, 7) -> put => put };
    assert_eq!(put, Err(PutError::Closed(7)));
}

#[bingfa::test]
fn bodies_may_leave_the_code_around() {
    let queue: Queue<_> = (0..10).collect();
    queue.close();
    let mut sum = 0;
    let last = loop {
        select! {
            get(queue) -> item => match item {
                Ok(n) if n % 2 == 0 => continue,
                Ok(n) => sum += n,
                Err(error) => break error,
            },
            timeout(LONG) => unreachable!(),
        }
    };
    assert_eq!((sum, last), (25, GetError::Closed));
}

#[test]
fn waits_for_the_first_of_several() {
    on_both(|| {
        let queues: Arc<[Queue<usize>; 3]> = Arc::new(std::array::from_fn(|_| Queue::bounded(0)));
        for index in 0..3 {
            let selector = {
                let queues = queues.clone();
                coroutine::spawn(move || {
                    select! {
                        get(queues[0]) -> item => (0, item.unwrap()),
                        get(queues[1]) -> item => (1, item.unwrap()),
                        get(queues[2]) -> item => (2, item.unwrap()),
                    }
                })
            };
            until_in(&selector, "select");
            queues[index].put(index * 10).unwrap();
            assert_eq!(selector.join().unwrap(), (index, index * 10));
            // Nobody waits in the others any more.
            assert!(queues.iter().all(|queue| queue.try_put(0).is_err()));
        }
    });
}

#[test]
fn a_put_waits_too() {
    on_both(|| {
        let queues: Arc<[Queue<usize>; 2]> = Arc::new(std::array::from_fn(|_| Queue::bounded(1)));
        queues[0].put(0).unwrap();
        queues[1].put(0).unwrap();
        let selector = {
            let queues = queues.clone();
            coroutine::spawn(move || {
                let mut first = queues[0].put_async(1);
                let mut second = queues[1].put_async(2);
                let won = Select::new().arm(&mut first).arm(&mut second).wait();
                (won, first.into_item(), second.into_item())
            })
        };
        until_in(&selector, "select");
        assert_eq!(queues[1].get(), Ok(0));
        assert_eq!(selector.join().unwrap(), (1, Some(1), None));
        assert_eq!(queues[1].get(), Ok(2));
        assert_eq!(queues[0].try_iter().collect::<Vec<_>>(), [0]);
    });
}

#[test]
fn two_selects_meet_at_a_rendezvous() {
    on_both(|| {
        let (a, b) = (Arc::new(Queue::bounded(0)), Arc::new(Queue::bounded(0)));
        for round in 0..200 {
            let (here, there) = ((a.clone(), b.clone()), (a.clone(), b.clone()));
            let putter = coroutine::spawn(move || {
                select! {
                    put(here.0, round) -> put => put.map(|()| 0),
                    put(here.1, round) -> put => put.map(|()| 1),
                }
            });
            let got = select! {
                get(there.1) -> item => item.map(|item| (1, item)),
                get(there.0) -> item => item.map(|item| (0, item)),
            };
            let (by, item) = got.unwrap();
            assert_eq!(putter.join().unwrap(), Ok(by));
            assert_eq!(item, round);
        }
    });
}

#[bingfa::test]
fn a_select_does_not_meet_itself() {
    let queue = Queue::bounded(0);
    let mut put = queue.put_async(1);
    let mut get = queue.get_async();
    let won = Select::new()
        .arm(&mut put)
        .arm(&mut get)
        .wait_timeout(SHORT);
    assert_eq!(won, None);
    assert_eq!(put.into_item(), Some(1));
}

#[test]
fn ends_of_threads_and_coroutines_are_arms() {
    on_both(|| {
        let flag = Flag::new();
        let mut coroutine = {
            let flag = flag.clone();
            coroutine::spawn(move || flag.wait())
        };
        let mut thread = thread::spawn(|| 5);
        let what = select! {
            wait(coroutine) => 0,
            wait(thread) => thread.join().unwrap(),
            timeout(LONG) => 1,
        };
        assert_eq!(what, 5);
        flag.set();
        select! { wait(coroutine) => {}, timeout(LONG) => unreachable!() }
        coroutine.join().unwrap();
    });
}

#[bingfa::test]
fn a_queue_with_nothing_left_to_do_is_an_arm() {
    let queue: Queue<_> = (0..2).collect();
    assert!(select! { join(queue) => false, timeout(SHORT) => true });
    coroutine::scope(|s| {
        s.spawn(|| {
            for _ in queue.try_iter() {
                queue.task_done().unwrap();
            }
        });
        select! { join(queue) => {} }
    });
    assert_eq!(queue.unfinished(), 0);
}

#[bingfa::test]
fn all_that_are_ready_get_their_turn() {
    let queues: [Queue<u32>; 3] = std::array::from_fn(|_| (0..1000).collect());
    let mut wins = [0; 3];
    for _ in 0..900 {
        let won = select! {
            get(queues[0]) -> item => { item.unwrap(); 0 }
            get(queues[1]) -> item => { item.unwrap(); 1 }
            get(queues[2]) -> item => { item.unwrap(); 2 }
        };
        wins[won] += 1;
    }
    assert!(wins.iter().all(|&wins| wins > 200), "{wins:?}");
}

#[test]
fn a_cancelled_select_has_done_nothing() {
    on_both(|| {
        let drops = Drops::new();
        let (full, empty) = (
            Arc::new(Queue::bounded(0)),
            Arc::new(Queue::<u8>::bounded(0)),
        );
        let selector = {
            let (full, empty, droplet) = (full.clone(), empty.clone(), drops.droplet());
            coroutine::spawn(move || {
                select! {
                    put(full, droplet) -> _ => {},
                    get(empty) -> _ => {},
                }
            })
        };
        until_in(&selector, "select");
        cancel_and_join(selector);
        assert_eq!(drops.count(), 1);
        assert!(full.try_get().is_err());
        assert!(empty.try_put(1).is_err());
    });
}

#[test]
fn closing_ends_a_select() {
    on_both(|| {
        let (a, b) = (
            Arc::new(Queue::<u8>::bounded(0)),
            Arc::new(Queue::<u8>::bounded(0)),
        );
        let selector = {
            let (a, b) = (a.clone(), b.clone());
            coroutine::spawn(move || select! { get(a) -> x => (0, x), get(b) -> x => (1, x) })
        };
        until_in(&selector, "select");
        b.close();
        assert_eq!(selector.join().unwrap(), (1, Err(GetError::Closed)));
        assert_eq!(b.get(), Err(Closed(())));
    });
}

#[test]
fn selects_that_end_when_they_are_served_lose_and_double_nothing() {
    let dog = Watchdog::new("brute force");
    for capacity in [Some(0), Some(1)] {
        let queues: Arc<[Queue<()>; 2]> = Arc::new(std::array::from_fn(|_| Queue::new(capacity)));
        let (put, got) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = Flag::new();
        let body = {
            let (queues, put, stop) = (queues.clone(), put.clone(), stop.clone());
            move || {
                let mut limit = 0;
                while !stop.is_set() {
                    limit = (limit + 977) % 20_000;
                    select! {
                        put(queues[0], ()) -> done => { done.unwrap(); put.fetch_add(1, SeqCst); }
                        put(queues[1], ()) -> done => { done.unwrap(); put.fetch_add(1, SeqCst); }
                        timeout(Duration::from_nanos(limit)) => {}
                    }
                }
            }
        };
        let on_thread = std::thread::spawn(body.clone());
        let on_coroutines = [0; 2].map(|_| coroutine::spawn(body.clone()));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1500) {
            let getter = {
                let (queues, got) = (queues.clone(), got.clone());
                move |rounds: usize, limit: Duration| {
                    for _ in 0..rounds {
                        select! {
                            get(queues[1]) -> item => { item.unwrap(); got.fetch_add(1, SeqCst); }
                            get(queues[0]) -> item => { item.unwrap(); got.fetch_add(1, SeqCst); }
                            timeout(limit) => {}
                        }
                    }
                }
            };
            let cancelled = {
                let getter = getter.clone();
                coroutine::spawn(move || getter(usize::MAX, LONG))
            };
            std::thread::spawn(move || getter(50, Duration::from_micros(5)))
                .join()
                .unwrap();
            cancelled.cancel();
            drop(cancelled.join());
        }
        stop.set();
        on_thread.join().unwrap();
        on_coroutines.into_iter().for_each(|c| c.join().unwrap());
        let left: usize = queues.iter().map(|queue| queue.try_iter().count()).sum();
        assert_eq!(put.load(SeqCst), got.load(SeqCst) + left, "{capacity:?}");
        assert!(put.load(SeqCst) > 100);
    }
    drop(dog);
}

#[test]
fn async_tasks_select_too() {
    let (a, b) = (Queue::bounded(0), Queue::bounded(0));
    std::thread::scope(|s| {
        s.spawn(|| {
            for n in 0..200 {
                select! {
                    put(a, n) -> put => put.unwrap(),
                    put(b, n) -> put => put.unwrap(),
                }
            }
        });
        let sum = block_on(async {
            let mut sum = 0;
            for _ in 0..200 {
                let (mut x, mut y) = (pin!(a.get_async()), pin!(b.get_async()));
                let won = Selecting::new().arm(x.as_mut()).arm(y.as_mut()).await;
                sum += if won == 0 { x.await } else { y.await }.unwrap();
            }
            sum
        });
        assert_eq!(sum, (0..200).sum());
    });
}

/// Polls once, with a waker that does nothing.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[bingfa::test]
fn an_async_select_that_is_dropped_or_forgotten_loses_nothing() {
    let (a, b) = (Queue::unbounded(), Queue::<i32>::unbounded());
    {
        let (mut x, mut y) = (pin!(a.get_async()), pin!(b.get_async()));
        let mut select = Selecting::new().arm(x.as_mut()).arm(y.as_mut());
        assert!(poll_once(Pin::new(&mut select)).is_pending());
        a.put(1).unwrap(); // into the first arm
        drop(select);
        assert_eq!(poll_once(x.as_mut()), Poll::Ready(Ok(1)));
        let mut select = Selecting::new().arm(y.as_mut());
        assert!(poll_once(Pin::new(&mut select)).is_pending());
        std::mem::forget(select);
        b.put(2).unwrap(); // the arm is still in the line
        assert!(b.is_empty());
    }
    assert_eq!(b.try_get(), Ok(2));
}
