//! `Once`: std's, on every carrier.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::poison::Before;
use super::raw_once::{End, Found, RawOnce};
use crate::park::{carrier, deadlock};

/// Something that is done once: [`std::sync::Once`], which suspends only the calling carrier.
///
/// # Cancellation
/// An initialiser that is cut short by a cancel or an expired
/// [`time::timeout`](crate::time::timeout) has not run: the next caller runs its own. Only a
/// panic poisons. One who is cancelled while somebody else initialises just unwinds.
///
/// # Examples
/// ```
/// use bingfa::sync::Once;
///
/// static START: Once = Once::new();
/// let mut runs = 0;
/// for _ in 0..2 {
///     START.call_once(|| runs += 1);
/// }
/// assert_eq!(runs, 1);
/// ```
pub struct Once {
    raw: RawOnce,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// What the closure of [`Once::call_once_force`] is told.
#[derive(Debug)]
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether the last attempt panicked.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

/// Ends the attempt of whoever holds it, also if it unwinds.
struct Attempt<'a> {
    raw: &'a RawOnce,
    before: Before,
    /// What it comes to if it is cut short.
    poisoned: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.raw.end(if self.before.panics() || self.poisoned {
            End::Poisoned
        } else {
            End::NotRun
        });
    }
}

/// Runs `f` if it is for the caller to do; true: it is done. False: poisoned, and not `force`.
#[cold]
#[track_caller]
pub(super) fn run(raw: &RawOnce, force: bool, f: impl FnOnce(bool)) -> bool {
    loop {
        match raw.begin(carrier::id()) {
            Found::Done => return true,
            Found::NotRun { poisoned } => {
                let attempt = Attempt {
                    raw,
                    before: Before::now(),
                    poisoned,
                };
                if poisoned && !force {
                    return false;
                }
                f(poisoned);
                std::mem::forget(attempt);
                raw.end(End::Done);
                return true;
            }
            Found::Recursion => panic!(
                "bingfa: an initialiser came back to what it initialises, in the same thread or \
                 coroutine: it would wait for itself for ever"
            ),
            Found::Poisoned | Found::TimedOut | Found::Interrupted => deadlock::raise(),
        }
    }
}

/// Waits until it is done. `None`: too late; `Some(false)`: it is poisoned, and not `force`.
#[track_caller]
pub(super) fn wait(raw: &RawOnce, force: bool, deadline: Option<Instant>) -> Option<bool> {
    loop {
        match raw.wait(!force, deadline) {
            Found::Done => return Some(true),
            Found::Poisoned => return Some(false),
            Found::TimedOut => return None,
            _ => deadlock::raise(),
        }
    }
}

impl Once {
    /// Makes one that has not run.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self {
            raw: RawOnce::new(),
        }
    }

    /// Runs `f` if nothing has run here yet, and waits for whoever is about to.
    ///
    /// # Panics
    /// If `f` panics or an earlier one has; if `f` itself comes back here.
    ///
    /// # Cancellation
    /// See [`Once`].
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.raw.is_done() {
            assert!(
                run(&self.raw, false, |_| f()),
                "Once instance has previously been poisoned"
            );
        }
    }

    /// As [`call_once`](Self::call_once), also after a panic.
    ///
    /// # Panics
    /// If `f` panics or comes back here.
    ///
    /// # Cancellation
    /// See [`Once`].
    #[inline]
    #[track_caller]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.raw.is_done() {
            run(&self.raw, true, |poisoned| f(&OnceState { poisoned }));
        }
    }

    /// Whether some `call_once` has ended well.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.raw.is_done()
    }

    /// Waits until some `call_once` has ended well.
    ///
    /// # Panics
    /// If one has panicked.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait(&self) {
        assert!(
            wait(&self.raw, false, None) == Some(true),
            "Once instance has previously been poisoned"
        );
    }

    /// As [`wait`](Self::wait), for at most `limit`; false if it was too late.
    ///
    /// # Panics
    /// If a `call_once` has panicked.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        let done = wait(&self.raw, false, Instant::now().checked_add(limit));
        assert!(
            done != Some(false),
            "Once instance has previously been poisoned"
        );
        done.is_some()
    }

    /// Waits until some `call_once` has ended well, whatever panics before.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_force(&self) {
        wait(&self.raw, true, None);
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}
