//! The protocol of barriers.
//!
//! Everything happens with the bucket locked: an arrival is counted as its waiter queues, and
//! taken back as the waiter leaves. The last who arrives starts the next round and wakes
//! those of its own.
//!
//! # Invariants
//! 1. `arrived` and `round` are used only with the bucket locked, but for a first look at
//!    `round`. `arrived` is the number of queued waiters whose tag is `round`.
//! 2. A waiter's tag is the round in which it arrived, so those of the next round, who may
//!    come while the last one is still being woken, stay.
//!
//! # Memory ordering
//! Ordered by the bucket's lock: whoever goes on has locked it, or was served, after the
//! last one had arrived, who had locked it after all others.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::park::atomic::{AtomicU64, Ordering::Relaxed};
use crate::park::carrier::ANONYMOUS;
use crate::park::lot::{self, Parked, Spot, Waiter};
use crate::park::wait::{Queued, Unparker};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// All have arrived, the caller as the last.
    Leader,
    /// All have arrived.
    Follower,
    TimedOut,
    /// The carrier has to unwind.
    Interrupted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    Counted,
    Last,
    /// Not counted: another round has begun.
    WrongRound,
}

#[derive(Debug)]
pub(super) struct RawBarrier {
    size: u64,
    arrived: AtomicU64,
    round: AtomicU64,
}

impl RawBarrier {
    #[cfg(not(loom))]
    pub(super) const fn new(size: u64) -> Self {
        Self {
            size,
            arrived: AtomicU64::new(0),
            round: AtomicU64::new(0),
        }
    }

    #[cfg(loom)]
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            arrived: AtomicU64::new(0),
            round: AtomicU64::new(0),
        }
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn spot(&self, round: u64) -> Spot {
        Spot {
            tag: round,
            ..Spot::at(self.key())
        }
    }

    /// With the bucket locked.
    fn arrive(&self, round: u64) -> Arrival {
        if self.round.load(Relaxed) != round {
            return Arrival::WrongRound;
        }
        let arrived = self.arrived.load(Relaxed) + 1;
        if arrived < self.size {
            self.arrived.store(arrived, Relaxed);
            return Arrival::Counted;
        }
        self.arrived.store(0, Relaxed);
        self.round.store(round + 1, Relaxed);
        Arrival::Last
    }

    /// With the bucket locked: a waiter of `round` has left without being served. True: all had
    /// arrived before.
    fn left(&self, round: u64) -> bool {
        let over = self.round.load(Relaxed) != round;
        if !over {
            self.arrived.store(self.arrived.load(Relaxed) - 1, Relaxed);
        }
        over
    }

    /// Waits until all have arrived.
    #[track_caller]
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Waited {
        loop {
            let round = self.round.load(Relaxed); // checked with the bucket locked
            let (arrival, over) = (Cell::new(Arrival::Counted), Cell::new(false));
            let parked = lot::park(
                self.spot(round),
                &"barrier",
                deadline,
                || {
                    arrival.set(self.arrive(round));
                    arrival.get() == Arrival::Counted
                },
                || (),
                |_| over.set(self.left(round)),
            );
            return match parked {
                Parked::Invalid if arrival.get() == Arrival::Last => {
                    lot::unpark_up_to(self.key(), round, 0);
                    Waited::Leader
                }
                Parked::Invalid => continue,
                Parked::Served(_) => Waited::Follower,
                Parked::TimedOut | Parked::Interrupted if over.get() => Waited::Follower,
                Parked::TimedOut => Waited::TimedOut,
                Parked::Interrupted => Waited::Interrupted,
            };
        }
    }
}

/// An async task's wait; true: it is the leader.
#[derive(Debug)]
pub(super) struct BarrierFuture<'a> {
    barrier: &'a RawBarrier,
    waiter: Waiter,
    round: Cell<u64>,
}

impl<'a> BarrierFuture<'a> {
    pub(super) fn new(barrier: &'a RawBarrier) -> Self {
        Self {
            barrier,
            waiter: Waiter::new(ANONYMOUS),
            round: Cell::new(0),
        }
    }
}

impl Future for BarrierFuture<'_> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let this = self.into_ref().get_ref();
        // SAFETY: a field of what is pinned, and never moved out of it.
        let waiter = unsafe { Pin::new_unchecked(&this.waiter) };
        if waiter.refresh(context.waker()) {
            return Poll::Pending;
        }
        if waiter.collect().is_some() {
            return Poll::Ready(false);
        }
        let barrier = this.barrier;
        loop {
            let round = barrier.round.load(Relaxed); // checked with the bucket locked
            this.round.set(round);
            let mut arrival = Arrival::Counted;
            let who = Queued::Other(Unparker::Async(context.waker().clone()));
            waiter.enqueue(barrier.spot(round), who, || {
                arrival = barrier.arrive(round);
                arrival == Arrival::Counted
            });
            match arrival {
                Arrival::Counted => return Poll::Pending,
                Arrival::Last => {
                    lot::unpark_up_to(barrier.key(), round, 0);
                    return Poll::Ready(true);
                }
                Arrival::WrongRound => {}
            }
        }
    }
}

impl Drop for BarrierFuture<'_> {
    fn drop(&mut self) {
        let (barrier, round) = (self.barrier, self.round.get());
        self.waiter.withdraw(|_| {
            barrier.left(round);
        });
    }
}
