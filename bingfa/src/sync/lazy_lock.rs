//! `LazyLock`: std's, on every carrier.
//!
//! # Invariants
//! 1. `state` is `Made` once `once` is done, and touched before that only by who runs `once`.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

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
        this.force_until(None).expect("waited for")
    }

    /// As [`force`](Self::force), but waits for somebody else who makes it for at most `limit`;
    /// `None`: that was not done in time. The initialiser itself has no limit.
    ///
    /// # Panics
    /// As for [`force`](Self::force).
    ///
    /// # Cancellation
    /// See [`LazyLock`].
    #[inline]
    #[track_caller]
    pub fn force_timeout(this: &Self, limit: Duration) -> Option<&T> {
        this.force_until(Instant::now().checked_add(limit))
    }

    /// As [`force_timeout`](Self::force_timeout), waiting until `deadline`.
    ///
    /// # Panics
    /// As for [`force`](Self::force).
    ///
    /// # Cancellation
    /// See [`LazyLock`].
    #[inline]
    #[track_caller]
    pub fn force_deadline(this: &Self, deadline: Instant) -> Option<&T> {
        this.force_until(Some(deadline))
    }

    #[inline]
    #[track_caller]
    fn force_until(&self, deadline: Option<Instant>) -> Option<&T> {
        if let Some(value) = self.made() {
            return Some(value);
        }
        let made = once::run(&self.once, false, deadline, |_| self.make())?;
        assert!(made, "{POISONED}");
        self.made()
    }

    /// As [`force`](Self::force), for async tasks: waits for whoever makes the value. An
    /// initialiser that is the task's to call holds its thread, as any call does.
    ///
    /// # Panics
    /// If the initialiser panics or has panicked.
    ///
    /// # Cancellation
    /// Dropping the future while it waits leaves; there is nothing to lose.
    ///
    /// # Examples
    /// ```
    /// # async fn doc() {
    /// use bingfa::sync::LazyLock;
    ///
    /// static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..10).map(|i| i * i).collect());
    /// assert_eq!(LazyLock::force_async(&SQUARES).await[9], 81);
    /// # }
    /// ```
    pub async fn force_async(this: &Self) -> &T {
        if !this.once.is_done() {
            let made = once::run_async(&this.once, false, async |_| this.make()).await;
            assert!(made, "{POISONED}");
        }
        this.made().expect("waited for")
    }

    /// The value of one that nobody else can reach, which is made now if nobody has used it
    /// before.
    ///
    /// # Panics
    /// As for [`force`](Self::force).
    ///
    /// # Cancellation
    /// See [`LazyLock`].
    ///
    /// # Examples
    /// ```
    /// use bingfa::sync::LazyLock;
    ///
    /// let mut list = LazyLock::new(|| vec![1]);
    /// LazyLock::force_mut(&mut list).push(2);
    /// list.push(3); // the same
    /// assert_eq!(*list, [1, 2, 3]);
    /// ```
    #[inline]
    #[track_caller]
    pub fn force_mut(this: &mut Self) -> &mut T {
        Self::force(this);
        Self::get_mut(this).expect("made")
    }

    /// Makes the value, on behalf of `once`.
    #[cold]
    fn make(&self) {
        // SAFETY: it is for us alone to touch (invariant 1); so also below.
        let state = unsafe { std::mem::replace(&mut *self.state.get(), State::Gone) };
        let State::Not(f) = state else {
            panic!("{POISONED}"); // it ended neither well nor, as far as can be told, by a panic
        };
        let value = cancel::shield(f);
        // SAFETY: as above.
        unsafe { *self.state.get() = State::Made(value) };
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it has been made.
    ///
    /// # Examples
    /// ```
    /// use bingfa::sync::LazyLock;
    ///
    /// let answer = LazyLock::new(|| 42);
    /// assert_eq!(LazyLock::get(&answer), None);
    /// assert_eq!(*answer, 42);
    /// assert_eq!(LazyLock::get(&answer), Some(&42));
    /// ```
    #[inline]
    #[must_use]
    pub fn get(this: &Self) -> Option<&T> {
        this.made()
    }

    /// The value of one that nobody else can reach, if it has been made.
    #[inline]
    #[must_use]
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        match this.state.get_mut() {
            State::Made(value) => Some(value),
            State::Not(_) | State::Gone => None,
        }
    }

    #[inline]
    fn made(&self) -> Option<&T> {
        if !self.once.is_done() {
            return None;
        }
        // SAFETY: done, so nobody writes any more (invariant 1).
        match unsafe { &*self.state.get() } {
            State::Made(value) => Some(value),
            State::Not(_) | State::Gone => unreachable!("done without a value"),
        }
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

/// Makes the value if nobody has used it before; see [`LazyLock::force_mut`].
impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        Self::force_mut(self)
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
        match self.made() {
            Some(value) => out.field(value),
            None => out.field(&format_args!("<uninit>")),
        };
        out.finish()
    }
}
