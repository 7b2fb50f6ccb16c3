//! The protocol of condition variables.
//!
//! Threads and coroutines wait at the condition variable's address, async tasks at the one
//! beside it. A notified carrier is moved to the mutex's queue if the mutex is taken, and
//! woken when it can have it; so `notify_all` wakes one thread after the other, and not all at
//! once. (Coroutines are, if the mutex is free: those of one worker run one after the other.
//! Those of the notifier's own thread are also if it has the mutex itself: it will have given it
//! back, as a rule, when they run.)
//!
//! # Who is next
//! Notifications go to carriers first, then to async tasks, and among each to who came first.
//!
//! # Invariants
//! 1. `mutex` is what all carriers in the queue wait with, and null if there are none. It
//!    changes only with the bucket locked. Whoever finds it set, with that lock, finds a
//!    waiter, whose wait borrows the mutex: so it is alive. (An async task can be forgotten
//!    with its place in the queue, so tasks are kept apart.)
//! 2. `tasks` is true while async tasks are queued.
//! 3. Who is notified and does not return from its wait notifies somebody else.
//!
//! # Memory ordering
//! All of it is ordered by the buckets' locks, but for the first look of a notifier: if it
//! changed the condition with the mutex locked, the mutex orders it after the wait began.

#![allow(unsafe_code)]

use std::pin::pin;
use std::ptr::{NonNull, null_mut};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::raw_mutex::{HANDED, Locked, RETRY, RETRY_MORE, RawMutex};
use crate::park::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use crate::park::carrier::{self, ANONYMOUS};
use crate::park::lot::{self, Move, Owner, Parked, Spot, Waiter};
use crate::park::wait::{Queued, Unparker};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The mutex is the caller's again.
    Notified,
    /// The same, because the deadline has passed.
    TimedOut,
    /// The carrier has to unwind, without the mutex.
    Interrupted,
    /// Others wait with another mutex. This one is still the caller's.
    OtherMutex,
}

#[derive(Debug)]
pub(super) struct RawCondvar {
    mutex: AtomicPtr<RawMutex>,
    tasks: AtomicU32,
}

impl RawCondvar {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self {
            mutex: AtomicPtr::new(null_mut()),
            tasks: AtomicU32::new(0),
        }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self {
            mutex: AtomicPtr::new(null_mut()),
            tasks: AtomicU32::new(0),
        }
    }

    /// Where carriers queue.
    fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Where async tasks queue.
    fn task_key(&self) -> usize {
        self.key() + 1
    }

    /// Unlocks `mutex`, which the caller holds as `id`, waits, and locks it again.
    #[track_caller]
    pub(super) fn wait(&self, mutex: &RawMutex, id: u64, deadline: Option<Instant>) -> Waited {
        let waiter = pin!(Waiter::new(carrier::id()));
        let waiter = waiter.as_ref();
        let this = std::ptr::from_ref(mutex).cast_mut();
        let parked = lot::park_as(
            waiter,
            Spot {
                owner: Owner::Later,
                ..Spot::at(self.key())
            },
            &"condition",
            deadline,
            || {
                let known = self.mutex.load(Relaxed);
                self.mutex
                    .store(if known.is_null() { this } else { known }, Relaxed);
                known.is_null() || known == this
            },
            || mutex.unlock(id),
            |more| match waiter.key() == self.key() {
                true => self.left(more),
                false => mutex.left(more),
            },
        );
        // Moved to the mutex's queue: it was notified, whatever else happened.
        let moved = waiter.key() != self.key();
        let (notified, more) = match parked {
            Parked::Served(HANDED) => {
                mutex.was_handed(id, "lock");
                return Waited::Notified;
            }
            Parked::Served(token) => (true, token == RETRY_MORE),
            Parked::TimedOut => (moved, false),
            Parked::Interrupted if moved => return self.interrupted(true),
            Parked::Interrupted => return Waited::Interrupted,
            Parked::Invalid => return Waited::OtherMutex,
        };
        // Free as a rule: those who were woken run one after the other.
        let locked = if !more && mutex.lock_fast(id) {
            Locked::Yes
        } else {
            mutex.lock_slow(id, &"lock", None, more)
        };
        match locked {
            Locked::Yes if notified => Waited::Notified,
            Locked::Yes => Waited::TimedOut,
            Locked::TimedOut | Locked::Interrupted => self.interrupted(notified),
        }
    }

    /// Invariant 3.
    fn interrupted(&self, notified: bool) -> Waited {
        if notified {
            self.notify_one();
        }
        Waited::Interrupted
    }

    fn left(&self, more: bool) {
        if !more {
            self.mutex.store(null_mut(), Relaxed);
        }
    }

    fn task_left(&self, more: bool) {
        if !more {
            self.tasks.store(0, Relaxed);
        }
    }

    #[inline]
    pub(super) fn notify_one(&self) {
        if !self.mutex.load(Relaxed).is_null() && self.requeue(1) > 0 {
            return;
        }
        if self.tasks.load(Relaxed) != 0 {
            lot::unpark_one(self.task_key(), |_, more| {
                self.task_left(more);
                0
            });
        }
    }

    #[inline]
    pub(super) fn notify_all(&self) {
        if !self.mutex.load(Relaxed).is_null() {
            self.requeue(usize::MAX);
        }
        if self.tasks.load(Relaxed) != 0 {
            self.tasks.store(0, Relaxed); // set again by those who come meanwhile
            lot::unpark_all(self.task_key(), 0);
        }
    }

    /// Ends up to `limit` waits of carriers; gives back how many.
    fn requeue(&self, limit: usize) -> usize {
        let mutex = self.mutex.load(Relaxed);
        let Some(known) = NonNull::new(mutex) else {
            return 0;
        };
        let may = || {
            // SAFETY: alive, if it is still the one (invariant 1): the bucket is locked.
            self.mutex.load(Relaxed) == mutex && unsafe { known.as_ref() }.is_free_or_mine()
        };
        let woken = lot::unpark_here(self.key(), limit, RETRY, may, |more| self.left(more));
        if woken == limit || self.mutex.load(Relaxed).is_null() {
            return woken;
        }
        woken + self.requeue_far(known, limit - woken)
    }

    #[cold]
    fn requeue_far(&self, known: NonNull<RawMutex>, limit: usize) -> usize {
        let mutex = known.as_ptr();
        lot::requeue(
            self.key(),
            mutex as usize,
            RawMutex::word_of(known),
            limit,
            || {
                if self.mutex.load(Relaxed) != mutex {
                    return Move::Nothing; // those who waited have left
                }
                // SAFETY: alive (invariant 1): the bucket is locked.
                unsafe { known.as_ref() }.admit()
            },
            |more| self.left(more),
        )
    }
}

/// An async task's wait, which begins when it is made and not when it is polled.
#[derive(Debug)]
pub(super) struct NotifiedFuture<'a> {
    condvar: &'a RawCondvar,
    waiter: Waiter,
}

impl<'a> NotifiedFuture<'a> {
    pub(super) fn new(condvar: &'a RawCondvar) -> Self {
        Self {
            condvar,
            waiter: Waiter::new(ANONYMOUS),
        }
    }

    fn waiter(self: std::pin::Pin<&Self>) -> std::pin::Pin<&Waiter> {
        // SAFETY: a field of what is pinned, and never moved out of it.
        unsafe { self.map_unchecked(|this| &this.waiter) }
    }

    /// Begins the wait.
    pub(super) fn enqueue(self: std::pin::Pin<&Self>) {
        let who = Queued::Other(Unparker::Async(Waker::noop().clone()));
        let spot = Spot::at(self.condvar.task_key());
        self.waiter().enqueue(spot, who, || {
            self.condvar.tasks.store(1, Relaxed);
            true
        });
    }
}

impl Future for NotifiedFuture<'_> {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waiter = self.as_ref().waiter();
        if waiter.refresh(context.waker()) {
            return Poll::Pending;
        }
        waiter.collect();
        Poll::Ready(())
    }
}

impl Drop for NotifiedFuture<'_> {
    fn drop(&mut self) {
        let left = |more| self.condvar.task_left(more);
        if self.waiter.withdraw(left).is_some() {
            self.condvar.notify_one();
        }
    }
}
