//! Joining queues between processes: until all is done, or nobody is left to do it.

mod common;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bingfa::process::{self, Event, GetError, Queue, RawValue, Unjoined};
use bingfa::{coroutine, thread};
use common::{LONG, block_on, on_both, until};

#[test]
fn items_in_dead_hands_are_told_to_who_joins() {
    on_both(|| {
        let queue: Queue<u32> = Queue::unbounded().unwrap();
        let here = RawValue::new(0u32).unwrap();
        for n in 0..5 {
            queue.put(n).unwrap();
        }
        let worker = process::spawn((queue.clone(), here.clone()), |(queue, here)| {
            let (queue, here): (Queue<u32>, RawValue<u32>) = (queue, here);
            for _ in 0..3 {
                queue.get().unwrap();
            }
            queue.task_done().unwrap();
            here.set(1);
            std::thread::sleep(LONG);
        });
        until(|| here.get() == 1);
        let joiners: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                coroutine::spawn(move || queue.join())
            })
            .collect();
        for joiner in &joiners {
            common::until_in(joiner, "process queue join");
        }
        worker.kill().unwrap();
        for joiner in joiners {
            let abandoned = joiner.join().unwrap().unwrap_err();
            assert!(abandoned.were_taken());
            assert_eq!((abandoned.pid, abandoned.items), (worker.pid(), 2));
        }
        worker.join().unwrap_err();
        // Told once; the other two are still to be done.
        let Err(Unjoined::Abandoned(left)) = queue.join_timeout(LONG) else {
            panic!("nobody takes them");
        };
        assert!(!left.were_taken() && left.items == 2, "{left}");
        for _ in 0..2 {
            queue.get().unwrap();
            queue.task_done().unwrap();
        }
        queue.join().unwrap();
    });
}

/// A process that takes and does one item, and is killed with empty hands as it waits for more.
fn killed_with_empty_hands(queue: &Queue<u32>, when_it_waits: impl FnOnce()) -> u32 {
    let done = Event::new().unwrap();
    let arguments = (queue.clone(), done.clone());
    let worker = process::spawn(arguments, |(queue, done): (Queue<u32>, Event)| {
        queue.get().unwrap();
        queue.task_done().unwrap();
        done.set();
        std::thread::sleep(LONG);
    });
    done.wait();
    when_it_waits();
    worker.kill().unwrap();
    let pid = worker.pid();
    worker.join().unwrap_err();
    pid
}

#[test]
fn a_join_that_nobody_can_end_is_an_error_that_names_the_last() {
    on_both(|| {
        let queue = Queue::unbounded().unwrap();
        for n in 0..3 {
            queue.put(n).unwrap();
        }
        let (mut joiners, mut task) = (Vec::new(), None);
        let pid = killed_with_empty_hands(&queue, || {
            for _ in 0..2 {
                let queue = queue.clone();
                let joiner = coroutine::spawn(move || queue.join());
                common::until_in(&joiner, "process queue join");
                joiners.push(joiner);
            }
            let queue = queue.clone();
            task = Some(thread::spawn(move || block_on(queue.join_async())));
        });
        let mut ends: Vec<_> = joiners.into_iter().map(|end| end.join()).collect();
        ends.extend(task.map(|end| end.join()));
        for end in ends {
            let left = end.unwrap().unwrap_err();
            assert_eq!((left.pid, left.items), (pid, 2));
            assert!(!left.were_taken());
            let text = left.to_string();
            let named = format!("process {pid}, which has ended");
            assert!(text.contains("2 items") && text.contains(&named), "{text}");
        }
        // Not only once: they are still there. That it is closed changes nothing.
        for _ in 0..2 {
            let Err(Unjoined::Abandoned(left)) = queue.join_timeout(LONG) else {
                panic!("nobody takes them");
            };
            assert_eq!((left.pid, left.items), (pid, 2));
            assert_eq!(queue.join().unwrap_err(), left);
            queue.close();
        }
        // Somebody gets them.
        let next = process::spawn(queue.clone(), |queue: Queue<u32>| {
            while queue.get().is_ok() {
                queue.task_done().unwrap();
            }
        });
        queue.join().unwrap();
        next.join().unwrap();
    });
}

#[test]
fn consumers_of_this_process_end_a_join() {
    on_both(|| {
        for _ in 0..10 {
            let queue = Queue::unbounded().unwrap();
            let consumer = coroutine::spawn({
                let queue = queue.clone();
                move || {
                    let mut taken = 0;
                    loop {
                        match queue.get() {
                            Ok(n) => assert_eq!(n, taken),
                            Err(end) => {
                                assert!(matches!(end, GetError::Closed(_)), "{end}");
                                return taken;
                            }
                        }
                        taken += 1;
                        queue.task_done().unwrap();
                    }
                }
            });
            common::until_in(&consumer, "process queue get");
            let producer = process::spawn(queue.clone(), |queue: Queue<u32>| {
                for n in 0..100 {
                    queue.put(n).unwrap();
                }
            });
            producer.join().unwrap();
            queue.join().unwrap();
            assert_eq!(consumer.join().unwrap(), 100);
        }
    });
}

/// Polls once; true: it has to wait.
fn waits<F: Future>(future: Pin<&mut F>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(future.poll(&mut context), Poll::Pending)
}

#[test]
fn who_waits_for_an_item_may_end_a_join_until_it_gives_up() {
    on_both(|| {
        for gives_up in [false, true] {
            let queue = Queue::unbounded().unwrap();
            let mut get = Box::pin(queue.get_async());
            assert!(waits(get.as_mut()));
            let producer = process::spawn(queue.clone(), |queue: Queue<u32>| {
                queue.put(7).unwrap();
            });
            let pid = producer.pid();
            producer.join().unwrap();
            let joiner = coroutine::spawn({
                let queue = queue.clone();
                move || queue.join()
            });
            common::until_in(&joiner, "process queue join");
            if gives_up {
                drop(get);
                let left = joiner.join().unwrap().unwrap_err();
                assert_eq!((left.pid, left.items), (pid, 1));
            } else {
                assert_eq!(block_on(get).unwrap(), 7);
                queue.task_done().unwrap();
                joiner.join().unwrap().unwrap();
            }
        }
    });
}

#[test]
fn large_items_outlive_the_child_that_has_put_them() {
    on_both(|| {
        let queue = Queue::unbounded().unwrap();
        let child = process::spawn(queue.clone(), |queue: Queue<String>| {
            for n in 1..=4 {
                queue.put("x".repeat(n << 20)).unwrap();
            }
        });
        // In Python it would wait for its feeder thread, and that for somebody who gets.
        child.join().unwrap();
        for n in 1..=4 {
            assert!(queue.get().unwrap() == "x".repeat(n << 20));
        }
        assert!(queue.get().unwrap_err().is_closed());
    });
}
