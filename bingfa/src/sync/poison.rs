//! Poisoning, as in std, except that a cancel is an early return and poisons nothing.

pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use crate::park::cancel;

/// What a guard remembers from when it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    /// 0: not. A word, as guards are moved a lot: padding is copied in pieces, which the
    /// processor then waits for.
    unwinding: usize,
}

impl Before {
    #[inline(always)]
    pub(super) fn now() -> Self {
        Self {
            unwinding: usize::from(cancel::is_unwinding()),
        }
    }

    /// A panic of the guard's carrier has begun since, and unwinds through the guard.
    #[inline(always)]
    pub(super) fn panics(self) -> bool {
        self.unwinding == 0 && cancel::is_panicking()
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

/// What a call gives that may not get the lock: `locked`, if it `got` it.
#[inline(always)]
pub(super) fn wrap_try<G>(got: bool, locked: impl FnOnce() -> LockResult<G>) -> TryLockResult<G> {
    if got {
        Ok(locked()?)
    } else {
        Err(TryLockError::WouldBlock)
    }
}
