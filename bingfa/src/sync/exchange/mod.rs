//! The exchange: items on their way from those who put to those who get, through a store or
//! directly. What all queues and channels are made of.
//!
//! A put that finds a waiting get hands its item straight into that one's frame; a get that
//! takes from a full store moves the item of the put that waited longest into it. So nobody
//! who was served has to compete again, and who waits longest is served first. Without room
//! (capacity 0) every item passes from frame to frame: a rendezvous.
//!
//! Waiters are nodes on the frames of those who wait ([`node`]); all of an exchange is behind
//! one short lock ([`lock`]), held for some instructions and never across a wait. Each step
//! under it is in [`state`]; [`blocking`] waits as a thread or coroutine, [`pending`] as a
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

use std::ptr::NonNull;

pub use error::{Closed, GetError, PutError, TooManyDone, Unfinished};
pub use heap::Priority;
pub use order::{Fifo, Lifo, Order};
#[cfg(not(loom))]
pub use pending::{Get, Join, Put};

#[cfg(not(loom))]
use lock::Lock;
#[cfg(loom)]
use models::Lock;
use node::{End, Node};
use state::{Entered, Line, State};

/// The exchange; `W` wakes those who wait in it.
pub(crate) struct Exchange<O: Order, W> {
    state: Lock<State<O, W>>,
}

impl<O: Order, W> Exchange<O, W> {
    /// With room for `capacity` items; `None`: for all.
    pub(crate) fn new(capacity: Option<usize>) -> Self {
        Self {
            state: Lock::new(State::new(capacity)),
        }
    }

    /// Serves the node at once or has it wait, woken by the waiter that it holds.
    ///
    /// # Safety
    /// The node is the caller's, and stays where it is until it has left or its wait has ended.
    unsafe fn enter(&self, line: Line, node: NonNull<Node<O::Item, W>>) -> Entered<W> {
        self.state.with(|state| {
            // SAFETY: the caller's node, not linked.
            let now = unsafe { node::inside(node, |inside| state.attempt(line, &mut inside.item)) };
            if let Entered::Waits = now {
                // SAFETY: not linked; it stays (caller).
                unsafe { state.enlist(line, node) };
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
        let waited = self.state.with(|state| unsafe { state.delist(line, node) });
        if waited {
            return None;
        }
        // SAFETY: as above. Whoever unlinked it did all of it under the lock that we have
        // just had, so this is final.
        unsafe { node.as_ref() }.end()
    }
}
