//! Poisoning, as in std, except that a cancel is an early return and poisons nothing.

pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use crate::park::cancel;

/// What a guard remembers from when it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    panicking: bool,
}

impl Before {
    #[inline(always)]
    pub(super) fn now() -> Self {
        Self {
            panicking: std::thread::panicking(),
        }
    }

    /// A panic of the guard's carrier has begun since, and unwinds through the guard.
    #[inline(always)]
    pub(super) fn panics(self) -> bool {
        !self.panicking && std::thread::panicking() && cancel::is_own_panic()
    }
}

/// The guard, as an error if the lock is poisoned.
#[inline(always)]
pub(super) fn wrap<G>(poisoned: bool, guard: G) -> LockResult<G> {
    if poisoned {
        Err(PoisonError::new(guard))
    } else {
        Ok(guard)
    }
}

/// The same for a call that may not get the lock.
pub(super) fn wrap_try<G>(poisoned: bool, guard: G) -> TryLockResult<G> {
    Ok(wrap(poisoned, guard)?)
}
