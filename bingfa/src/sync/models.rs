//! `loom` models of the locks' slow paths: every order of events among two or three carriers,
//! with waiters that are cancelled or late at every step. A lost wake-up is a deadlock, which
//! loom reports.

#![allow(unsafe_code)]

use std::future::Future;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use super::raw_mutex::{LockFuture, Locked, RawMutex};
use crate::park::model::Carrier;

/// A lock and what it protects; loom sees whoever reaches it without the lock.
pub(super) struct Protected {
    pub(super) raw: RawMutex,
    data: UnsafeCell<u32>,
}

// SAFETY: that this holds is what the models check.
unsafe impl Sync for Protected {}
// SAFETY: as above.
unsafe impl Send for Protected {}

impl Protected {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            raw: RawMutex::new(),
            data: UnsafeCell::new(0),
        })
    }

    pub(super) fn lock(&self, me: &Carrier, deadline: Option<Instant>) -> Locked {
        if self.raw.lock_fast(me.id()) {
            return Locked::Yes;
        }
        self.raw.lock_slow(me.id(), &"lock", deadline, false)
    }

    /// Counts, with the lock held, and unlocks.
    pub(super) fn count_and_unlock(&self) {
        // SAFETY: the caller holds the lock; loom checks it.
        self.data.with_mut(|data| unsafe { *data += 1 });
        self.raw.unlock();
    }

    pub(super) fn counted(&self) -> u32 {
        // SAFETY: as above.
        self.data.with(|data| unsafe { *data })
    }
}

/// Runs `f` as a carrier that others can cancel or make late.
pub(super) fn carrier<T: 'static>(
    id: u64,
    f: impl FnOnce(&Carrier) -> T + 'static,
) -> (Carrier, JoinHandle<T>) {
    let carrier = Carrier::new(id);
    let me = carrier.clone();
    let handle = thread::spawn(move || {
        me.enter();
        f(&me)
    });
    (carrier, handle)
}

/// The deadline of every wait in a model: what `Carrier::expire` sets off.
pub(super) fn some_time() -> Option<Instant> {
    Some(Instant::now())
}

/// Locks once, unless it is cancelled or late; says whether it did.
fn locker(id: u64, lock: &Arc<Protected>) -> (Carrier, JoinHandle<bool>) {
    let lock = lock.clone();
    carrier(id, move |me| {
        let got = lock.lock(me, some_time()) == Locked::Yes;
        if got {
            lock.count_and_unlock();
        }
        got
    })
}

#[test]
fn a_mutex_excludes_and_loses_no_wake_up() {
    loom::model(|| {
        let lock = Protected::new();
        let me = Carrier::new(1);
        me.enter();
        let others = [locker(2, &lock), locker(3, &lock)];
        assert_eq!(lock.lock(&me, None), Locked::Yes);
        lock.count_and_unlock();
        for (_, other) in others {
            assert!(other.join().unwrap());
        }
        assert_eq!(lock.counted(), 3);
    });
}

/// Of a holder and two waiters, one waiter gives up at any moment; the other one gets the lock.
fn one_gives_up(how: impl Fn(&Carrier) + Copy + Send + Sync + 'static) {
    loom::model(move || {
        let lock = Protected::new();
        let me = Carrier::new(1);
        me.enter();
        assert_eq!(lock.lock(&me, None), Locked::Yes);
        let (quitter, quits) = locker(2, &lock);
        let (_, stays) = locker(3, &lock);
        how(&quitter);
        lock.count_and_unlock();
        let got = quits.join().unwrap();
        assert!(stays.join().unwrap());
        assert_eq!(lock.counted(), 2 + u32::from(got));
        // Nothing is left behind.
        assert!(lock.raw.lock_fast(1));
    });
}

#[test]
fn a_cancelled_waiter_of_a_mutex_loses_nothing() {
    one_gives_up(Carrier::cancel);
}

#[test]
fn a_late_waiter_of_a_mutex_loses_nothing() {
    one_gives_up(Carrier::expire);
}

struct WakeCarrier(Carrier);

// SAFETY: the models share it between loom's threads only.
unsafe impl Send for WakeCarrier {}
// SAFETY: as above.
unsafe impl Sync for WakeCarrier {}

impl Wake for WakeCarrier {
    fn wake(self: StdArc<Self>) {
        self.0.unpark();
    }
}

/// Polls until the future is ready, or gives up at the first time that it is not.
fn poll_lock(me: &Carrier, lock: &Protected, patient: bool) -> bool {
    let waker = Waker::from(StdArc::new(WakeCarrier(me.clone())));
    let mut context = Context::from_waker(&waker);
    let mut future = Box::pin(LockFuture::new(&lock.raw));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(()) => return true,
            Poll::Pending if !patient => return false,
            Poll::Pending => {
                crate::park::wait::wait(&"task", None);
            }
        }
    }
}

#[test]
fn a_future_that_is_dropped_as_it_is_served_passes_the_lock_on() {
    loom::model(|| {
        let lock = Protected::new();
        let me = Carrier::new(1);
        me.enter();
        assert_eq!(lock.lock(&me, None), Locked::Yes);
        let task = |id, patient| {
            let lock = lock.clone();
            let (_, task) = carrier(id, move |me| {
                let got = poll_lock(me, &lock, patient);
                if got {
                    lock.count_and_unlock();
                }
                got
            });
            task
        };
        let (quits, stays) = (task(2, false), task(3, true));
        lock.count_and_unlock();
        let got = quits.join().unwrap();
        assert!(stays.join().unwrap());
        assert_eq!(lock.counted(), 2 + u32::from(got));
        assert!(lock.raw.lock_fast(1));
    });
}
