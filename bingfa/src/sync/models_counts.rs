//! `loom` models of semaphore, event and barrier: waiters that are served, cancelled and late in
//! every order. A lost wake-up is a deadlock, which loom reports.

use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Waker};

use loom::sync::Arc;
use loom::thread::JoinHandle;

use super::models::{WakeCarrier, carrier, some_time};
use super::raw_barrier::{RawBarrier, Waited as Met};
use super::raw_event::{RawEvent, Waited};
use super::raw_semaphore::{AcquireFuture, Acquired, RawSemaphore};
use crate::park::model::Carrier;

/// The model's own carrier.
pub(super) fn myself() -> Carrier {
    let me = Carrier::new(1);
    me.enter();
    me
}

/// Takes permits, unless it is cancelled or late, and says whether it did.
fn taker(id: u64, semaphore: &Arc<RawSemaphore>, count: u64) -> (Carrier, JoinHandle<bool>) {
    let semaphore = semaphore.clone();
    carrier(id, move |_| {
        semaphore.try_acquire(count) || semaphore.acquire_slow(count, some_time()) == Acquired::Yes
    })
}

/// Of two waiters, the first of whom wants two permits, that one gives up at any moment.
fn one_gives_up_permits(how: impl Fn(&Carrier) + Copy + Send + Sync + 'static) {
    loom::model(move || {
        let _me = myself();
        let semaphore = Arc::new(RawSemaphore::new(1));
        let (quitter, quits) = taker(2, &semaphore, 2);
        let (_, stays) = taker(3, &semaphore, 1);
        how(&quitter);
        assert!(semaphore.add(2));
        let got = quits.join().unwrap();
        assert!(stays.join().unwrap());
        let left = 3 - 1 - if got { 2 } else { 0 };
        assert_eq!(semaphore.free(), left);
        assert!(semaphore.try_acquire(left), "somebody seems to wait");
    });
}

#[test]
fn a_cancelled_waiter_of_a_semaphore_loses_no_permit() {
    one_gives_up_permits(Carrier::cancel);
}

#[test]
fn a_late_waiter_of_a_semaphore_loses_no_permit() {
    one_gives_up_permits(Carrier::expire);
}

/// One permit is free; the first waiter wants two. When it gives up, the second is served
/// though nothing is given back.
#[test]
fn who_waits_behind_one_that_gives_up_is_served() {
    loom::model(|| {
        let _me = myself();
        let semaphore = Arc::new(RawSemaphore::new(1));
        let (quitter, quits) = taker(2, &semaphore, 2);
        let (_, stays) = taker(3, &semaphore, 1);
        quitter.cancel();
        assert!(!quits.join().unwrap());
        assert!(stays.join().unwrap());
        assert_eq!(semaphore.free(), 0);
    });
}

#[test]
fn permits_from_two_sides_reach_who_wants_both() {
    loom::model(|| {
        let _me = myself();
        let semaphore = Arc::new(RawSemaphore::new(0));
        let (_, takes) = taker(2, &semaphore, 2);
        let giver = {
            let semaphore = semaphore.clone();
            loom::thread::spawn(move || assert!(semaphore.add(1)))
        };
        assert!(semaphore.add(1));
        giver.join().unwrap();
        assert!(takes.join().unwrap());
        assert_eq!(semaphore.free(), 0);
    });
}

#[test]
fn a_semaphore_future_that_is_dropped_as_it_is_served_passes_on() {
    loom::model(|| {
        let _me = myself();
        let semaphore = Arc::new(RawSemaphore::new(0));
        let task = |id, patient: bool| {
            let semaphore = semaphore.clone();
            let (_, task) = carrier(id, move |me| {
                let waker = Waker::from(StdArc::new(WakeCarrier(me.clone())));
                let mut context = Context::from_waker(&waker);
                let mut future = Box::pin(AcquireFuture::new(&semaphore, 1));
                loop {
                    match future.as_mut().poll(&mut context) {
                        Poll::Ready(()) => break,
                        Poll::Pending if !patient => return,
                        Poll::Pending => {
                            crate::park::wait::wait(&"task", None);
                        }
                    }
                }
                assert!(semaphore.add(1));
            });
            task
        };
        let (quits, stays) = (task(2, false), task(3, true));
        assert!(semaphore.add(1));
        quits.join().unwrap();
        stays.join().unwrap();
        assert!(semaphore.try_acquire(1));
    });
}

fn waiter(id: u64, event: &Arc<RawEvent>) -> (Carrier, JoinHandle<Waited>) {
    let event = event.clone();
    carrier(id, move |_| event.wait(some_time()))
}

/// A `set` that is cleared at once; one of two waiters gives up at any moment, and both are
/// gone after another `set`.
fn one_stops_waiting_for_an_event(how: impl Fn(&Carrier) + Copy + Send + Sync + 'static) {
    loom::model(move || {
        let _me = myself();
        let event = Arc::new(RawEvent::new());
        let (quitter, quits) = waiter(2, &event);
        let (_, stays) = waiter(3, &event);
        event.set();
        event.clear();
        how(&quitter);
        event.set();
        quits.join().unwrap();
        assert_eq!(stays.join().unwrap(), Waited::Set);
        assert!(event.is_set());
    });
}

#[test]
fn a_cancelled_waiter_of_an_event_takes_nobodys_wake_up() {
    one_stops_waiting_for_an_event(Carrier::cancel);
}

#[test]
fn a_late_waiter_of_an_event_takes_nobodys_wake_up() {
    one_stops_waiting_for_an_event(Carrier::expire);
}

/// Two who set, and nobody who clears: a waiter that comes at any moment goes on.
#[test]
fn two_sets_at_once_leave_nobody_behind() {
    loom::model(|| {
        let _me = myself();
        let event = Arc::new(RawEvent::new());
        let (_, waits) = waiter(2, &event);
        let setter = {
            let event = event.clone();
            loom::thread::spawn(move || {
                event.set();
                event.clear();
                event.set();
            })
        };
        event.set();
        setter.join().unwrap();
        assert_eq!(waits.join().unwrap(), Waited::Set);
    });
}

fn comer(id: u64, barrier: &Arc<RawBarrier>) -> (Carrier, JoinHandle<Met>) {
    let barrier = barrier.clone();
    carrier(id, move |_| barrier.wait(some_time()))
}

fn has_met(met: Met) -> bool {
    matches!(met, Met::Leader | Met::Follower)
}

#[test]
fn three_meet_and_one_leads() {
    loom::model(|| {
        let _me = myself();
        let barrier = Arc::new(RawBarrier::new(3));
        let others = [comer(2, &barrier), comer(3, &barrier)];
        let mut all = vec![barrier.wait(None)];
        all.extend(others.map(|(_, other)| other.join().unwrap()));
        assert!(all.iter().all(|met| has_met(*met)));
        assert_eq!(all.iter().filter(|met| **met == Met::Leader).count(), 1);
    });
}

/// Two of three meet, one of whom may give up; then the others do.
fn one_leaves_a_barrier(how: impl Fn(&Carrier) + Copy + Send + Sync + 'static) {
    loom::model(move || {
        let me = myself();
        let barrier = Arc::new(RawBarrier::new(2));
        let (quitter, quits) = comer(2, &barrier);
        let (stayer, stays) = comer(3, &barrier);
        how(&quitter);
        let quit_met = has_met(quits.join().unwrap());
        // If the two have met, this does nothing any more.
        stayer.cancel();
        let stay_met = has_met(stays.join().unwrap());
        assert_eq!(quit_met, stay_met);
        // Nobody's arrival is left behind.
        me.cancel();
        assert_eq!(barrier.wait(None), Met::Interrupted);
    });
}

#[test]
fn a_cancelled_waiter_takes_its_arrival_back() {
    one_leaves_a_barrier(Carrier::cancel);
}

#[test]
fn a_late_waiter_takes_its_arrival_back() {
    one_leaves_a_barrier(Carrier::expire);
}
