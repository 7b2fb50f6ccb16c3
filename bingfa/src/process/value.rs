//! `Value`: a number, or other plain data, that processes share, with its lock.

use std::fmt;
use std::io;

use super::Pod;
use super::mutex::{Mutex, MutexGuard};
use super::poison::{LockResult, PoisonError};

/// Plain data that processes share, with a lock: [`get`](Self::get), [`set`](Self::set), and
/// [`update`](Self::update) for a change that nobody may come between.
///
/// A handle, like [`Mutex`], which it consists of. Without a lock: [`RawValue`](super::RawValue).
///
/// # Examples
/// ```
/// use bingfa::process::{self, Value};
///
/// let counter = Value::new(0u64)?;
/// let children: Vec<_> = (0..4)
///     .map(|_| {
///         process::spawn(counter.clone(), |counter: Value<u64>| {
///             for _ in 0..100 {
///                 counter.update(|n| *n += 1);
///             }
///         })
///     })
///     .collect();
/// for child in children {
///     child.join().unwrap();
/// }
/// assert_eq!(counter.get(), 400);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "multiprocessing.Value")]
#[doc(alias = "Synchronized")]
pub struct Value<T: Pod>(Mutex<T>);

impl<T: Pod> Value<T> {
    /// Makes one with this value.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new(value: T) -> io::Result<Self> {
        Mutex::new(value).map(Self)
    }

    /// The value.
    ///
    /// # Panics
    /// If an earlier owner of the lock panicked or ended while it changed the value; see
    /// [`lock`](Self::lock). In a plain `fork()` of a process that has the handle.
    ///
    /// # Cancellation
    /// A cancelled coroutine unwinds.
    #[track_caller]
    #[must_use]
    pub fn get(&self) -> T {
        *whole(self.lock())
    }

    /// Sets the value.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    ///
    /// # Cancellation
    /// A cancelled coroutine unwinds, and has changed nothing.
    #[track_caller]
    pub fn set(&self, value: T) {
        *whole(self.lock()) = value;
    }

    /// Changes the value while nobody else can see it.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    ///
    /// # Cancellation
    /// As for [`set`](Self::set), while it waits for the lock.
    #[track_caller]
    pub fn update<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut guard = whole(self.lock());
        f(&mut guard)
    }

    /// Waits for the lock; the guard gives the value.
    ///
    /// # Errors
    /// With the guard, if the lock is poisoned.
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    ///
    /// # Cancellation
    /// A cancelled coroutine unwinds without the lock.
    #[track_caller]
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.0.lock()
    }

    /// The lock, with all that it can do.
    pub fn mutex(&self) -> &Mutex<T> {
        &self.0
    }
}

#[track_caller]
fn whole<G>(locked: LockResult<G>) -> G {
    locked.unwrap_or_else(|error: PoisonError<G>| panic!("bingfa: a shared value: {error}"))
}

impl<T: Pod> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.0).finish()
    }
}

impl<T: Pod> serde::Serialize for Value<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As its lock, whose layout it has; but an error names this type.
        let token = self.0.shared().export::<Self, S::Error>()?;
        token.serialize(serializer)
    }
}

impl<'de, T: Pod> serde::Deserialize<'de> for Value<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Mutex::deserialize(deserializer).map(Self)
    }
}
