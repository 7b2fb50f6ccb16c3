//! A condition variable between processes: tickets, which are served in their order.
//!
//! Who waits draws a ticket, and a notification serves the oldest. A waiter that gives up
//! before it was served leaves a **hole**: as nobody knows its place, notifications serve one
//! ticket more for each hole, so that there is a waiter among them. Holes are forgotten when
//! nobody waits. When a waiter's process ends, all tickets are served. So no notification is
//! lost, and the price is a wait that ends for no reason.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};

use super::arena::Arena;
use super::kind::Gone;
use super::word::Word;

/// Zeroed memory is one for which nobody waits.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Condvar {
    state: AtomicU64,
    pub(crate) word: Word,
}

/// What the state consists of, from above: how many tickets were served, how many were not,
/// and the most holes there can be among those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    served: u64,
    pending: u64,
    holes: u64,
}

const HOLE_BITS: u32 = 8;
const PENDING_BITS: u32 = 20;
const MOST_HOLES: u64 = (1 << HOLE_BITS) - 1;
const MOST_PENDING: u64 = (1 << PENDING_BITS) - 1;
/// Tickets are counted modulo this, plus 1.
const TICKETS: u64 = u64::MAX >> (HOLE_BITS + PENDING_BITS);

/// The number of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl State {
    fn of(bits: u64) -> State {
        State {
            served: bits >> (HOLE_BITS + PENDING_BITS),
            pending: bits >> HOLE_BITS & MOST_PENDING,
            holes: bits & MOST_HOLES,
        }
    }

    fn bits(self) -> u64 {
        (self.served << PENDING_BITS | self.pending) << HOLE_BITS | self.holes
    }

    /// So many tickets more are served.
    fn serve(self, count: u64) -> State {
        let count = count.min(self.pending);
        let pending = self.pending - count;
        State {
            served: (self.served + count) & TICKETS,
            pending,
            holes: if pending == 0 { 0 } else { self.holes },
        }
    }

    fn serve_all(self) -> State {
        self.serve(self.pending)
    }

    fn has_served(self, ticket: Ticket) -> bool {
        let ahead = self.served.wrapping_sub(ticket.0) & TICKETS;
        ahead != 0 && ahead <= TICKETS / 2
    }

    fn leave(self, ticket: Ticket) -> State {
        let last = (self.served + self.pending - 1) & TICKETS;
        if ticket.0 == last {
            let pending = self.pending - 1;
            return State { pending, ..self }.serve(0);
        }
        if self.holes == MOST_HOLES {
            return self.serve_all();
        }
        let holes = self.holes + 1;
        State { holes, ..self }
    }
}

impl Condvar {
    fn change(&self, arena: &Arena, change: impl Fn(State) -> State) -> State {
        let new = |bits| Some(change(State::of(bits)).bits());
        // AcqRel: what notifiers did is seen by those whom they serve.
        let old = self.state.fetch_update(AcqRel, Acquire, new);
        let old = State::of(old.unwrap_or_else(|bits| bits));
        if change(old).served != old.served {
            self.word.wake(|flags| arena.ring(flags));
        }
        old
    }

    /// Draws a ticket, which has to be [left](Self::leave) unless it is served.
    pub(crate) fn enter(&self, arena: &Arena) -> Ticket {
        let make_room = |state: State| match state.pending {
            MOST_PENDING => state.serve_all(),
            _ => state,
        };
        let old = self.change(arena, |state| {
            let state = make_room(state);
            let pending = state.pending + 1;
            State { pending, ..state }
        });
        let old = make_room(old);
        Ticket((old.served + old.pending) & TICKETS)
    }

    pub(crate) fn has_served(&self, ticket: Ticket) -> bool {
        State::of(self.state.load(Acquire)).has_served(ticket)
    }

    /// Gives a ticket up. True: it was served.
    pub(crate) fn leave(&self, arena: &Arena, ticket: Ticket) -> bool {
        let old = self.change(arena, |state| {
            if state.has_served(ticket) {
                state
            } else {
                state.leave(ticket)
            }
        });
        old.has_served(ticket)
    }

    pub(crate) fn notify_one(&self, arena: &Arena) {
        self.change(arena, |state| state.serve(1 + state.holes));
    }

    pub(crate) fn notify_all(&self, arena: &Arena) {
        self.change(arena, State::serve_all);
    }

    /// A process has ended: perhaps it waited, or was notified last, or was about to wake others.
    pub(super) fn bury(&self, arena: &Arena, gone: &Gone) {
        if !gone.lives {
            self.notify_all(arena);
            self.word.rouse(|flags| arena.ring(flags));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: State = State {
        served: TICKETS,
        pending: 0,
        holes: 0,
    };

    fn enter(state: State, count: u64) -> State {
        let pending = state.pending + count;
        State { pending, ..state }
    }

    #[test]
    fn tickets_are_served_in_turn_also_when_the_count_wraps() {
        let state = enter(NONE, 3);
        assert_eq!(State::of(state.bits()), state);
        let tickets = [Ticket(TICKETS), Ticket(0), Ticket(1)];
        let served = |state: State| tickets.map(|ticket| state.has_served(ticket));
        assert_eq!(served(state), [false; 3]);
        assert_eq!(served(state.serve(1)), [true, false, false]);
        assert_eq!(served(state.serve(2)), [true, true, false]);
        assert_eq!(served(state.serve_all()), [true; 3]);
        assert_eq!(state.serve(9), state.serve_all());
    }

    #[test]
    fn whoever_leaves_takes_no_notification_along() {
        // The last one leaves no trace.
        let state = enter(NONE, 2);
        assert_eq!(state.leave(Ticket(0)), enter(NONE, 1));
        // Another one leaves a hole: the next notification reaches somebody all the same.
        let state = enter(NONE, 3).leave(Ticket(TICKETS));
        assert_eq!((state.pending, state.holes), (3, 1));
        let state = state.serve(1 + state.holes);
        assert!(state.has_served(Ticket(0)) && !state.has_served(Ticket(1)));
        assert_eq!(state.serve(1 + state.holes).holes, 0);
        // Too many to be counted: all are served.
        let mut state = enter(NONE, 1000);
        for ticket in 0..MOST_HOLES {
            state = state.leave(Ticket(ticket));
        }
        assert_eq!(state.leave(Ticket(700)).pending, 0);
    }
}
