//! Where coroutines run, in which order, and how a runtime ends.

mod common;

use std::cell::Cell;
use std::collections::HashSet;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bingfa::coroutine::{self, Builder, shield};
use bingfa::io::{Read, Write};
use bingfa::net::TcpListener;
use bingfa::os::unix::net::UnixStream;
use bingfa::time::timeout_at;
use bingfa::{GuardPages, IoBackend, Policy, Runtime};
use common::{
    Drops, Flag, LONG, OnDrop, SHORT, Watchdog, assert_well, backends, in_child, labelled, on_both,
    on_one_thread, runtime, stderr, until, until_in, was_cancelled,
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

// -- the end of a runtime ----------------------------------------------------------

#[test]
fn shutdown_unwinds_everything() {
    for io in backends() {
        let label = format!("{io:?}");
        labelled(&label, || {
            let drops = Drops::new();
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let (mut pairs, started) = (Vec::new(), Arc::new(AtomicUsize::new(0)));
            let runtime = runtime(io, 3);
            for i in 0..300 {
                let (droplet, started, listener) =
                    (drops.droplet(), started.clone(), listener.clone());
                let (a, mut b) = UnixStream::pair().unwrap();
                pairs.push(a);
                drop(runtime.spawn(move || {
                    let _droplet = droplet;
                    started.fetch_add(1, SeqCst);
                    match i % 5 {
                        0 => coroutine::sleep(LONG),
                        1 => coroutine::park(),
                        2 => drop(b.read(&mut [0])),
                        3 => drop(listener.accept()),
                        _ => coroutine::scope(|s| {
                            s.spawn(coroutine::park);
                            s.spawn_local(|| coroutine::sleep(LONG));
                        }),
                    }
                }));
            }
            until(|| started.load(SeqCst) == 300);
            runtime.shutdown();
            assert_eq!(drops.count(), 300);
        });
    }
}

#[test]
fn what_has_not_started_is_dropped_unrun() {
    for io in backends() {
        let runtime = runtime(io, 1);
        let drops = Drops::new();
        let (holding, go) = (Flag::new(), Flag::new());
        let (hold, gone) = (holding.clone(), go.clone());
        let hog = runtime.spawn(move || {
            hold.set();
            while !gone.is_set() {
                std::hint::spin_loop();
            }
        });
        holding.wait();
        let unborn: Vec<_> = (0..100)
            .map(|_| {
                let droplet = drops.droplet();
                runtime.spawn(move || drop(droplet))
            })
            .collect();
        let shutdown = thread::spawn(move || runtime.shutdown());
        coroutine::sleep(SHORT); // that it has begun is likely, and not needed
        go.set();
        shutdown.join().unwrap();
        hog.join().unwrap();
        for one in unborn {
            // Cancelled, or it had time to run: never lost.
            let result = one.join();
            assert!(result.is_ok() || was_cancelled(&result));
        }
        assert_eq!(drops.count(), 100);
    }
}

#[test]
fn one_that_yields_for_ever_does_not_hold_up_the_others_unwinding() {
    for io in backends() {
        labelled(&format!("{io:?}"), || {
            let stop = Flag::new();
            let stopped = stop.clone();
            let drops = Drops::new();
            let runtime = runtime(io, 1);
            let yielder = runtime.spawn(move || {
                while !stopped.is_set() {
                    coroutine::yield_now(); // no cancellation point
                }
            });
            let (mut a, _b) = UnixStream::pair().unwrap();
            let (droplet, bell) = (drops.droplet(), stop.clone());
            let reader = runtime.spawn(move || {
                let _last = OnDrop(|| {
                    coroutine::sleep(Duration::from_millis(1));
                    bell.set();
                });
                let _droplet = droplet;
                a.read(&mut [0]).map(drop)
            });
            until_in(&reader, "recv");
            // Its worker can end only if the reader unwinds, I/O, timers and all.
            runtime.shutdown();
            yielder.join().unwrap();
            assert!(was_cancelled(&reader.join()));
        });
    }
}

#[test]
fn those_that_refuse_to_end_are_named_and_left_behind() {
    let name = "those_that_refuse_to_end_are_named_and_left_behind";
    let output = in_child(name, &[], || {
        for io in backends() {
            let builder = Runtime::builder().workers(1).io(io);
            let builder = builder.shutdown_timeout(Duration::from_millis(300));
            let builder = builder.hog_threshold(Duration::ZERO);
            let spawn = |runtime: &Runtime, name: &str, body: fn()| {
                let started = Flag::new();
                let start = started.clone();
                let builder = Builder::new().name(name);
                let body = move || {
                    start.set();
                    body();
                };
                drop(builder.spawn_on(runtime, body).unwrap());
                started.wait();
            };
            let stubborn = builder.clone().name("stubborn").build().unwrap();
            spawn(&stubborn, "shielded", || {
                shield(|| coroutine::sleep(LONG));
            });
            spawn(&stubborn, "swallower", || {
                loop {
                    let _ = catch_unwind(|| coroutine::park());
                    coroutine::yield_now();
                }
            });
            spawn(&stubborn, "willing", coroutine::park);
            let held = builder.name("held").build().unwrap();
            spawn(&held, "cruncher", || {
                loop {
                    std::hint::spin_loop();
                }
            });
            stubborn.shutdown();
            held.shutdown();
            // The process goes on, and can start another.
            assert_eq!(
                runtime(io, 2).run(|| coroutine::spawn(|| 1).join().unwrap()),
                1
            );
        }
    });
    let Some(output) = output else { return };
    assert_well(&output);
    let text = stderr(&output);
    let both = backends().len();
    for (words, count) in [
        ("runtime 'stubborn': coroutine 'shielded'", both),
        ("runtime 'stubborn': coroutine 'swallower'", both),
        ("'willing'", 0),
        (
            "runtime 'held': a coroutine holds its worker and did not let it shut down",
            both,
        ),
        ("sched.rs:", 4 * both), // where the two were spawned, and where they wait
    ] {
        assert_eq!(text.matches(words).count(), count, "{words}: {text}");
    }
}

#[test]
fn a_runtime_may_be_dropped_by_its_own_coroutine() {
    for io in backends() {
        labelled(&format!("{io:?}"), || {
            let runtime = runtime(io, 2);
            let (send, receive) = mpsc::channel::<Runtime>();
            let inside = runtime.spawn(move || {
                drop(receive.recv().unwrap());
                coroutine::sleep(LONG); // the next wait ends it
            });
            let other = runtime.spawn(|| coroutine::sleep(LONG));
            send.send(runtime).unwrap();
            assert!(was_cancelled(&inside.join()));
            assert!(was_cancelled(&other.join()));
        });
    }
}

#[test]
fn a_runtime_may_be_shut_down_by_a_coroutine_of_another() {
    on_both(|| {
        let inner = runtime(IoBackend::Epoll, 2);
        let sleeper = inner.spawn(|| coroutine::sleep(LONG));
        until_in(&sleeper, "sleep");
        inner.shutdown();
        assert!(was_cancelled(&sleeper.join()));
    });
}

#[test]
fn after_a_shutdown_nothing_starts() {
    for io in backends() {
        labelled(&format!("{io:?}"), || {
            let runtime = runtime(io, 2);
            let copy = runtime.clone();
            runtime.shutdown();
            let drops = Drops::new();
            let droplet = drops.droplet();
            let late = copy.spawn(move || drop(droplet));
            assert!(was_cancelled(&late.join()));
            assert_eq!(drops.count(), 1);
            // `run` brings its own worker along.
            assert_eq!(copy.run(|| coroutine::spawn_local(|| 3).join().unwrap()), 3);
            copy.run(|| assert!(was_cancelled(&coroutine::spawn(|| 3).join())));
        });
    }
}

#[test]
fn spawns_race_with_a_shutdown() {
    for io in backends() {
        for _ in 0..30 {
            labelled(&format!("{io:?}"), || {
                let runtime = runtime(io, 2);
                let drops = Drops::new();
                let copy = runtime.clone();
                let droplets: Vec<_> = (0..200).map(|_| drops.droplet()).collect();
                let spawner = thread::spawn(move || {
                    let spawn = |droplet| copy.spawn(move || drop(droplet));
                    droplets.into_iter().map(spawn).collect::<Vec<_>>()
                });
                runtime.shutdown();
                for handle in spawner.join().unwrap() {
                    let result = handle.join();
                    assert!(result.is_ok() || was_cancelled(&result));
                }
                assert_eq!(drops.count(), 200);
            });
        }
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

// -- settings that are wrong -------------------------------------------------------

#[test]
fn impossible_numbers_of_workers_are_refused() {
    for workers in [0, 65, usize::MAX] {
        let error = Runtime::builder()
            .name("odd")
            .workers(workers)
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(
            text.contains("'odd'") && text.contains("between 1 and 64"),
            "{text}"
        );
    }
    assert_eq!(
        Runtime::builder()
            .workers(64)
            .build()
            .unwrap()
            .info()
            .workers,
        64
    );
}

#[test]
fn wrong_variables_are_errors_that_say_what_they_want() {
    let name = "wrong_variables_are_errors_that_say_what_they_want";
    for (variable, value, wanted) in [
        ("BINGFA_WORKERS", "x", "between 1 and 64"),
        ("BINGFA_WORKERS", "0", "between 1 and 64"),
        ("BINGFA_WORKERS", "-1", "between 1 and 64"),
        ("BINGFA_WORKERS", "", "between 1 and 64"),
        ("BINGFA_IO", "nonsense", "\"uring\", \"epoll\", \"auto\""),
    ] {
        let output = in_child(name, &[(variable, value)], || {
            let error = Runtime::builder().build().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            let again = Builder::new().spawn(|| ()).unwrap_err();
            assert_eq!(again.to_string(), error.to_string());
            // What cannot give an error panics with it, wherever it is called.
            for outcome in [
                catch_unwind(|| bingfa::run(|| ())),
                catch_unwind(|| drop(coroutine::spawn(|| ()))),
                catch_unwind(|| coroutine::scope(|s| drop(s.spawn(|| ())))),
            ] {
                let message = *outcome.unwrap_err().downcast::<String>().unwrap();
                assert!(message.contains(&error.to_string()), "{message}");
            }
            eprintln!("[{error}]");
        });
        let Some(output) = output else { return };
        assert_well(&output);
        let text = stderr(&output);
        assert!(
            text.contains(&format!("[{variable}=")) && text.contains(wanted),
            "{text}"
        );
    }
}

#[test]
fn where_io_uring_is_denied_epoll_serves() {
    let name = "where_io_uring_is_denied_epoll_serves";
    let output = in_child(name, &[("BINGFA_IO", "auto")], || {
        deny_io_uring();
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let info = runtime.info();
        assert_eq!(info.io_backend, "epoll");
        assert!(info.io_reason.contains("io_uring is denied"), "{info}");
        runtime.run(|| {
            let (mut a, mut b) = UnixStream::pair().unwrap();
            let echo = coroutine::spawn(move || {
                let mut byte = [0];
                b.read_exact(&mut byte).unwrap();
                b.write_all(&byte).unwrap();
            });
            a.write_all(b"!").unwrap();
            let mut byte = [0];
            a.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"!");
            echo.join().unwrap();
        });
        let demanded = Runtime::builder().io(IoBackend::Uring).build().unwrap_err();
        assert!(demanded.to_string().contains("denied"), "{demanded}");
    });
    let Some(output) = output else { return };
    assert_well(&output);
}

/// `io_uring_setup` fails with EPERM from now on, as under Docker's default profile.
fn deny_io_uring() {
    let statement = |code: u32, k: u32, jf: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_io_uring_setup as u32,
            1,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            0,
        ),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program is valid for the call, which copies it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
            0
        );
    }
}

// -- stacks --------------------------------------------------------------------

#[test]
fn both_kinds_of_guard_carry_thousands() {
    for kind in [GuardPages::Protect, GuardPages::Install, GuardPages::Auto] {
        let builder = Runtime::builder().workers(2).guard_pages(kind);
        let runtime = match builder.build() {
            Ok(runtime) => runtime,
            Err(error) => {
                assert_eq!(kind, GuardPages::Install, "{error}");
                assert!(error.to_string().contains("6.13"), "{error}");
                continue;
            }
        };
        assert_ne!(runtime.info().guard_pages, GuardPages::Auto);
        for _ in 0..2 {
            let go = Flag::new();
            let alive = Arc::new(AtomicUsize::new(0));
            let all: Vec<_> = (0..2000)
                .map(|i: usize| {
                    let alive = alive.clone();
                    runtime.spawn(move || {
                        let deep = [i as u8; 4000];
                        alive.fetch_add(1, SeqCst);
                        coroutine::park();
                        assert!(black_box(&deep).iter().all(|&b| b == i as u8));
                        1
                    })
                })
                .collect();
            until(|| alive.load(SeqCst) == 2000);
            go.set();
            all.iter().for_each(|one| one.unpark());
            assert_eq!(coroutine::join_all(all).unwrap().len(), 2000);
        }
    }
}

#[test]
fn out_of_stacks_is_an_error_at_the_join_that_says_why() {
    let name = "out_of_stacks_is_an_error_at_the_join_that_says_why";
    let output = in_child(name, &[("BINGFA_CHECK", "0")], || {
        let builder = Runtime::builder()
            .workers(1)
            .guard_pages(GuardPages::Protect);
        let runtime = builder.stack_size(16 << 10).build().unwrap();
        let limit: usize = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let many = limit / 2; // two mappings each, so all of them are too many
        let all: Vec<_> = (0..many).map(|_| runtime.spawn(coroutine::park)).collect();
        for one in &all {
            until(|| one.is_finished() || one.state() == coroutine::State::Blocked);
        }
        assert!(
            all.iter().any(|one| one.is_finished()),
            "the limit was reached"
        );
        let running = all.iter().filter(|one| !one.is_finished()).count();
        // Those that run are not harmed, and room that they give back is used again.
        let mut unharmed = 0;
        for one in all {
            one.unpark();
            if let Err(payload) = one.join() {
                let message = payload.downcast::<String>().unwrap();
                assert!(message.contains("could not start"), "{message}");
                assert!(message.contains("vm.max_map_count"), "{message}");
            } else {
                unharmed += 1;
            }
        }
        assert_eq!(unharmed, running);
        assert_eq!(runtime.spawn(|| 1).join().unwrap(), 1);
    });
    let Some(output) = output else { return };
    assert_well(&output);
    assert!(stderr(&output).contains("could not start: no more coroutine stacks"));
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    1 + recurse(depth + 1) + black_box(frame)[3]
}

#[test]
fn an_overflow_names_the_coroutine_and_aborts() {
    let name = "an_overflow_names_the_coroutine_and_aborts";
    for place in ["worker", "run", "pthread", "sized"] {
        let output = in_child(name, &[("TEST_PLACE", place)], || {
            let deep = Builder::new().name("deep");
            match std::env::var("TEST_PLACE").unwrap().as_str() {
                "worker" => drop(deep.spawn(|| recurse(0)).unwrap().join()),
                "run" => drop(bingfa::run(|| {
                    deep.spawn_local(|| recurse(0)).unwrap().join()
                })),
                "pthread" => on_foreign_thread(|| {
                    drop(bingfa::run(|| {
                        Builder::new()
                            .name("deep")
                            .spawn_local(|| recurse(0))
                            .unwrap()
                            .join()
                    }));
                }),
                _ => drop(
                    deep.stack_size(64 << 10)
                        .spawn(|| recurse(0))
                        .unwrap()
                        .join(),
                ),
            }
        });
        let Some(output) = output else { return };
        let text = stderr(&output);
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGABRT),
            "{place}: {text}"
        );
        assert!(text.contains("coroutine 'deep' (id "), "{place}: {text}");
        let size = match place {
            "sized" => 64,
            _ if cfg!(debug_assertions) => 1024,
            _ => 256,
        };
        assert!(
            text.contains(&format!("overflowed its {size} KiB stack")),
            "{place}: {text}"
        );
        assert!(text.contains("Builder::stack_size"), "{place}: {text}");
    }
}

/// Runs `f` on a thread that std has not made, so that it has no alternate signal stack.
fn on_foreign_thread(f: fn()) {
    extern "C" fn start(f: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: what was passed below.
        let f: fn() = unsafe { std::mem::transmute(f) };
        f();
        std::ptr::null_mut()
    }
    // SAFETY: `start` fits; the thread is joined before this returns.
    unsafe {
        let mut thread = std::mem::zeroed();
        let arg = f as *mut libc::c_void;
        assert_eq!(
            libc::pthread_create(&mut thread, std::ptr::null(), start, arg),
            0
        );
        libc::pthread_join(thread, std::ptr::null_mut());
    }
}

#[test]
fn stacks_of_any_size_work_side_by_side() {
    on_both(|| {
        let all: Vec<_> = [1, 16 << 10, 100_000, 1 << 20, 8 << 20, 64 << 20]
            .into_iter()
            .map(|size| {
                let body = move || {
                    // Uses half of what it asked for.
                    fn fill(left: usize) -> usize {
                        let page = black_box([1u8; 1024]);
                        match left.checked_sub(4096) {
                            Some(rest) => fill(rest) + usize::from(page[7]),
                            None => 0,
                        }
                    }
                    fill(size / 2)
                };
                Builder::new().stack_size(size).spawn(body).unwrap()
            })
            .collect();
        coroutine::join_all(all).unwrap();
    });
    let error = Builder::new()
        .stack_size(usize::MAX)
        .spawn(|| ())
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    // An absurd size that is allowed may still be refused by the system: then at the join.
    let huge = Builder::new()
        .stack_size(1 << 36)
        .spawn(|| 1)
        .unwrap()
        .join();
    if let Err(payload) = huge {
        let message = payload.downcast::<String>().unwrap();
        assert!(message.contains("could not start"), "{message}");
    }
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
