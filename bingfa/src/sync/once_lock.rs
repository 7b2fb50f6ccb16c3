//! `OnceLock`: std's, on every carrier.
//!
//! # Invariants
//! 1. `value` is initialised once `once` is done, and written only by who runs `once`.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::once;
use super::raw_once::RawOnce;

/// A value that is made once: [`std::sync::OnceLock`], which suspends only the calling
/// carrier.
///
/// # Cancellation
/// An initialiser that is cut short, by a cancel, an expired
/// [`time::timeout`](crate::time::timeout) or a panic, has not run: the next caller runs its
/// own.
///
/// # Examples
/// ```
/// use bingfa::sync::OnceLock;
///
/// static CONFIG: OnceLock<String> = OnceLock::new();
/// assert_eq!(CONFIG.get(), None);
/// assert_eq!(CONFIG.get_or_init(|| "first".into()), "first");
/// assert_eq!(CONFIG.set("second".into()), Err("second".into()));
/// ```
pub struct OnceLock<T> {
    once: RawOnce,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: any thread may read the value (`Sync`), and the one that drops it may not be the
// one that made it (`Send`).
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Makes an empty one.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self {
            once: RawOnce::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// The value, if it has been made.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.once.is_done() {
            // SAFETY: nobody writes any more (invariant 1).
            unsafe { (*self.value.get()).as_ref() }
        } else {
            None
        }
    }

    /// The value, if it has been made.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Waits until somebody has made the value.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait(&self) -> &T {
        once::wait(&self.once, true, None);
        self.get().expect("waited for")
    }

    /// Waits until somebody has made the value, for at most `limit`.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Option<&T> {
        once::wait(&self.once, true, Instant::now().checked_add(limit))?;
        self.get()
    }

    /// Sets the value, having waited for whoever is making one.
    ///
    /// # Errors
    /// With `value`, if there is one already.
    ///
    /// # Cancellation
    /// As for [`get_or_init`](Self::get_or_init).
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        match value {
            None => Ok(()),
            Some(value) => Err(value),
        }
    }

    /// The value, which `f` makes if nobody has yet; waits for whoever is about to.
    ///
    /// # Panics
    /// If `f` panics, or comes back here.
    ///
    /// # Cancellation
    /// See [`OnceLock`]; one who is cancelled while somebody else initialises just unwinds.
    #[inline]
    #[track_caller]
    pub fn get_or_init<F: FnOnce() -> T>(&self, f: F) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        // SAFETY: it is for us alone to write (invariant 1).
        once::run(&self.once, true, |_| unsafe {
            *self.value.get() = Some(f());
        });
        self.get().expect("initialised")
    }

    /// Takes the value out.
    #[inline]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out, which makes it empty again.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        Self {
            once: RawOnce::done(),
            value: UnsafeCell::new(Some(value)),
        }
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get().cloned().map_or_else(Self::new, Self::from)
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => out.field(value),
            None => out.field(&format_args!("<uninit>")),
        };
        out.finish()
    }
}
