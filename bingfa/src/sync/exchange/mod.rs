//! The exchange: items on their way from those who put to those who get, through a store or
//! directly. What all queues and channels are made of.
//!
//! A put that finds a waiting get hands its item straight into that one's frame; a get that
//! takes from a full store moves the item of the put that waited longest into it. So nobody
//! who was served has to compete again, and who waits longest is served first. Without room
//! (capacity 0) every item passes from frame to frame: a rendezvous.
//!
//! Waiters are nodes on the frames of those who wait ([`node`]); an exchange is behind
//! two short locks ([`lock`]), one for each end, held for some instructions and never across
//! a wait. Each step under them is in [`state`]; [`blocking`] waits as a thread or coroutine, [`pending`] as a
//! future or as an arm of a select.

#![allow(unsafe_code)]

#[cfg(not(loom))]
mod blocking;
#[cfg(not(loom))]
pub(crate) mod ends;
mod error;
mod heap;
mod lock;
#[cfg(loom)]
mod models;
mod node;
mod order;
#[cfg(not(loom))]
mod pending;
mod state;
#[cfg(not(loom))]
mod waiter;

use std::ptr::NonNull;

pub use error::{Closed, GetError, PutError, SendTimeoutError, TooManyDone, Unfinished};
pub use heap::Priority;
pub use order::{Fifo, Lifo, Order};
#[cfg(not(loom))]
pub use pending::{Get, Join, Put};

#[cfg(not(loom))]
use lock::Lock;
#[cfg(loom)]
use models::Bell as Waiter;
#[cfg(loom)]
use models::Lock;
use node::{End, Hold, Node};
use state::{All, Entered, Head, Line, Tail};
#[cfg(not(loom))]
use waiter::Waiter;

/// The exchange; `W` wakes those who wait in it.
pub(crate) struct Exchange<O: Order, W = Waiter> {
    tail: Lock<Tail<O, W>>,
    head: Lock<Head<O>>,
    /// Whether it has a head: not for a rendezvous, nor where order forbids it.
    splits: bool,
}

/// Settles what each end may do alone, also when a comparison has panicked.
struct Settles<'a, O: Order, W: Hold>(All<'a, O, W>);

impl<O: Order, W: Hold> Drop for Settles<'_, O, W> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.settle();
    }
}

impl<O: Order, W: Hold> Exchange<O, W> {
    /// With room for `capacity` items; `None`: for all.
    pub(crate) fn new(capacity: Option<usize>) -> Self {
        let exchange = Self {
            tail: Lock::new(Tail::new(capacity)),
            head: Lock::new(Head::new()),
            splits: O::SPLITS && capacity != Some(0),
        };
        exchange.all(|_| {});
        exchange
    }

    /// Runs `f` on all of it, alone.
    #[inline(always)]
    fn all<R>(&self, f: impl FnOnce(&mut All<'_, O, W>) -> R) -> R {
        let (mut head, mut tail) = if self.splits {
            (Some(self.head.lock()), self.tail.lock())
        } else {
            (None, self.tail.lock_patiently())
        };
        let mut all = Settles(All {
            tail: &mut tail,
            head: head.as_deref_mut(),
        });
        f(&mut all.0)
    }

    /// Puts the item with the tail's lock alone; false, and it stays in the slot, if that is
    /// not enough.
    #[inline(always)]
    fn put_quickly(&self, slot: &mut Option<O::Item>) -> bool {
        self.splits && self.tail.lock().put(slot)
    }

    /// Takes an item with the head's lock alone, if that is enough.
    #[inline(always)]
    fn get_quickly(&self) -> Option<O::Item> {
        if self.splits {
            self.head.lock().get()
        } else {
            None
        }
    }

    /// Serves the node at once or has it wait; then `waiter` says whom to wake.
    ///
    /// # Safety
    /// The node is the caller's, and stays where it is until it has left or its wait has ended.
    #[inline(always)]
    unsafe fn enter(
        &self,
        line: Line,
        node: NonNull<Node<O::Item, W>>,
        waiter: impl FnOnce() -> W,
    ) -> Entered<W> {
        self.all(|state| {
            // SAFETY: the caller's node, not linked.
            let now = unsafe { node::inside(node, |inside| state.attempt(line, &mut inside.item)) };
            if let Entered::Waits = now {
                // SAFETY: the caller's, not linked; it stays (caller).
                unsafe {
                    node::inside(node, |inside| inside.waiter = Some(waiter()));
                    state.enlist(line, node);
                }
            }
            now
        })
    }

    /// Ends the wait of a node, from its owner's side: `None` if nobody has served it, nor will.
    ///
    /// # Safety
    /// The node is the caller's and has entered that line.
    unsafe fn leave(&self, line: Line, node: NonNull<Node<O::Item, W>>) -> Option<End> {
        // SAFETY: the caller's node.
        let waited = self.all(|state| unsafe { state.delist(line, node) });
        if waited {
            return None;
        }
        // SAFETY: as above. Whoever unlinked it did all of it under the lock that we have
        // just had, so this is final.
        unsafe { node.as_ref() }.end()
    }
}
