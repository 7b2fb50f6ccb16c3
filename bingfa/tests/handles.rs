//! Handles, results, panics and coroutine-locals: what becomes of what a coroutine leaves.

mod common;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bingfa::coroutine::{self, JoinHandle};
use common::{
    Drops, Flag, LONG, OnDrop, SHORT, assert_well, cancel_and_join, in_child, on_both,
    on_one_thread, stderr, until, until_in, was_cancelled,
};

// -- handles -------------------------------------------------------------------

#[test]
fn a_dropped_handle_lets_its_coroutine_go_on() {
    on_both(|| {
        let done = Flag::new();
        let end = done.clone();
        drop(coroutine::spawn(move || {
            coroutine::sleep(Duration::from_millis(1));
            end.set();
        }));
        done.wait();
    });
}

#[test]
fn a_handle_outlives_its_runtime() {
    let name = "a_handle_outlives_its_runtime";
    let output = in_child(name, &[], || {
        let runtime = bingfa::Runtime::builder().workers(1).build().unwrap();
        let panicked = runtime.spawn(|| std::panic::resume_unwind(Box::new(1)));
        let well = runtime.spawn(|| 2);
        until(|| panicked.is_finished() && well.is_finished());
        drop(runtime); // the stacks are unmapped
        assert_eq!(panicked.state(), coroutine::State::Ready);
        panicked.cancel();
        panicked.unpark();
        drop(panicked); // reports the panic
        assert_eq!(well.join().unwrap(), 2);
    });
    let Some(output) = output else { return };
    assert_well(&output);
    assert!(stderr(&output).contains("panicked, and nobody joins it"));
}

#[test]
fn a_result_that_nobody_takes_is_dropped_once() {
    on_both(|| {
        let drops = Drops::new();
        let (early, late) = (drops.droplet(), drops.droplet());
        let go = Flag::new();
        let gone = go.clone();
        drop(coroutine::spawn(move || {
            gone.wait();
            early
        }));
        go.set();
        until(|| drops.count() == 1);
        let ended = coroutine::spawn(move || late);
        until(|| ended.is_finished());
        assert_eq!(drops.count(), 1);
        drop(ended);
        assert_eq!(drops.count(), 2);
    });
}

#[test]
fn join_timeout_gives_the_handle_back_any_number_of_times() {
    on_both(|| {
        let go = Flag::new();
        let gone = go.clone();
        let mut slow = coroutine::spawn(move || {
            gone.wait();
            3
        });
        for limit in [Duration::ZERO, Duration::from_millis(1), SHORT] {
            slow = slow.join_timeout(limit).unwrap_err();
        }
        go.set();
        assert_eq!(slow.join_timeout(LONG).unwrap().unwrap(), 3);
        let done = coroutine::spawn(|| 4);
        until(|| done.is_finished());
        assert_eq!(done.join_timeout(Duration::ZERO).unwrap().unwrap(), 4);
        let far = coroutine::spawn(|| 5);
        assert_eq!(far.join_timeout(Duration::MAX).unwrap().unwrap(), 5);
    });
}

#[test]
fn join_all_waits_for_all_and_reports_the_first_failure() {
    on_both(|| {
        let ended = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..10)
            .map(|i| {
                let ended = ended.clone();
                coroutine::spawn(move || {
                    let _end = OnDrop(|| {
                        ended.fetch_add(1, SeqCst);
                    });
                    coroutine::sleep(Duration::from_millis(10 - i));
                    if i % 2 == 1 {
                        std::panic::resume_unwind(Box::new(i));
                    }
                    i
                })
            })
            .collect();
        let first = coroutine::join_all(handles).unwrap_err();
        assert_eq!(*first.downcast::<u64>().unwrap(), 1);
        assert_eq!(ended.load(SeqCst), 10);
    });
}

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Arc<CountingWaker>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(waker.clone())))
}

#[test]
fn as_a_future_it_wakes_the_last_waker_alone() {
    on_both(|| {
        let go = Flag::new();
        let gone = go.clone();
        let mut handle = coroutine::spawn(move || {
            gone.wait();
            8
        });
        let wakers: Vec<Arc<CountingWaker>> = (0..4).map(|_| Arc::default()).collect();
        for waker in &wakers {
            assert!(poll(&mut handle, waker).is_pending());
        }
        for waker in &wakers[..3] {
            assert_eq!(Arc::strong_count(waker), 1, "an old waker is kept");
        }
        go.set();
        until(|| wakers[3].0.load(SeqCst) == 1);
        let Poll::Ready(result) = poll(&mut handle, &wakers[0]) else {
            panic!("woken, but not ready")
        };
        assert_eq!(result.unwrap(), 8);
        let counts: Vec<usize> = wakers.iter().map(|w| w.0.load(SeqCst)).collect();
        assert_eq!(counts, [0, 0, 0, 1]);
    });
}

#[test]
fn a_future_can_be_forgotten_or_joined_after_a_poll() {
    on_both(|| {
        let waker = Arc::new(CountingWaker::default());
        let go = Flag::new();
        let (gone, gone2) = (go.clone(), go.clone());
        let done = Flag::new();
        let end = done.clone();
        let mut dropped = coroutine::spawn(move || {
            gone.wait();
            end.set();
        });
        assert!(poll(&mut dropped, &waker).is_pending());
        drop(dropped);
        let mut joined = coroutine::spawn(move || {
            gone2.wait();
            2
        });
        assert!(poll(&mut joined, &waker).is_pending());
        go.set();
        assert_eq!(joined.join().unwrap(), 2);
        done.wait();
        until(|| Arc::strong_count(&waker) == 1);
    });
}

#[test]
fn polls_race_with_the_end() {
    on_both(|| {
        for i in 0..500 {
            let mut handle = coroutine::spawn(move || i);
            let result = loop {
                let waker = Arc::new(CountingWaker::default());
                match poll(&mut handle, &waker) {
                    Poll::Ready(result) => break result,
                    Poll::Pending => {
                        until(|| waker.0.load(SeqCst) > 0 || Arc::strong_count(&waker) == 1)
                    }
                }
            };
            assert_eq!(result.unwrap(), i);
        }
    });
}

#[test]
fn park_tokens_are_not_lost_and_do_not_pile_up() {
    on_both(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let parks = count.clone();
        let parker = coroutine::spawn(move || {
            loop {
                coroutine::park();
                parks.fetch_add(1, SeqCst);
            }
        });
        for i in 1..=100 {
            parker.unpark();
            until(|| count.load(SeqCst) >= i);
        }
        // Joins and sleeps in between do not eat the token.
        let go = Flag::new();
        let gone = go.clone();
        let saver = coroutine::spawn(move || {
            gone.wait();
            coroutine::sleep(Duration::from_millis(1));
            coroutine::spawn(|| ()).join().unwrap();
            coroutine::park();
        });
        saver.unpark();
        saver.unpark();
        go.set();
        saver.join().unwrap();
        cancel_and_join(parker);
    });
}

// -- panics --------------------------------------------------------------------

#[test]
fn join_carries_every_payload() {
    on_both(|| {
        let text = coroutine::spawn(|| std::panic::panic_any(String::from("owned")));
        assert_eq!(
            *text.join().unwrap_err().downcast::<String>().unwrap(),
            "owned"
        );
        let number = coroutine::spawn(|| std::panic::panic_any(17u32));
        assert_eq!(*number.join().unwrap_err().downcast::<u32>().unwrap(), 17);
        // The worker goes on, on the same stack.
        for i in 0..100 {
            assert_eq!(coroutine::spawn(move || i).join().unwrap(), i);
        }
    });
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(self.0));
        }
    }
}

#[test]
fn destructors_that_panic_harm_nobody_else() {
    on_both(|| {
        // A result that nobody takes.
        let ended = Flag::new();
        let end = ended.clone();
        drop(coroutine::spawn(move || {
            end.set();
            Bomb("result")
        }));
        ended.wait();
        // A closure that never runs.
        let unborn = coroutine::spawn({
            let bomb = Bomb("closure");
            move || {
                let _bomb = &bomb;
                coroutine::sleep(LONG);
            }
        });
        unborn.cancel();
        assert!(unborn.join().is_err());
        // A payload.
        drop(coroutine::spawn(|| std::panic::panic_any(Bomb("payload"))));
        // All of them at the end of a coroutine, after its locals.
        drop(coroutine::spawn(|| {
            BOMB.with(|_| ());
            Bomb("result after a local")
        }));
        let local = coroutine::spawn(|| BOMB.with(|_| ()));
        assert_eq!(
            *local.join().unwrap_err().downcast::<&str>().unwrap(),
            "local"
        );
        for i in 0..100 {
            assert_eq!(coroutine::spawn(move || i).join().unwrap(), i);
        }
    });
}

bingfa::coroutine_local! {
    static BOMB: Bomb = Bomb("local");
}

#[test]
fn a_panic_that_nobody_joins_is_reported_by_name() {
    let name = "a_panic_that_nobody_joins_is_reported_by_name";
    let output = in_child(name, &[], || {
        bingfa::run(|| {
            let ended = Flag::new();
            let end = ended.clone();
            let builder = coroutine::Builder::new().name("clumsy");
            drop(builder.spawn(move || {
                let _end = OnDrop(move || end.set());
                panic!("dropped the tray");
            }));
            ended.wait();
            // A joined one is its joiner's business.
            let joined = coroutine::Builder::new()
                .name("watched")
                .spawn(|| panic!("seen"));
            assert!(joined.unwrap().join().is_err());
            // So is one that ended before its handle was dropped.
            let late = coroutine::Builder::new()
                .name("late")
                .spawn(|| panic!("unseen"));
            let late = late.unwrap();
            until(|| late.is_finished());
            drop(late);
            // A cancelled one is nobody's.
            let cancelled = coroutine::Builder::new()
                .name("quiet")
                .spawn(coroutine::park);
            let cancelled = cancelled.unwrap();
            cancelled.cancel();
            let id = cancelled.id().as_u64();
            drop(cancelled);
            until(|| !coroutine::enumerate().iter().any(|c| c.id == id));
        });
    });
    let Some(output) = output else { return };
    assert_well(&output);
    let text = stderr(&output);
    let lines: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("nobody joins"))
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].contains("'late'"), "{text}");
    assert!(
        lines[0].contains("'clumsy'") && lines[0].contains("handles.rs"),
        "{text}"
    );
    assert!(text.contains("dropped the tray"), "{text}");
}

#[test]
fn panics_in_nested_coroutines_come_out_one_by_one() {
    on_both(|| {
        fn nest(depth: u32) -> u32 {
            if depth == 0 {
                std::panic::resume_unwind(Box::new(0u32));
            }
            match coroutine::spawn(move || nest(depth - 1)).join() {
                Ok(n) => n,
                Err(payload) => {
                    let below = *payload.downcast::<u32>().unwrap();
                    std::panic::resume_unwind(Box::new(below + 1))
                }
            }
        }
        let top = catch_unwind(|| nest(20)).unwrap_err();
        assert_eq!(*top.downcast::<u32>().unwrap(), 20);
    });
}

// -- coroutine-locals ----------------------------------------------------------

bingfa::coroutine_local! {
    static NUMBER: Cell<u32> = Cell::new(1);
    static NOTES: RefCell<Vec<Rc<str>>> = RefCell::new(Vec::new());
}

#[test]
fn every_coroutine_has_its_own_and_they_end_with_it() {
    on_one_thread(|| {
        NUMBER.with(|n| n.set(10));
        let drops = Rc::new(Cell::new(0));
        let all: Vec<_> = (0..20u32)
            .map(|i| {
                let drops = drops.clone();
                coroutine::spawn_local(move || {
                    assert_eq!(NUMBER.with(Cell::get), 1);
                    NUMBER.with(|n| n.set(i));
                    GUARD.with(|guard| guard.replace(Some(CountDrop(drops))));
                    coroutine::yield_now();
                    NUMBER.with(Cell::get)
                })
            })
            .collect();
        for (i, one) in all.into_iter().enumerate() {
            assert_eq!(one.join().unwrap() as usize, i);
        }
        assert_eq!(drops.get(), 20);
        assert_eq!(NUMBER.with(Cell::get), 10);
    });
}

bingfa::coroutine_local! {
    static GUARD: RefCell<Option<CountDrop>> = RefCell::new(None);
}

struct CountDrop(Rc<Cell<u32>>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

bingfa::coroutine_local! {
    static REMAKER: Remaker = Remaker;
    static LEFT: Cell<u32> = Cell::new(3);
}

struct Remaker;

impl Drop for Remaker {
    fn drop(&mut self) {
        NOTES.with(|notes| notes.borrow_mut().push("made in a destructor".into()));
    }
}

#[test]
fn a_destructor_may_make_new_ones_and_wait() {
    on_both(|| {
        let waits = coroutine::spawn(|| {
            REMAKER.with(|_| ());
            WAITER.with(|_| ());
        });
        waits.join().unwrap();
    });
}

struct Waits;

impl Drop for Waits {
    fn drop(&mut self) {
        coroutine::sleep(Duration::from_millis(1));
        NUMBER.with(|n| assert_eq!(n.get(), 1));
    }
}

bingfa::coroutine_local! {
    static WAITER: Waits = Waits;
}

struct PanicsAfterMaking;

impl Drop for PanicsAfterMaking {
    fn drop(&mut self) {
        NUMBER.with(|n| n.set(666));
        std::panic::resume_unwind(Box::new("local"));
    }
}

bingfa::coroutine_local! {
    static PANICS: PanicsAfterMaking = PanicsAfterMaking;
}

#[test]
fn what_a_panicking_destructor_made_is_not_left_to_the_next_coroutine() {
    on_one_thread(|| {
        for _ in 0..10 {
            let bad = coroutine::spawn_local(|| PANICS.with(|_| ()));
            assert_eq!(
                *bad.join().unwrap_err().downcast::<&str>().unwrap(),
                "local"
            );
            let next = coroutine::spawn_local(|| NUMBER.with(Cell::get));
            assert_eq!(next.join().unwrap(), 1, "the value of another coroutine");
        }
    });
}

#[test]
fn locals_are_dropped_when_their_coroutine_is_cancelled() {
    on_one_thread(|| {
        let drops = Rc::new(Cell::new(0));
        let mine = drops.clone();
        let victim: JoinHandle<()> = coroutine::spawn_local(move || {
            GUARD.with(|guard| guard.replace(Some(CountDrop(mine))));
            WAITER.with(|_| ());
            coroutine::park();
        });
        until_in(&victim, "park");
        victim.cancel();
        assert!(was_cancelled(&victim.join()));
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn an_initialiser_that_panics_is_tried_again() {
    on_both(|| {
        let tries = coroutine::spawn(|| {
            LEFT.with(|left| left.set(2));
            let mut failures = 0;
            while catch_unwind(AssertUnwindSafe(|| FRAGILE.with(|v| *v))).is_err() {
                failures += 1;
            }
            failures
        });
        assert_eq!(tries.join().unwrap(), 2);
    });
}

bingfa::coroutine_local! {
    static FRAGILE: u32 = LEFT.with(|left| {
        if left.get() > 0 {
            left.set(left.get() - 1);
            std::panic::resume_unwind(Box::new(()));
        }
        7
    });
}
