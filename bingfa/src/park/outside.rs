//! Waits for locks that are not of the lot (those between processes), as far as deadlocks and
//! snapshots have to know of them.
//!
//! Such a lock is asked who has it. Of a wait without a limit it is known by its number that it is
//! the same as a moment ago, as of one in the lot: the argument in [`deadlock`] holds
//! for both.
//!
//! # Invariants
//! 1. A wait is pinned while it is listed, and leaves the list when it is dropped.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomPinned;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
    fence,
};

use super::deadlock::{self, Deadlock};
use super::lot::Held;
use super::waits::{self, Listing, Of};
use super::{carrier, wait};

/// Who has a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The process.
    pub(crate) pid: u32,
    /// The thread or coroutine, if it is one of this process and known.
    pub(crate) carrier: Option<u64>,
}

/// Who has what this carrier waits for, if that is not of the lot.
pub(crate) fn holder_for(id: u64) -> Option<Holder> {
    waits::outside_holder(id)
}

/// Says who has a lock at this moment. It must not block.
pub(crate) type Ask<'a> = dyn Fn() -> Option<Holder> + Sync + 'a;

/// A wait for a lock that is not of the lot.
pub(crate) struct Outside {
    id: u64,
    key: usize,
    number: u64,
    /// It ends by itself, and is no part of a deadlock.
    ends: bool,
    /// Borrowed for as long as the wait lives.
    ask: NonNull<Ask<'static>>,
    listing: Listing,
    _pin: PhantomPinned,
}

// SAFETY: others only read what never changes, ask (which is `Sync`), and use the listing as
// its file says.
unsafe impl Sync for Outside {}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside")
            .field("id", &self.id)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Outside {
    /// Runs `f` with the calling carrier's wait for the lock with the address `key`, which ends
    /// by itself or not.
    pub(crate) fn with<R>(
        key: usize,
        ends: bool,
        ask: &Ask<'_>,
        f: impl FnOnce(Pin<&Outside>) -> R,
    ) -> R {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // SAFETY: only the lifetime changes: the wait lives in this frame, which borrows `ask`.
        let ask =
            unsafe { std::mem::transmute::<NonNull<Ask<'_>>, NonNull<Ask<'static>>>(ask.into()) };
        let wait = std::pin::pin!(Outside {
            id: carrier::id(),
            key,
            number: LAST.fetch_add(1, Relaxed), // the number itself is all that counts
            ends: ends || wait::may_expire(),
            ask,
            listing: Listing::new(),
            _pin: PhantomPinned,
        });
        f(wait.as_ref())
    }

    /// Lists it, when it is about to sleep. `Some`: it is the last of a deadlock and has to end,
    /// with this message; it is not listed any more.
    pub(crate) fn list(
        self: Pin<&Self>,
        what: &'static &'static str,
        at: &'static Location<'static>,
    ) -> Option<String> {
        let of = Of::Outside(NonNull::from(self.get_ref()));
        // SAFETY: a part of it, pinned; `Drop` leaves (invariant 1).
        unsafe { self.listing.enter(of, self.id, what, at) };
        if self.ends || deadlock::setting() == Deadlock::Off {
            return None;
        }
        fence(SeqCst); // of two who list themselves at the same time one finds the other
        let owner = self.holder()?.carrier?;
        deadlock::look(self.id, &self.listing, owner)
    }

    /// Who has what it waits for.
    pub(super) fn holder(&self) -> Option<Holder> {
        // SAFETY: borrowed by the frame that this lies in (see `with`).
        let ask = unsafe { self.ask.as_ref() };
        ask()
    }

    /// What it waits for, as deadlocks have to know; `None`: it ends by itself.
    pub(super) fn held(&self) -> Option<Held> {
        (!self.ends).then(|| Held {
            key: self.key,
            arrival: self.number,
            owner: self.holder().and_then(|holder| holder.carrier),
        })
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.listing.leave();
    }
}
