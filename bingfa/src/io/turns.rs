//! A value that one carrier has at a time, handed on in order of arrival.
//!
//! A lock for waits of any length: whoever has the value may suspend with it, and those
//! who wait for it are parked. The inner std mutex is held for a few instructions only.
//!
//! # Invariants
//! 1. The value is in exactly one place: `free`, the front waiter's `handed`, or with
//!    the carrier that took it.
//! 2. While somebody waits, `free` is empty.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::park::wait::{Unparker, wait_or_unwind};

/// A value to be taken in turns.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    free: Option<T>,
    waiting: VecDeque<Waiter<T>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter<T> {
    ticket: u64,
    handed: Option<T>,
    unparker: Unparker,
}

impl<T> Turns<T> {
    pub(crate) const fn new(value: T) -> Turns<T> {
        Turns {
            state: Mutex::new(State {
                free: Some(value),
                waiting: VecDeque::new(),
                next_ticket: 0,
            }),
        }
    }

    /// Waits for the value and takes it; to be given back by [`give`](Self::give).
    #[track_caller]
    pub(crate) fn take(&self) -> T {
        let mut state = self.lock();
        if let Some(value) = state.free.take() {
            return value;
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(Waiter {
            ticket,
            handed: None,
            unparker: Unparker::current(),
        });
        drop(state);

        let place = Place {
            turns: self,
            ticket,
        };
        loop {
            wait_or_unwind(&"stdin", None);
            if let Some(value) = place.handed() {
                return value;
            }
        }
    }

    /// Gives the value to whoever has waited longest.
    pub(crate) fn give(&self, value: T) {
        let mut state = self.lock();
        let Some(next) = state.waiting.front_mut() else {
            state.free = Some(value);
            return;
        };
        next.handed = Some(value);
        let unparker = next.unparker.clone();
        drop(state);
        unparker.unpark();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Left early, by a cancelled wait, it passes the value on.
struct Place<'a, T> {
    turns: &'a Turns<T>,
    ticket: u64,
}

impl<T> Place<'_, T> {
    fn handed(&self) -> Option<T> {
        let mut state = self.turns.lock();
        let mine = state
            .waiting
            .pop_front_if(|front| front.ticket == self.ticket && front.handed.is_some())?;
        mine.handed
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        let place = state.waiting.iter().position(|w| w.ticket == self.ticket);
        let Some(mine) = place.and_then(|i| state.waiting.remove(i)) else {
            return;
        };
        drop(state);
        if let Some(value) = mine.handed {
            self.turns.give(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    /// Queues up a place without a thread to wait in it.
    fn queue_up(turns: &Turns<i32>) -> Place<'_, i32> {
        let mut state = turns.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(Waiter {
            ticket,
            handed: None,
            unparker: Unparker::current(),
        });
        Place { turns, ticket }
    }

    #[test]
    fn the_value_goes_to_whoever_came_first() {
        let turns = Turns::new(7);
        let value = turns.take();
        let first = queue_up(&turns);
        let second = queue_up(&turns);
        turns.give(value);
        assert_eq!(second.handed(), None);
        assert_eq!(first.handed(), Some(7));
    }

    #[test]
    fn a_place_that_is_left_passes_the_value_on() {
        let turns = Turns::new(7);
        let value = turns.take();
        let first = queue_up(&turns);
        let second = queue_up(&turns);
        let third = queue_up(&turns);
        drop(second); // before its turn
        turns.give(value);
        drop(first); // in its turn
        assert_eq!(third.handed(), Some(7));
        turns.give(8);
        drop(third);
        assert_eq!(turns.take(), 8);
    }

    #[test]
    fn carriers_take_turns() {
        let turns = Arc::new(Turns::new(0));
        let all: Vec<_> = (0..4)
            .map(|_| {
                let turns = Arc::clone(&turns);
                thread::spawn(move || {
                    for _ in 0..1000 {
                        let n = turns.take();
                        turns.give(n + 1);
                    }
                })
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
        assert_eq!(turns.take(), 4000);
    }
}
