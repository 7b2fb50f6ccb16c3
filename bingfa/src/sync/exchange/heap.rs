//! Smallest first, among equals in order of arrival; whole even if a comparison panics.
//!
//! A binary heap in a vector (Williams, 1964). Other than `std`'s, it first compares along
//! the whole path and only then moves items, so that a panic of `Ord` leaves it as it was.

use std::cmp::Ordering;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::order::{Order, sealed::Sealed};

/// The smallest first; among equals, the one that came first.
pub struct Priority<T> {
    /// No node is before its parent; the parent of `i` is `(i - 1) / 2`.
    heap: Vec<Ranked<T>>,
    /// The ranks of the next to arrive, and of the next to be brought back.
    next: i64,
    first: i64,
}

struct Ranked<T> {
    item: T,
    /// The order of arrival.
    rank: i64,
}

impl<T: Ord> Ranked<T> {
    fn is_before(&self, item: &T, rank: i64) -> bool {
        match self.item.cmp(item) {
            Ordering::Less => true,
            Ordering::Equal => self.rank < rank,
            Ordering::Greater => false,
        }
    }
}

impl<T> Default for Priority<T> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            next: 0,
            first: -1,
        }
    }
}

impl<T> fmt::Debug for Priority<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Priority({})", self.heap.len())
    }
}

impl<T: Ord> Priority<T> {
    /// How many levels an item of that rank rises from the place after the last.
    fn levels_up(&self, item: &T, rank: i64) -> u32 {
        let mut place = self.heap.len();
        let mut levels = 0;
        while place > 0 {
            place = (place - 1) / 2;
            if self.heap[place].is_before(item, rank) {
                break;
            }
            levels += 1;
        }
        levels
    }

    /// Moves the last item that many levels towards the root. Compares nothing.
    fn raise_last(&mut self, levels: u32) {
        let mut place = self.heap.len() - 1;
        for _ in 0..levels {
            let parent = (place - 1) / 2;
            self.heap.swap(place, parent);
            place = parent;
        }
    }

    /// Where the last item ends up once it takes the root's place.
    fn place_of_last(&self) -> usize {
        let last = self.heap.len() - 1;
        let moving = &self.heap[last];
        let mut place = 0;
        loop {
            let left = 2 * place + 1;
            if left >= last {
                return place;
            }
            let right = left + 1;
            let mut child = left;
            if right < last {
                let other = &self.heap[left];
                if self.heap[right].is_before(&other.item, other.rank) {
                    child = right;
                }
            }
            if !self.heap[child].is_before(&moving.item, moving.rank) {
                return place;
            }
            place = child;
        }
    }
}

impl<T> Sealed for Priority<T> {}

impl<T: Ord> Order for Priority<T> {
    type Item = T;
    const SPLITS: bool = false;

    fn count(&self) -> usize {
        self.heap.len()
    }

    fn push(&mut self, slot: &mut Option<T>) {
        let rank = self.next;
        let Some(item) = slot.as_ref() else { return };
        let levels = self.levels_up(item, rank);
        self.next += 1;
        self.heap
            .extend(slot.take().map(|item| Ranked { item, rank }));
        self.raise_last(levels);
    }

    fn pop(&mut self) -> Option<T> {
        if self.heap.is_empty() {
            return None;
        }
        let place = self.place_of_last();
        let taken = self.heap.swap_remove(0);
        // The path from the root to that place: its bits, read from the top, turn left or right.
        let mut at = 0;
        let target = place + 1;
        let depth = target.ilog2();
        for level in (0..depth).rev() {
            let child = 2 * at + 1 + (target >> level & 1);
            self.heap.swap(at, child);
            at = child;
        }
        Some(taken.item)
    }

    fn restore(&mut self, item: T) {
        let rank = self.first;
        self.first -= 1;
        // It was the smallest once: if it cannot be compared, that is where it goes.
        let levels = catch_unwind(AssertUnwindSafe(|| self.levels_up(&item, rank)))
            .unwrap_or_else(|_| (self.heap.len() + 1).ilog2());
        self.heap.push(Ranked { item, rank });
        self.raise_last(levels);
    }
}
