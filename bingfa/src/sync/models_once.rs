//! `loom` models of what is done once: attempts that end well, badly and not at all, and
//! waiters that are cancelled and late, in every order. A lost wake-up is a deadlock, which
//! loom reports.

#![allow(unsafe_code)]

use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Waker};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::JoinHandle;

use super::models::{WakeCarrier, carrier, some_time};
use super::models_counts::myself;
use super::raw_once::{End, Found, OnceFuture, RawOnce};
use crate::park::model::Carrier;

/// What is made, by whoever runs `raw`; loom sees whoever looks before it is made.
struct Made {
    raw: RawOnce,
    times: UnsafeCell<u32>,
}

// SAFETY: that this holds is what the models check.
unsafe impl Sync for Made {}
// SAFETY: as above.
unsafe impl Send for Made {}

impl Made {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            raw: RawOnce::new(),
            times: UnsafeCell::new(0),
        })
    }

    /// The attempt that the caller has begun ends so.
    fn attempt(&self, end: End) {
        if end == End::Done {
            // SAFETY: the caller alone runs it; loom checks it.
            self.times.with_mut(|times| unsafe { *times += 1 });
        }
        self.raw.end(end);
    }

    /// How often it has been made, once it is.
    fn times(&self) -> u32 {
        // SAFETY: as above.
        self.times.with(|times| unsafe { *times })
    }

    /// Does it, or finds it done; true: it was for the caller to do.
    fn run(&self, id: u64) -> bool {
        match self.raw.begin(id, None) {
            Found::NotRun { .. } => {
                self.attempt(End::Done);
                true
            }
            found => {
                assert_eq!(found, Found::Done);
                assert_eq!(self.times(), 1);
                false
            }
        }
    }
}

fn runner(id: u64, made: &Arc<Made>) -> JoinHandle<bool> {
    let made = made.clone();
    carrier(id, move |_| made.run(id)).1
}

fn waiter(id: u64, made: &Arc<Made>, poison: bool) -> (Carrier, JoinHandle<Found>) {
    let made = made.clone();
    carrier(id, move |_| {
        let found = made.raw.wait(poison, some_time());
        if found == Found::Done {
            assert_eq!(made.times(), 1);
        }
        found
    })
}

#[test]
fn one_of_two_does_it_and_the_other_sees_it_done() {
    loom::model(|| {
        let _me = myself();
        let made = Made::new();
        let other = runner(2, &made);
        let (mine, others) = (made.run(1), other.join().unwrap());
        assert!(mine != others);
    });
}

/// Whoever waits for an attempt that comes to nothing makes its own.
#[test]
fn an_attempt_that_has_not_run_is_somebody_elses() {
    loom::model(|| {
        let _me = myself();
        let made = Made::new();
        assert_eq!(made.raw.begin(1, None), Found::NotRun { poisoned: false });
        let other = runner(2, &made);
        made.attempt(End::NotRun);
        assert!(other.join().unwrap());
        assert_eq!(made.times(), 1);
    });
}

/// One waits for it to be done, whatever happens before, or, with `poison`, for a panic, too.
fn a_panic_and_then_a_good_end(poison: bool, found: Found) {
    loom::model(move || {
        let _me = myself();
        let made = Made::new();
        let (_, waits) = waiter(2, &made, poison);
        assert_eq!(made.raw.begin(1, None), Found::NotRun { poisoned: false });
        made.attempt(End::Poisoned);
        let waits = if poison {
            assert_eq!(waits.join().unwrap(), found);
            None
        } else {
            Some(waits)
        };
        assert_eq!(made.raw.begin(1, None), Found::NotRun { poisoned: true });
        made.attempt(End::Done);
        assert!(waits.is_none_or(|waits| waits.join().unwrap() == found));
    });
}

#[test]
fn a_panic_ends_the_wait_of_one_who_wants_to_know() {
    a_panic_and_then_a_good_end(true, Found::Poisoned);
}

#[test]
fn a_panic_does_not_end_the_wait_of_one_who_insists() {
    a_panic_and_then_a_good_end(false, Found::Done);
}

/// Of two waiters, one gives up at any moment; the other one sees it done.
fn one_gives_up(how: impl Fn(&Carrier) + Copy + Send + Sync + 'static, gone: Found) {
    loom::model(move || {
        let _me = myself();
        let made = Made::new();
        let (quitter, quits) = waiter(2, &made, false);
        let (_, stays) = waiter(3, &made, false);
        how(&quitter);
        assert!(made.run(1));
        let found = quits.join().unwrap();
        assert!(found == Found::Done || found == gone, "{found:?}");
        assert_eq!(stays.join().unwrap(), Found::Done);
    });
}

#[test]
fn a_cancelled_waiter_takes_nobodys_wake_up() {
    one_gives_up(Carrier::cancel, Found::Interrupted);
}

#[test]
fn a_late_waiter_takes_nobodys_wake_up() {
    one_gives_up(Carrier::expire, Found::TimedOut);
}

/// Two tasks, one of which is dropped as soon as it would have to wait, and an attempt that
/// comes to nothing: the other one does it.
#[test]
fn a_future_that_is_dropped_as_it_is_woken_leaves_it_to_the_other() {
    loom::model(|| {
        let _me = myself();
        let made = Made::new();
        let task = |id, patient: bool| {
            let made = made.clone();
            let (_, task) = carrier(id, move |me| {
                let waker = Waker::from(StdArc::new(WakeCarrier(me.clone())));
                let mut context = Context::from_waker(&waker);
                let mut future = Box::pin(OnceFuture::begin(&made.raw));
                loop {
                    match future.as_mut().poll(&mut context) {
                        Poll::Ready(Found::NotRun { .. }) => return made.attempt(End::Done),
                        Poll::Ready(_) => return,
                        Poll::Pending if !patient => return,
                        Poll::Pending => {
                            crate::park::wait::wait(&"task", None);
                        }
                    }
                }
            });
            task
        };
        let began = made.raw.begin(1, None);
        let (quits, stays) = (task(2, false), task(3, true));
        assert_eq!(began, Found::NotRun { poisoned: false });
        made.attempt(End::NotRun);
        quits.join().unwrap();
        stays.join().unwrap();
        assert!(made.raw.is_done());
        assert_eq!(made.times(), 1);
    });
}
