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

use super::raw_condvar::{RawCondvar, Waited};
use super::raw_mutex::{LockFuture, Locked, RawMutex};
use super::raw_rwlock::{RawRwLock, RwLockFuture};
use crate::park::carrier::ANONYMOUS;
use crate::park::model::Carrier;

/// A lock and what it protects; loom sees whoever reaches it without the lock.
pub(super) struct Protected {
    pub(super) raw: RawMutex,
    pub(super) data: UnsafeCell<u32>,
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
    pub(super) fn count_and_unlock(&self, id: u64) {
        // SAFETY: the caller holds the lock; loom checks it.
        self.data.with_mut(|data| unsafe { *data += 1 });
        self.raw.unlock(id);
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
            lock.count_and_unlock(id);
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
        lock.count_and_unlock(1);
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
        lock.count_and_unlock(1);
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

pub(super) struct WakeCarrier(pub(super) Carrier);

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
                    lock.count_and_unlock(ANONYMOUS);
                }
                got
            });
            task
        };
        let (quits, stays) = (task(2, false), task(3, true));
        lock.count_and_unlock(1);
        let got = quits.join().unwrap();
        assert!(stays.join().unwrap());
        assert_eq!(lock.counted(), 2 + u32::from(got));
        assert!(lock.raw.lock_fast(1));
    });
}

/// A lock and a condition variable in buckets of their own, and a number of permits.
#[repr(align(256))]
struct Monitor {
    lock: Protected,
    apart: [u64; 16],
    condvar: RawCondvar,
    permits: UnsafeCell<u32>,
}

// SAFETY: that the lock protects it is what the models check.
unsafe impl Sync for Monitor {}
// SAFETY: as above.
unsafe impl Send for Monitor {}

impl Monitor {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: Protected {
                raw: RawMutex::new(),
                data: UnsafeCell::new(0),
            },
            apart: [0; 16],
            condvar: RawCondvar::new(),
            permits: UnsafeCell::new(0),
        })
    }

    /// Waits for a permit and takes it; false: cancelled or too late.
    fn take(&self, me: &Carrier, deadline: Option<Instant>) -> bool {
        if self.lock.lock(me, None) != Locked::Yes {
            return false;
        }
        let mut over = false;
        loop {
            // SAFETY: with the lock held.
            let took = self.permits.with_mut(|permits| unsafe {
                let some = *permits > 0;
                *permits -= u32::from(some);
                some
            });
            if took || over {
                self.lock.raw.unlock(me.id());
                return took;
            }
            match self.condvar.wait(&self.lock.raw, me.id(), deadline) {
                Waited::Notified => {}
                Waited::TimedOut => over = true,
                Waited::Interrupted => return false,
                Waited::OtherMutex => unreachable!(),
            }
        }
    }

    fn give(&self, me: &Carrier, permits: u32) {
        assert_eq!(self.lock.lock(me, None), Locked::Yes);
        // SAFETY: with the lock held.
        self.permits.with_mut(|all| unsafe { *all += permits });
        self.lock.raw.unlock(me.id());
    }
}

fn taker(id: u64, monitor: &Arc<Monitor>) -> (Carrier, JoinHandle<bool>) {
    let monitor = monitor.clone();
    carrier(id, move |me| monitor.take(me, some_time()))
}

#[test]
fn notify_all_reaches_all() {
    loom::model(|| {
        let monitor = Monitor::new();
        let me = Carrier::new(1);
        me.enter();
        let takers = [taker(2, &monitor), taker(3, &monitor)];
        monitor.give(&me, 2);
        monitor.condvar.notify_all();
        for (_, taker) in takers {
            assert!(taker.join().unwrap());
        }
        assert!(monitor.lock.raw.lock_fast(1));
    });
}

/// Two notifications with the mutex held: the waiters are moved to its queue.
#[test]
fn notifications_under_the_mutex_reach_two() {
    loom::model(|| {
        let monitor = Monitor::new();
        let me = Carrier::new(1);
        me.enter();
        let takers = [taker(2, &monitor), taker(3, &monitor)];
        assert_eq!(monitor.lock.lock(&me, None), Locked::Yes);
        // SAFETY: with the lock held.
        monitor.permits.with_mut(|all| unsafe { *all += 2 });
        monitor.condvar.notify_one();
        monitor.condvar.notify_one();
        monitor.lock.raw.unlock(1);
        for (_, taker) in takers {
            assert!(taker.join().unwrap());
        }
        assert!(monitor.lock.raw.lock_fast(1));
    });
}

/// One permit, one notification, two waiters, of whom one gives up at any moment: the permit
/// is taken, by one of them.
fn one_stops_waiting(how: impl Fn(&Carrier) + Copy + Send + Sync + 'static) {
    loom::model(move || {
        let monitor = Monitor::new();
        let me = Carrier::new(1);
        me.enter();
        let (quitter, quits) = taker(2, &monitor);
        let (stayer, stays) = taker(3, &monitor);
        how(&quitter);
        monitor.give(&me, 1);
        monitor.condvar.notify_one();
        let mut took = quits.join().unwrap();
        if took {
            stayer.cancel();
        }
        took ^= stays.join().unwrap();
        assert!(took, "the permit is taken by one of them");
        assert!(monitor.lock.raw.lock_fast(1));
    });
}

#[test]
fn a_cancelled_waiter_of_a_condvar_passes_its_notification_on() {
    one_stops_waiting(Carrier::cancel);
}

#[test]
fn a_late_waiter_of_a_condvar_loses_no_notification() {
    one_stops_waiting(Carrier::expire);
}

/// A reader-writer lock and what it protects.
struct Shared {
    raw: RawRwLock,
    data: UnsafeCell<u32>,
}

// SAFETY: that this holds is what the models check.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            raw: RawRwLock::new(),
            data: UnsafeCell::new(0),
        })
    }

    fn read(&self, deadline: Option<Instant>) -> bool {
        let got = self.raw.read_fast() || self.raw.read_slow(ANONYMOUS, deadline) == Locked::Yes;
        if got {
            self.look();
            self.raw.unlock_read(|| ANONYMOUS);
        }
        got
    }

    /// As a reader.
    fn look(&self) {
        // SAFETY: loom checks that nobody writes.
        self.data.with(|data| unsafe { *data });
    }

    fn write(&self, id: u64, deadline: Option<Instant>) -> bool {
        let got = self.raw.write_fast(id) || self.raw.write_slow(id, deadline) == Locked::Yes;
        if got {
            self.count_and_unlock(id);
        }
        got
    }

    fn count_and_unlock(&self, id: u64) {
        // SAFETY: the caller is the writer; loom checks it.
        self.data.with_mut(|data| unsafe { *data += 1 });
        self.raw.unlock_write(id);
    }

    fn assert_free(&self) {
        assert!(self.raw.write_fast(1), "something is left behind");
    }
}

fn reader(id: u64, lock: &Arc<Shared>) -> (Carrier, JoinHandle<bool>) {
    let lock = lock.clone();
    carrier(id, move |_| lock.read(some_time()))
}

fn writer(id: u64, lock: &Arc<Shared>) -> (Carrier, JoinHandle<bool>) {
    let lock = lock.clone();
    carrier(id, move |me| lock.write(me.id(), some_time()))
}

#[test]
fn a_rwlock_excludes_writers_and_loses_no_wake_up() {
    loom::model(|| {
        let lock = Shared::new();
        let me = Carrier::new(1);
        me.enter();
        let others = [reader(2, &lock), writer(3, &lock)];
        assert!(lock.write(1, None));
        assert!(lock.read(None));
        for (_, other) in others {
            assert!(other.join().unwrap());
        }
        lock.assert_free();
    });
}

/// The lock is held for reading or writing; of two who wait for it, the first gives up at any
/// moment, and the second gets it.
fn one_gives_up_a_rwlock(
    held_by_writer: bool,
    first_writes: bool,
    second_writes: bool,
    how: impl Fn(&Carrier) + Copy + Send + Sync + 'static,
) {
    loom::model(move || {
        let lock = Shared::new();
        let me = Carrier::new(1);
        me.enter();
        assert!(if held_by_writer {
            lock.raw.write_fast(1)
        } else {
            lock.raw.read_fast()
        });
        let spawn = |id, writes| {
            if writes {
                writer(id, &lock)
            } else {
                reader(id, &lock)
            }
        };
        let (quitter, quits) = spawn(2, first_writes);
        let (_, stays) = spawn(3, second_writes);
        how(&quitter);
        if held_by_writer {
            lock.count_and_unlock(1);
        } else {
            lock.look();
            lock.raw.unlock_read(|| ANONYMOUS);
        }
        quits.join().unwrap();
        assert!(stays.join().unwrap());
        lock.assert_free();
    });
}

#[test]
fn a_writer_that_gives_up_on_a_writer() {
    one_gives_up_a_rwlock(true, true, true, Carrier::cancel);
    one_gives_up_a_rwlock(true, true, false, Carrier::expire);
}

#[test]
fn a_writer_that_gives_up_on_readers() {
    one_gives_up_a_rwlock(false, true, false, Carrier::cancel);
    one_gives_up_a_rwlock(false, true, true, Carrier::expire);
}

#[test]
fn a_reader_that_gives_up_on_a_writer() {
    one_gives_up_a_rwlock(true, false, true, Carrier::cancel);
    one_gives_up_a_rwlock(true, false, false, Carrier::expire);
}

/// A reader that waits only because of a writer gets in when that gives up, though the lock
/// stays with other readers.
#[test]
fn readers_behind_a_writer_that_gives_up_get_in() {
    loom::model(|| {
        let lock = Shared::new();
        let me = Carrier::new(1);
        me.enter();
        assert!(lock.raw.read_fast());
        let (quitter, quits) = writer(2, &lock);
        let (_, reads) = reader(3, &lock);
        quitter.cancel();
        assert!(!quits.join().unwrap());
        assert!(reads.join().unwrap());
        lock.raw.unlock_read(|| ANONYMOUS);
        lock.assert_free();
    });
}

#[test]
fn a_downgrade_lets_readers_in_and_no_writer() {
    loom::model(|| {
        let lock = Shared::new();
        let me = Carrier::new(1);
        me.enter();
        assert!(lock.raw.write_fast(1));
        let (_, reads) = reader(2, &lock);
        let (quitter, quits) = writer(3, &lock);
        lock.raw.downgrade();
        lock.look();
        quitter.cancel();
        assert!(!quits.join().unwrap());
        assert!(reads.join().unwrap());
        lock.raw.unlock_read(|| ANONYMOUS);
        lock.assert_free();
    });
}

#[test]
fn a_rwlock_future_that_is_dropped_as_it_is_served_passes_the_lock_on() {
    for (first_writes, second_writes) in [(true, true), (true, false), (false, true)] {
        loom::model(move || {
            let lock = Shared::new();
            let me = Carrier::new(1);
            me.enter();
            assert!(lock.raw.write_fast(1));
            let task = |id, writes, patient: bool| {
                let lock = lock.clone();
                let (_, task) = carrier(id, move |me| {
                    let waker = Waker::from(StdArc::new(WakeCarrier(me.clone())));
                    let mut context = Context::from_waker(&waker);
                    let mut future = Box::pin(RwLockFuture::new(&lock.raw, writes));
                    while future.as_mut().poll(&mut context).is_pending() {
                        if !patient {
                            return;
                        }
                        crate::park::wait::wait(&"task", None);
                    }
                    if writes {
                        lock.count_and_unlock(ANONYMOUS);
                    } else {
                        lock.look();
                        lock.raw.unlock_read(|| ANONYMOUS);
                    }
                });
                task
            };
            let (quits, stays) = (task(2, first_writes, false), task(3, second_writes, true));
            lock.count_and_unlock(1);
            quits.join().unwrap();
            stays.join().unwrap();
            lock.assert_free();
        });
    }
}
