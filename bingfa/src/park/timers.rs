//! Deadlines of one worker: armed and disarmed by its coroutines, fired by its loop.
//!
//! A binary heap ordered by due time, then by the order of arming. Most
//! deadlines are disarmed long before they are due (a read timeout), so
//! disarming only clears the timer's slot; the heap entry is skipped when it
//! surfaces, and all dead entries are swept out once they are the majority.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Names an armed timer. Stale keys are harmless.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerKey {
    slot: u32,
    generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    target: Option<T>,
}

/// Due time in nanoseconds since `EPOCH`, then arming order, then the slot and its generation.
type HeapEntry = Reverse<(u64, u64, u32, u32)>;

#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: BinaryHeap<HeapEntry>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    armed: u64,
    dead: usize,
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn nanos(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*EPOCH).as_nanos()).unwrap_or(u64::MAX)
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        LazyLock::force(&EPOCH);
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            armed: 0,
            dead: 0,
        }
    }

    pub(crate) fn arm(&mut self, at: Instant, target: T) -> TimerKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                target: None,
            });
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 timers on a worker")
        });
        let place = &mut self.slots[slot as usize];
        place.target = Some(target);
        self.armed += 1;
        self.heap
            .push(Reverse((nanos(at), self.armed, slot, place.generation)));
        TimerKey {
            slot,
            generation: place.generation,
        }
    }

    /// Takes a timer back; does nothing if it has fired.
    pub(crate) fn disarm(&mut self, key: TimerKey) {
        if self.release(key.slot, key.generation).is_some() {
            self.dead += 1;
            if self.dead > 64 && self.dead > self.heap.len() / 2 {
                let slots = &self.slots;
                self.heap.retain(|Reverse((_, _, slot, generation))| {
                    slots[*slot as usize].generation == *generation
                });
                self.dead = 0;
            }
        }
    }

    fn release(&mut self, slot: u32, generation: u32) -> Option<T> {
        let place = &mut self.slots[slot as usize];
        if place.generation != generation {
            return None;
        }
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        place.target.take()
    }

    /// How long until the next timer is due; `None` if none is armed.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Duration> {
        while let Some(&Reverse((at, _, slot, generation))) = self.heap.peek() {
            if self.slots[slot as usize].generation == generation {
                return Some(Duration::from_nanos(at.saturating_sub(nanos(now))));
            }
            self.heap.pop();
            self.dead -= 1;
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The next target that is due, in order of due time and then of arming.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let now = nanos(now);
        while let Some(&Reverse((at, _, slot, generation))) = self.heap.peek() {
            if at > now {
                return None;
            }
            self.heap.pop();
            match self.release(slot, generation) {
                Some(target) => return Some(target),
                None => self.dead -= 1,
            }
        }
        None
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
        assert!(
            timers.heap.len() < 200,
            "{} entries left",
            timers.heap.len()
        );
        assert_eq!(timers.pop_due(start + Duration::from_secs(1)), Some(7));
        timers.disarm(kept);
        assert!(timers.is_empty() || timers.next_due(start).is_none());
    }
}
