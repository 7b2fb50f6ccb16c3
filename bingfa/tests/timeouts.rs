//! Timeouts, scopes and shields, nested in every way.

mod common;

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bingfa::coroutine::{self, shield};
use bingfa::net::{TcpListener, TcpStream, UdpSocket};
use bingfa::time::{timeout, timeout_at};
use common::net::{FullListener, connected};
use common::{
    Drops, Flag, LONG, OnDrop, SHORT, cancel_and_join, on_both, until, until_in, was_cancelled,
};

// -- timeouts in timeouts ------------------------------------------------------

#[test]
fn an_inner_timeout_leaves_the_outer_one_running() {
    on_both(|| {
        let outcome = timeout(LONG, || {
            let inner = timeout(SHORT, || coroutine::sleep(LONG));
            coroutine::sleep(Duration::from_millis(1)); // not cut short
            inner
        });
        assert!(outcome.unwrap().is_err());
    });
}

#[test]
fn an_outer_timeout_cuts_through_inner_ones() {
    on_both(|| {
        let drops = Drops::new();
        let returned = Flag::new();
        let outcome = timeout(SHORT, || {
            let _outer = drops.droplet();
            let _ = timeout(LONG, || {
                let _inner = drops.droplet();
                coroutine::park();
            });
            returned.set();
        });
        assert!(outcome.is_err());
        assert_eq!(drops.count(), 2);
        assert!(!returned.is_set());
    });
}

#[test]
fn of_two_that_expire_together_the_outer_one_wins() {
    on_both(|| {
        let at = Instant::now() + SHORT;
        let outcome = timeout_at(at, || timeout_at(at, || coroutine::sleep(LONG)));
        assert!(outcome.is_err());
        // So does one that was over long ago.
        let past = Instant::now();
        assert!(timeout_at(past, || timeout(SHORT, || coroutine::sleep(LONG))).is_err());
        coroutine::sleep(Duration::from_millis(1));
    });
}

/// Timeouts `depth` deep, of which the one `short` levels up from the bottom is short.
/// Gives back how many levels returned normally with `Elapsed` below them.
fn nest(depth: usize, short: usize) -> Option<usize> {
    if depth == 0 {
        coroutine::park();
        unreachable!("nobody unparks it");
    }
    let limit = if depth == short { SHORT } else { LONG };
    match timeout(limit, || nest(depth - 1, short)) {
        Err(_) => Some(depth),
        Ok(level) => level,
    }
}

#[test]
fn forty_levels_deep_the_right_one_expires() {
    on_both(|| {
        for short in [1, 2, 20, 39, 40] {
            assert_eq!(nest(40, short), Some(short));
        }
    });
}

#[test]
fn what_ends_without_waiting_counts_however_late() {
    on_both(|| {
        let late = timeout(Duration::ZERO, || {
            let start = Instant::now();
            while start.elapsed() < SHORT {}
            // A scope with nothing left to wait for is no wait.
            coroutine::scope(|_| 5)
        });
        assert_eq!(late, Ok(5));
        coroutine::sleep(Duration::from_millis(1)); // and it is over
    });
}

#[test]
fn timeouts_end_every_kind_of_wait() {
    on_both(|| {
        let (silent, _peer) = connected();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (pipe, _writer) = std::io::pipe().unwrap();
        let sleeper = coroutine::spawn(coroutine::park);
        assert!(timeout(SHORT, || (&silent).read(&mut [0])).is_err());
        assert!(timeout(SHORT, || listener.accept()).is_err());
        assert!(timeout(SHORT, || udp.recv_from(&mut [0])).is_err());
        assert!(timeout(SHORT, || bingfa::io::readable(&pipe, None)).is_err());
        assert!(timeout(SHORT, || coroutine::sleep(LONG)).is_err());
        assert!(timeout(SHORT, coroutine::park).is_err());
        assert!(timeout(SHORT, || coroutine::park_timeout(LONG)).is_err());
        // The first tick comes at once.
        assert!(timeout(LONG, || bingfa::time::interval(LONG * 2).tick()).is_ok());
        let full = FullListener::new();
        assert!(timeout(SHORT, || TcpStream::connect(full.addr)).is_err());
        assert!(
            timeout(SHORT, || coroutine::scope(|s| {
                s.spawn(coroutine::park);
            }))
            .is_err()
        );
        assert!(timeout(SHORT, || sleeper.join()).is_err());
    });
}

#[test]
fn a_timeout_reaches_into_run() {
    // On a plain thread `run` makes a coroutine of its own, which belongs to the caller.
    common::labelled("on a plain thread", || {
        let dropped = Drops::new();
        let outcome = timeout(SHORT, || {
            bingfa::run(|| {
                let _droplet = dropped.droplet();
                coroutine::sleep(LONG);
            });
        });
        assert!(outcome.is_err());
        assert_eq!(dropped.count(), 1);
        assert_eq!(timeout(LONG, || bingfa::run(|| 7)), Ok(7));
    });
}

#[test]
fn an_elapsed_timeout_leaves_the_socket_usable() {
    on_both(|| {
        let (mut a, mut b) = connected();
        for _ in 0..20 {
            assert!(timeout(Duration::from_millis(1), || b.read(&mut [0])).is_err());
        }
        a.write_all(b"still there").unwrap();
        let mut buf = [0; 11];
        b.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"still there");
    });
}

// -- scopes --------------------------------------------------------------------

#[test]
fn a_timeout_around_a_scope_ends_its_children_first() {
    on_both(|| {
        let local_too = coroutine::is_coroutine();
        let data = vec![7; 100];
        let ended = AtomicUsize::new(0);
        let outcome = timeout(SHORT, || {
            coroutine::scope(|s| {
                for _ in 0..10 {
                    let child = || {
                        let _end = OnDrop(|| {
                            assert!(data.iter().all(|&n| n == 7));
                            ended.fetch_add(1, SeqCst);
                        });
                        coroutine::sleep(LONG);
                    };
                    s.spawn(child);
                    if local_too {
                        s.spawn_local(child);
                    }
                }
                coroutine::park();
            });
        });
        assert!(outcome.is_err());
        // Those that never started have not made their guard.
        assert!(ended.load(SeqCst) <= if local_too { 20 } else { 10 });
        drop(data);
    });
}

#[test]
fn a_cancel_goes_through_timeout_and_scope_to_the_last_child() {
    on_both(|| {
        let drops = Drops::new();
        let started = std::sync::Arc::new(AtomicUsize::new(0));
        let (inner, count) = (drops.droplet(), started.clone());
        let outer = coroutine::spawn(move || {
            let _inner = inner;
            let result = timeout(LONG, || {
                coroutine::scope(|s| {
                    for i in 0..6 {
                        let count = &count;
                        let child = move || {
                            count.fetch_add(1, SeqCst);
                            let _ = timeout(LONG, || {
                                coroutine::scope(|s| {
                                    s.spawn(|| {
                                        count.fetch_add(1, SeqCst);
                                        coroutine::park();
                                    });
                                })
                            });
                        };
                        if i % 2 == 0 {
                            s.spawn(child);
                        } else {
                            s.spawn_local(child);
                        }
                    }
                })
            });
            unreachable!("{result:?}");
        });
        until(|| started.load(SeqCst) == 12);
        cancel_and_join(outer);
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_scope_waits_for_a_shielded_child_though_it_is_cancelled() {
    on_both(|| {
        let (go, in_shield) = (Flag::new(), Flag::new());
        let (go2, in_shield2) = (go.clone(), in_shield.clone());
        let parent = coroutine::spawn(move || {
            let borrowed = String::from("alive");
            coroutine::scope(|s| {
                s.spawn(|| {
                    shield(|| {
                        in_shield2.set();
                        while !go2.is_set() {
                            coroutine::park_timeout(SHORT);
                        }
                        assert_eq!(borrowed, "alive");
                    });
                });
            });
        });
        in_shield.wait();
        until_in(&parent, "scope");
        parent.cancel();
        let parent = parent.join_timeout(4 * SHORT).unwrap_err();
        go.set();
        assert!(was_cancelled(&parent.join()));
    });
}

#[test]
fn a_panic_of_a_detached_child_cancels_the_others_and_comes_out() {
    on_both(|| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            coroutine::scope(|s| {
                s.spawn(|| coroutine::sleep(LONG));
                s.spawn(coroutine::park);
                s.spawn(|| std::panic::resume_unwind(Box::new("child")));
                5
            })
        }));
        assert_eq!(*outcome.unwrap_err().downcast::<&str>().unwrap(), "child");
    });
}

#[test]
fn a_kept_handle_owns_the_panic() {
    on_both(|| {
        let value = coroutine::scope(|s| {
            let other = s.spawn(|| 5);
            let bad = s.spawn(|| std::panic::resume_unwind(Box::new(1u8)));
            assert_eq!(*bad.join().unwrap_err().downcast::<u8>().unwrap(), 1);
            other.join().unwrap()
        });
        assert_eq!(value, 5);
    });
}

#[test]
fn a_panic_of_the_scope_itself_cancels_its_children() {
    on_both(|| {
        let drops = Drops::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            coroutine::scope(|s| {
                let child = s.spawn(|| {
                    let _droplet = drops.droplet();
                    coroutine::park();
                });
                until(|| child.coroutine().id().as_u64().get() > 0 && drops.count() == 0);
                std::panic::resume_unwind(Box::new("parent"));
            })
        }));
        assert_eq!(*outcome.unwrap_err().downcast::<&str>().unwrap(), "parent");
    });
}

#[test]
fn cancelling_one_child_leaves_the_others() {
    on_both(|| {
        let sum = coroutine::scope(|s| {
            let doomed = s.spawn(|| coroutine::sleep(LONG));
            let fine = s.spawn(|| {
                coroutine::sleep(SHORT);
                3
            });
            doomed.cancel();
            assert!(was_cancelled(&doomed.join()));
            fine.join().unwrap()
        });
        assert_eq!(sum, 3);
    });
}

// -- shields -------------------------------------------------------------------

#[test]
fn shields_nest_and_hold_back_what_is_outside() {
    on_both(|| {
        let steps = std::sync::Arc::new(AtomicUsize::new(0));
        let step = steps.clone();
        let careful = coroutine::spawn(move || {
            shield(|| {
                coroutine::park();
                step.fetch_add(1, SeqCst); // 1
                shield(|| coroutine::sleep(Duration::from_millis(1)));
                step.fetch_add(1, SeqCst); // 2: the inner shield has not ended the outer one
                coroutine::sleep(Duration::from_millis(1));
                step.fetch_add(1, SeqCst); // 3
                coroutine::checkpoint();
            });
            step.fetch_add(1, SeqCst); // 4: leaving a shield is no wait
            coroutine::checkpoint();
            step.fetch_add(1, SeqCst);
        });
        until_in(&careful, "park");
        careful.cancel();
        careful.unpark();
        assert!(was_cancelled(&careful.join()));
        assert_eq!(steps.load(SeqCst), 4);
    });
}

#[test]
fn timeouts_inside_a_shield_work_and_outer_ones_wait_for_its_end() {
    on_both(|| {
        let through = Flag::new();
        let outcome = timeout(SHORT, || {
            shield(|| {
                coroutine::sleep(4 * SHORT);
                assert!(timeout(SHORT, || coroutine::sleep(LONG)).is_err());
                assert!(timeout(LONG, || coroutine::sleep(SHORT)).is_ok());
                through.set();
            });
            coroutine::sleep(LONG);
        });
        assert!(outcome.is_err());
        assert!(through.is_set());
    });
}

#[test]
fn a_shield_is_lifted_by_an_unwind() {
    on_both(|| {
        let _ = catch_unwind(|| shield(|| std::panic::resume_unwind(Box::new(()))));
        assert!(timeout(SHORT, || coroutine::sleep(LONG)).is_err());
    });
}
