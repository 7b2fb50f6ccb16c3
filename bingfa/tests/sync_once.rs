//! `Once`, `OnceLock` and `LazyLock` on every carrier.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bingfa::sync::{Arc, LazyLock, Once, OnceLock};
use bingfa::{coroutine, thread, time};

use common::crew::on_every_carrier;
use common::{Flag, LONG, SHORT, was_cancelled};

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
