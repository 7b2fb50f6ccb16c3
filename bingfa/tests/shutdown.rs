//! How a runtime ends, and what becomes of those who are still there.

mod common;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread::{self};
use std::time::Duration;

use bingfa::coroutine::{self, Builder, shield};
use bingfa::io::Read;
use bingfa::net::TcpListener;
use bingfa::os::unix::net::UnixStream;
use bingfa::{IoBackend, Runtime};
use common::{
    Drops, Flag, LONG, OnDrop, SHORT, assert_well, backends, in_child, labelled, on_both, runtime,
    stderr, until, until_in, was_cancelled,
};

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
        ("shutdown.rs:", 4 * both), // where the two were spawned, and where they wait
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
