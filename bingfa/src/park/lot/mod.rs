//! The parking lot: where waiters queue, by the address of what they wait for.
//!
//! A lock is one word; its queue exists only while somebody waits, in one of many
//! buckets, which the address selects. A [`Waiter`] is a node on the waiting frame, or
//! inside the pinned future of an async task. As in WebKit's `WTF::ParkingLot` and the
//! `parking_lot` crate, what decides whether to sleep (`valid`) and what a waker does to
//! the lock's word (`finish`) run with the bucket locked, so neither misses the other.
//!
//! A waiter is *served* at most once, with a token that says what it got. One that gives
//! up takes its node out under the bucket's lock and learns there whether it was served
//! first: then it has what it waited for, or has to pass it on. So nothing is lost.
//!
//! A bucket's lock is std's, held for a few instructions and never across a suspension.
//!
//! # Invariants
//! 1. A queued waiter stays where it is: it is pinned, and its drop takes it out.
//! 2. `inner` is touched only with the bucket of `key` locked, or by its owner while it
//!    is not queued. `key` changes only with both its buckets locked.
//! 3. `served` is set after the node has left its list and is the last that the server
//!    does with it, still with the bucket locked.
//!
//! # Memory ordering
//! The `Release` of `served` pairs with the `Acquire` of whoever finds it set. The rest
//! is ordered by the buckets' locks.

#![allow(unsafe_code)]

mod chosen;
mod queue;
mod waiter;
mod wake;

pub(crate) use waiter::Waiter;
pub(crate) use wake::{requeue, unpark, unpark_all, unpark_here, unpark_one, unpark_up_to};

use std::panic::Location;
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::time::Instant;

use super::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use super::carrier;
use super::deadlock::{self, Deadlock};
use super::wait::{self, Outcome, Queued};
use super::waits::Of;

/// Where and how to queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// The address of what is waited for, or any address that belongs to it alone.
    pub(crate) key: usize,
    /// What wakers should know of the waiter.
    pub(crate) tag: u64,
    /// The waiter was in this queue before: it goes before all who came later than it.
    pub(crate) again: bool,
    /// Who has what is waited for, as far as that can be known.
    pub(crate) owner: Owner,
}

/// Where to find out who holds up a waiter, to see deadlocks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// It is nobody's.
    None,
    /// The word of an exclusive lock names it (see [`carrier::owner`]). It must live as long as
    /// the wait.
    Word(NonNull<AtomicU64>),
    /// It is nobody's, but waiters can be moved to the queue of a lock ([`requeue`]).
    Later,
}

impl Spot {
    /// The end of the queue of `key`.
    pub(crate) const fn at(key: usize) -> Self {
        Self {
            key,
            tag: 0,
            again: false,
            owner: Owner::None,
        }
    }
}

/// How a [`park`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// A waker chose it and gave it this token.
    Served(usize),
    /// `valid` said no: it has not waited.
    Invalid,
    /// The deadline has passed, and nobody has served it.
    TimedOut,
    /// The carrier has to unwind ([`cancel::raise`](super::cancel::raise), or for a lock
    /// [`deadlock::raise`]), and nobody has served it.
    Interrupted,
}

/// What a waker sees of a waiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) tag: u64,
}

/// What a waker does with a waiter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    /// Wakes it with this token.
    Serve(usize),
    /// Leaves it and all behind it.
    Stop,
}

/// What [`requeue`] does with the waiters of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    /// Moves them. The token is for those who have to come themselves.
    All(usize),
    /// Wakes the first with the first token and all other coroutines with the second, as they
    /// run one after the other anyway, and moves the threads (or wakes them with the second,
    /// if they have to come themselves).
    Wake(usize, usize),
    /// Leaves them.
    Nothing,
}

/// Waits at `spot` if `valid` holds, until it is served, the deadline passes or the
/// carrier is interrupted.
///
/// `valid` and `left` (see [`Waiter::withdraw`]) run with the bucket locked: they only look
/// at the lock's word and change it. `before_sleep` runs without, once queued.
#[track_caller]
pub(crate) fn park(
    spot: Spot,
    what: &'static &'static str,
    deadline: Option<Instant>,
    valid: impl FnOnce() -> bool,
    before_sleep: impl FnOnce(),
    left: impl FnOnce(bool),
) -> Parked {
    let waiter = pin!(Waiter::new(carrier::id()));
    park_as(
        waiter.as_ref(),
        spot,
        what,
        deadline,
        valid,
        before_sleep,
        left,
    )
}

/// As [`park`], with a waiter that may have waited before.
#[track_caller]
pub(crate) fn park_as(
    waiter: Pin<&Waiter>,
    spot: Spot,
    what: &'static &'static str,
    deadline: Option<Instant>,
    valid: impl FnOnce() -> bool,
    before_sleep: impl FnOnce(),
    left: impl FnOnce(bool),
) -> Parked {
    wait::about_to_wait();
    let may_last = may_last(&spot, deadline);
    // One that may be moved later is watched by whoever moves it.
    let watched = may_last && !matches!(spot.owner, Owner::Later);
    if may_last {
        let of = Of::Lot(NonNull::from(waiter.get_ref()));
        let (listing, id, at) = (&waiter.listing, waiter.id(), Location::caller());
        match watched {
            // SAFETY: its own part; its drop calls `leave`.
            true => unsafe { listing.enter(of, id, what, at) },
            false => listing.prepare(of, id, what, at),
        }
    }
    if !waiter.enqueue(spot, Queued::current(), valid) {
        return Parked::Invalid;
    }
    if watched {
        fence_after_exchange();
    }
    before_sleep();
    if watched && let Some(report) = look(waiter, spot.owner) {
        return match waiter.withdraw(left) {
            Some(token) => Parked::Served(token),
            None => {
                wait::doom(report);
                Parked::Interrupted
            }
        };
    }
    let ended = loop {
        if let Some(token) = waiter.served() {
            return Parked::Served(token);
        }
        match wait::wait(what, deadline) {
            Outcome::Woken => {}
            Outcome::TimedOut => break Parked::TimedOut,
            Outcome::Interrupted => break Parked::Interrupted,
        }
    };
    match waiter.withdraw(left) {
        Some(token) => Parked::Served(token),
        None => ended,
    }
}

/// Whether a wait is for an owner and may last for ever, so that a deadlock is to be looked for.
#[inline]
fn may_last(spot: &Spot, deadline: Option<Instant>) -> bool {
    !matches!(spot.owner, Owner::None)
        && deadline.is_none()
        && deadlock::setting() != Deadlock::Off
        && !wait::may_expire()
}

/// Stands between queueing and the look at others: of two who queue at the same time at least one
/// finds the other. The bucket has just been unlocked by an exchange, which on x86 is a full
/// barrier itself; `mfence` would cost more than all else that is done here.
#[inline(always)]
fn fence_after_exchange() {
    if cfg!(all(target_arch = "x86_64", not(loom))) {
        std::sync::atomic::compiler_fence(SeqCst);
    } else {
        fence(SeqCst);
    }
}

/// `Some`: the wait is the last of a deadlock, and has to end with this message.
#[inline]
fn look(waiter: Pin<&Waiter>, owner: Owner) -> Option<String> {
    let owner = match owner {
        // SAFETY: the caller waits for the lock, so it is borrowed and its word alive.
        // Relaxed: after the fence.
        Owner::Word(word) => carrier::owner(unsafe { word.as_ref() }.load(Relaxed)),
        Owner::None | Owner::Later => None,
    };
    deadlock::look(waiter.id(), &waiter.get_ref().listing, owner?)
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The key of its queue.
    pub(crate) key: usize,
    /// Its number among those who came to that bucket.
    pub(crate) arrival: u64,
    /// Who has it, if it has one owner and that is known.
    pub(crate) owner: Option<u64>,
}

/// Calls `each` with everybody who waits in the lot, bucket by bucket, by id. It must not block.
#[cfg(not(loom))]
pub(crate) fn for_each(mut each: impl FnMut(u64, Held)) {
    for queue in queue::all() {
        // SAFETY: the bucket is locked.
        unsafe { queue.each(|waiter| each(waiter.as_ref().id(), waiter::held(waiter))) };
    }
}
