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

/// Why there is a value after all kinds of waits for one.
const MADE: &str = "done, so there is a value";
/// Why the one value of a `set` is there to be moved.
const ONCE: &str = "an initialiser is called once";

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
        self.wait_until(None).expect(MADE)
    }

    /// Waits until somebody has made the value, for at most `limit`.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Option<&T> {
        self.wait_until(Instant::now().checked_add(limit))
    }

    /// Waits until somebody has made the value, or `deadline`.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<&T> {
        self.wait_until(Some(deadline))
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> Option<&T> {
        once::wait(&self.once, true, deadline)?;
        self.get()
    }

    /// Waits, as an async task, until somebody has made the value.
    ///
    /// # Cancellation
    /// Dropping the future leaves; there is nothing to lose.
    pub async fn wait_async(&self) -> &T {
        once::wait_async(&self.once, true).await;
        self.get().expect(MADE)
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
        self.set_until(None, value)
    }

    /// As [`set`](Self::set), waiting for at most `limit`.
    ///
    /// # Errors
    /// With `value`, if there is one already or somebody is still making one.
    ///
    /// # Cancellation
    /// As for [`get_or_init`](Self::get_or_init).
    #[track_caller]
    pub fn set_timeout(&self, limit: Duration, value: T) -> Result<(), T> {
        self.set_until(Instant::now().checked_add(limit), value)
    }

    /// As [`set_timeout`](Self::set_timeout), waiting until `deadline`.
    ///
    /// # Errors
    /// As for [`set_timeout`](Self::set_timeout).
    ///
    /// # Cancellation
    /// As for [`get_or_init`](Self::get_or_init).
    #[track_caller]
    pub fn set_deadline(&self, deadline: Instant, value: T) -> Result<(), T> {
        self.set_until(Some(deadline), value)
    }

    #[track_caller]
    fn set_until(&self, deadline: Option<Instant>, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.init_until(deadline, || value.take().expect(ONCE));
        value.map_or(Ok(()), Err)
    }

    /// As [`set`](Self::set), for async tasks.
    ///
    /// # Errors
    /// With `value`, if there is one already.
    ///
    /// # Cancellation
    /// A future that is dropped while it waits drops `value`.
    pub async fn set_async(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init_async(async || value.take().expect(ONCE))
            .await;
        value.map_or(Ok(()), Err)
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
        self.init_until(None, f).expect(MADE)
    }

    /// As [`get_or_init`](Self::get_or_init), but waits for somebody else's for at most `limit`;
    /// `None`: that was not made in time. `f` itself has no limit.
    ///
    /// # Panics
    /// If `f` panics, or comes back here.
    ///
    /// # Cancellation
    /// As for [`get_or_init`](Self::get_or_init).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::sync::OnceLock;
    ///
    /// static CONFIG: OnceLock<u32> = OnceLock::new();
    /// // Nobody else is about to make one.
    /// assert_eq!(CONFIG.get_or_init_timeout(Duration::ZERO, || 7), Some(&7));
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_init_timeout<F: FnOnce() -> T>(&self, limit: Duration, f: F) -> Option<&T> {
        self.init_until(Instant::now().checked_add(limit), f)
    }

    /// As [`get_or_init_timeout`](Self::get_or_init_timeout), waiting until `deadline`.
    ///
    /// # Panics
    /// If `f` panics, or comes back here.
    ///
    /// # Cancellation
    /// As for [`get_or_init`](Self::get_or_init).
    #[inline]
    #[track_caller]
    pub fn get_or_init_deadline<F: FnOnce() -> T>(&self, deadline: Instant, f: F) -> Option<&T> {
        self.init_until(Some(deadline), f)
    }

    #[inline]
    #[track_caller]
    fn init_until(&self, deadline: Option<Instant>, f: impl FnOnce() -> T) -> Option<&T> {
        if let Some(value) = self.get() {
            return Some(value);
        }
        // SAFETY: it is for us alone to write (invariant 1).
        once::run(&self.once, true, deadline, |_| unsafe {
            *self.value.get() = Some(f());
        })?;
        self.get()
    }

    /// As [`get_or_init`](Self::get_or_init), for async tasks.
    ///
    /// An `f` that comes back here waits for itself for ever.
    ///
    /// # Panics
    /// If `f` panics.
    ///
    /// # Cancellation
    /// Dropped while its `f` runs, that has not run. Dropped while it waits, it leaves.
    ///
    /// # Examples
    /// ```
    /// # async fn doc() {
    /// use bingfa::sync::OnceLock;
    ///
    /// static CONFIG: OnceLock<String> = OnceLock::new();
    /// let config = CONFIG.get_or_init_async(async || "made once".to_owned()).await;
    /// assert_eq!(config, "made once");
    /// # }
    /// ```
    pub async fn get_or_init_async<F: AsyncFnOnce() -> T>(&self, f: F) -> &T {
        if self.get().is_none() {
            once::run_async(&self.once, true, async |_| {
                let value = f().await;
                // SAFETY: it is for us alone to write (invariant 1).
                unsafe { *self.value.get() = Some(value) };
            })
            .await;
        }
        self.get().expect(MADE)
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
