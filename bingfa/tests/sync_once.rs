//! `Once`, `OnceLock` and `LazyLock` on every carrier.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use bingfa::sync::{Arc, LazyLock, Once, OnceLock};
use bingfa::{coroutine, thread, time};

use common::crew::on_every_carrier;
use common::{Flag, LONG, SHORT, block_on, until, was_cancelled};

#[test]
fn one_runs_and_all_others_wait_for_it() {
    on_every_carrier(|crew| {
        let cell = Arc::new((OnceLock::new(), AtomicUsize::new(0), Flag::new()));
        let first = {
            let cell = cell.clone();
            crew.spawn(move || {
                *cell.0.get_or_init(|| {
                    cell.2.wait();
                    cell.1.fetch_add(1, SeqCst)
                })
            })
        };
        let waits: Vec<_> = (0..4)
            .map(|_| {
                let cell = cell.clone();
                crew.spawn(move || {
                    if cell.2.is_set() {
                        return *cell.0.wait();
                    }
                    *cell.0.get_or_init(|| cell.1.fetch_add(1, SeqCst))
                })
            })
            .collect();
        // Whoever was first waits for the flag.
        let _ = first.info();
        cell.2.set();
        let found = first.join().unwrap();
        for waiter in waits {
            assert_eq!(waiter.join().unwrap(), found);
        }
        assert_eq!(cell.1.load(SeqCst), 1);
    });
}

#[test]
fn a_cancelled_initialiser_has_not_run() {
    on_every_carrier(|crew| {
        let cell = Arc::new((Once::new(), OnceLock::new()));
        let first = {
            let cell = cell.clone();
            crew.spawn_coroutine(move || cell.0.call_once(|| coroutine::sleep(LONG)))
        };
        first.until_in("sleep");
        let second = {
            let cell = cell.clone();
            crew.spawn(move || cell.0.call_once(|| cell.1.set(2).unwrap()))
        };
        second.until_in("once");
        let waits = {
            let cell = cell.clone();
            crew.spawn(move || cell.0.wait())
        };
        waits.until_in("once");
        first.cancel();
        assert!(was_cancelled(&first.join()));
        second.join().unwrap();
        waits.join().unwrap();
        assert_eq!(cell.1.get(), Some(&2));
        assert!(cell.0.is_completed());
    });
}

#[test]
fn a_timeout_leaves_it_not_run() {
    on_every_carrier(|_| {
        let cell = OnceLock::new();
        let late = time::timeout(SHORT, || {
            *cell.get_or_init(|| {
                thread::sleep(LONG);
                1
            })
        });
        assert!(late.is_err());
        assert_eq!(*cell.get_or_init(|| 2), 2);
        let once = Once::new();
        assert!(!once.wait_timeout(SHORT));
    });
}

#[test]
fn a_limit_ends_the_wait_for_somebody_elses() {
    on_every_carrier(|crew| {
        type Both = (Once, OnceLock<i32>, Flag, AtomicUsize);
        let both: Both = (Once::new(), OnceLock::new(), Flag::new(), 0.into());
        let both = Arc::new(both);
        let run = |f: fn(&Both)| {
            let both = both.clone();
            crew.spawn(move || f(&both))
        };
        let runs = [
            run(|both| {
                assert!(both.0.call_once_timeout(SHORT, || {
                    both.3.fetch_add(1, SeqCst);
                    both.2.wait();
                }));
            }),
            run(|both| {
                let made = both.1.get_or_init_timeout(SHORT, || {
                    both.3.fetch_add(1, SeqCst);
                    both.2.wait();
                    1
                });
                assert_eq!(made, Some(&1));
            }),
        ];
        until(|| both.3.load(SeqCst) == 2);

        let soon = || Instant::now() + SHORT;
        assert!(!both.0.call_once_timeout(SHORT, || unreachable!()));
        assert_eq!(both.1.get_or_init_timeout(SHORT, || unreachable!()), None);
        assert_eq!(both.1.set_timeout(SHORT, 7), Err(7));
        assert!(!both.0.call_once_deadline(soon(), || unreachable!()));
        assert!(!both.0.call_once_force_timeout(SHORT, |_| unreachable!()));
        assert!(!both.0.call_once_force_deadline(soon(), |_| unreachable!()));
        assert!(!both.0.wait_timeout(SHORT));
        assert!(!both.0.wait_deadline(soon()));
        assert!(!both.0.wait_force_timeout(SHORT));
        assert!(!both.0.wait_force_deadline(soon()));
        assert_eq!(both.1.get_or_init_deadline(soon(), || unreachable!()), None);
        assert_eq!(both.1.wait_timeout(SHORT), None);
        assert_eq!(both.1.wait_deadline(soon()), None);
        assert_eq!(both.1.set_deadline(soon(), 7), Err(7));
        both.2.set();
        for run in runs {
            run.join().unwrap();
        }
        assert!(both.0.wait_timeout(LONG) && both.0.wait_force_timeout(LONG));
        assert_eq!(both.1.wait_deadline(soon()), Some(&1));
        assert_eq!(both.1.set_timeout(LONG, 7), Err(7));
    });
}

#[test]
fn a_lazy_value_that_takes_too_long_is_made_all_the_same() {
    on_every_carrier(|crew| {
        let (begun, go) = (Flag::new(), Flag::new());
        let value: Arc<LazyLock<i32, Box<dyn FnOnce() -> i32 + Send>>> = {
            let (begun, go) = (begun.clone(), go.clone());
            Arc::new(LazyLock::new(Box::new(move || {
                begun.set();
                go.wait();
                7
            })))
        };
        let maker = {
            let value = value.clone();
            crew.spawn(move || LazyLock::force_timeout(&value, SHORT).copied())
        };
        begun.wait();
        assert_eq!(LazyLock::force_timeout(&value, SHORT), None);
        assert_eq!(LazyLock::force_deadline(&value, Instant::now()), None);
        go.set();
        assert_eq!(maker.join().unwrap(), Some(7));
        assert_eq!(LazyLock::force_timeout(&value, SHORT), Some(&7));
    });
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn tasks_threads_and_coroutines_wait_for_one_another() {
    on_every_carrier(|crew| {
        let all = Arc::new((Once::new(), OnceLock::new(), AtomicUsize::new(0)));
        let lazy = Arc::new(LazyLock::new(|| 5));
        let members: Vec<_> = (0..8)
            .map(|n| {
                let (all, lazy) = (all.clone(), lazy.clone());
                crew.spawn(move || {
                    let count = || all.2.fetch_add(1, SeqCst);
                    if n % 2 == 0 {
                        all.0.call_once(|| {
                            thread::yield_now();
                            count();
                        });
                        all.1.get_or_init(count);
                        assert_eq!(**lazy, 5);
                        return;
                    }
                    // A future of its own for each, polled where it may block.
                    coroutine_or_thread(async {
                        is_send(all.0.call_once_async(async || _ = count())).await;
                        is_send(all.0.call_once_force_async(async |_| unreachable!())).await;
                        is_send(all.0.wait_async()).await;
                        all.0.wait_force_async().await;
                        is_send(all.1.get_or_init_async(async || count())).await;
                        assert_eq!(all.1.set_async(9).await, Err(9));
                        is_send(all.1.wait_async()).await;
                        assert_eq!(*is_send(LazyLock::force_async(&lazy)).await, 5);
                    });
                })
            })
            .collect();
        for member in members {
            member.join().unwrap();
        }
        assert_eq!(all.2.load(SeqCst), 2);
    });
}

/// Async code on whatever carrier this is.
fn coroutine_or_thread(future: impl Future<Output = ()>) {
    if coroutine::is_coroutine() {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        until(|| future.as_mut().poll(&mut context).is_ready());
    } else {
        block_on(future);
    }
}

#[test]
fn a_future_that_is_dropped_has_not_run() {
    let cell = OnceLock::new();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    {
        let mut first = std::pin::pin!(cell.get_or_init_async(async || {
            std::future::pending::<()>().await;
            1
        }));
        assert!(first.as_mut().poll(&mut context).is_pending());
        // Another task is no recursion: it waits.
        let mut second = std::pin::pin!(cell.get_or_init_async(async || 2));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert_eq!(cell.get_or_init_timeout(SHORT, || 3), None);
    }
    assert_eq!(block_on(cell.get_or_init_async(async || 4)), &4);
}

#[test]
fn a_panic_in_a_task_poisons() {
    let once = Once::new();
    let run = || once.call_once_async(async || quiet_panic());
    assert!(panics(|| block_on(run())));
    assert!(panics(|| block_on(run())));
    assert!(panics(|| block_on(once.wait_async())));
    assert!(panics(|| {
        once.wait_timeout(SHORT);
    }));
    block_on(once.call_once_force_async(async |state| assert!(state.is_poisoned())));
    block_on(once.wait_async());

    let lazy = LazyLock::new(quiet_panic);
    assert!(panics(|| block_on(async {
        *LazyLock::force_async(&lazy).await
    })));
    assert!(panics(|| {
        LazyLock::force_timeout(&lazy, SHORT);
    }));
}

#[test]
fn a_cancelled_waiter_leaves() {
    on_every_carrier(|crew| {
        let once = Arc::new((Once::new(), Flag::new()));
        let runs = {
            let once = once.clone();
            crew.spawn(move || once.0.call_once(|| once.1.wait()))
        };
        let waiter = {
            let once = once.clone();
            crew.spawn_coroutine(move || once.0.wait())
        };
        waiter.until_in("once");
        waiter.cancel();
        assert!(was_cancelled(&waiter.join()));
        once.1.set();
        runs.join().unwrap();
        assert!(once.0.is_completed());
    });
}

fn quiet_panic() {
    std::panic::resume_unwind(Box::new("quietly"));
}

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

#[test]
fn a_panic_poisons_once_and_lazy_but_not_a_once_lock() {
    on_every_carrier(|_| {
        let once = Once::new();
        assert!(panics(|| once.call_once(quiet_panic)));
        assert!(panics(|| once.call_once(|| ())));
        assert!(panics(|| once.wait()));
        once.call_once_force(|state| assert!(state.is_poisoned()));
        once.call_once(|| unreachable!());
        once.wait();

        let lazy = LazyLock::new(|| {
            quiet_panic();
            1
        });
        assert!(panics(|| {
            LazyLock::force(&lazy);
        }));
        assert!(panics(|| {
            LazyLock::force(&lazy);
        }));

        let cell = OnceLock::new();
        assert!(panics(|| {
            cell.get_or_init(|| {
                quiet_panic();
                1
            });
        }));
        assert_eq!(*cell.get_or_init(|| 2), 2);
    });
}

#[test]
fn recursion_is_a_panic_that_says_so() {
    on_every_carrier(|_| {
        let cell = OnceLock::new();
        let payload = catch_unwind(AssertUnwindSafe(|| {
            cell.get_or_init(|| *cell.get_or_init(|| 1));
        }))
        .unwrap_err();
        let message = payload.downcast_ref::<&str>().unwrap();
        assert!(message.contains("wait for itself"), "{message}");
        assert_eq!(*cell.get_or_init(|| 3), 3);
    });
}

#[test]
fn a_lazy_value_is_made_though_its_maker_is_cancelled() {
    on_every_carrier(|crew| {
        let lazy = Arc::new((OnceLock::<Flag>::from(Flag::new()), OnceLock::new()));
        let value: Arc<LazyLock<i32, Box<dyn FnOnce() -> i32 + Send>>> = {
            let lazy = lazy.clone();
            Arc::new(LazyLock::new(Box::new(move || {
                lazy.1.set(()).unwrap();
                lazy.0.get().unwrap().wait();
                coroutine::sleep(SHORT); // a cancel would end this
                7
            })))
        };
        let maker = {
            let value = value.clone();
            crew.spawn_coroutine(move || {
                let _ = **value;
                coroutine::sleep(LONG);
            })
        };
        lazy.1.wait();
        maker.cancel();
        lazy.0.get().unwrap().set();
        assert!(was_cancelled(&maker.join()));
        assert_eq!(**value, 7);
    });
}

#[test]
fn what_std_offers_is_here() {
    static ONCE: Once = Once::new();
    static CELL: OnceLock<i32> = OnceLock::new();
    static LAZY: LazyLock<i32> = LazyLock::new(|| 3);
    assert_eq!(
        format!("{ONCE:?} {CELL:?} {LAZY:?}"),
        "Once { .. } OnceLock(<uninit>) LazyLock(<uninit>)"
    );
    CELL.set(1).unwrap();
    assert_eq!(CELL.set(2), Err(2));
    assert_eq!(*LAZY, 3);
    assert_eq!(format!("{CELL:?} {LAZY:?}"), "OnceLock(1) LazyLock(3)");
    let mut cell = CELL.clone();
    assert_eq!(cell, CELL);
    *cell.get_mut().unwrap() += 1;
    assert_ne!(cell, CELL);
    assert_eq!(cell.take(), Some(2));
    assert_eq!(cell.get(), None);
    assert_eq!(cell.into_inner(), None);
    assert_eq!(*LazyLock::<i32>::default(), 0);
}
