//! The word of an exclusive lock: who owns it, and what waiters have to know.
//!
//! The word is the owner's carrier id above some flags, or no id if it is free. Locking
//! and unlocking without contention is one exchange each. Waiters queue in the parking lot.
//!
//! # Who is next
//! Whoever comes while the lock is free takes it (*barging*), also before one that was woken
//! for it and does not run yet: handing the lock to somebody asleep would leave it idle for
//! as long as a wake-up takes. The bypass is bounded: the longest waiting is woken first,
//! and goes back to its place should it find the lock taken again; after [`MAX_LOSSES`]
//! such losses the next unlock hands the lock to it.
//!
//! # Invariants
//! 1. While anybody is queued, either `PARKED` is set and the lock is owned, so that an
//!    unlock will look at the queue; or somebody was woken with [`RETRY_MORE`] and is on the
//!    way, who sets `PARKED` when it takes the lock or queues again. Between an unlock
//!    that wakes somebody and that moment, others lock and unlock without a look at the queue.
//! 2. `PARKED` is cleared only with the bucket locked, and set by those who are about to
//!    queue, who look again with the bucket locked. It may be set though nobody is queued.
//!
//! # Memory ordering
//! Each `Release` that takes the owner off the word pairs with the `Acquire` of the exchange
//! that puts the next one on it. A lock that is handed over is ordered by the lot.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::park::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::park::carrier::{self, ANONYMOUS, FLAG_BITS, FLAGS, WATCHED};
use crate::park::lot::{self, Move, Owner, Parked, Spot, Waiter};
use crate::park::order::{self, Take};
use crate::park::wait::{self, Queued, Unparker};

/// Somebody is queued.
const PARKED: u64 = 1;
/// A panic unwound through a guard. Not looked at here.
const POISONED: u64 = 1 << 1;
/// The flags of a free lock.
const STAYS: u64 = POISONED | WATCHED;

/// How often a waiter that was woken may find the lock taken again before it is handed over.
pub(super) const MAX_LOSSES: u32 = if cfg!(loom) { 1 } else { 16 };
/// How often a thread looks again before it queues: about a microsecond.
pub(super) const SPINS: u32 = 100;

/// The token of a waiter that was woken and has to try again.
pub(super) const RETRY: usize = 0;
/// The same, of one that left others behind in the queue (invariant 1).
pub(super) const RETRY_MORE: usize = 1;
/// The token of a waiter that owns the lock.
pub(super) const HANDED: usize = 2;

/// How an attempt to lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    Yes,
    TimedOut,
    /// The carrier has to unwind.
    Interrupted,
}

#[derive(Debug)]
#[repr(transparent)]
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
    fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// The word of a lock that may be gone.
    pub(super) fn word_of(this: NonNull<RawMutex>) -> NonNull<AtomicU64> {
        // The word is all there is.
        this.cast()
    }

    /// The tag is whom to hand the lock to, or 0.
    fn spot(&self, id: u64, losses: u32) -> Spot {
        Spot {
            tag: if losses < MAX_LOSSES { 0 } else { id },
            again: losses > 0,
            owner: Owner::Word(NonNull::from(&self.word)),
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

    /// Whether the caller, who is `id`, owns the lock.
    #[inline]
    pub(super) fn is_owned_by(&self, id: u64) -> bool {
        (self.word.load(Relaxed) & !FLAGS) >> FLAG_BITS == id // only the owner itself finds its own id
    }

    /// Takes a lock that is free, not poisoned, not waited for and not watched.
    #[inline(always)]
    pub(super) fn lock_fast(&self, id: u64) -> bool {
        self.word
            .compare_exchange(order::free_word(), id << FLAG_BITS, Acquire, Relaxed)
            .is_ok()
    }

    /// Takes the lock if it is free.
    #[inline]
    #[track_caller]
    pub(super) fn try_lock(&self, id: u64, what: &'static str) -> bool {
        let free_word = order::free_word(); // once: it may change in between
        self.take_if_free(id, free_word) || free_word != 0 && self.try_watched(id, what)
    }

    #[cold]
    #[track_caller]
    fn try_watched(&self, id: u64, what: &'static str) -> bool {
        let take = Take::watch(&self.word, id, what);
        let taken = self.take_if_free(id, 0);
        if let Some(take) = take.filter(|_| taken) {
            take.has();
        }
        taken
    }

    fn take_if_free(&self, id: u64, free_word: u64) -> bool {
        let mut word = self.word.load(Relaxed);
        while is_free(word | free_word) {
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
    /// `more`: the caller was served with [`RETRY_MORE`].
    fn take_or_announce(&self, id: u64, more: bool) -> bool {
        let parked = if more { PARKED } else { 0 };
        let mut word = self.word.load(Relaxed);
        loop {
            let free = is_free(word);
            let new = word | parked | if free { id << FLAG_BITS } else { PARKED };
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
    pub(super) fn left(&self, more: bool) {
        if !more {
            self.word.fetch_and(!PARKED, Relaxed); // ordered by the bucket's lock
        }
    }

    /// Waits for the lock and takes it. `more`: the caller was served with [`RETRY_MORE`].
    #[cold]
    #[track_caller]
    pub(super) fn lock_slow(
        &self,
        id: u64,
        what: &'static &'static str,
        deadline: Option<Instant>,
        more: bool,
    ) -> Locked {
        let take = self.watch(id, what);
        if let Some(take) = take
            && deadline.is_none()
            // Whoever was told of others in the queue has to see to them.
            && let Some(report) = take.wants(!more)
        {
            wait::doom(report);
            return Locked::Interrupted;
        }
        let locked = self.wait(id, what, deadline, more);
        if let (Some(take), Locked::Yes) = (take, locked) {
            take.has();
        }
        locked
    }

    /// The caller, `id`, is about to take the lock; `None`: nobody watches.
    #[inline]
    #[track_caller]
    pub(super) fn watch(&self, id: u64, what: &'static str) -> Option<Take> {
        Take::watch(&self.word, id, what)
    }

    /// The caller, `id`, has got the lock without asking for it.
    #[cold]
    #[track_caller]
    pub(super) fn was_handed(&self, id: u64, what: &'static str) {
        if let Some(take) = self.watch(id, what) {
            take.has();
        }
    }

    #[inline(always)]
    #[track_caller]
    fn wait(
        &self,
        id: u64,
        what: &'static &'static str,
        deadline: Option<Instant>,
        mut more: bool,
    ) -> Locked {
        let waiter = pin!(Waiter::new(carrier::id()));
        let mut losses = 0;
        loop {
            self.spin();
            if self.take_or_announce(id, more) {
                return Locked::Yes;
            }
            more = false;
            let parked = lot::park_as(
                waiter.as_ref(),
                self.spot(id, losses),
                what,
                deadline,
                || self.is_to_be_unlocked(),
                || (),
                |more| self.left(more),
            );
            match parked {
                Parked::Served(HANDED) => return Locked::Yes,
                Parked::Served(token) => {
                    more = token == RETRY_MORE;
                    losses += 1;
                }
                Parked::Invalid => {}
                Parked::TimedOut => return Locked::TimedOut,
                Parked::Interrupted => return Locked::Interrupted,
            }
        }
    }

    /// Waits a little for the lock to become free if that may help.
    fn spin(&self) {
        let mut left = if may_spin() { SPINS } else { 0 };
        while left > 0 {
            let word = self.word.load(Relaxed);
            // Where others sleep, so does the caller: it would only be in their way.
            if is_free(word) || word & PARKED != 0 {
                return;
            }
            std::hint::spin_loop();
            left -= 1;
        }
    }

    // -- unlocking ---------------------------------------------------------------

    /// Unlocks what was locked as `id`.
    #[inline(always)]
    pub(super) fn unlock(&self, id: u64) {
        let owned = id << FLAG_BITS;
        if self
            .word
            .compare_exchange(owned, 0, Release, Relaxed)
            .is_err()
        {
            self.unlock_slow(id);
        }
    }

    #[cold]
    fn unlock_slow(&self, id: u64) {
        let mut word = self.word.load(Relaxed);
        if word & WATCHED != 0 {
            order::let_go(&self.word, id);
        }
        while word & PARKED == 0 {
            match self
                .word
                .compare_exchange_weak(word, word & FLAGS, Release, Relaxed)
            {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        lot::unpark_one(self.key(), |waiter, more| {
            let parked = if more { PARKED } else { 0 };
            let (next, token) = match waiter {
                Some(waiter) if waiter.tag != 0 => (waiter.tag << FLAG_BITS | parked, HANDED),
                Some(_) if more => (0, RETRY_MORE),
                _ => (0, RETRY),
            };
            let mut word = self.word.load(Relaxed);
            while let Err(now) =
                self.word
                    .compare_exchange_weak(word, word & STAYS | next, Release, Relaxed)
            {
                word = now;
            }
            token
        });
    }

    /// The caller was served with `token` and does not want the lock any more.
    pub(super) fn pass_on(&self, token: usize) {
        let owns = match token {
            RETRY => false,
            // If the lock is not free, its owner has been told to look at the queue.
            RETRY_MORE => self.take_or_announce(ANONYMOUS, true),
            _ => true,
        };
        if owns {
            self.unlock(ANONYMOUS);
        }
    }

    // -- for condition variables -------------------------------------------------

    /// A hint: who wants it waits for nobody but the caller.
    pub(super) fn is_free_or_mine(&self) -> bool {
        is_free(self.word.load(Relaxed)) || self.is_owned_by(carrier::id())
    }

    /// Asked with the bucket locked: how waiters come into the queue (invariant 1).
    pub(super) fn admit(&self) -> Move {
        let mut word = self.word.load(Relaxed);
        loop {
            if is_free(word) {
                return Move::Wake(RETRY_MORE, RETRY);
            }
            let parked = word | PARKED;
            match self
                .word
                .compare_exchange_weak(word, parked, Relaxed, Relaxed)
            {
                // From here on it stays locked by its owner, who would look at the queue.
                Ok(_) => return Move::All(RETRY),
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(not(loom))]
pub(super) fn may_spin() -> bool {
    crate::park::local::frame().is_none() && crate::park::more_than_one_cpu()
}

#[cfg(loom)]
pub(super) fn may_spin() -> bool {
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
        let mut more = false;
        match waiter.collect() {
            None => {}
            Some(HANDED) => return Poll::Ready(()),
            Some(token) => {
                more = token == RETRY_MORE;
                this.losses.set(this.losses.get() + 1);
            }
        }
        let mutex = this.mutex;
        let spot = Spot {
            owner: Owner::None, // a forgotten future may outlive the lock
            ..mutex.spot(ANONYMOUS, this.losses.get())
        };
        while !mutex.take_or_announce(ANONYMOUS, more) {
            more = false;
            let who = Queued::Other(Unparker::Async(context.waker().clone()));
            if waiter.enqueue(spot, who, || mutex.is_to_be_unlocked()) {
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
