//! A meeting point of processes, which breaks when one of them ends.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use super::arena::{Arena, ArenaGuard};
use super::blame::{Blame, Poison};
use super::hold::Hold;
use super::kind::Gone;
use super::word::Word;

/// Zeroed memory is one for nobody.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Barrier {
    parties: AtomicU64,
    /// From above: the round; how often it broke, modulo 128; whether it is broken; how many
    /// have arrived.
    state: AtomicU64,
    pub(crate) word: Word,
    /// The rounds in which it broke last and before, by that number's lowest bit.
    broken: [AtomicU64; 2],
    blame: Blame,
}

const ARRIVED: u64 = (1 << 24) - 1;
const BROKEN: u64 = 1 << 24;
const BREAK: u64 = 1 << 25;
const BREAKS: u64 = 127;
const ROUND: u64 = 1 << 32;

/// How many can meet.
pub(crate) const MOST: u64 = ARRIVED;

/// Who has arrived, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival(u64);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrived {
    /// As the last.
    Leader,
    /// Others have to come.
    Follower(Arrival),
    Broken,
}

/// What became of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Met,
    Broken,
}

fn round(state: u64) -> u64 {
    state / ROUND
}

fn breaks(state: u64) -> u64 {
    (state / BREAK) & BREAKS
}

impl Barrier {
    /// Before anybody else has it.
    pub(crate) fn set_parties(&self, parties: u64) {
        self.parties.store(parties, Relaxed);
    }

    pub(crate) fn arrive(&self, arena: &Arena) -> Arrived {
        let parties = self.parties.load(Relaxed);
        let is_last = |state: u64| (state & ARRIVED) + 1 >= parties;
        let arrive = |state: u64| match state {
            _ if state & BROKEN != 0 => None,
            _ if is_last(state) => Some((state & !ARRIVED).wrapping_add(ROUND)),
            _ => Some(state + 1),
        };
        // AcqRel: who goes on has seen what all did before they came.
        match self.state.fetch_update(AcqRel, Acquire, arrive) {
            Err(_) => Arrived::Broken,
            Ok(state) if is_last(state) => {
                self.word.wake(|flags| arena.ring(flags));
                Arrived::Leader
            }
            Ok(state) => Arrived::Follower(Arrival(state)),
        }
    }

    fn end_in(&self, state: u64, arrival: Arrival) -> Option<End> {
        if round(state) == round(arrival.0) {
            return None;
        }
        let broken = &self.broken[(breaks(state) % 2) as usize];
        match breaks(state).wrapping_sub(breaks(arrival.0)) & BREAKS {
            0 => Some(End::Met),
            1 if broken.load(Acquire) != round(arrival.0) => Some(End::Met),
            // It broke then, or so often since that nobody knows.
            _ => Some(End::Broken),
        }
    }

    /// How the round has ended, if it has.
    pub(crate) fn end(&self, arrival: Arrival) -> Option<End> {
        self.end_in(self.state.load(Acquire), arrival)
    }

    /// Takes an arrival back, unless the round has ended.
    pub(crate) fn leave(&self, arrival: Arrival) -> Option<End> {
        let leave = |state| self.end_in(state, arrival).is_none().then(|| state - 1);
        let left = self.state.fetch_update(AcqRel, Acquire, leave);
        left.map_or_else(|state| self.end_in(state, arrival), |_| None)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state.load(Acquire) & BROKEN != 0
    }

    /// Who broke it last.
    pub(crate) fn blame(&self) -> Option<Poison> {
        self.blame.get()
    }

    /// Makes it as good as new.
    pub(crate) fn reset(&self) {
        self.state.fetch_and(!BROKEN, AcqRel);
    }

    /// A process of this number panics. (The arena is locked, so that one breaks it at a time.)
    pub(crate) fn panicked(&self, arena: &ArenaGuard<'_>, pid: i32) {
        if !self.is_broken() {
            self.blame.panicked(pid);
            self.shatter(arena);
        }
    }

    /// A process that had it has ended.
    pub(super) fn bury(&self, arena: &ArenaGuard<'_>, hold: &Hold, gone: &Gone) {
        // What it had sent to others is theirs.
        if !gone.lives && !hold.is_empty() && !self.is_broken() {
            self.blame.died(gone);
            self.shatter(arena);
        }
        self.word.rouse(|flags| arena.ring(flags));
    }

    fn shatter(&self, arena: &ArenaGuard<'_>) {
        let shatter = |state: u64| {
            let breaks = (breaks(state) + 1) & BREAKS;
            // Others may arrive or meet meanwhile: then this is written again.
            self.broken[(breaks % 2) as usize].store(round(state), Relaxed);
            let next = (round(state) as u32).wrapping_add(1);
            Some(u64::from(next) * ROUND + breaks * BREAK + BROKEN)
        };
        let _ = self.state.fetch_update(AcqRel, Acquire, shatter);
        self.word.wake(|flags| arena.ring(flags));
    }
}

#[cfg(test)]
mod tests {
    use super::super::family::Family;
    use super::*;

    #[test]
    fn a_round_that_has_met_has_met_whatever_breaks_later() {
        let [family, _] = Family::of_two().unwrap();
        let arena = family.arena();
        let barrier: Barrier = zeroed();
        barrier.set_parties(2);
        let Arrived::Follower(first) = barrier.arrive(arena) else {
            panic!("the first waits")
        };
        assert_eq!(barrier.end(first), None);
        assert!(matches!(barrier.arrive(arena), Arrived::Leader));
        let Arrived::Follower(second) = barrier.arrive(arena) else {
            panic!("a new round")
        };
        barrier.panicked(&arena.lock().unwrap(), 7);
        assert!(matches!(barrier.arrive(arena), Arrived::Broken));
        assert_eq!(barrier.end(first), Some(End::Met));
        assert_eq!(barrier.leave(second), Some(End::Broken));
        assert_eq!(barrier.blame().unwrap().pid, 7);
        barrier.reset();
        let Arrived::Follower(third) = barrier.arrive(arena) else {
            panic!("as good as new")
        };
        assert_eq!(barrier.leave(third), None);
        assert!(matches!(barrier.arrive(arena), Arrived::Follower(_)));
        assert!(matches!(barrier.arrive(arena), Arrived::Leader));
        assert_eq!(barrier.end(second), Some(End::Broken));
    }

    fn zeroed() -> Barrier {
        Barrier {
            parties: AtomicU64::new(0),
            state: AtomicU64::new(0),
            word: Word::default(),
            broken: Default::default(),
            blame: Blame::default(),
        }
    }
}
