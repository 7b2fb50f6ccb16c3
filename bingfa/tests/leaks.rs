//! What is used is given back: descriptors, mappings, threads, memory.
//!
//! Each test is a child process, so that nothing else in it opens, maps or allocates.

mod common;

use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bingfa::io::{Read, Write};
use bingfa::net::{TcpListener, TcpStream};
use bingfa::os::unix::net::UnixStream;
use bingfa::{GuardPages, IoBackend, Runtime, coroutine};
use common::usage::{Usage, allow_many_descriptors};
use common::{LONG, SHORT, assert_well, backends, in_child, labelled, runtime, until};

/// Runs `round` over and over. What the first rounds keep (stacks, buffers, idle threads)
/// is warm-up; what the later ones add to it is a leak.
fn settles(label: &str, warm_up: usize, rounds: usize, round: impl Fn()) {
    labelled(label, || {
        for _ in 0..warm_up {
            round();
        }
        let before = Usage::settled();
        for _ in 0..rounds {
            round();
        }
        Usage::settled().assert_no_more_than(&before, label);
    });
}

fn child(name: &str, test: impl FnOnce()) {
    if let Some(output) = in_child(name, &[("BINGFA_CHECK", "0")], test) {
        assert_well(&output);
    }
}

#[test]
fn coroutines_with_sockets() {
    child("coroutines_with_sockets", || {
        allow_many_descriptors();
        for io in backends() {
            // One worker: how two share the stacks differs from round to round.
            let runtime = runtime(io, 1);
            settles(&format!("{io:?}"), 4, 20, || {
                // All alive at once, so that every round needs as many stacks.
                let alive = Arc::new(AtomicUsize::new(0));
                let (readers, writers): (Vec<_>, Vec<_>) = (0..1000)
                    .map(|_| {
                        let (mut a, mut b) = UnixStream::pair().unwrap();
                        let (alive, alive2) = (alive.clone(), alive.clone());
                        let write = runtime.spawn(move || {
                            alive.fetch_add(1, SeqCst);
                            coroutine::park();
                            a.write_all(b"hello").unwrap();
                            assert_eq!(a.read(&mut [0]).unwrap(), 0);
                        });
                        let read = runtime.spawn(move || {
                            alive2.fetch_add(1, SeqCst);
                            b.read_exact(&mut [0; 5]).unwrap();
                        });
                        (read, write)
                    })
                    .collect();
                until(|| alive.load(SeqCst) == 2000);
                writers.iter().for_each(|writer| writer.unpark());
                coroutine::join_all(readers.into_iter().chain(writers)).unwrap();
            });
        }
    });
}

#[test]
fn connections_that_come_and_go() {
    child("connections_that_come_and_go", || {
        allow_many_descriptors();
        for io in backends() {
            let runtime = runtime(io, 2);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let server = runtime.spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    drop(coroutine::spawn(move || {
                        let mut buf = [0; 16];
                        while let Ok(n @ 1..) = stream.read(&mut buf) {
                            stream.write_all(&buf[..n]).unwrap();
                        }
                    }));
                }
            });
            settles(&format!("{io:?}"), 3, 8, || {
                let clients = (0..300).map(|_| {
                    runtime.spawn(move || {
                        let mut stream = TcpStream::connect(addr).unwrap();
                        stream.write_all(b"ping").unwrap();
                        stream.read_exact(&mut [0; 4]).unwrap();
                    })
                });
                coroutine::join_all(clients).unwrap();
            });
            server.cancel();
            let _ = server.join();
        }
    });
}

#[test]
fn cancelled_timed_out_and_panicked_ones() {
    child("cancelled_timed_out_and_panicked_ones", || {
        std::panic::set_hook(Box::new(|_| {}));
        for io in backends() {
            let runtime = runtime(io, 2);
            settles(&format!("{io:?}"), 4, 20, || {
                let (a, b) = UnixStream::pair().unwrap();
                let (a, _b) = (Arc::new(a), b);
                let all: Vec<_> = (0..600)
                    .map(|i| {
                        let socket = a.clone();
                        runtime.spawn(move || {
                            let _memory = vec![0u8; 10_000];
                            match i % 4 {
                                0 => drop((&*socket).read(&mut [0])),
                                1 => {
                                    let _ =
                                        bingfa::time::timeout(Duration::from_micros(100), || {
                                            coroutine::scope(|s| {
                                                s.spawn(|| coroutine::sleep(LONG));
                                                s.spawn_local(|| (&*socket).read(&mut [0]));
                                            })
                                        });
                                }
                                2 => panic!("on purpose"),
                                _ => coroutine::park(),
                            }
                        })
                    })
                    .collect();
                all.iter().step_by(3).for_each(|one| one.cancel());
                coroutine::sleep(SHORT);
                all.iter().for_each(|one| one.cancel());
                all.into_iter().for_each(|one| drop(one.join()));
            });
            assert_eq!(coroutine::active_count(), 0);
        }
    });
}

#[test]
fn runtimes() {
    child("runtimes", || {
        for io in backends() {
            for guard in [GuardPages::Protect, GuardPages::Auto] {
                settles(&format!("{io:?}, {guard:?}"), 10, 100, || {
                    let builder = Runtime::builder().workers(2).io(io).guard_pages(guard);
                    let runtime = builder.build().unwrap();
                    let count = Arc::new(AtomicUsize::new(0));
                    let all: Vec<_> = (0..20)
                        .map(|_| {
                            let count = count.clone();
                            runtime.spawn(move || {
                                let (mut a, mut b) = UnixStream::pair().unwrap();
                                a.write_all(b"x").unwrap();
                                b.read_exact(&mut [0]).unwrap();
                                count.fetch_add(1, SeqCst);
                                coroutine::park(); // until the shutdown
                            })
                        })
                        .collect();
                    while count.load(SeqCst) < 20 {
                        std::thread::yield_now();
                    }
                    drop(all);
                });
            }
        }
    });
}

bingfa::coroutine_local! {
    static NUMBER: usize = 0;
}

#[test]
fn locals_of_a_runtime() {
    child("locals_of_a_runtime", || {
        settles("locals", 10, 100, || {
            let runtime = Runtime::builder().workers(1).build().unwrap();
            // All alive at once, so that each has a stack, which ends with the runtime.
            let all: Vec<_> = (0..1000)
                .map(|_| runtime.spawn(|| NUMBER.with(|_| coroutine::park())))
                .collect();
            until(|| {
                all.iter()
                    .all(|one| one.state() == coroutine::State::Blocked)
            });
        });
    });
}

#[test]
fn runs() {
    child("runs", || {
        for io in backends() {
            let runtime = runtime(io, 1);
            settles(&format!("{io:?}"), 20, 1000, || {
                let sum: i32 = runtime.run(|| {
                    let local = coroutine::spawn_local(|| {
                        coroutine::yield_now();
                        1
                    });
                    let left_behind = coroutine::spawn_local(coroutine::park);
                    drop(left_behind);
                    local.join().unwrap() + 1
                });
                assert_eq!(sum, 2);
            });
        }
    });
}

#[test]
fn what_could_not_be_started() {
    child("what_could_not_be_started", || {
        std::panic::set_hook(Box::new(|_| {}));
        let runtime = runtime(IoBackend::Epoll, 1);
        settles("errors", 10, 300, || {
            assert!(Runtime::builder().workers(0).build().is_err());
            assert!(coroutine::Builder::new().priority(9).spawn(|| ()).is_err());
            let panics = catch_unwind(std::panic::AssertUnwindSafe(|| runtime.run(|| panic!())));
            assert!(panics.is_err());
            let unborn = runtime.spawn(|| vec![0u8; 10_000]);
            unborn.cancel();
            let _ = unborn.join();
        });
    });
}
