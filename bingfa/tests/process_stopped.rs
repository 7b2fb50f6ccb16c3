//! What a process that is stopped in the middle of something holds up: nothing that has a time
//! limit, and nothing that lets go.

mod common;

use std::fs;
use std::time::Duration;

use bingfa::process::{self, Builder, Event, JoinHandle, Queue, RwLock, Semaphore, Sender};
use bingfa::thread;
use common::{SHORT, in_child, labelled, on_both, until};

/// Runs `test` while the child is stopped, at many moments of its life, with what `before` gives
/// while it runs.
fn while_stopped<T, B>(child: JoinHandle<T>, before: impl Fn() -> B, test: impl Fn(B)) {
    for round in 0..40u32 {
        let before = before();
        std::thread::sleep(Duration::from_micros(u64::from(round * 97 % 500)));
        child.process().signal(libc::SIGSTOP).unwrap();
        until(|| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        });
        test(before);
        child.process().signal(libc::SIGCONT).unwrap();
    }
    child.kill().unwrap();
    assert!(child.join().is_err());
}

fn spawn<A: serde::Serialize + serde::de::DeserializeOwned>(
    arguments: A,
    f: fn(A),
) -> JoinHandle<()> {
    Builder::new().daemon(true).spawn(arguments, f).unwrap()
}

/// Nearly always one of its threads has the lock of all shared memory.
fn hog() {
    let threads: Vec<_> = (0..3)
        .map(|_| {
            thread::spawn(|| {
                loop {
                    drop(Semaphore::new(1).unwrap());
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn whoever_is_stopped_in_a_lock_of_counts_keeps_nobody_from_letting_go() {
    on_both(|| {
        let (slots, table) = (Semaphore::new(3).unwrap(), RwLock::new(0u32).unwrap());
        let busy = spawn(
            (slots.clone(), table.clone()),
            |(slots, table): (Semaphore, RwLock<u32>)| {
                thread::spawn(move || while table.read().is_ok() {});
                loop {
                    drop(slots.acquire());
                }
            },
        );
        let before = || (slots.acquire(), table.read().unwrap());
        while_stopped(busy, before, |before| {
            drop(slots.acquire_timeout(SHORT));
            drop(table.read_timeout(SHORT));
            drop(before);
            let _ = bingfa::time::timeout(SHORT, || drop(slots.acquire_many(3)));
        });
        drop((slots.acquire_many(3), table.write().unwrap()));
    });
}

#[test]
fn whoever_is_stopped_in_the_middle_of_a_put_keeps_nobody_from_closing() {
    labelled("close", || {
        for round in 0..20u64 {
            let queue: Queue<u64> = Queue::unbounded().unwrap();
            let busy = spawn(queue.clone(), |queue| {
                for n in 0.. {
                    if queue.put(n).is_err() {
                        return;
                    }
                }
            });
            until(|| queue.len() > round as usize * 100); // far more than a limit each would allow
            busy.process().signal(libc::SIGSTOP).unwrap();
            queue.close();
            assert!(queue.put(0).is_err());
            let mut last = None;
            while let Ok(n) = queue.get_timeout(SHORT) {
                assert_eq!(n, last.map_or(0, |last| last + 1));
                last = Some(n);
            }
            busy.process().signal(libc::SIGCONT).unwrap();
            busy.join().unwrap();
            // What was committed after all is there.
            while let Ok(n) = queue.get() {
                last = Some(n);
            }
            assert!(queue.is_empty() && last.is_some());
        }
    });
}

#[test]
fn whoever_is_stopped_with_the_memory_of_all_holds_up_no_time_limit() {
    on_both(|| {
        let queue: Queue<Vec<u8>> = Queue::bounded(100).unwrap();
        let (ended, ends) = process::channel::<u8>(None).unwrap();
        let arguments = (queue.clone(), ended);
        let busy = spawn(arguments, |(queue, ended): (Queue<Vec<u8>>, Sender<u8>)| {
            thread::spawn(move || (hog(), ended));
            loop {
                let _ = queue.try_put(vec![1; 10_000]);
                let _ = queue.try_get();
                let _ = queue.task_done();
            }
        });
        while_stopped(
            busy,
            || queue.clone(),
            |before| {
                let _ = queue.put_timeout(vec![2; 20_000], SHORT);
                let _ = queue.try_put(vec![2; 20_000]);
                let _ = queue.join_timeout(SHORT);
                while queue.get_timeout(SHORT).is_ok() {}
                let _ = ends.recv_timeout(SHORT);
                drop(before);
            },
        );
    });
}

#[test]
fn a_child_is_joined_though_another_is_stopped() {
    labelled("join", || {
        let busy = spawn((), |()| hog());
        let others: Vec<_> = (0..40)
            .map(|_| process::spawn((), |()| std::process::exit(1)))
            .collect();
        let others = std::cell::RefCell::new(others);
        while_stopped(
            busy,
            || (),
            |()| {
                let other: JoinHandle<()> = others.borrow_mut().pop().unwrap();
                assert!(other.join().is_err());
            },
        );
    });
}

#[test]
fn whoever_stays_stopped_with_the_memory_of_all_is_an_error_that_names_it() {
    let name = "whoever_stays_stopped_with_the_memory_of_all_is_an_error_that_names_it";
    let output = in_child(name, &[], || {
        let (busy, sent) = (spawn((), |()| hog()), Event::new().unwrap());
        let (ours, _theirs) = process::pipe::<Event, ()>().unwrap();
        let pid = busy.pid();
        // Until it is caught in the middle: then nobody gets on.
        let made = loop {
            busy.process().signal(libc::SIGSTOP).unwrap();
            match Semaphore::new(1) {
                Ok(semaphore) => drop(semaphore),
                Err(error) => break error,
            }
            busy.process().signal(libc::SIGCONT).unwrap();
        };
        let (spawned, sent) = thread::scope(|scope| {
            let sent = scope.spawn(|| ours.send(&sent).unwrap_err());
            let spawned = Builder::new().spawn((), |()| ()).unwrap_err();
            (spawned, sent.join().unwrap())
        });
        for error in [made, spawned, sent] {
            let text = error.to_string();
            let who = format!("of process {pid}, in state T (stopped), has been changing memory");
            assert!(text.contains(&who), "{text}");
        }
        busy.process().signal(libc::SIGCONT).unwrap();
        drop(Semaphore::new(1).unwrap());
        busy.kill().unwrap();
        assert!(busy.join().is_err());
        spawn((), |()| ()).join().unwrap();
    });
    if let Some(output) = output {
        common::assert_well(&output);
        let said = common::stderr(&output);
        assert!(said.contains("(stopped), which is changing"), "{said}");
    }
}
