//! Deadlines of one worker: armed and disarmed by its coroutines, fired by its loop.
//!
//! A hierarchical timing wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels",
//! SOSP 1987) whose ticks are nanoseconds, so that timers fire in order of their due time
//! and equal ones in the order in which they were armed. Level `l` of the wheel
//! distinguishes the `l`-th digit, of six bits, of the due time; a timer lies on the level of the
//! highest digit in which it differs from `base`, and moves down as `base` comes near: at
//! most once per level, and always from one end of a list to the other, which caches like.
//!
//! Most deadlines are disarmed long before they are due (a read timeout), so disarming only
//! ends the timer's generation; its entry is skipped when it surfaces, and all dead
//! entries are swept out once they are the majority.
//!
//! # Invariants
//! 1. No entry is due before `base`, and `base` is not later than the `now` of the last
//!    `pop_due`.
//! 2. An entry lies in the list that `place_of` gives for it; so those of a lower level are
//!    due before those of a higher one, and in a list of level 0 all are due at the same time.
//! 3. Entries with equal due times lie in the same list, in the order of arming.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const DIGIT: u32 = 6;
const DIGITS: usize = 1 << DIGIT;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT) as usize;
/// An empty list keeps its memory for so many entries.
const KEPT: usize = 16;

/// Names an armed timer. Stale keys are harmless.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerKey {
    slot: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    /// Nanoseconds since `EPOCH`.
    due: u64,
    key: TimerKey,
    target: T,
}

#[derive(Debug)]
struct List<T> {
    entries: VecDeque<Entry<T>>,
    /// None of them is due before; none may be due then, if that one was disarmed.
    earliest: u64,
}

#[derive(Debug)]
pub(crate) struct Timers<T> {
    base: u64,
    lists: Box<[List<T>]>,
    /// A bit for each list that is not empty.
    occupied: [u64; LEVELS],
    /// By slot: how many timers have ended there.
    generations: Vec<u32>,
    free: Vec<u32>,
    armed: usize,
    dead: usize,
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn nanos(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*EPOCH).as_nanos()).unwrap_or(u64::MAX)
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        LazyLock::force(&EPOCH);
        let list = || List {
            entries: VecDeque::new(),
            earliest: u64::MAX,
        };
        Self {
            base: 0,
            lists: (0..LEVELS * DIGITS).map(|_| list()).collect(),
            occupied: [0; LEVELS],
            generations: Vec::new(),
            free: Vec::new(),
            armed: 0,
            dead: 0,
        }
    }

    pub(crate) fn arm(&mut self, at: Instant, target: T) -> TimerKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("fewer than 2^32 timers on a worker")
        });
        let key = TimerKey {
            slot,
            generation: self.generations[slot as usize],
        };
        self.armed += 1;
        self.put(Entry {
            // What was due before the last look at the clock is due now.
            due: nanos(at).max(self.base),
            key,
            target,
        });
        key
    }

    /// Takes a timer back; does nothing if it has fired.
    pub(crate) fn disarm(&mut self, key: TimerKey) {
        if self.end(key) {
            self.dead += 1;
            if self.dead > 64 && self.dead > self.armed {
                self.sweep();
            }
        }
    }

    /// How long until the next timer is due, or may be; `None` if none is armed.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let earliest = self.lists[self.first_list()?].earliest;
        Some(Duration::from_nanos(earliest.saturating_sub(nanos(now))))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// How many are armed.
    pub(crate) fn len(&self) -> usize {
        self.armed
    }

    /// The next target that is due, in order of due time and then of arming.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let now = nanos(now);
        loop {
            let first = self.first_list()?;
            let list = &mut self.lists[first];
            if list.earliest > now {
                return None;
            }
            self.base = list.earliest;
            if first >= DIGITS {
                self.spread(first);
                continue;
            }
            match list.entries.pop_front() {
                None => self.emptied(first),
                Some(entry) if self.end(entry.key) => return Some(entry.target),
                Some(_) => self.dead -= 1,
            }
        }
    }

    /// Moves the entries of a list down to where they belong, now that `base` has come near.
    fn spread(&mut self, list: usize) {
        let mut entries = std::mem::take(&mut self.lists[list].entries);
        self.emptied(list);
        for entry in entries.drain(..) {
            if self.generations[entry.key.slot as usize] == entry.key.generation {
                self.put(entry);
            } else {
                self.dead -= 1;
            }
        }
        if entries.capacity() <= KEPT {
            self.lists[list].entries = entries;
        }
    }

    /// Drops the dead entries.
    fn sweep(&mut self) {
        for (i, list) in self.lists.iter_mut().enumerate() {
            let generations = &self.generations;
            list.entries
                .retain(|entry| generations[entry.key.slot as usize] == entry.key.generation);
            if list.entries.is_empty() {
                list.earliest = u64::MAX;
                self.occupied[i / DIGITS] &= !(1 << (i % DIGITS));
            }
        }
        self.dead = 0;
    }

    /// The list with the entry that is due next.
    #[inline]
    fn first_list(&self) -> Option<usize> {
        let level = self.occupied.iter().position(|lists| *lists != 0)?;
        Some(level * DIGITS + self.occupied[level].trailing_zeros() as usize)
    }

    fn emptied(&mut self, list: usize) {
        self.lists[list].earliest = u64::MAX;
        self.occupied[list / DIGITS] &= !(1 << (list % DIGITS));
    }

    #[inline]
    fn place_of(&self, due: u64) -> usize {
        let differing = (due ^ self.base) | 1; // equal: in the lowest digit
        let level = differing.ilog2() / DIGIT;
        level as usize * DIGITS + (due >> (level * DIGIT)) as usize % DIGITS
    }

    #[inline]
    fn put(&mut self, entry: Entry<T>) {
        let place = self.place_of(entry.due);
        self.occupied[place / DIGITS] |= 1 << (place % DIGITS);
        let list = &mut self.lists[place];
        list.earliest = list.earliest.min(entry.due);
        list.entries.push_back(entry);
    }

    /// Ends a timer's life; false if that has happened.
    #[inline]
    fn end(&mut self, key: TimerKey) -> bool {
        let generation = &mut self.generations[key.slot as usize];
        if *generation != key.generation {
            return false;
        }
        *generation = generation.wrapping_add(1);
        self.free.push(key.slot);
        self.armed -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_of_due_time_then_of_arming() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for (target, ms) in [(0, 5), (1, 3), (2, 5), (3, 1), (4, 5)] {
            timers.arm(start + Duration::from_millis(ms), target);
        }
        let late = start + Duration::from_secs(1);
        let order: Vec<i32> = std::iter::from_fn(|| timers.pop_due(late)).collect();
        assert_eq!(order, [3, 1, 0, 2, 4]);
        assert!(timers.next_due(late).is_none());
    }

    #[test]
    fn nothing_fires_before_it_is_due() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.arm(start + Duration::from_secs(9), ());
        assert!(timers.pop_due(start).is_none());
        assert!(timers.next_due(start).is_some());
    }

    #[test]
    fn disarmed_timers_do_not_fire_and_do_not_pile_up() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let kept = timers.arm(start + Duration::from_millis(2), 7);
        for _ in 0..10_000 {
            let key = timers.arm(start + Duration::from_millis(1), 0);
            timers.disarm(key);
            timers.disarm(key); // a stale key does nothing
        }
        let entries: usize = timers.lists.iter().map(|list| list.entries.len()).sum();
        assert!(entries < 200, "{entries} entries left");
        assert_eq!(timers.pop_due(start + Duration::from_secs(1)), Some(7));
        timers.disarm(kept);
        assert!(timers.is_empty());
    }

    /// Against a list that is searched: every history of arming, disarming and passing time.
    #[test]
    fn agrees_with_a_sorted_list() {
        use proptest::prelude::*;

        #[derive(Clone, Debug)]
        enum Step {
            Arm(u64),
            Disarm(usize),
            Pass(u64),
        }
        // Of all magnitudes, and many equal ones.
        let length = || (0..40_u32, 0..4_u64).prop_map(|(magnitude, some)| some << magnitude);
        let step = prop_oneof![
            3 => length().prop_map(Step::Arm),
            1 => any::<usize>().prop_map(Step::Disarm),
            1 => length().prop_map(Step::Pass),
        ];
        proptest!(|(history in prop::collection::vec(step, 0..200))| {
            let mut now = *EPOCH;
            let mut timers = Timers::new();
            let mut model: Vec<(Instant, usize, TimerKey)> = Vec::new();
            for (number, step) in history.into_iter().enumerate() {
                match step {
                    Step::Arm(ahead) => {
                        let at = now + Duration::from_nanos(ahead);
                        model.push((at, number, timers.arm(at, number)));
                    }
                    Step::Disarm(which) if !model.is_empty() => {
                        let (_, _, key) = model.remove(which % model.len());
                        timers.disarm(key);
                        timers.disarm(key);
                    }
                    Step::Disarm(_) => {}
                    Step::Pass(time) => {
                        now += Duration::from_nanos(time);
                        model.sort_by_key(|(at, number, _)| (*at, *number));
                        let due = model.partition_point(|(at, ..)| *at <= now);
                        for (_, number, key) in model.drain(..due) {
                            prop_assert_eq!(timers.pop_due(now), Some(number));
                            timers.disarm(key); // stale
                        }
                        prop_assert_eq!(timers.pop_due(now), None);
                        let next = model.iter().map(|(at, ..)| *at - now).min();
                        prop_assert!(timers.next_due(now) <= next);
                        prop_assert_eq!(timers.is_empty(), next.is_none());
                    }
                }
            }
        });
    }
}
