//! Who waits in the lot, by the carrier's id: the way from a lock's owner to what that one
//! waits for.
//!
//! A table of slots, chosen by the id. A slot is a list of [`Wait`]s, which lie on the waiting
//! frames: of one as a rule, as ids are given in rows. The lowest bit of its head is a lock,
//! held for a few instructions; one who is alone on the list comes and goes by a single
//! exchange without it.
//!
//! # Invariants
//! 1. A listed wait, and the waiter it points to, stay where they are until `leave` has taken
//!    it off the list; so what is found with the slot locked is alive.
//! 2. `next` changes only with the slot locked. It is null from the beginning for who came
//!    to an empty list, and once null it stays so: others come at the head.
//! 3. A slot is locked before a bucket of the lot and never the other way round.
//!
//! # Memory ordering
//! The `Release` of who comes or unlocks pairs with the `Acquire` of who locks, and of who
//! leaves: those who looked at a wait are done with it. The fence in `enter` stands between
//! coming and looking at others: of two who come at the same time at least one sees the other.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::{NonNull, null_mut};

use super::atomic::{
    AtomicBool, AtomicPtr,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence, spin_loop,
};
use super::lot::{Held, Waiter};

/// One carrier's wait for something that has an owner, or will have.
#[derive(Debug)]
pub(crate) struct Wait {
    id: u64,
    waiter: NonNull<Waiter>,
    what: &'static &'static str,
    at: &'static Location<'static>,
    listed: Cell<bool>,
    reported: AtomicBool,
    next: AtomicPtr<Wait>,
    _pin: PhantomPinned,
}

/// A [`Wait`] as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Who waits.
    pub(crate) id: u64,
    /// For what, held by whom. A wait that is begun anew has another number of arrival.
    pub(crate) held: Held,
    pub(crate) what: &'static str,
    pub(crate) at: &'static Location<'static>,
    /// It is part of a deadlock that was reported.
    pub(crate) reported: bool,
}

struct Slot(AtomicPtr<Wait>);

#[cfg(not(loom))]
mod table {
    use super::{AtomicPtr, Slot, null_mut};

    /// Most are never touched, and what is never touched takes no memory.
    const BITS: u32 = 16;

    static SLOTS: [Slot; 1 << BITS] = [const { Slot(AtomicPtr::new(null_mut())) }; 1 << BITS];

    #[inline]
    pub(super) fn slot(id: u64) -> &'static Slot {
        &SLOTS[id as usize % SLOTS.len()]
    }
}

#[cfg(loom)]
mod table {
    use super::{AtomicPtr, Slot, null_mut};

    loom::lazy_static! {
        static ref SLOTS: [Slot; 2] = [0, 1].map(|_| Slot(AtomicPtr::new(null_mut())));
    }

    pub(super) fn slot(id: u64) -> &'static Slot {
        &SLOTS[id as usize % 2]
    }
}

fn with_lock_bit(head: *mut Wait) -> *mut Wait {
    head.map_addr(|address| address | 1)
}

impl Slot {
    /// The first of the list.
    fn lock(&self) -> *mut Wait {
        loop {
            let head = self.0.load(Relaxed);
            if head.addr() & 1 == 0
                && self
                    .0
                    .compare_exchange_weak(head, with_lock_bit(head), Acquire, Relaxed)
                    .is_ok()
            {
                return head;
            }
            spin_loop();
        }
    }

    fn unlock(&self, head: *mut Wait) {
        self.0.store(head, Release);
    }
}

impl Wait {
    /// One that is not listed yet.
    pub(crate) fn new(
        id: u64,
        waiter: Pin<&Waiter>,
        what: &'static &'static str,
        at: &'static Location<'static>,
    ) -> Self {
        Self {
            id,
            waiter: NonNull::from(waiter.get_ref()),
            what,
            at,
            listed: Cell::new(false),
            reported: AtomicBool::new(false),
            next: AtomicPtr::new(null_mut()),
            _pin: PhantomPinned,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn this(&self) -> *mut Wait {
        std::ptr::from_ref(self).cast_mut()
    }

    /// From now on others find it.
    ///
    /// # Safety
    /// The waiter outlives it.
    #[inline]
    pub(crate) unsafe fn enter(self: Pin<&Self>) {
        let slot = table::slot(self.id);
        self.listed.set(true);
        let alone = slot
            .0
            .compare_exchange(null_mut(), self.this(), Release, Relaxed);
        if alone.is_err() {
            let head = slot.lock();
            self.next.store(head, Relaxed); // published by the next line
            slot.unlock(self.this());
        }
        fence(SeqCst);
    }

    /// Nobody finds it any more.
    #[inline]
    pub(crate) fn leave(&self) {
        if !self.listed.replace(false) {
            return;
        }
        let slot = table::slot(self.id);
        // Relaxed: null means null for ever (invariant 2).
        let alone = self.next.load(Relaxed).is_null()
            && slot
                .0
                .compare_exchange(self.this(), null_mut(), AcqRel, Relaxed)
                .is_ok();
        if !alone {
            self.unlink(slot);
        }
    }

    #[cold]
    fn unlink(&self, slot: &Slot) {
        let mut head = slot.lock();
        let next = self.next.load(Relaxed); // the slot is locked, here and below
        if head == self.this() {
            head = next;
        } else {
            let mut before = head;
            // SAFETY: on the list of a locked slot (invariant 1), and so are we, further down.
            unsafe {
                while (*before).next.load(Relaxed) != self.this() {
                    before = (*before).next.load(Relaxed);
                }
                (*before).next.store(next, Relaxed);
            }
        }
        slot.unlock(head);
    }

    /// What it waits for, if it is queued.
    pub(crate) fn held(&self) -> Option<Held> {
        // SAFETY: the waiter outlives it (`enter`).
        unsafe { self.waiter.as_ref() }.held()
    }

    /// A report names it.
    pub(crate) fn set_reported(&self) {
        self.reported.store(true, Relaxed); // ordered by the lock of the reports
    }

    fn edge(&self) -> Option<Edge> {
        Some(Edge {
            id: self.id,
            held: self.held()?,
            what: self.what,
            at: self.at,
            reported: self.reported.load(Relaxed), // as in `set_reported`
        })
    }
}

impl Drop for Wait {
    #[inline]
    fn drop(&mut self) {
        self.leave();
    }
}

/// False: this carrier is not listed. After a fence.
#[inline]
pub(crate) fn may_wait(id: u64) -> bool {
    !table::slot(id).0.load(Relaxed).is_null() // ordered by the caller's fence
}

/// What this carrier waits for.
fn edge_of(id: u64) -> Option<Edge> {
    let slot = table::slot(id);
    let head = slot.lock();
    let mut next = head;
    let mut edge = None;
    // SAFETY: on the list of a locked slot (invariant 1).
    while let Some(wait) = unsafe { next.as_ref() } {
        if wait.id == id {
            edge = wait.edge();
            break;
        }
        next = wait.next.load(Relaxed);
    }
    slot.unlock(head);
    edge
}

/// Those who wait for one another, from `id` on back to `id`, if they are a circle. Each part
/// of it is seen at another moment.
pub(crate) fn circle(id: u64) -> Option<Vec<Edge>> {
    let mut edges = Vec::new();
    let mut milestone = id;
    let mut next = id;
    loop {
        let edge = edge_of(next)?;
        next = edge.held.owner?;
        edges.push(edge);
        if next == id {
            return Some(edges);
        }
        // A circle that `id` waits for and is not part of comes by the milestone again.
        if next == milestone {
            return None;
        }
        if edges.len().is_power_of_two() {
            milestone = next;
        }
    }
}
