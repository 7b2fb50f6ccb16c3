//! The wake word of a coroutine: one atomic that decides who puts it back on a run queue.
//!
//! A coroutine is pinned, so only its own worker ever resumes it. Everybody
//! else may *notify* it (an unpark token) or *interrupt* it (a cancel), and has
//! to hand it to its worker's inbox exactly once.
//!
//! # Invariants
//! 1. `PARKED` is set only by the coroutine itself, just before it suspends, and
//!    cleared only on its worker's thread, by whoever then makes it ready. So it
//!    is made ready exactly once per suspension.
//! 2. `QUEUED` is set by the one who then pushes the coroutine to the inbox, and
//!    cleared by the worker after popping it. So it is in the inbox at most once.
//! 3. After `FINISHED` nobody sets `QUEUED`.
//!
//! # Memory ordering
//! Every change is `AcqRel`: what a notifier wrote before its notification is
//! visible to the coroutine after the `prepare` or the resumption that consumed
//! it. No other pair is relied upon.

use super::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// An unpark that has not been consumed.
const TOKEN: u32 = 1;
/// Suspended (or about to be) until a token, a deadline or an interrupt.
const PARKED: u32 = 1 << 1;
/// Somebody changed the coroutine's cancel state: its worker has to look.
const INTERRUPT: u32 = 1 << 2;
/// In its worker's inbox, or about to be pushed there.
const QUEUED: u32 = 1 << 3;
/// The coroutine has ended.
const FINISHED: u32 = 1 << 4;
/// It has a home: there is a worker that can be told.
const STARTED: u32 = 1 << 5;
/// It was asked to end. Stays.
const CANCELLED: u32 = 1 << 6;

/// What the worker found when it took a coroutine out of its inbox.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Popped {
    /// It was parked and is now to be put on the run queue.
    pub(crate) ready: bool,
    /// Its cancel state changed; if it is not `ready` an operation may be in flight.
    pub(crate) interrupted: bool,
}

#[derive(Debug)]
pub(crate) struct Word(AtomicU32);

impl Word {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The coroutine is about to suspend: false if a token was there, which is then consumed.
    #[inline(always)]
    pub(crate) fn prepare(&self) -> bool {
        if self.0.fetch_or(PARKED, AcqRel) & TOKEN == 0 {
            return true;
        }
        self.0.fetch_and(!(TOKEN | PARKED), AcqRel);
        false
    }

    /// Leaves a token, from any thread; true: the caller must push the coroutine to its inbox.
    ///
    /// Writes even if there is a token already: only a write orders what the caller
    /// published before whatever the coroutine reads after consuming that token.
    #[inline]
    pub(crate) fn notify(&self) -> bool {
        self.update(|s| match s {
            s if s & FINISHED != 0 => None,
            s if s & TOKEN != 0 => Some((s, false)),
            s if s & (PARKED | QUEUED) == PARKED => Some((s | TOKEN | QUEUED, true)),
            s => Some((s | TOKEN, false)),
        })
    }

    /// Leaves a token, on the coroutine's own worker thread; true: the caller must make it ready.
    #[inline]
    pub(crate) fn notify_local(&self) -> bool {
        self.update(|s| match s {
            s if s & (TOKEN | FINISHED) != 0 => None,
            // Somebody else already put it into the inbox: its pop will see the token.
            s if s & (PARKED | QUEUED) == PARKED => Some((s & !PARKED, true)),
            s => Some((s | TOKEN, false)),
        })
    }

    /// The coroutine gets its home, and is about to run for the first time; false if it was
    /// cancelled before.
    pub(crate) fn start(&self) -> bool {
        self.0.fetch_or(STARTED, AcqRel) & CANCELLED == 0
    }

    /// Asks the coroutine to end; true: the caller must push it to its inbox. (One that has
    /// not started will see it then.)
    pub(crate) fn cancel(&self) -> bool {
        self.update(|s| match s {
            s if s & FINISHED != 0 => None,
            s if s & STARTED == 0 => Some((s | CANCELLED, false)),
            s => Some((s | CANCELLED | INTERRUPT | QUEUED, s & QUEUED == 0)),
        })
    }

    #[inline(always)]
    pub(crate) fn is_cancelled(&self) -> bool {
        // Relaxed: nothing is published with it; the interrupt makes it be seen.
        self.0.load(Relaxed) & CANCELLED != 0
    }

    /// The worker took the coroutine out of its inbox. `may_disturb`: an interrupt
    /// alone may end the wait.
    pub(crate) fn popped(&self, may_disturb: impl FnOnce() -> bool) -> Popped {
        // INTERRUPT is taken first, so that one that comes later queues it again.
        let before = self.0.fetch_and(!(QUEUED | INTERRUPT), AcqRel);
        let interrupted = before & INTERRUPT != 0;
        let ends = before & TOKEN != 0 || (interrupted && may_disturb());
        let ready = ends && before & PARKED != 0 && self.unpark_now();
        Popped { ready, interrupted }
    }

    /// On the worker's thread: ends the wait if there is one (a deadline has
    /// passed, a cancel is due); true: the caller must make it ready.
    pub(crate) fn unpark_now(&self) -> bool {
        self.update(|s| (s & PARKED != 0).then_some((s & !(PARKED | TOKEN), true)))
    }

    /// The coroutine has ended.
    pub(crate) fn finish(&self) {
        self.0.fetch_or(FINISHED, AcqRel);
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.load(Acquire) & FINISHED != 0
    }

    /// One atomic step: `f` gives the new value and the answer, or `None` to leave
    /// the word as it is and answer false.
    #[inline(always)]
    fn update(&self, f: impl Fn(u32) -> Option<(u32, bool)>) -> bool {
        let mut seen = self.0.load(Acquire);
        loop {
            let Some((new, answer)) = f(seen) else {
                return false;
            };
            match self.0.compare_exchange_weak(seen, new, AcqRel, Acquire) {
                Ok(_) => return answer,
                Err(now) => seen = now,
            }
        }
    }
}
