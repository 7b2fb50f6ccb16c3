//! A flag that processes wait for.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};

use super::arena::Arena;
use super::word::Word;

/// Zeroed memory is one that is not set.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Event {
    /// Whether it is set, and how often it became so.
    state: AtomicU64,
    pub(crate) word: Word,
}

const SET: u64 = 1;
const ONCE: u64 = 2;

/// How an event was when a wait for it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before(u64);

impl Event {
    /// Sets it. What was done before is seen by whoever sees it set, also if it was already.
    pub(crate) fn set(&self, arena: &Arena) {
        let set = |state: u64| {
            Some(if state & SET == 0 {
                state + ONCE + SET
            } else {
                state
            })
        };
        let _ = self.state.fetch_update(AcqRel, Acquire, set);
        self.word.wake(|flags| arena.ring(flags));
    }

    pub(crate) fn clear(&self) {
        self.state.fetch_and(!SET, AcqRel);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.state.load(Acquire) & SET != 0 // pairs with the AcqRel in `set`
    }

    /// `None` if it is set.
    pub(crate) fn before(&self) -> Option<Before> {
        let state = self.state.load(Acquire);
        (state & SET == 0).then_some(Before(state))
    }

    /// Whether it was set since.
    pub(crate) fn was_set(&self, before: Before) -> bool {
        let state = self.state.load(Acquire);
        state & SET != 0 || state != before.0
    }

    pub(super) fn bury(&self, arena: &Arena) {
        self.word.rouse(|flags| arena.ring(flags));
    }
}
