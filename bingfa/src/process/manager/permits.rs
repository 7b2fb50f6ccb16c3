//! The permits of a semaphore that a manager keeps.

use std::cell::Cell;

use super::store::{Failure, Until};
use crate::sync::Semaphore;

/// As many can be free.
const MOST: u64 = u32::MAX as u64;
/// More than all waiters together can want.
const FLOOD: usize = 1 << 48;

/// Permits, which are given out in the order in which they are asked for.
pub(super) struct Permits {
    free: Semaphore,
    bound: Option<u64>,
    /// How many of a bounded one were taken for good, which can be put back.
    forgotten: Cell<u64>,
    gone: Cell<bool>,
}

impl Permits {
    /// `None`: they are too many.
    pub(super) fn new(permits: u64, bounded: bool) -> Option<Permits> {
        (permits <= MOST).then(|| Permits {
            free: Semaphore::new(permits as usize),
            bound: bounded.then_some(permits),
            forgotten: Cell::new(0),
            gone: Cell::new(false),
        })
    }

    /// The most that there can be.
    pub(super) fn bound(&self) -> Option<u64> {
        self.bound
    }

    pub(super) fn acquire(&self, count: u64, until: Until) -> Result<(), Failure> {
        let count = count.min(MOST + 1) as usize; // of more there are never so many, either
        self.check()?;
        let permit = match until {
            Until::Now => self.free.try_acquire_many(count),
            Until::Then(deadline) => self.free.acquire_many_deadline(count, deadline),
            Until::Forever => Some(self.free.acquire_many(count)),
        };
        let permit = permit.ok_or(Failure::TooLate)?;
        self.check()?;
        permit.forget();
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        (!self.gone.get()).then_some(()).ok_or(Failure::Gone)
    }

    /// What was acquired is free again.
    pub(super) fn give_back(&self, count: u64) {
        self.free.add_permits(count as usize);
    }

    /// What was acquired will not be given back.
    pub(super) fn forget(&self, count: u64) {
        self.forgotten.set(self.forgotten.get() + count);
    }

    /// Adds some, to a bounded one only such as were forgotten; false: they are too many.
    pub(super) fn add(&self, count: u64) -> bool {
        if self.bound.is_some() {
            let Some(left) = self.forgotten.get().checked_sub(count) else {
                return false;
            };
            self.forgotten.set(left);
        } else if self.available().saturating_add(count) > MOST {
            return false;
        }
        self.give_back(count);
        true
    }

    pub(super) fn available(&self) -> u64 {
        self.free.available_permits() as u64
    }

    pub(super) fn remove(&self) {
        self.gone.set(true);
        self.free.add_permits(FLOOD); // for those who wait, to see it
    }
}
