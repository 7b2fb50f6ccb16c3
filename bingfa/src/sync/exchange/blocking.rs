//! The exchange for threads and coroutines: what waits, waits on its own frame.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::Exchange;
use super::error::{GetError, PutError, TooManyDone, Unfinished};
use super::node::{End, Node};
use super::order::Order;
use super::state::{Entered, Line};
use super::waiter::Waiter;
use crate::park::wait::{Outcome, about_to_wait, wait, yield_if_slice_over};
use crate::park::{cancel, local, more_than_one_cpu};

type What = &'static &'static str;

/// How a wait on the caller's frame has ended.
enum Waited {
    Served,
    Closed,
    TooLate,
}

#[inline(always)]
fn wake(woken: impl IntoIterator<Item = Waiter>) {
    woken.into_iter().for_each(Waiter::wake);
}

/// Looks whether `over`, for as long as it may be worth while: a thread leaves the others alone
/// for `pause`, spins for a microsecond or two and then, if it has no time limit, lets others
/// run some times, which costs less than a sleep. A coroutine does not look: others want its
/// worker. `spins`: how long to spin. True: it is over.
#[inline(always)]
fn is_over_soon(
    deadline: Option<Instant>,
    spins: u32,
    pause: impl FnOnce() -> Duration,
    mut over: impl FnMut() -> bool,
) -> bool {
    local::frame().is_none() && more_than_one_cpu() && look(deadline, spins, pause(), &mut over)
}

#[cold]
fn look(
    deadline: Option<Instant>,
    spins: u32,
    pause: Duration,
    over: &mut dyn FnMut() -> bool,
) -> bool {
    if !pause.is_zero() {
        let begun = Instant::now();
        while begun.elapsed() < pause {
            std::hint::spin_loop();
        }
    }
    let (mut spun, mut gap) = (0, 1);
    while spun < spins {
        if over() {
            return true;
        }
        for _ in 0..gap {
            std::hint::spin_loop();
        }
        spun += gap;
        gap *= 2;
    }
    // On a busy machine the others may run for milliseconds.
    if deadline.is_none() && cancel::ambient_deadline().is_none() {
        for _ in 0..64 {
            std::thread::yield_now();
            if over() {
                return true;
            }
        }
    }
    false
}

impl<O: Order> Exchange<O> {
    /// Puts the item if that needs no wait.
    #[inline]
    pub(crate) fn try_put(&self, item: O::Item) -> Result<(), PutError<O::Item>> {
        let mut slot = Some(item);
        if self.put_quickly(&mut slot) {
            return Ok(());
        }
        match self.all(|state| state.put(&mut slot)) {
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
        if let Some(item) = self.get_quickly() {
            return Ok(item);
        }
        let (item, woken) = self.all(|state| state.get())?;
        wake(woken);
        Ok(item)
    }

    /// Puts the item; waits for room until the deadline.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn put(
        &self,
        item: O::Item,
        deadline: Option<Instant>,
        what: What,
    ) -> Result<(), PutError<O::Item>> {
        yield_if_slice_over();
        let mut slot = Some(item);
        if self.put_quickly(&mut slot) {
            return Ok(());
        }
        self.put_slow(slot.expect("not taken"), deadline, what)
    }

    /// Takes an item; waits for one until the deadline.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn get(&self, deadline: Option<Instant>, what: What) -> Result<O::Item, GetError> {
        yield_if_slice_over();
        if let Some(item) = self.get_quickly() {
            return Ok(item);
        }
        self.get_slow(deadline, what)
    }

    /// Puts what is in the slot if there is room; false, and it stays there, if it has to wait
    /// or the exchange is closed.
    fn put_now(&self, slot: &mut Option<O::Item>) -> bool {
        match self.all(|state| state.put(slot)) {
            Ok(woken) => {
                wake(woken);
                true
            }
            Err(_) => false,
        }
    }

    // The way from here to the switch is inlined: each frame more costs a missed prediction of
    // its return, in each wait.

    #[track_caller]
    #[inline(always)]
    fn put_slow(
        &self,
        item: O::Item,
        deadline: Option<Instant>,
        what: What,
    ) -> Result<(), PutError<O::Item>> {
        let mut slot = Some(item);
        if self.splits {
            let pause = || self.tail.lock().pause();
            if is_over_soon(deadline, 120, pause, || self.put_now(&mut slot)) {
                return Ok(());
            }
        }
        let mut node = Node::new(slot);
        let waited = self.wait_in(Line::Puts, &mut node, deadline, what);
        let mut item = || node.own(|inside| inside.item.take()).expect("not taken");
        match waited {
            Waited::Served => Ok(()),
            Waited::Closed => Err(PutError::Closed(item())),
            Waited::TooLate => Err(PutError::Full(item())),
        }
    }

    #[track_caller]
    #[inline(always)]
    fn get_slow(&self, deadline: Option<Instant>, what: What) -> Result<O::Item, GetError> {
        if self.splits {
            let pause = || self.head.lock().pause();
            let mut got = None;
            let mut look = || {
                got = self.try_get().ok();
                got.is_some()
            };
            if is_over_soon(deadline, 120, pause, &mut look) {
                return got.ok_or(GetError::Empty);
            }
        }
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
        node: &mut Node<O::Item, Waiter>,
        deadline: Option<Instant>,
        what: What,
    ) -> Waited {
        loop {
            about_to_wait(); // may panic: before anybody knows of the node
            node.reset();
            let node = NonNull::from(&mut *node);
            // SAFETY: the node stays on the caller's frame, which is not left before the wait has
            // ended or it has left the line: nothing in between unwinds.
            match unsafe { self.enter(line, node, Waiter::current) } {
                Entered::Served(woken) => {
                    wake(woken);
                    return Waited::Served;
                }
                Entered::Closed => return Waited::Closed,
                Entered::Waits => {}
            }
            if line != Line::Joins && !self.splits {
                // Not asleep yet: the other side may be about to come.
                // SAFETY: ours.
                let ended = || unsafe { node.as_ref() }.end().is_some();
                is_over_soon(deadline, 15, || Duration::ZERO, ended);
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
        wake(self.all(|state| state.done())?);
        Ok(())
    }

    /// Lets nothing in any more; with `drain` drops what is in it.
    pub(crate) fn close(&self, drain: bool) {
        let (items, woken) = self.all(|state| state.close(drain));
        wake(woken);
        drop(items); // code of users: last
    }

    /// Brings back an item that was given to somebody who cannot take it any more.
    pub(super) fn restore(&self, item: O::Item) {
        let mut slot = Some(item);
        wake(self.all(|state| state.restore(&mut slot)));
    }

    pub(crate) fn len(&self) -> usize {
        self.all(|state| state.len())
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.all(|state| state.capacity())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.all(|state| state.is_closed())
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.all(|state| state.unfinished())
    }
}
