//! Gets and puts that are under way as values: futures, and arms of a select.
//!
//! # Invariants
//! 1. The node is linked only while `Stage::Waits`. That is: between two polls of a pinned
//!    future, which `Drop` then takes out of the line; or between `enlist` and `delist` of an
//!    arm, while the select holds it by `&mut`.

#![allow(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::mem;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use super::Exchange;
use super::error::{Closed, GetError, PutError, Unfinished};
use super::node::{End, Node, inside};
use super::order::Order;
use super::state::{Entered, Line};
use super::waiter::Waiter;
use crate::park::select::{Selectable, Ticket};
use crate::park::wait::Unparker;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not in the line; nothing has happened yet.
    Idle,
    Waits,
    /// Over, and the result is in the node.
    Served,
    Closed,
    /// Over, and the result was taken.
    Taken,
}

/// What gets and puts have in common.
struct Pending<'a, O: Order> {
    exchange: &'a Exchange<O>,
    line: Line,
    stage: Stage,
    node: Node<O::Item, Waiter>,
    _pinned: PhantomPinned,
}

// SAFETY: the node's pointers lead to other nodes of the exchange, which are touched under its lock.
unsafe impl<O: Order + Send> Send for Pending<'_, O> where O::Item: Send {}

impl<'a, O: Order> Pending<'a, O> {
    fn new(exchange: &'a Exchange<O>, line: Line, item: Option<O::Item>) -> Self {
        Self {
            exchange,
            line,
            stage: Stage::Idle,
            node: Node::new(item),
            _pinned: PhantomPinned,
        }
    }

    fn end(&mut self, end: End) {
        self.stage = match end {
            End::Served => Stage::Served,
            End::Closed => Stage::Closed,
            End::Retry => Stage::Idle,
        };
    }

    /// Enters the line, unless it is over at once.
    ///
    /// # Safety
    /// The value stays where it is until it has left the line or is dropped.
    unsafe fn enter(&mut self, waiter: Waiter) {
        self.node.reset();
        self.node.own(|inside| inside.claim = None);
        // SAFETY: the caller's duty; `Drop` leaves the line.
        let now = unsafe {
            self.exchange
                .enter(self.line, NonNull::from(&mut self.node), || waiter)
        };
        self.entered(now);
    }

    fn entered(&mut self, now: Entered<Waiter>) {
        self.stage = match now {
            Entered::Served(woken) => {
                if let Some(waiter) = woken {
                    waiter.wake();
                }
                Stage::Served
            }
            Entered::Closed => Stage::Closed,
            Entered::Waits => Stage::Waits,
        };
    }

    /// # Safety
    /// As for `enter`.
    unsafe fn poll(&mut self, waker: &Waker) -> Poll<()> {
        loop {
            match self.stage {
                Stage::Idle => {
                    // SAFETY: the caller's duty.
                    unsafe { self.enter(Waiter::from(Unparker::Async(waker.clone()))) };
                    if self.stage == Stage::Waits {
                        return Poll::Pending;
                    }
                }
                Stage::Waits => {
                    if let Some(end) = self.node.end() {
                        self.end(end);
                        continue;
                    }
                    if self.wait_on(waker) {
                        return Poll::Pending;
                    }
                }
                Stage::Served | Stage::Closed => return Poll::Ready(()),
                Stage::Taken => panic!("polled again after it was ready"),
            }
        }
    }

    /// The future was polled by another task, perhaps; false if the wait is over by now.
    fn wait_on(&mut self, waker: &Waker) -> bool {
        let node = NonNull::from(&mut self.node);
        let mut waiter = Some(Waiter::from(Unparker::Async(waker.clone())));
        // The old one is dropped when the lock is open again: it is code of users.
        self.exchange.all(|_| {
            // SAFETY: ours, and the exchange is locked.
            unsafe {
                inside(node, |inside| {
                    if inside.linked {
                        mem::swap(&mut inside.waiter, &mut waiter);
                    }
                    inside.linked
                })
            }
        })
    }

    /// Does it now, if it can be done without waiting.
    fn attempt(&mut self) -> bool {
        match self.stage {
            Stage::Idle => {}
            Stage::Served | Stage::Closed => return true,
            Stage::Waits | Stage::Taken => return false,
        }
        let (line, node) = (self.line, NonNull::from(&mut self.node));
        let now = self.exchange.all(|state| {
            // SAFETY: our node, which is not linked.
            unsafe { inside(node, |inside| state.attempt(line, &mut inside.item)) }
        });
        if matches!(now, Entered::Waits) {
            return false;
        }
        self.entered(now);
        true
    }

    fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        debug_assert_eq!(self.stage, Stage::Idle);
        self.node.reset();
        let waiter = Waiter::from(ticket.unparker.clone());
        self.node.own(|inside| {
            inside.waiter = Some(waiter);
            inside.claim = Some((NonNull::from(ticket.claim), ticket.arm));
        });
        let (line, node) = (self.line, NonNull::from(&mut self.node));
        let waits = self.exchange.all(|state| {
            let waits = !state.is_ready(line, ticket.claim);
            if waits {
                // SAFETY: not linked; the select delists before the arm moves (invariant 1).
                unsafe { state.enlist(line, node) };
            }
            waits
        });
        if waits {
            self.stage = Stage::Waits;
        }
        waits
    }

    fn delist(&mut self) -> bool {
        if self.stage == Stage::Waits {
            // SAFETY: ours, and it has entered.
            let end = unsafe {
                self.exchange
                    .leave(self.line, NonNull::from(&mut self.node))
            };
            self.stage = Stage::Idle;
            if let Some(end) = end {
                self.end(end);
            }
        }
        matches!(self.stage, Stage::Served | Stage::Closed)
    }

    /// The item in the node and how it ended; nothing is left.
    fn take(&mut self) -> (Stage, Option<O::Item>) {
        let item = self.node.own(|inside| inside.item.take());
        (mem::replace(&mut self.stage, Stage::Taken), item)
    }
}

impl<O: Order> Drop for Pending<'_, O> {
    fn drop(&mut self) {
        self.delist();
        // An item that a get was given and nobody took goes back.
        if self.line == Line::Gets
            && self.stage == Stage::Served
            && let (_, Some(item)) = self.take()
        {
            self.exchange.restore(item);
        }
    }
}

/// A get under way: to be awaited, or to be an arm of a [`Select`](crate::queue::Select).
///
/// # Cancellation
/// Dropped before it is ready it takes nothing; an item that it was just given goes back to
/// the head of the queue (or to the next that waits).
#[must_use = "a get does nothing until it is awaited or selected"]
pub struct Get<'a, O: Order>(Pending<'a, O>);

/// A put under way: to be awaited, or to be an arm of a [`Select`](crate::queue::Select).
///
/// # Cancellation
/// Dropped before its item was taken it drops the item; [`into_item`](Put::into_item) gives it
/// back instead.
#[must_use = "a put does nothing until it is awaited or selected"]
pub struct Put<'a, O: Order>(Pending<'a, O>);

impl<'a, O: Order> Get<'a, O> {
    pub(crate) fn new(exchange: &'a Exchange<O>) -> Self {
        Self(Pending::new(exchange, Line::Gets, None))
    }

    /// What the get has given, once a select says that this arm has won.
    ///
    /// # Errors
    /// [`GetError::Closed`] if the queue is closed and empty; [`GetError::Empty`] if the get is
    /// not over (the queue was not even tried).
    pub fn take(mut self) -> Result<O::Item, GetError> {
        match self.0.stage {
            Stage::Served => Ok(self.0.take().1.expect("served with an item")),
            Stage::Closed => Err(GetError::Closed),
            Stage::Idle | Stage::Waits | Stage::Taken => Err(GetError::Empty),
        }
    }
}

impl<'a, O: Order> Put<'a, O> {
    pub(crate) fn new(exchange: &'a Exchange<O>, item: O::Item) -> Self {
        Self(Pending::new(exchange, Line::Puts, Some(item)))
    }

    /// How the put went, once a select says that this arm has won.
    ///
    /// # Errors
    /// [`PutError::Closed`] with the item if the queue is closed; [`PutError::Full`] with the item
    /// if the put is not over (the queue was not even tried).
    pub fn take(mut self) -> Result<(), PutError<O::Item>> {
        match self.0.take() {
            (Stage::Served | Stage::Taken, _) => Ok(()),
            (stage, item) => {
                let item = item.expect("not taken, so still here");
                Err(if stage == Stage::Closed {
                    PutError::Closed(item)
                } else {
                    PutError::Full(item)
                })
            }
        }
    }

    /// Ends the put: gives the item back, unless it was taken.
    pub fn into_item(self) -> Option<O::Item> {
        self.take().err().map(PutError::into_inner)
    }
}

impl<O: Order> Future for Get<'_, O> {
    type Output = Result<O::Item, Closed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out but the item, which is not pinned.
        let this = unsafe { &mut self.get_unchecked_mut().0 };
        // SAFETY: pinned, so it stays until it is dropped.
        unsafe { this.poll(context.waker()) }.map(|()| match this.take() {
            (Stage::Served, item) => Ok(item.expect("served with an item")),
            _ => Err(Closed(())),
        })
    }
}

impl<O: Order> Future for Put<'_, O> {
    type Output = Result<(), Closed<O::Item>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out but the item, which is not pinned.
        let this = unsafe { &mut self.get_unchecked_mut().0 };
        // SAFETY: pinned, so it stays until it is dropped.
        unsafe { this.poll(context.waker()) }.map(|()| match this.take() {
            (Stage::Closed, Some(item)) => Err(Closed(item)),
            _ => Ok(()),
        })
    }
}

/// A join under way: to be awaited, or to be an arm of a [`Select`](crate::queue::Select).
#[must_use = "a join does nothing until it is awaited or selected"]
pub struct Join<'a, O: Order>(Pending<'a, O>);

impl<'a, O: Order> Join<'a, O> {
    pub(crate) fn new(exchange: &'a Exchange<O>) -> Self {
        Self(Pending::new(exchange, Line::Joins, None))
    }

    /// Whether the join is over, once a select says that this arm has won.
    ///
    /// # Errors
    /// [`Unfinished`] if it is not (the queue was not even tried).
    pub fn take(self) -> Result<(), Unfinished> {
        match self.0.stage {
            Stage::Served | Stage::Taken => Ok(()),
            _ => Err(Unfinished(self.0.exchange.unfinished())),
        }
    }
}

impl<O: Order> Future for Join<'_, O> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: nothing is moved out.
        let this = unsafe { &mut self.get_unchecked_mut().0 };
        // SAFETY: pinned, so it stays until it is dropped.
        unsafe { this.poll(context.waker()) }.map(|()| drop(this.take()))
    }
}

/// Each of them is an arm by what it wraps.
macro_rules! by_its_pending {
    ($($name:ident),*) => {$(
        impl<O: Order> Selectable for $name<'_, O> {
            fn attempt(&mut self) -> bool {
                self.0.attempt()
            }

            fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
                self.0.enlist(ticket)
            }

            fn delist(&mut self) -> bool {
                self.0.delist()
            }
        }

        impl<O: Order> fmt::Debug for $name<'_, O> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.0.stage).finish()
            }
        }
    )*};
}
by_its_pending!(Get, Put, Join);
