//! A lock that a manager keeps, whose waiters are served in the order of their arrival.

use std::cell::RefCell;

use super::store::{Failure, Until};
use crate::sync::Semaphore;

/// A lock.
pub(super) struct Latch {
    /// Its one permit, which whoever holds the lock has taken.
    turn: Semaphore,
    state: RefCell<Trouble>,
}

#[derive(Default)]
struct Trouble {
    /// Why what the lock protects cannot be trusted.
    poison: Option<String>,
    gone: bool,
}

impl Latch {
    pub(super) fn new() -> Latch {
        Latch {
            turn: Semaphore::new(1),
            state: RefCell::default(),
        }
    }

    pub(super) fn acquire(&self, until: Until) -> Result<(), Failure> {
        self.check()?;
        let turn = match until {
            Until::Now => self.turn.try_acquire(),
            Until::Then(deadline) => self.turn.acquire_deadline(deadline),
            Until::Forever => Some(self.turn.acquire()),
        };
        let turn = turn.ok_or(Failure::TooLate)?;
        self.check()?; // if it is of no use now, it goes on to the next, who looks as well
        turn.forget();
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        let state = self.state.borrow();
        match &state.poison {
            _ if state.gone => Err(Failure::Gone),
            Some(why) => Err(Failure::Abandoned(why.clone())),
            None => Ok(()),
        }
    }

    /// By who holds it; with a reason why what it protects cannot be trusted, if there is one.
    pub(super) fn release(&self, why: Option<String>) {
        if why.is_some() {
            self.state.borrow_mut().poison = why;
        }
        self.turn.add_permits(1);
    }

    pub(super) fn clear_poison(&self) {
        self.state.borrow_mut().poison = None;
    }

    pub(super) fn remove(&self) {
        self.state.borrow_mut().gone = true;
        self.turn.add_permits(1); // for those who wait, to see it
    }
}
