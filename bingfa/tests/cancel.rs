//! Cancels: what they end, what they wait for, and what they leave alone.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bingfa::coroutine::{self, Cancelled};
use bingfa::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use bingfa::os::unix::net::UnixStream;
use bingfa::time::timeout;
use common::net::{FullListener, connected};
use common::{
    Drops, Flag, LONG, OnDrop, SHORT, cancel_and_join, on_both, on_one_thread, until, until_in,
    was_cancelled,
};

// -- cancels -------------------------------------------------------------------

#[test]
fn cancelled_before_its_first_run_it_never_runs() {
    on_one_thread(|| {
        for local in [false, true] {
            let drops = Drops::new();
            let droplet = drops.droplet();
            let ran = Flag::new();
            let runs = ran.clone();
            let body = move || {
                let _droplet = &droplet;
                runs.set();
            };
            // Nobody can have started it: we hold the only thread (the runtime's worker
            // takes what is spawned there only when it is not ours).
            let unborn = if local {
                coroutine::spawn_local(body)
            } else {
                coroutine::Builder::new().spawn_local(body).unwrap()
            };
            unborn.cancel();
            assert!(was_cancelled(&unborn.join()));
            assert!(!ran.is_set());
            assert_eq!(drops.count(), 1);
        }
    });
}

#[test]
fn a_swallowed_cancel_comes_again_at_the_next_wait() {
    on_both(|| {
        let swallowed = std::sync::Arc::new(AtomicUsize::new(0));
        let count = swallowed.clone();
        let stubborn = coroutine::spawn(move || {
            for _ in 0..5 {
                let caught = catch_unwind(|| coroutine::sleep(LONG));
                assert!(caught.unwrap_err().is::<Cancelled>());
                count.fetch_add(1, SeqCst);
            }
            coroutine::checkpoint();
        });
        until_in(&stubborn, "sleep");
        cancel_and_join(stubborn);
        assert_eq!(swallowed.load(SeqCst), 5);
    });
}

#[test]
fn a_swallowed_timeout_comes_again_and_ends_with_its_scope() {
    on_both(|| {
        let outcome = timeout(SHORT, || {
            for _ in 0..3 {
                assert!(catch_unwind(|| coroutine::sleep(LONG)).is_err());
            }
            "gave up waiting"
        });
        assert_eq!(outcome, Ok("gave up waiting"));
        coroutine::sleep(Duration::from_millis(1));
    });
}

#[test]
fn data_is_never_lost_to_a_cancel() {
    on_both(|| {
        for round in 0..100u32 {
            let (mut writer, mut reader) = connected();
            let got = std::sync::Arc::new(AtomicUsize::new(0));
            let seen = got.clone();
            let rest = reader.try_clone().unwrap();
            let victim = coroutine::spawn(move || {
                let mut buf = [0; 64];
                loop {
                    seen.fetch_add(reader.read(&mut buf).unwrap(), SeqCst);
                }
            });
            if round % 2 == 0 {
                until_in(&victim, "recv");
            }
            writer.write_all(&[1; 10]).unwrap();
            victim.cancel();
            assert!(was_cancelled(&victim.join()));
            drop(writer);
            let mut left = Vec::new();
            (&rest).read_to_end(&mut left).unwrap();
            assert_eq!(got.load(SeqCst) + left.len(), 10);
        }
    });
}

#[test]
fn every_kind_of_wait_can_be_cancelled() {
    on_both(|| {
        let (silent, peer) = connected();
        let reading = coroutine::spawn(move || (&silent).read(&mut [0]).map(drop));
        until_in(&reading, "recv");
        cancel_and_join(reading);

        let peeking = coroutine::spawn(move || peer.peek(&mut [0]).map(drop));
        until(|| peeking.is_finished());
        assert!(peeking.join().unwrap().is_ok()); // the other end is gone

        let (full, _keep) = connected();
        let writing = coroutine::spawn(move || (&full).write_all(&vec![0; 64 << 20]));
        until_in(&writing, "send");
        cancel_and_join(writing);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accepting = coroutine::spawn(move || listener.accept().map(drop));
        until_in(&accepting, "poll");
        cancel_and_join(accepting);

        let full = FullListener::new();
        let addr = full.addr;
        let connecting = coroutine::spawn(move || TcpStream::connect(addr).map(drop));
        until_in(&connecting, "poll");
        cancel_and_join(connecting);

        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiving = coroutine::spawn(move || udp.recv_from(&mut [0]).map(drop));
        until_in(&receiving, "recv");
        cancel_and_join(receiving);

        let (pipe, _writer) = std::io::pipe().unwrap();
        let polling = coroutine::spawn(move || bingfa::io::readable(&pipe, None));
        until_in(&polling, "poll");
        cancel_and_join(polling);

        let inner = coroutine::spawn(coroutine::park);
        let target = inner.coroutine();
        let joining = coroutine::spawn(move || inner.join().map(drop));
        until_in(&joining, "join");
        cancel_and_join(joining);
        target.unpark(); // it was detached, not cancelled

        let sleeping = coroutine::spawn(|| coroutine::sleep(LONG));
        until_in(&sleeping, "sleep");
        cancel_and_join(sleeping);

        let parked = coroutine::spawn(coroutine::park);
        until_in(&parked, "park");
        cancel_and_join(parked);

        let ticking = coroutine::spawn(|| {
            let mut ticks = bingfa::time::interval(LONG);
            ticks.tick();
            ticks.tick();
        });
        until_in(&ticking, "sleep");
        cancel_and_join(ticking);
    });
}

#[test]
fn a_name_lookup_can_be_cancelled() {
    on_both(|| {
        let go = Flag::new();
        let gone = go.clone();
        let looking = coroutine::spawn(move || {
            gone.wait();
            ("bingfa.invalid", 80).to_socket_addrs().map(drop)
        });
        looking.cancel();
        go.set();
        // The answer may have been there at once; then it is returned.
        match looking.join() {
            Ok(answer) => assert!(answer.is_err()),
            Err(payload) => assert!(payload.is::<Cancelled>()),
        }
    });
}

#[test]
fn cancel_after_the_end_and_twice_does_nothing() {
    on_both(|| {
        let quick = coroutine::spawn(|| 1);
        until(|| quick.is_finished());
        quick.cancel();
        quick.cancel();
        assert_eq!(quick.join().unwrap(), 1);
        let twice = coroutine::spawn(|| coroutine::sleep(LONG));
        twice.cancel();
        cancel_and_join(twice);
    });
}

#[test]
fn one_that_never_waits_again_returns_its_result() {
    on_both(|| {
        let go = Flag::new();
        let gone = go.clone();
        let busy = coroutine::spawn(move || {
            gone.wait(); // yields only
            9
        });
        busy.cancel();
        go.set();
        // It may have been cancelled before it started.
        match busy.join() {
            Ok(nine) => assert_eq!(nine, 9),
            Err(payload) => assert!(payload.is::<Cancelled>()),
        }
    });
}

// -- destructors that wait ---------------------------------------------------------

#[test]
fn destructors_may_talk_while_a_cancel_unwinds() {
    on_both(|| {
        let (mut a, b) = connected();
        let polite = coroutine::spawn(move || {
            let _farewell = OnDrop(|| {
                coroutine::sleep(Duration::from_millis(1));
                (&b).write_all(b"bye").unwrap();
            });
            coroutine::sleep(LONG);
        });
        until_in(&polite, "sleep");
        cancel_and_join(polite);
        let mut word = [0; 3];
        a.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"bye");
    });
}

#[test]
fn waits_in_destructors_of_a_cancel_end_after_their_grace() {
    on_both(|| {
        let (silent, _peer) = connected();
        let (report, result) = std::sync::mpsc::channel();
        let slow = coroutine::spawn(move || {
            let _guard = OnDrop(|| {
                // Both share one second.
                coroutine::sleep(LONG);
                let error = (&silent).read(&mut [0]).unwrap_err();
                report.send(error.raw_os_error()).unwrap();
            });
            coroutine::sleep(LONG);
        });
        until_in(&slow, "sleep");
        cancel_and_join(slow);
        assert_eq!(result.recv().unwrap(), Some(libc::ECANCELED));
    });
}

#[test]
fn each_unwind_has_a_grace_of_its_own() {
    on_one_thread(|| {
        let (silent, _peer) = connected();
        let (mut a, mut b) = connected();
        let victim = coroutine::spawn_local(move || {
            let first = catch_unwind(AssertUnwindSafe(|| {
                // Uses all of its grace.
                let _guard = OnDrop(|| {
                    assert!((&silent).read(&mut [0]).is_err());
                });
                coroutine::sleep(LONG);
            }));
            assert!(first.is_err());
            // The next unwind begins much later: its destructors can talk again.
            let _farewell = OnDrop(move || {
                let mut word = [0; 5];
                b.read_exact(&mut word).unwrap();
                b.write_all(&word).unwrap();
            });
            coroutine::sleep(LONG);
        });
        until_in(&victim, "sleep");
        victim.cancel();
        until_in(&victim, "recv"); // the silent one
        a.write_all(b"hello").unwrap();
        let mut word = [0; 5];
        a.read_exact(&mut word).unwrap();
        assert!(was_cancelled(&victim.join()));
    });
}

#[test]
fn a_cancel_that_meets_a_panic_does_not_abort() {
    on_both(|| {
        let (in_drop, go) = (Flag::new(), Flag::new());
        let (in_drop2, go2) = (in_drop.clone(), go.clone());
        let panicking = coroutine::spawn(move || {
            let _guard = OnDrop(|| {
                in_drop2.set();
                while !go2.is_set() {
                    coroutine::park_timeout(Duration::from_millis(1));
                }
            });
            std::panic::resume_unwind(Box::new("first"));
        });
        in_drop.wait();
        panicking.cancel();
        go.set();
        let payload = panicking.join().unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "first");
    });
}

#[test]
fn a_cancel_poisons_a_lock_of_std_as_documented() {
    on_both(|| {
        let lock = std::sync::Arc::new(Mutex::new(()));
        let held = lock.clone();
        let holder = coroutine::spawn(move || {
            let _guard = held.lock().unwrap();
            coroutine::sleep(LONG);
        });
        until_in(&holder, "sleep");
        cancel_and_join(holder);
        assert!(lock.is_poisoned());
    });
}

// -- neighbours in mid-unwind ------------------------------------------------------

/// A coroutine on this thread that hangs in a destructor of its cancel until `go`.
fn in_mid_unwind(go: &Flag) -> coroutine::JoinHandle<()> {
    let (reached, go) = (Flag::new(), go.clone());
    let arrived = reached.clone();
    let hanging = coroutine::spawn_local(move || {
        let _guard = OnDrop(|| {
            arrived.set();
            while !go.is_set() {
                coroutine::park();
            }
        });
        coroutine::park();
    });
    until_in(&hanging, "park");
    hanging.cancel();
    reached.wait();
    until_in(&hanging, "park");
    hanging
}

#[test]
fn a_neighbour_in_mid_unwind_delays_no_cancel_of_one_that_waits_already() {
    on_one_thread(|| {
        let sleeper = coroutine::spawn_local(|| coroutine::sleep(LONG));
        let (mut silent, _peer) = connected();
        let reader = coroutine::spawn_local(move || silent.read(&mut [0]).map(drop));
        until_in(&sleeper, "sleep");
        until_in(&reader, "recv");
        let go = Flag::new();
        let hanging = in_mid_unwind(&go);
        cancel_and_join(sleeper);
        cancel_and_join(reader);
        go.set();
        hanging.unpark();
        assert!(was_cancelled(&hanging.join()));
    });
}

#[test]
fn a_neighbour_in_mid_unwind_delays_no_cancel_of_a_later_wait() {
    on_one_thread(|| {
        let go = Flag::new();
        let hanging = in_mid_unwind(&go);
        // For the thread, all of these begin their waits while it unwinds.
        let sleeper = coroutine::spawn_local(|| coroutine::sleep(LONG));
        let (mut silent, _peer) = connected();
        let reader = coroutine::spawn_local(move || silent.read(&mut [0]).map(drop));
        let parked = coroutine::spawn_local(|| {
            loop {
                coroutine::park();
            }
        });
        let timed = coroutine::spawn_local(|| timeout(SHORT, || coroutine::sleep(LONG)));
        until_in(&sleeper, "sleep");
        until_in(&reader, "recv");
        until_in(&parked, "park");
        cancel_and_join(sleeper);
        cancel_and_join(reader);
        // A token and a cancel at once.
        parked.unpark();
        parked.cancel();
        parked.unpark();
        assert!(was_cancelled(&parked.join()));
        assert!(timed.join().unwrap().is_err());
        assert!(!bingfa::thread::panicking());
        go.set();
        hanging.unpark();
        assert!(was_cancelled(&hanging.join()));
    });
}

#[test]
fn two_in_mid_unwind_are_not_disturbed_by_more_cancels() {
    on_one_thread(|| {
        let go = Flag::new();
        let hanging = [in_mid_unwind(&go), in_mid_unwind(&go)];
        for one in &hanging {
            one.cancel();
            one.unpark(); // its destructor waits again, cancelled and unwinding
        }
        for one in &hanging {
            until_in(one, "park");
        }
        go.set();
        for one in hanging {
            one.unpark();
            assert!(was_cancelled(&one.join()));
        }
    });
}

#[test]
fn a_cancel_that_came_before_the_neighbours_unwind_is_not_lost_in_it() {
    on_one_thread(|| {
        let go = Flag::new();
        let ready = Flag::new();
        let begin = ready.clone();
        // Cancelled while it is runnable; its next wait begins during the unwind.
        let late = coroutine::spawn_local(move || {
            begin.wait();
            coroutine::sleep(LONG);
        });
        coroutine::yield_now();
        late.cancel();
        coroutine::yield_now(); // the worker has seen the cancel, and had nothing to end
        let hanging = in_mid_unwind(&go);
        ready.set();
        assert!(was_cancelled(&late.join()));
        go.set();
        hanging.unpark();
        assert!(was_cancelled(&hanging.join()));
    });
}

/// The usual owner of a background coroutine.
struct Actor(Option<coroutine::JoinHandle<()>>);

impl Drop for Actor {
    fn drop(&mut self) {
        let handle = self.0.take().unwrap();
        handle.cancel();
        let _ = handle.join();
    }
}

#[test]
fn an_owner_that_is_cancelled_can_cancel_and_join_what_it_owns() {
    on_one_thread(|| {
        for depth in 1..4 {
            fn own(depth: usize, bottom: Flag) {
                let _actor = Actor(Some(coroutine::spawn_local(move || match depth {
                    0 => {
                        bottom.set();
                        coroutine::park();
                    }
                    _ => own(depth - 1, bottom),
                })));
                coroutine::park();
            }
            let bottom = Flag::new();
            let reached = bottom.clone();
            let owner = coroutine::spawn_local(move || own(depth, bottom));
            reached.wait();
            until_in(&owner, "park");
            cancel_and_join(owner);
        }
    });
}

#[test]
fn a_thousand_that_wait_in_destructors_are_cancelled_together() {
    on_one_thread(|| {
        let all: Vec<_> = (0..1000)
            .map(|_| {
                coroutine::spawn_local(|| {
                    let _guard = OnDrop(|| coroutine::sleep(4 * SHORT));
                    coroutine::park();
                })
            })
            .collect();
        for one in &all {
            until_in(one, "park");
        }
        let start = Instant::now();
        for one in &all {
            one.cancel();
        }
        for one in all {
            assert!(was_cancelled(&one.join()));
        }
        // One after the other they would take 20 s.
        assert!(start.elapsed() < Duration::from_secs(15));
    });
}

// -- sockets that others close, and the like -----------------------------------------

#[test]
fn a_cancelled_connection_is_closed_for_its_peer() {
    on_both(|| {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        let holder = coroutine::spawn(move || b.read(&mut [0]).map(drop));
        until_in(&holder, "recv");
        cancel_and_join(holder);
        assert_eq!(a.read(&mut [0]).unwrap(), 0);
        assert_eq!(a.write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}
