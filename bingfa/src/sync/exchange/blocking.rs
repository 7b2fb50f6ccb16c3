//! The exchange for threads and coroutines: what waits, waits on its own frame.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::time::Instant;

use super::Exchange;
use super::error::{GetError, PutError, TooManyDone, Unfinished};
use super::node::{End, Node};
use super::order::Order;
use super::state::{Entered, Line};
use crate::park::cancel;
use crate::park::wait::{Outcome, Unparker, about_to_wait, wait, yield_if_slice_over};

type What = &'static &'static str;

/// How a wait on the caller's frame has ended.
enum Waited {
    Served,
    Closed,
    TooLate,
}

fn wake(woken: impl IntoIterator<Item = Unparker>) {
    for waiter in woken {
        waiter.unpark();
    }
}

impl<O: Order> Exchange<O, Unparker> {
    /// Puts the item if that needs no wait.
    #[inline]
    pub(crate) fn try_put(&self, item: O::Item) -> Result<(), PutError<O::Item>> {
        let mut slot = Some(item);
        let put = self.state.with(|state| state.put(&mut slot));
        match put {
            Ok(woken) => {
                wake(woken);
                Ok(())
            }
            Err(error) => {
                let item = slot.expect("a refused item stays");
                Err(match error {
                    PutError::Full(()) => PutError::Full(item),
                    PutError::Closed(()) => PutError::Closed(item),
                })
            }
        }
    }

    /// Takes an item if that needs no wait.
    #[inline]
    pub(crate) fn try_get(&self) -> Result<O::Item, GetError> {
        let (item, woken) = self.state.with(|state| state.get())?;
        wake(woken);
        Ok(item)
    }

    /// Puts the item; waits for room until the deadline.
    #[track_caller]
    #[inline]
    pub(crate) fn put(
        &self,
        item: O::Item,
        deadline: Option<Instant>,
        what: What,
    ) -> Result<(), PutError<O::Item>> {
        yield_if_slice_over();
        match self.try_put(item) {
            Err(PutError::Full(item)) => self.put_slow(item, deadline, what),
            done => done,
        }
    }

    /// Takes an item; waits for one until the deadline.
    #[track_caller]
    #[inline]
    pub(crate) fn get(&self, deadline: Option<Instant>, what: What) -> Result<O::Item, GetError> {
        yield_if_slice_over();
        match self.try_get() {
            Err(GetError::Empty) => self.get_slow(deadline, what),
            done => done,
        }
    }

    #[track_caller]
    #[inline(never)]
    fn put_slow(
        &self,
        item: O::Item,
        deadline: Option<Instant>,
        what: What,
    ) -> Result<(), PutError<O::Item>> {
        let mut node = Node::new(Some(item));
        let waited = self.wait_in(Line::Puts, &mut node, deadline, what);
        let mut item = || node.own(|inside| inside.item.take()).expect("not taken");
        match waited {
            Waited::Served => Ok(()),
            Waited::Closed => Err(PutError::Closed(item())),
            Waited::TooLate => Err(PutError::Full(item())),
        }
    }

    #[track_caller]
    #[inline(never)]
    fn get_slow(&self, deadline: Option<Instant>, what: What) -> Result<O::Item, GetError> {
        let mut node = Node::new(None);
        match self.wait_in(Line::Gets, &mut node, deadline, what) {
            Waited::Served => Ok(node.own(|inside| inside.item.take()).expect("given")),
            Waited::Closed => Err(GetError::Closed),
            Waited::TooLate => Err(GetError::Empty),
        }
    }

    /// Waits until all items were reported done, or the deadline passes.
    #[track_caller]
    pub(crate) fn join(&self, deadline: Option<Instant>) -> Result<(), Unfinished> {
        yield_if_slice_over();
        if self.unfinished() == 0 {
            return Ok(());
        }
        let mut node = Node::new(None);
        match self.wait_in(Line::Joins, &mut node, deadline, &"queue join") {
            Waited::TooLate => Err(Unfinished(self.unfinished())),
            Waited::Served | Waited::Closed => Ok(()),
        }
    }

    /// Waits on the caller's frame. A cancel unwinds, with the node out of the line.
    #[track_caller]
    #[inline(always)]
    fn wait_in(
        &self,
        line: Line,
        node: &mut Node<O::Item, Unparker>,
        deadline: Option<Instant>,
        what: What,
    ) -> Waited {
        loop {
            about_to_wait(); // may panic: before anybody knows of the node
            node.reset();
            let waiter = Unparker::current();
            node.own(|inside| inside.waiter = Some(waiter));
            let node = NonNull::from(&mut *node);
            // SAFETY: the node stays on the caller's frame, which is not left before the wait has
            // ended or it has left the line: nothing in between unwinds.
            match unsafe { self.enter(line, node) } {
                Entered::Served(woken) => {
                    wake(woken);
                    return Waited::Served;
                }
                Entered::Closed => return Waited::Closed,
                Entered::Waits => {}
            }
            let (end, outcome) = loop {
                // SAFETY: ours.
                if let Some(end) = unsafe { node.as_ref() }.end() {
                    break (Some(end), Outcome::Woken);
                }
                let outcome = wait(what, deadline);
                if outcome != Outcome::Woken {
                    // SAFETY: ours, and it has entered.
                    break (unsafe { self.leave(line, node) }, outcome);
                }
            };
            // What was served counts, whatever else ended the wait.
            match end {
                Some(End::Served) => return Waited::Served,
                Some(End::Closed) => return Waited::Closed,
                Some(End::Retry) => {}
                None if outcome == Outcome::TimedOut => return Waited::TooLate,
                None => cancel::raise(), // if it may not be raised after all: wait on
            }
        }
    }

    /// Reports one item done.
    pub(crate) fn task_done(&self) -> Result<(), TooManyDone> {
        wake(self.state.with(|state| state.done())?);
        Ok(())
    }

    /// Lets nothing in any more; with `drain` drops what is in it.
    pub(crate) fn close(&self, drain: bool) {
        let (items, woken) = self.state.with(|state| state.close(drain));
        wake(woken);
        drop(items); // code of users: last
    }

    /// Brings back an item that was given to somebody who cannot take it any more.
    pub(super) fn restore(&self, item: O::Item) {
        let mut slot = Some(item);
        wake(self.state.with(|state| state.restore(&mut slot)));
    }

    pub(crate) fn len(&self) -> usize {
        self.state.with(|state| state.len())
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.state.with(|state| state.capacity())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.with(|state| state.is_closed())
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.state.with(|state| state.unfinished())
    }
}
