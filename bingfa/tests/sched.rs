//! Where coroutines run, in which order, and how a runtime ends.

mod common;

use std::cell::Cell;
use std::collections::HashSet;
use std::hint::black_box;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bingfa::coroutine::{self, Builder};
use bingfa::io::{Read, Write};
use bingfa::os::unix::net::UnixStream;
use bingfa::time::timeout_at;
use bingfa::{Policy, Runtime};
use common::{
    Drops, Flag, SHORT, Watchdog, assert_well, backends, in_child, labelled, on_one_thread,
    runtime, stderr, until, until_in,
};

fn here() -> ThreadId {
    thread::current().id()
}

/// Computes, and neither waits nor looks at the slice.
fn compute(length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        black_box(0);
    }
}

// -- placement -----------------------------------------------------------------

#[test]
fn what_a_hog_has_spawned_runs_on_another_worker() {
    for io in backends() {
        let runtime = runtime(io, 2);
        for count in [1, 2, 100] {
            let hog = runtime.spawn(move || {
                let done = Arc::new(AtomicUsize::new(0));
                for _ in 0..count {
                    let done = done.clone();
                    drop(coroutine::spawn(move || done.fetch_add(1, SeqCst)));
                }
                while done.load(SeqCst) < count {
                    std::hint::spin_loop();
                }
            });
            hog.join().unwrap();
        }
    }
}

#[test]
fn all_workers_take_part() {
    for io in backends() {
        let runtime = runtime(io, 4);
        let (threads, barrier) = (Arc::new(Mutex::new(HashSet::new())), Flag::new());
        let all: Vec<_> = (0..4)
            .map(|_| {
                let (threads, barrier) = (threads.clone(), barrier.clone());
                runtime.spawn(move || {
                    threads.lock().unwrap().insert(here());
                    while !barrier.is_set() {
                        std::hint::spin_loop(); // holds its worker, so that others come
                    }
                })
            })
            .collect();
        until(|| threads.lock().unwrap().len() == 4);
        barrier.set();
        coroutine::join_all(all).unwrap();
    }
}

#[test]
fn local_ones_stay_with_their_parent() {
    on_one_thread(|| {
        let counter = Rc::new(Cell::new(0));
        let home = here();
        let all: Vec<_> = (0..100)
            .map(|_| {
                let counter = counter.clone();
                coroutine::spawn_local(move || {
                    coroutine::yield_now();
                    assert_eq!(here(), home);
                    counter.set(counter.get() + 1);
                })
            })
            .collect();
        coroutine::join_all(all).unwrap();
        assert_eq!(counter.get(), 100);
    });
    for io in backends() {
        // On a worker as well, where others steal.
        let runtime = runtime(io, 3);
        let parent = runtime.spawn(|| {
            let home = here();
            let all: Vec<_> = (0..1000)
                .map(|_| {
                    coroutine::spawn_local(move || {
                        coroutine::yield_now();
                        here() == home
                    })
                })
                .collect();
            assert!(
                coroutine::join_all(all)
                    .unwrap()
                    .into_iter()
                    .all(|same| same)
            );
        });
        parent.join().unwrap();
    }
}

#[test]
fn spawn_local_outside_of_a_worker_says_so() {
    let message = catch_unwind(|| coroutine::spawn_local(|| ())).unwrap_err();
    let message = message.downcast::<String>().map_or_else(
        |other| (*other.downcast::<&str>().unwrap()).to_owned(),
        |text| *text,
    );
    assert!(
        message.contains("spawn_local outside of a worker"),
        "{message}"
    );
}

thread_local! {
    static OWNER: Cell<Option<ThreadId>> = const { Cell::new(None) };
}

#[test]
fn once_started_a_coroutine_keeps_its_thread_and_thread_locals() {
    let _dog = Watchdog::new("");
    for io in backends() {
        let runtime = runtime(io, 3);
        let all: Vec<_> = (0..100)
            .map(|i| {
                runtime.spawn(move || {
                    let home = here();
                    OWNER.set(Some(home));
                    for step in 0..1000 {
                        if (step + i) % 250 == 0 {
                            coroutine::sleep(Duration::from_micros(200));
                        } else if step % 100 == 0 {
                            coroutine::spawn(|| ()).join().unwrap();
                        } else {
                            coroutine::yield_now();
                        }
                        assert_eq!(here(), home);
                        assert_eq!(OWNER.get(), Some(home));
                    }
                })
            })
            .collect();
        coroutine::join_all(all).unwrap();
    }
}

// -- order ---------------------------------------------------------------------

#[test]
fn yielding_is_round_robin() {
    on_one_thread(|| {
        let turns: Rc<Vec<Cell<u32>>> = Rc::new((0..10).map(|_| Cell::new(0)).collect());
        let started = Rc::new(Cell::new(0));
        let all: Vec<_> = (0..10)
            .map(|i| {
                let (turns, started) = (turns.clone(), started.clone());
                coroutine::spawn_local(move || {
                    started.set(started.get() + 1);
                    until(|| started.get() == 10);
                    for _ in 0..1000 {
                        turns[i].set(turns[i].get() + 1);
                        let least = turns.iter().map(Cell::get).min().unwrap();
                        assert!(turns[i].get() <= least + 2);
                        coroutine::yield_now();
                    }
                    turns[i].set(u32::MAX - 2);
                })
            })
            .collect();
        coroutine::join_all(all).unwrap();
    });
}

#[test]
fn priorities_run_in_order() {
    for io in backends() {
        let runtime = Runtime::builder()
            .workers(1)
            .io(io)
            .policy(Policy::Priority);
        runtime.build().unwrap().run(|| {
            let order = Rc::new(std::cell::RefCell::new(Vec::new()));
            let all: Vec<_> = [3, 0, 7, 5, 7, 0, 1]
                .into_iter()
                .enumerate()
                .map(|(i, priority)| {
                    let order = order.clone();
                    let builder = Builder::new().priority(priority);
                    let body = move || {
                        coroutine::park();
                        order.borrow_mut().push((priority, i));
                    };
                    builder.spawn_local(body).unwrap()
                })
                .collect();
            for one in &all {
                until_parked(one);
            }
            for one in &all {
                one.unpark();
            }
            coroutine::join_all(all).unwrap();
            let expected = [(7, 2), (7, 4), (5, 3), (3, 0), (1, 6), (0, 1), (0, 5)];
            assert_eq!(*order.borrow(), expected);
        });
    }
    let error = Builder::new().priority(8).spawn(|| ()).unwrap_err();
    assert!(error.to_string().contains("expected 0 to 7"), "{error}");
}

/// Waits by sleeping: a yield would starve those of lower priority.
fn until_parked<T>(handle: &coroutine::JoinHandle<T>) {
    while handle.state() != coroutine::State::Blocked {
        coroutine::sleep(Duration::from_micros(100));
    }
}

#[test]
fn mlfq_lets_short_ones_overtake_long_ones() {
    for io in backends() {
        let runtime = Runtime::builder().workers(1).io(io).policy(Policy::Mlfq);
        let _dog = Watchdog::new("");
        runtime.build().unwrap().run(|| {
            let stop = Rc::new(Cell::new(false));
            let long_turns = Rc::new(Cell::new(0));
            let long: Vec<_> = (0..3)
                .map(|_| {
                    let (stop, turns) = (stop.clone(), long_turns.clone());
                    coroutine::spawn_local(move || {
                        while !stop.get() {
                            compute(Duration::from_millis(1));
                            turns.set(turns.get() + 1);
                            coroutine::yield_now();
                        }
                    })
                })
                .collect();
            let seen = Rc::new(Cell::new(0));
            let short = {
                let (seen, turns) = (seen.clone(), long_turns.clone());
                coroutine::spawn_local(move || {
                    let mut overtook = 0;
                    for _ in 0..20 {
                        let before = {
                            coroutine::park();
                            seen.get()
                        };
                        overtook += u32::from(turns.get() == before);
                    }
                    overtook
                })
            };
            // Woken when the long ones stand in line; first come would be first served.
            for _ in 0..20 {
                until_parked(&short);
                seen.set(long_turns.get());
                short.unpark();
                coroutine::yield_now();
            }
            stop.set(true);
            // Now and then a boost lifts the long ones to the same level.
            assert!(short.join().unwrap() >= 15);
            coroutine::join_all(long).unwrap();
        });
    }
}

#[test]
fn timers_fire_in_order_of_time_and_then_of_setting() {
    on_one_thread(|| {
        while !timers_fire_in_order() {} // until all were set before the first was due
    });
}

fn timers_fire_in_order() -> bool {
    let order = Rc::new(std::cell::RefCell::new(Vec::new()));
    let at = Instant::now() + 10 * SHORT;
    let all: Vec<_> = (0..60)
        .map(|i| {
            let order = order.clone();
            // Three times, set from the last to the first; 20 with each.
            let due = at + (2 - i / 20) * SHORT;
            coroutine::spawn_local(move || {
                assert!(timeout_at(due, coroutine::park).is_err());
                order.borrow_mut().push(i);
            })
        })
        .collect();
    let last = &all[59];
    until(|| last.is_finished() || last.state() == coroutine::State::Blocked);
    let in_time = Instant::now() < at;
    coroutine::join_all(all).unwrap();
    let expected: Vec<u32> = (40..60).chain(20..40).chain(0..20).collect();
    if in_time {
        assert_eq!(*order.borrow(), expected);
    }
    in_time
}

#[test]
fn timers_and_io_get_their_turn_beside_long_slices() {
    on_one_thread(|| {
        // The worker gets used to switches that take nanoseconds ...
        for _ in 0..100_000 {
            coroutine::yield_now();
        }
        // ... and then each takes milliseconds.
        let stop = Rc::new(Cell::new(false));
        let slices = Rc::new(Cell::new(0));
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                let (stop, slices) = (stop.clone(), slices.clone());
                coroutine::spawn_local(move || {
                    while !stop.get() {
                        compute(Duration::from_millis(3));
                        slices.set(slices.get() + 1);
                        coroutine::yield_now();
                    }
                })
            })
            .collect();
        let (mut a, mut b) = UnixStream::pair().unwrap();
        let reader = coroutine::spawn_local(move || b.read(&mut [0]).unwrap());
        until_in(&reader, "recv");
        coroutine::sleep(Duration::from_millis(1));
        assert!(slices.get() < 100, "slept for {} slices", slices.get());
        slices.set(0);
        a.write_all(b"x").unwrap();
        reader.join().unwrap();
        assert!(slices.get() < 100, "read for {} slices", slices.get());
        stop.set(true);
        coroutine::join_all(hogs).unwrap();
    });
}

#[test]
fn checkpoint_gives_way_after_a_slice() {
    on_one_thread(|| {
        let stop = Rc::new(Cell::new(false));
        let halt = stop.clone();
        let cruncher = coroutine::spawn_local(move || {
            while !halt.get() {
                coroutine::checkpoint(); // nothing else
            }
        });
        coroutine::sleep(Duration::from_millis(1));
        stop.set(true);
        cruncher.join().unwrap();
    });
}

#[test]
fn a_hog_is_named() {
    let name = "a_hog_is_named";
    let output = in_child(name, &[("BINGFA_CHECK", "0")], || {
        let runtime = Runtime::builder()
            .workers(1)
            .hog_threshold(Duration::from_millis(20));
        let hog = Builder::new().name("greedy");
        let runtime = runtime.build().unwrap();
        let hog = hog.spawn_on(&runtime, || {
            coroutine::sleep(Duration::from_millis(1));
            compute(Duration::from_millis(200));
        });
        hog.unwrap().join().unwrap();
    });
    let Some(output) = output else { return };
    assert_well(&output);
    let text = stderr(&output);
    let lines: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("has held its worker"))
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(
        lines[0].contains("'greedy'") && lines[0].contains("checkpoint"),
        "{text}"
    );
    assert_eq!(
        lines[0].matches("sched.rs:").count(),
        2,
        "spawned and last waited: {text}"
    );
}

#[test]
fn a_busy_worker_still_takes_messages() {
    // Wake-ups from another thread reach a worker whose coroutines always yield.
    for io in backends() {
        labelled(&format!("{io:?}"), || {
            let runtime = runtime(io, 1);
            let stop = Arc::new(AtomicBool::new(false));
            let halt = stop.clone();
            let yielder = runtime.spawn(move || {
                while !halt.load(SeqCst) {
                    coroutine::yield_now();
                }
            });
            let parked = runtime.spawn(coroutine::park);
            until_in(&parked, "park");
            parked.unpark();
            parked.join().unwrap();
            stop.store(true, SeqCst);
            yielder.join().unwrap();
        });
    }
}

// -- run -----------------------------------------------------------------------

#[test]
fn run_in_run_is_a_call() {
    on_one_thread(|| {
        let outer = coroutine::current().id();
        let local = 5;
        let inner = bingfa::run(|| {
            assert_eq!(coroutine::current().id(), outer);
            &local
        });
        assert_eq!(*inner, 5);
    });
}

#[test]
fn run_works_on_many_threads_at_once() {
    let _dog = Watchdog::new("");
    for io in backends() {
        let runtime = runtime(io, 2);
        thread::scope(|s| {
            for i in 0..16 {
                let runtime = &runtime;
                s.spawn(move || {
                    for _ in 0..5 {
                        let sum: usize = runtime.run(|| {
                            let near = coroutine::spawn_local(move || {
                                coroutine::sleep(Duration::from_micros(100));
                                i
                            });
                            let far = coroutine::spawn(move || i);
                            near.join().unwrap() + far.join().unwrap()
                        });
                        assert_eq!(sum, 2 * i);
                    }
                });
            }
        });
    }
}

#[test]
fn run_passes_a_panic_on_and_cancels_what_is_left() {
    for io in backends() {
        let runtime = runtime(io, 1);
        let drops = Drops::new();
        let droplet = drops.droplet();
        let outcome = catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.run(|| {
                let left = coroutine::spawn_local(move || {
                    let _droplet = droplet;
                    coroutine::park();
                });
                until_in(&left, "park");
                std::panic::resume_unwind(Box::new("main"));
            })
        }));
        assert_eq!(*outcome.unwrap_err().downcast::<&str>().unwrap(), "main");
        assert_eq!(drops.count(), 1);
    }
}

#[test]
fn run_may_borrow_and_return_what_is_not_send() {
    for io in backends() {
        let text = String::from("borrowed");
        let shared = runtime(io, 1).run(|| Rc::new(text.as_str()));
        assert_eq!(**shared, *"borrowed");
    }
}
