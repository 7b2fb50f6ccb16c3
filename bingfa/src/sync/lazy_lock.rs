//! `LazyLock`: std's, on every carrier.
//!
//! # Invariants
//! 1. `state` is `Made` once `once` is done, and touched before that only by who runs `once`.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once;
use super::raw_once::RawOnce;
use crate::park::cancel;

/// A value that is made at its first use: [`std::sync::LazyLock`], which suspends only the
/// calling carrier.
///
/// # Cancellation
/// The initialiser can be called once only, so it is called as inside
/// [`coroutine::shield`](crate::coroutine::shield): a cancel of the coroutine that runs it acts
/// at its next wait afterwards. One who is cancelled while somebody else initialises unwinds.
///
/// # Examples
/// ```
/// use bingfa::sync::LazyLock;
///
/// static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..10).map(|i| i * i).collect());
/// assert_eq!(SQUARES[9], 81);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: RawOnce,
    state: UnsafeCell<State<T, F>>,
}

const POISONED: &str = "LazyLock instance has previously been poisoned";

enum State<T, F> {
    Not(F),
    Made(T),
    /// The initialiser runs, or has panicked.
    Gone,
}

// SAFETY: any thread may read the value (`Sync`), and the one that makes it or drops it may
// be any (`Send`); the initialiser is called by one of them.
unsafe impl<T: Send + Sync, F: Send> Sync for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// Makes one whose value `f` will make.
    #[inline]
    pub const fn new(f: F) -> Self {
        Self {
            once: RawOnce::new(),
            state: UnsafeCell::new(State::Not(f)),
        }
    }

    /// The value, which is made now if nobody has used it before.
    ///
    /// # Panics
    /// If the initialiser panics, has panicked, or comes back here.
    ///
    /// # Cancellation
    /// See [`LazyLock`].
    #[inline]
    #[track_caller]
    pub fn force(this: &Self) -> &T {
        if !this.once.is_done() {
            this.make();
        }
        // SAFETY: done, so nobody writes any more (invariant 1).
        match unsafe { &*this.state.get() } {
            State::Made(value) => value,
            State::Not(_) | State::Gone => unreachable!("done without a value"),
        }
    }

    #[cold]
    #[track_caller]
    fn make(&self) {
        let made = once::run(&self.once, false, |_| {
            // SAFETY: it is for us alone to touch (invariant 1); so also below.
            let state = unsafe { std::mem::replace(&mut *self.state.get(), State::Gone) };
            let State::Not(f) = state else {
                panic!("{POISONED}"); // it ended neither well nor, as far as can be told, by a panic
            };
            let value = cancel::shield(f);
            // SAFETY: as above.
            unsafe { *self.state.get() = State::Made(value) };
        });
        assert!(made, "{POISONED}");
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_tuple("LazyLock");
        let made = self.once.is_done();
        // SAFETY: looked at only if it is done: nobody writes any more (invariant 1).
        match made.then(|| unsafe { &*self.state.get() }) {
            Some(State::Made(value)) => out.field(value),
            _ => out.field(&format_args!("<uninit>")),
        };
        out.finish()
    }
}
