//! A barrier that a manager keeps: who has come, and who will not come any more.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use super::store::{Failure, Until};
use crate::sync::Event;

/// A meeting point of so many.
pub(super) struct Meeting {
    parties: u64,
    state: RefCell<Round>,
}

#[derive(Default)]
struct Round {
    /// Who has come and waits for the others.
    present: Vec<Rc<Arrival>>,
    /// The clients that have ever come.
    known: HashSet<u64>,
    /// Who will not come any more.
    broken: Option<String>,
}

/// One that waits for the others.
pub(super) struct Arrival {
    /// That the round is over, and how.
    over: Event,
    end: RefCell<Option<Result<(), Failure>>>,
}

impl Round {
    /// Ends the round for all who wait.
    fn end(&mut self, how: impl Fn() -> Result<(), Failure>) {
        for arrival in self.present.drain(..) {
            arrival.end.replace(Some(how()));
            arrival.over.set();
        }
    }
}

impl Meeting {
    pub(super) fn new(parties: u64) -> Meeting {
        Meeting {
            parties,
            state: RefCell::default(),
        }
    }

    /// `None`: all are there, and whoever came last leads them.
    pub(super) fn arrive(&self, client: u64) -> Result<Option<Rc<Arrival>>, Failure> {
        let mut round = self.state.borrow_mut();
        if let Some(why) = &round.broken {
            return Err(Failure::Abandoned(why.clone()));
        }
        round.known.insert(client);
        if round.present.len() as u64 + 1 >= self.parties {
            round.end(|| Ok(()));
            return Ok(None);
        }
        let arrival = Rc::new(Arrival {
            over: Event::new(),
            end: RefCell::default(),
        });
        round.present.push(arrival.clone());
        Ok(Some(arrival))
    }

    /// Waits for the others; who is too late is still there.
    pub(super) fn wait(&self, arrival: &Arrival, until: Until) -> Result<(), Failure> {
        until.wait(&arrival.over);
        arrival.end.take().unwrap_or(Err(Failure::TooLate))
    }

    /// Takes an arrival back, if the round is not over.
    pub(super) fn leave(&self, arrival: &Rc<Arrival>) {
        let mut round = self.state.borrow_mut();
        round.present.retain(|other| !Rc::ptr_eq(other, arrival));
    }

    /// A client has ended that had not said that it needs nothing any more.
    pub(super) fn bury(&self, client: u64, who: &str) {
        let mut round = self.state.borrow_mut();
        if round.known.remove(&client) && round.broken.is_none() {
            let why = format!("broken barrier: {who} has ended");
            round.end(|| Err(Failure::Abandoned(why.clone())));
            round.broken = Some(why);
        }
    }

    /// A client will not come again, and nobody is to miss it.
    pub(super) fn part(&self, client: u64) {
        self.state.borrow_mut().known.remove(&client);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state.borrow().broken.is_some()
    }

    pub(super) fn reset(&self) {
        self.state.borrow_mut().broken = None; // those who are left are still to be missed
    }

    pub(super) fn remove(&self) {
        self.state.borrow_mut().end(|| Err(Failure::Gone));
    }
}
