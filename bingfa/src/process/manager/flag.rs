//! An event that a manager keeps.

use std::cell::Cell;

use super::store::{Failure, Until};
use crate::sync::Event;

/// An event.
#[derive(Default)]
pub(super) struct Flag {
    event: Event,
    gone: Cell<bool>,
}

impl Flag {
    pub(super) fn set(&self) {
        self.event.set();
    }

    pub(super) fn clear(&self) {
        self.event.clear();
    }

    pub(super) fn is_set(&self) -> bool {
        self.event.is_set()
    }

    pub(super) fn wait(&self, until: Until) -> Result<(), Failure> {
        let set = until.wait(&self.event);
        if self.gone.get() {
            return Err(Failure::Gone);
        }
        set.then_some(()).ok_or(Failure::TooLate)
    }

    pub(super) fn remove(&self) {
        self.gone.set(true);
        self.event.set();
    }
}
