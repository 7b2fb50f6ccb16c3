//! The short lock of an exchange: held for a few instructions, never across a wait.
//!
//! Whoever waits for it keeps its thread: it spins, then lets other threads run, and after
//! a while sleeps, so that a holder that the kernel has put aside gets to run. On a
//! contended exchange that last step is also what makes it fast: the others then run on
//! undisturbed, with everything in their cache.
//!
//! Where each step takes the same lock, several times per item, two cores that take turns at it
//! are many times slower than one that has it for a while. There a waiter is *patient*: it
//! first leaves the lock to the others until they pause.
//!
//! # Invariants
//! 1. `state` is touched only between a successful exchange of `word` to `LOCKED` and the
//!    store that opens it again.
//!
//! # Memory ordering
//! The Acquire of the exchange pairs with the Release of the opening store: what one holder
//! wrote is visible to the next. No other pair is relied upon.

#![allow(unsafe_code)]
#![cfg_attr(
    loom,
    allow(dead_code, reason = "the models use loom's lock in its place")
)]

use std::ops::{Deref, DerefMut};

use crate::park::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
    UnsafeCell,
};

const OPEN: u32 = 0;
const LOCKED: u32 = 1;
/// How many pauses lie between a patient one's looks: some 13 us in all.
#[cfg(not(loom))]
const GAPS: [u32; 13] = [1, 2, 4, 8, 16, 32, 32, 32, 32, 32, 32, 32, 32];
#[cfg(loom)]
const GAPS: [u32; 2] = [1, 1];
/// The round of `pause` in which it sleeps.
const ASLEEP: u32 = 40;

/// Alone in its cache lines, which processors fetch in pairs.
#[repr(C, align(128))]
pub(super) struct Lock<S> {
    state: UnsafeCell<S>,
    word: Word,
}

/// In a line of its own: those who look at it do not slow down who works on the state.
#[repr(align(64))]
struct Word {
    now: AtomicU32,
    /// Counts the patient ones who got it. Written by who has it.
    uses: AtomicU32,
}

// SAFETY: the state is used by one thread at a time (invariant 1), as if it were sent there.
unsafe impl<S: Send> Sync for Lock<S> {}

/// The state, locked. Opens the lock again when it goes, also when the holder unwinds.
pub(super) struct Guard<'a, S>(&'a Lock<S>);

impl<S> Drop for Guard<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.word.open();
    }
}

impl<S> Deref for Guard<'_, S> {
    type Target = S;

    #[inline(always)]
    fn deref(&self) -> &S {
        // SAFETY: locked (invariant 1); shared as the guard is.
        self.0.state.with_mut(|state| unsafe { &*state })
    }
}

impl<S> DerefMut for Guard<'_, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut S {
        // SAFETY: locked (invariant 1); unique as the guard is.
        self.0.state.with_mut(|state| unsafe { &mut *state })
    }
}

impl<S> Lock<S> {
    pub(super) fn new(state: S) -> Self {
        Self {
            word: Word {
                now: AtomicU32::new(OPEN),
                uses: AtomicU32::new(0),
            },
            state: UnsafeCell::new(state),
        }
    }

    /// The state, alone. Whoever has it neither waits nor comes back here.
    #[inline(always)]
    pub(super) fn lock(&self) -> Guard<'_, S> {
        if !self.word.try_lock() {
            self.word.lock_slow();
        }
        Guard(self)
    }

    /// The same, patiently. For locks that all take in this way.
    #[inline(always)]
    pub(super) fn lock_patiently(&self) -> Guard<'_, S> {
        if !self.word.try_lock() {
            self.word.lock_when_quiet();
        }
        self.word.count();
        Guard(self)
    }
}

impl Word {
    #[inline(always)]
    fn try_lock(&self) -> bool {
        self.now
            .compare_exchange(OPEN, LOCKED, Acquire, Relaxed)
            .is_ok()
    }

    #[inline(always)]
    fn open(&self) {
        self.now.store(OPEN, Release);
    }

    #[cold]
    fn lock_slow(&self) {
        let mut round = 0;
        loop {
            // Looking costs the holder less than trying.
            if self.now.load(Relaxed) == OPEN && self.try_lock() {
                return;
            }
            pause(round);
            round += 1;
        }
    }

    #[inline(always)]
    fn count(&self) {
        // Relaxed: only who has the lock writes it, and readers decide by it how to wait.
        let uses = self.uses.load(Relaxed);
        self.uses.store(uses.wrapping_add(1), Relaxed);
    }

    /// Takes it when nobody has used it between two looks; if that does not happen, as soon as
    /// it is open after a sleep.
    #[cold]
    fn lock_when_quiet(&self) {
        let mut seen = self.uses.load(Relaxed); // as in `count`
        for gap in GAPS {
            (0..gap).for_each(|_| pause(0));
            let before = std::mem::replace(&mut seen, self.uses.load(Relaxed)); // as in `count`
            if before == seen && self.try_lock() {
                return;
            }
        }
        pause(ASLEEP);
        self.lock_slow();
    }
}

#[cfg(not(loom))]
fn pause(round: u32) {
    use std::time::Duration;
    match round {
        0..32 if crate::park::more_than_one_cpu() => std::hint::spin_loop(),
        0..ASLEEP => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50)),
    }
}

#[cfg(loom)]
fn pause(_round: u32) {
    loom::thread::yield_now();
}

#[cfg(all(test, loom))]
fn one_at_a_time(lock: fn(&Lock<u32>) -> Guard<'_, u32>) {
    use loom::sync::Arc;
    loom::model(move || {
        let shared = Arc::new(Lock::new(0));
        let other = {
            let shared = shared.clone();
            loom::thread::spawn(move || *lock(&shared) += 1)
        };
        *lock(&shared) += 1;
        other.join().unwrap();
        assert_eq!(*lock(&shared), 2);
    });
}

#[cfg(all(test, loom))]
#[test]
fn one_at_a_time_at_once() {
    one_at_a_time(Lock::lock);
}

#[cfg(all(test, loom))]
#[test]
fn one_at_a_time_patiently() {
    one_at_a_time(Lock::lock_patiently);
}
