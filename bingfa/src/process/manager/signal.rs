//! A condition variable that a manager keeps: who waits, and who has been notified.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::store::{Failure, Until};
use crate::sync::Event;

/// A condition variable, which notifies in the order of arrival.
#[derive(Default)]
pub(super) struct Signal {
    /// An event for each who waits, set when it is notified, and then no longer here.
    line: RefCell<VecDeque<Rc<Event>>>,
    gone: Cell<bool>,
}

impl Signal {
    /// Gets in line.
    pub(super) fn enter(&self) -> Rc<Event> {
        let turn = Rc::new(Event::new());
        self.line.borrow_mut().push_back(turn.clone());
        turn
    }

    pub(super) fn notify_one(&self) {
        if let Some(turn) = self.line.borrow_mut().pop_front() {
            turn.set();
        }
    }

    pub(super) fn notify_all(&self) {
        for turn in self.line.take() {
            turn.set();
        }
    }

    /// Waits to be notified; who is too late is still in the line.
    pub(super) fn wait(&self, turn: &Event, until: Until) -> Result<(), Failure> {
        let notified = until.wait(turn);
        if self.gone.get() {
            return Err(Failure::Gone);
        }
        notified.then_some(()).ok_or(Failure::TooLate)
    }

    /// Leaves the line; true: it was notified before.
    pub(super) fn leave(&self, turn: &Rc<Event>) -> bool {
        self.line
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, turn));
        turn.is_set()
    }

    pub(super) fn remove(&self) {
        self.gone.set(true);
        self.notify_all();
    }
}
