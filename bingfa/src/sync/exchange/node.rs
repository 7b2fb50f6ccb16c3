//! A waiter: a node on the frame (or in the future) that waits, linked into a list of the exchange.
//!
//! # Invariants
//! 1. `inside` is touched with the exchange locked while the node is linked, and only by its
//!    owner otherwise.
//! 2. A linked node stays where it is. Its owner unlinks it, or sees that somebody has,
//!    before it moves or goes.
//! 3. Who unlinks a node that is not its own sets `end` as its last touch: from then on
//!    the node belongs to its owner again. (A node that lost its claim is left to its owner
//!    with `end` unset; that one comes with the lock held.)
//!
//! # Memory ordering
//! The Release store of `end` pairs with its owner's Acquire load: the item and all that
//! its giver wrote are visible to the owner.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::park::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
    UnsafeCell,
};
use crate::park::select::Claim;

/// How a wait in the line has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum End {
    /// The item was taken, or is there.
    Served = 1,
    /// The exchange was closed; the item of a put is still there.
    Closed = 2,
    /// There is room, but the item could not be moved: the put is to try again itself.
    Retry = 3,
}

pub(super) struct Node<T, W> {
    /// 0 while nobody has ended the wait.
    end: AtomicU32,
    pub(super) inside: UnsafeCell<Inside<T, W>>,
}

pub(super) struct Inside<T, W> {
    previous: Option<NonNull<Node<T, W>>>,
    next: Option<NonNull<Node<T, W>>>,
    pub(super) linked: bool,
    /// What a put offers, or what a get was given.
    pub(super) item: Option<T>,
    /// Whom to wake.
    pub(super) waiter: Option<W>,
    /// Of an arm of a select.
    pub(super) claim: Option<(NonNull<Claim>, u32)>,
}

impl<T, W> Node<T, W> {
    pub(super) fn new(item: Option<T>) -> Self {
        Self {
            end: AtomicU32::new(0),
            inside: UnsafeCell::new(Inside {
                previous: None,
                next: None,
                linked: false,
                item,
                waiter: None,
                claim: None,
            }),
        }
    }

    /// How the wait has ended, if it has.
    #[inline(always)]
    pub(super) fn end(&self) -> Option<End> {
        match self.end.load(Acquire) {
            0 => None,
            1 => Some(End::Served),
            2 => Some(End::Closed),
            _ => Some(End::Retry),
        }
    }

    /// The owner gets it ready for another wait.
    pub(super) fn reset(&mut self) {
        self.end = AtomicU32::new(0);
    }

    /// The inside of an unlinked node, for its owner.
    pub(super) fn own<R>(&mut self, f: impl FnOnce(&mut Inside<T, W>) -> R) -> R {
        // SAFETY: exclusive, so it is not linked (invariant 2): nobody else touches it.
        self.inside.with_mut(|inside| f(unsafe { &mut *inside }))
    }
}

/// Waiters in the order of their arrival.
pub(super) struct List<T, W> {
    head: Option<NonNull<Node<T, W>>>,
    tail: Option<NonNull<Node<T, W>>>,
}

/// Access to the inside of a node.
///
/// # Safety
/// The exchange is locked and the node is linked, or about to be, or the caller's own.
#[inline(always)]
pub(super) unsafe fn inside<T, W, R>(
    node: NonNull<Node<T, W>>,
    f: impl FnOnce(&mut Inside<T, W>) -> R,
) -> R {
    // SAFETY: valid (invariant 2) and nobody else's now (invariant 1, the caller).
    unsafe { node.as_ref() }
        .inside
        .with_mut(|inside| f(unsafe { &mut *inside }))
}

/// What it takes to wake somebody after its node was given back: called with the exchange
/// locked, before that.
pub(crate) trait Hold {
    /// Enough to be woken by the caller as soon as the lock is open, before anything else.
    fn hold(self) -> Self;

    /// Enough to be woken at any time.
    fn own(self) -> Self;
}

/// Ends the wait of a node that the caller has unlinked; gives the one to wake, as `hold` has it.
///
/// # Safety
/// The exchange is locked, and `node` was unlinked under this very lock by the caller.
#[inline]
pub(super) unsafe fn finish<T, W: Hold>(
    node: NonNull<Node<T, W>>,
    end: End,
    hold: fn(W) -> W,
) -> Option<W> {
    // SAFETY: unlinked by us and not ended, so still ours (invariant 3).
    let waiter = unsafe { inside(node, |inside| inside.waiter.take().map(hold)) };
    // SAFETY: as above; after this the node may be gone.
    unsafe { node.as_ref() }.end.store(end as u32, Release);
    waiter
}

impl<T, W> List<T, W> {
    pub(super) const fn new() -> Self {
        Self {
            head: None,
            tail: None,
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// # Safety
    /// The exchange is locked; the node is linked nowhere and invariant 2 holds for it.
    pub(super) unsafe fn push(&mut self, node: NonNull<Node<T, W>>) {
        // SAFETY: about to be linked, and locked (caller); the tail is linked here.
        unsafe {
            inside(node, |inside| {
                inside.previous = self.tail;
                inside.next = None;
                inside.linked = true;
            });
            match self.tail {
                Some(tail) => inside(tail, |inside| inside.next = Some(node)),
                None => self.head = Some(node),
            }
        }
        self.tail = Some(node);
    }

    /// # Safety
    /// The exchange is locked and the node is linked in this list.
    pub(super) unsafe fn remove(&mut self, node: NonNull<Node<T, W>>) {
        // SAFETY: linked, and so are its neighbours; locked (caller).
        unsafe {
            let (previous, next) = inside(node, |inside| {
                inside.linked = false;
                (inside.previous, inside.next)
            });
            match previous {
                Some(previous) => inside(previous, |inside| inside.next = next),
                None => self.head = next,
            }
            match next {
                Some(next) => inside(next, |inside| inside.previous = previous),
                None => self.tail = previous,
            }
        }
    }

    /// Unlinks the first that can be served, and wins its claim. The caller ends its wait.
    ///
    /// # Safety
    /// The exchange is locked.
    #[inline]
    pub(super) unsafe fn pop(&mut self) -> Option<NonNull<Node<T, W>>> {
        loop {
            let node = self.head?;
            // SAFETY: the head is linked; locked (caller).
            let claim = unsafe {
                self.remove(node);
                inside(node, |inside| inside.claim)
            };
            // SAFETY: a claim outlives the links of its nodes (`Selectable::delist`, which
            // takes the lock that the caller holds).
            if claim.is_none_or(|(claim, arm)| unsafe { claim.as_ref() }.win(arm)) {
                return Some(node);
            }
        }
    }

    /// Whether somebody waits whom an attempt could serve, other than an arm of `own`.
    ///
    /// # Safety
    /// The exchange is locked.
    pub(super) unsafe fn has_other_than(&self, own: &Claim) -> bool {
        let mut next = self.head;
        while let Some(node) = next {
            // SAFETY: linked and locked; claims outlive the links of their nodes.
            let live = unsafe {
                inside(node, |inside| {
                    next = inside.next;
                    inside.claim.is_none_or(|(claim, _)| {
                        !std::ptr::eq(claim.as_ptr(), own) && claim.as_ref().is_open()
                    })
                })
            };
            if live {
                return true;
            }
        }
        false
    }
}
