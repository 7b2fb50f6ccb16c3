//! One who waits: a node on its own frame, or in its pinned future.
//!
//! # Invariants
//! Those of the [room](super).

#![allow(unsafe_code)]

use std::marker::PhantomPinned;
use std::pin::Pin;
use std::ptr::{NonNull, null};

use super::queue::{self, Queue};
use super::{Held, Owner, Spot};
use crate::park::atomic::{
    AtomicUsize, MutexGuard,
    Ordering::{Acquire, Relaxed, Release},
    UnsafeCell,
};
use crate::park::carrier;
use crate::park::wait::{Queued, Unparker};
use crate::park::waits::Listing;

/// `served` of one that is in no queue.
const IDLE: usize = 0;
/// `served` of one that is in a queue. Above it: the token it was served with.
const QUEUED: usize = 1;

/// A place in a queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(super) key: AtomicUsize,
    /// [`IDLE`], [`QUEUED`], or above that by the token it was served with, plus 1.
    served: AtomicUsize,
    id: u64,
    inner: UnsafeCell<Inner>,
    pub(super) listing: Listing,
    _pin: PhantomPinned,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) previous: *const Waiter,
    pub(super) next: *const Waiter,
    /// Somebody further behind in the queue, whom a waker fetches from memory in time. A hint:
    /// it may have gone.
    pub(super) ahead: *const Waiter,
    pub(super) arrival: u64,
    pub(super) tag: u64,
    pub(super) owner: Owner,
    pub(super) who: Option<Queued>,
}

// SAFETY: `inner` is guarded by the bucket's lock (invariant 2); what it points to is
// other waiters, guarded likewise, and words of locks, which are atomic.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

/// # Safety
/// The node's bucket is locked and the node alive, or it is the caller's own and not queued.
#[inline]
pub(super) unsafe fn inner<R>(waiter: *const Waiter, f: impl FnOnce(&mut Inner) -> R) -> R {
    // SAFETY: the caller's duty, by invariant 2; closures passed here touch this node only.
    unsafe { (*waiter).inner.with_mut(|inner| f(&mut *inner)) }
}

/// Gives a waiter that has left its queue its token; the node is its owner's again.
///
/// # Safety
/// The bucket is still locked.
#[inline]
pub(super) unsafe fn hand_out(waiter: NonNull<Waiter>, token: usize) -> Option<Unparker> {
    // SAFETY: not served yet, so still there: its owner has to lock this bucket to leave.
    unsafe {
        let who = inner(waiter.as_ptr(), |this| this.who.take());
        let release = || waiter.as_ref().served.store(QUEUED + 1 + token, Release);
        who.expect("queued with it").wake_after(release)
    }
}

/// What a waiter waits for.
///
/// # Safety
/// The bucket is locked and the waiter in it.
pub(super) unsafe fn held(waiter: NonNull<Waiter>) -> Held {
    // SAFETY: the caller's duty. While it is queued, its lock is borrowed by the wait, so the
    // word is alive.
    unsafe {
        let (arrival, owner) = inner(waiter.as_ptr(), |this| {
            // It is about to leave, though it may have to be resumed for that first.
            let leaves = this.who.as_ref().is_some_and(Queued::is_cancelled);
            let owner = if leaves { Owner::None } else { this.owner };
            (this.arrival, owner)
        });
        Held {
            key: waiter.as_ref().key(),
            arrival,
            owner: match owner {
                // Relaxed: those who need more than a hint look twice.
                Owner::Word(word) => carrier::owner(word.as_ref().load(Relaxed)),
                Owner::None | Owner::Later => None,
            },
        }
    }
}

impl Waiter {
    /// One that is not queued yet, of the carrier `id`.
    pub(crate) fn new(id: u64) -> Self {
        Self {
            key: AtomicUsize::new(0),
            served: AtomicUsize::new(IDLE),
            id,
            inner: UnsafeCell::new(Inner {
                previous: null(),
                next: null(),
                ahead: null(),
                arrival: 0,
                tag: 0,
                owner: Owner::None,
                who: None,
            }),
            listing: Listing::new(),
            _pin: PhantomPinned,
        }
    }

    /// Queues it if `valid` (asked with the bucket locked) holds. It must not be queued.
    pub(crate) fn enqueue(
        self: Pin<&Self>,
        spot: Spot,
        who: Queued,
        valid: impl FnOnce() -> bool,
    ) -> bool {
        debug_assert!(!self.is_queued());
        let this = NonNull::from(self.get_ref());
        // SAFETY: not queued, so its inner part is ours.
        unsafe {
            inner(this.as_ptr(), |inner| {
                inner.tag = spot.tag;
                inner.owner = spot.owner;
                inner.who = Some(who);
            });
        }
        let mut queue = queue::lock(spot.key);
        if !valid() {
            return false;
        }
        // Release: whoever finds it queued, without a lock, finds which bucket to lock.
        self.key.store(spot.key, Relaxed);
        self.served.store(QUEUED, Release);
        // SAFETY: pinned, and from now on in this queue alone (invariant 1).
        unsafe { queue.push(this, spot.again) };
        true
    }

    #[inline]
    fn is_queued(&self) -> bool {
        self.served.load(Acquire) == QUEUED
    }

    /// The token it was served with.
    #[inline]
    pub(crate) fn served(&self) -> Option<usize> {
        self.served.load(Acquire).checked_sub(QUEUED + 1)
    }

    /// The same, once: it can be queued again.
    pub(crate) fn collect(&self) -> Option<usize> {
        let token = self.served();
        if token.is_some() {
            self.served.store(IDLE, Relaxed); // its owner's alone
        }
        token
    }

    /// The key at which it waits, or waited last.
    pub(crate) fn key(&self) -> usize {
        self.key.load(Relaxed) // a hint while it is queued, its owner's otherwise
    }

    /// Who it is; [`carrier::ANONYMOUS`] for async tasks.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What it waits for; `None`: it is in no queue.
    pub(crate) fn held(&self) -> Option<Held> {
        let _queue = self.lock()?;
        // SAFETY: queued, and its bucket is locked.
        Some(unsafe { held(NonNull::from(self)) })
    }

    /// Locks its bucket; `None`: it is in no queue.
    fn lock(&self) -> Option<MutexGuard<'static, Queue>> {
        while self.is_queued() {
            let key = self.key.load(Relaxed); // checked again below
            let queue = queue::lock(key);
            // It may have been served, or moved to another queue, meanwhile.
            if self.is_queued() && self.key.load(Relaxed) == key {
                return Some(queue);
            }
        }
        None
    }

    /// Leaves the queue and gives `None`, having called `left` with the bucket locked:
    /// whether others are still at this key. Or gives the token it was served with first.
    pub(crate) fn withdraw(&self, left: impl FnOnce(bool)) -> Option<usize> {
        if let Some(mut queue) = self.lock() {
            // SAFETY: queued, and its bucket is locked.
            unsafe {
                queue.remove(NonNull::from(self));
                left(queue.find(queue.first, self.key()).is_some());
            }
            self.served.store(IDLE, Relaxed); // read by its owner alone from now on
        }
        self.served()
    }

    /// Replaces the waker of an async task; false: it is in no queue.
    pub(crate) fn refresh(&self, waker: &std::task::Waker) -> bool {
        if !self.is_queued() {
            return false;
        }
        // Cloned and dropped without the lock: wakers are other people's code.
        let mut who = Some(Queued::Other(Unparker::Async(waker.clone())));
        let Some(queue) = self.lock() else {
            return false;
        };
        // SAFETY: queued, and its bucket is locked.
        unsafe { inner(self, |inner| std::mem::swap(&mut inner.who, &mut who)) };
        drop(queue);
        true
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.withdraw(|_| ());
        self.listing.leave();
    }
}
