//! The word of an exclusive lock: who owns it, and what waiters have to know.
//!
//! The word is the owner's carrier id above three flags, or no id if it is free. Locking
//! and unlocking without contention is one exchange each. Waiters queue in the parking lot.
//!
//! # Who is next
//! Whoever comes while the lock is free takes it (*barging*), also before one that was woken
//! for it and does not run yet: handing the lock to somebody asleep would leave it idle for
//! as long as a wake-up takes. The bypass is bounded: an unlock wakes one waiter, the
//! longest waiting, and no other until that one has run. Should it find the lock taken
//! again, it goes back to the front; after [`MAX_LOSSES`] such losses the next unlock hands
//! the lock to it.
//!
//! # Invariants
//! 1. `PARKED` is set while anybody is queued. (It may be set a moment longer.) It is cleared
//!    only with the bucket locked, and set by those who are about to queue, who look again
//!    with the bucket locked.
//! 2. `WOKEN` is set from an unlock that wakes a waiter, which owns the flag, until that
//!    waiter takes the lock or clears it in order to queue again. While it is set, unlocks
//!    wake nobody. So whoever was woken runs `lock_slow` on, or passes the wake-up on.
//! 3. While anybody is queued, the lock is owned or `WOKEN` is set: somebody will unlock.
//!
//! # Memory ordering
//! Each `Release` that takes the owner off the word pairs with the `Acquire` of the exchange
//! that puts the next one on it. A lock that is handed over is ordered by the lot.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::park::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::park::carrier::{ANONYMOUS, FLAG_BITS};
use crate::park::lot::{self, Move, Parked, Spot, Waiter};
use crate::park::wait::Unparker;

/// Somebody is queued.
const PARKED: u64 = 1;
/// Somebody was woken and is on the way.
const WOKEN: u64 = 1 << 1;
/// A panic unwound through a guard. Not looked at here.
const POISONED: u64 = 1 << 2;
const FLAGS: u64 = (1 << FLAG_BITS) - 1;

/// How often a waiter that was woken may find the lock taken again before it is handed over.
const MAX_LOSSES: u32 = if cfg!(loom) { 1 } else { 16 };
/// How often a thread looks again before it queues: about a microsecond.
const SPINS: u32 = 100;

/// The token of a waiter that was woken and has to try again, as the owner of `WOKEN`.
pub(super) const RETRY: usize = 0;
/// The token of a waiter that owns the lock.
pub(super) const HANDED: usize = 1;

/// How an attempt to lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    Yes,
    TimedOut,
    /// The carrier has to unwind.
    Interrupted,
}

#[derive(Debug)]
pub(super) struct RawMutex {
    word: AtomicU64,
}

fn is_free(word: u64) -> bool {
    word & !FLAGS == 0
}

impl RawMutex {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// Where its waiters queue.
    pub(super) fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// The tag is whom to hand the lock to, or 0.
    fn spot(&self, id: u64, losses: u32) -> Spot {
        Spot {
            tag: if losses < MAX_LOSSES { 0 } else { id },
            front: losses > 0,
            word: Some(NonNull::from(&self.word)),
            ..Spot::at(self.key())
        }
    }

    // -- poisoning: a flag that lock and unlock carry along ----------------------

    #[inline(always)]
    pub(super) fn is_poisoned(&self) -> bool {
        self.word.load(Relaxed) & POISONED != 0 // with the lock held, or a hint
    }

    pub(super) fn poison(&self) {
        self.word.fetch_or(POISONED, Relaxed); // published by the unlock
    }

    pub(super) fn clear_poison(&self) {
        self.word.fetch_and(!POISONED, Relaxed); // orders nothing
    }

    // -- locking -----------------------------------------------------------------

    /// Takes a lock that is free, not poisoned and not waited for.
    #[inline(always)]
    pub(super) fn lock_fast(&self, id: u64) -> bool {
        self.word
            .compare_exchange(0, id << FLAG_BITS, Acquire, Relaxed)
            .is_ok()
    }

    pub(super) fn try_lock(&self, id: u64) -> bool {
        let mut word = self.word.load(Relaxed);
        while is_free(word) {
            let taken = word | id << FLAG_BITS;
            match self
                .word
                .compare_exchange_weak(word, taken, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes the lock if it is free: true. Else announces that the caller is about to queue.
    /// Either way it gives up `WOKEN` if the caller had it.
    fn take_or_announce(&self, id: u64, woken: bool) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            let kept = if woken { word & !WOKEN } else { word };
            let free = is_free(word);
            let new = kept | if free { id << FLAG_BITS } else { PARKED };
            if new == word {
                return false;
            }
            match self.word.compare_exchange_weak(word, new, Acquire, Relaxed) {
                Ok(_) => return free,
                Err(now) => word = now,
            }
        }
    }

    /// Asked with the bucket locked: whether an unlock is to come that looks at the queue.
    fn is_to_be_unlocked(&self) -> bool {
        let word = self.word.load(Relaxed); // ordered by the bucket's lock
        !is_free(word) && word & PARKED != 0
    }

    /// A waiter has left the queue without being served.
    fn left(&self, more: bool) {
        if !more {
            self.word.fetch_and(!PARKED, Relaxed); // ordered by the bucket's lock
        }
    }

    /// Waits for the lock and takes it. `woken`: the caller was served with [`RETRY`].
    #[cold]
    #[track_caller]
    pub(super) fn lock_slow(
        &self,
        id: u64,
        what: &'static &'static str,
        deadline: Option<Instant>,
        mut woken: bool,
    ) -> Locked {
        let mut losses = 0;
        loop {
            self.spin();
            if self.take_or_announce(id, woken) {
                return Locked::Yes;
            }
            woken = false;
            let parked = lot::park(
                self.spot(id, losses),
                what,
                deadline,
                || self.is_to_be_unlocked(),
                || (),
                |more| self.left(more),
            );
            match parked {
                Parked::Served(RETRY) => {
                    woken = true;
                    losses += 1;
                }
                Parked::Served(_) => return Locked::Yes,
                Parked::TimedOut => return Locked::TimedOut,
                Parked::Interrupted => return Locked::Interrupted,
                Parked::Invalid => {}
            }
        }
    }

    /// Waits a little for the lock to become free if that may help.
    fn spin(&self) {
        let mut left = if may_spin() { SPINS } else { 0 };
        while left > 0 && !is_free(self.word.load(Relaxed)) {
            std::hint::spin_loop();
            left -= 1;
        }
    }

    // -- unlocking ---------------------------------------------------------------

    #[inline(always)]
    pub(super) fn unlock(&self) {
        let word = self.word.load(Relaxed);
        if word & FLAGS != 0
            || self
                .word
                .compare_exchange(word, 0, Release, Relaxed)
                .is_err()
        {
            self.unlock_slow();
        }
    }

    #[cold]
    fn unlock_slow(&self) {
        let mut word = self.word.load(Relaxed);
        while word & (PARKED | WOKEN) != PARKED {
            match self
                .word
                .compare_exchange_weak(word, word & FLAGS, Release, Relaxed)
            {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        lot::unpark_one(self.key(), |waiter, more| {
            let (next, token) = match waiter {
                Some(waiter) if waiter.tag != 0 => (waiter.tag << FLAG_BITS, HANDED),
                Some(_) => (WOKEN, RETRY),
                None => (0, RETRY),
            };
            let parked = if more { PARKED } else { 0 };
            self.update(|word| word & POISONED | next | parked);
            token
        });
    }

    fn update(&self, f: impl Fn(u64) -> u64) {
        let mut word = self.word.load(Relaxed);
        while let Err(now) = self
            .word
            .compare_exchange_weak(word, f(word), Release, Relaxed)
        {
            word = now;
        }
    }

    /// The caller was served with `token` and does not want the lock any more.
    fn pass_on(&self, token: usize) {
        // Taking it is the simplest way to look after the queue.
        if token == HANDED || self.take_or_withdraw() {
            self.unlock();
        }
    }

    /// The owner of `WOKEN` gives it up, and takes the lock if it is free: true.
    fn take_or_withdraw(&self) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            let free = is_free(word);
            let new = word & !WOKEN | if free { ANONYMOUS << FLAG_BITS } else { 0 };
            match self.word.compare_exchange_weak(word, new, Acquire, Relaxed) {
                Ok(_) => return free,
                Err(now) => word = now,
            }
        }
    }

    // -- for condition variables -------------------------------------------------

    /// Moves up to `limit` waiters of `from` to this lock's queue, so that each is woken when it
    /// can have the lock, and not before; see [`lot::requeue`].
    pub(super) fn requeue_from(
        &self,
        from: usize,
        limit: usize,
        decide: impl FnOnce() -> bool,
        finish: impl FnOnce(bool),
    ) -> usize {
        let word = Some(NonNull::from(&self.word));
        let decide = || {
            if decide() {
                self.admit()
            } else {
                Move::Nothing
            }
        };
        lot::requeue(from, self.key(), word, limit, decide, finish)
    }

    /// Asked with the bucket locked: how waiters come into the queue (invariant 3).
    fn admit(&self) -> Move {
        let mut word = self.word.load(Relaxed);
        loop {
            let (new, how) = if is_free(word) && word & WOKEN == 0 {
                (word | WOKEN | PARKED, Move::ButFirst(RETRY))
            } else {
                (word | PARKED, Move::All)
            };
            match self.word.compare_exchange_weak(word, new, Relaxed, Relaxed) {
                Ok(_) => return how,
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(not(loom))]
fn may_spin() -> bool {
    crate::park::local::frame().is_none() && crate::park::more_than_one_cpu()
}

#[cfg(loom)]
fn may_spin() -> bool {
    false
}

/// An async task's wait for the lock.
#[derive(Debug)]
pub(super) struct LockFuture<'a> {
    mutex: &'a RawMutex,
    waiter: Waiter,
    losses: Cell<u32>,
}

impl<'a> LockFuture<'a> {
    pub(super) fn new(mutex: &'a RawMutex) -> Self {
        Self {
            mutex,
            waiter: Waiter::new(ANONYMOUS),
            losses: Cell::new(0),
        }
    }
}

impl Future for LockFuture<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.into_ref().get_ref();
        // SAFETY: a field of what is pinned, and never moved out of it.
        let waiter = unsafe { Pin::new_unchecked(&this.waiter) };
        if waiter.refresh(context.waker()) {
            return Poll::Pending;
        }
        let mut woken = false;
        match waiter.collect() {
            None => {}
            Some(RETRY) => {
                woken = true;
                this.losses.set(this.losses.get() + 1);
            }
            Some(_) => return Poll::Ready(()),
        }
        let mutex = this.mutex;
        let spot = Spot {
            word: None, // a forgotten future may outlive the lock
            ..mutex.spot(ANONYMOUS, this.losses.get())
        };
        while !mutex.take_or_announce(ANONYMOUS, woken) {
            woken = false;
            let unparker = Unparker::Async(context.waker().clone());
            if waiter.enqueue(spot, unparker, || mutex.is_to_be_unlocked()) {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Drop for LockFuture<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.waiter.withdraw(|more| self.mutex.left(more)) {
            self.mutex.pass_on(token);
        }
    }
}
