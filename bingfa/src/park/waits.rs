//! Who waits for what has an owner, by the carrier's id: the way from a lock's owner to what that
//! one waits for.
//!
//! A table of slots, chosen by the id. A slot is a list of [`Listing`]s, each a part of a
//! [`Waiter`] in the lot, or of an [`Outside`] wait: of one as a rule, as ids are given in rows.
//! The lowest bit of its head is a lock, held for a few instructions; one who is alone on the list comes and goes by a single
//! exchange without it. A waiter is listed from its first wait on until it goes; in between it
//! may be woken and queue again many times. Who waits for nothing that has an owner, but may be
//! moved to where that is so, only prepares to be listed, by whoever moves it.
//!
//! # Invariants
//! 1. A waiter stays where it is until `leave` has taken it off the list; so what is found
//!    with the slot locked is alive. What is said of the wait does not change while it is listed.
//! 2. `next` changes only with the slot locked. It is null from the beginning for who came
//!    to an empty list, and once null it stays so: others come at the head.
//! 3. A slot is locked before a bucket of the lot and never the other way round: who lists
//!    others, with buckets locked, does so by the single exchange or not at all.
//! 4. `wait` and `listed` are their waiter's own, or belong to whoever has its bucket locked
//!    while it is queued.
//!
//! # Memory ordering
//! The `Release` of who comes or unlocks pairs with the `Acquire` of who locks, and of who
//! leaves: those who looked at a waiter are done with it.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::panic::Location;
use std::ptr::{NonNull, null_mut};

use super::atomic::{
    AtomicBool, AtomicPtr,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    spin_loop,
};
use super::lot::{Held, Waiter};
#[cfg(not(loom))]
use super::outside::{Holder, Outside};

/// A waiter's place in the table.
#[derive(Debug)]
pub(super) struct Listing {
    /// What it belongs to, if it is listed or may come to be.
    wait: Cell<Option<Wait>>,
    listed: Cell<bool>,
    reported: AtomicBool,
    next: AtomicPtr<Listing>,
}

/// A wait for something that has an owner, or will have.
#[derive(Clone, Copy, Debug)]
struct Wait {
    id: u64,
    of: Of,
    what: &'static &'static str,
    at: &'static Location<'static>,
}

/// What knows for what it waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    Lot(NonNull<Waiter>),
    #[cfg(not(loom))]
    Outside(NonNull<Outside>),
}

/// A wait as it was found.
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

struct Slot(AtomicPtr<Listing>);

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

fn with_lock_bit(head: *mut Listing) -> *mut Listing {
    head.map_addr(|address| address | 1)
}

impl Slot {
    /// The first of the list.
    fn lock(&self) -> *mut Listing {
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

    fn unlock(&self, head: *mut Listing) {
        self.0.store(head, Release);
    }
}

impl Listing {
    /// One that is not listed.
    pub(super) fn new() -> Self {
        Self {
            wait: Cell::new(None),
            listed: Cell::new(false),
            reported: AtomicBool::new(false),
            next: AtomicPtr::new(null_mut()),
        }
    }

    fn this(&self) -> *mut Listing {
        std::ptr::from_ref(self).cast_mut()
    }

    /// Says for what its waiter, the carrier `id`, is about to wait: others find it from now on,
    /// if they did not before.
    ///
    /// # Safety
    /// It is a part of what it is `of`, which is pinned and calls `leave` before it goes.
    #[inline]
    pub(super) unsafe fn enter(
        &self,
        of: Of,
        id: u64,
        what: &'static &'static str,
        at: &'static Location<'static>,
    ) {
        if self.listed.get() {
            self.reported.store(false, Relaxed); // as in `set_reported`
            return;
        }
        self.prepare(of, id, what, at);
        // SAFETY: the caller's duty.
        if !unsafe { self.enter_prepared() } {
            self.link(table::slot(id));
        }
    }

    /// Says the same of a wait that may be turned into one for an owner by others, who then
    /// list it.
    #[inline]
    pub(super) fn prepare(
        &self,
        of: Of,
        id: u64,
        what: &'static &'static str,
        at: &'static Location<'static>,
    ) {
        self.wait.set(Some(Wait { id, of, what, at }));
    }

    /// As [`enter`](Self::enter), if it was prepared, but never waits: false, if others are in
    /// its slot. By whoever may touch its waiter.
    ///
    /// # Safety
    /// As for [`enter`](Self::enter).
    #[inline]
    pub(super) unsafe fn enter_prepared(&self) -> bool {
        let Some(wait) = self.wait.get() else {
            return true;
        };
        let alone = table::slot(wait.id)
            .0
            .compare_exchange(null_mut(), self.this(), Release, Relaxed)
            .is_ok();
        self.listed.set(alone);
        alone
    }

    #[cold]
    fn link(&self, slot: &Slot) {
        let head = slot.lock();
        self.next.store(head, Relaxed); // published by the next line
        slot.unlock(self.this());
        self.listed.set(true);
    }

    /// Nobody finds it any more.
    #[inline]
    pub(super) fn leave(&self) {
        if !self.listed.replace(false) {
            return;
        }
        let slot = table::slot(self.wait.get().expect("listed with it").id);
        // Relaxed: null means null for ever (invariant 2).
        let alone = self.next.load(Relaxed).is_null()
            && slot
                .0
                .compare_exchange(self.this(), null_mut(), AcqRel, Relaxed)
                .is_ok();
        if !alone {
            self.unlink(slot);
        }
        self.next.store(null_mut(), Relaxed); // ours again
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

    /// A report names the current wait.
    pub(super) fn set_reported(&self) {
        // Relaxed: looked at with the lock of the reports held, and by who begins anew.
        self.reported.store(true, Relaxed);
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
    while let Some(listing) = unsafe { next.as_ref() } {
        if let Some(wait) = listing.wait.get().filter(|wait| wait.id == id) {
            let held = match wait.of {
                // SAFETY: likewise.
                Of::Lot(waiter) => unsafe { waiter.as_ref() }.held(),
                // SAFETY: likewise.
                #[cfg(not(loom))]
                Of::Outside(wait) => unsafe { wait.as_ref() }.held(),
            };
            edge = held.map(|held| Edge {
                id,
                held,
                what: wait.what,
                at: wait.at,
                reported: listing.reported.load(Relaxed),
            });
            break;
        }
        next = listing.next.load(Relaxed);
    }
    slot.unlock(head);
    edge
}

/// Who has what this carrier waits for outside of the lot, if it does.
#[cfg(not(loom))]
pub(super) fn outside_holder(id: u64) -> Option<Holder> {
    let slot = table::slot(id);
    let head = slot.lock();
    let mut next = head;
    let mut holder = None;
    // SAFETY: on the list of a locked slot (invariant 1).
    while let Some(listing) = unsafe { next.as_ref() } {
        if let Some(Wait {
            id: who,
            of: Of::Outside(wait),
            ..
        }) = listing.wait.get()
            && who == id
        {
            // SAFETY: likewise.
            holder = unsafe { wait.as_ref() }.holder();
        }
        next = listing.next.load(Relaxed);
    }
    slot.unlock(head);
    holder
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
