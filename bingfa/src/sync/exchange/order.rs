//! In which order items leave a queue.

use std::collections::VecDeque;
use std::fmt;

/// Keeps the items of a queue and says which leaves next: [`Fifo`], [`Lifo`] or
/// [`Priority`](super::Priority). Not to be implemented outside of this crate.
pub trait Order: Default + sealed::Sealed {
    /// What the queue holds.
    type Item;

    /// Whether two stores in a row are as good as one.
    #[doc(hidden)]
    const SPLITS: bool;

    #[doc(hidden)]
    fn count(&self) -> usize;

    /// Adds the item that `slot` holds. Leaves it there if a comparison panics.
    #[doc(hidden)]
    fn push(&mut self, slot: &mut Option<Self::Item>);

    /// Takes out the item that is next. Changes nothing if a comparison panics.
    #[doc(hidden)]
    fn pop(&mut self) -> Option<Self::Item>;

    /// Brings back one that was taken out but reached nobody: before its equals.
    #[doc(hidden)]
    fn restore(&mut self, item: Self::Item);
}

pub(super) mod sealed {
    /// Only this crate's orders.
    pub trait Sealed {}
}

/// First in, first out.
pub struct Fifo<T>(VecDeque<T>);

/// Last in, first out.
pub struct Lifo<T>(Vec<T>);

impl<T> sealed::Sealed for Fifo<T> {}
impl<T> sealed::Sealed for Lifo<T> {}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Default for Lifo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> fmt::Debug for Fifo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fifo({})", self.0.len())
    }
}

impl<T> fmt::Debug for Lifo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lifo({})", self.0.len())
    }
}

impl<T> Order for Fifo<T> {
    type Item = T;
    const SPLITS: bool = true;

    #[inline(always)]
    fn count(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn push(&mut self, slot: &mut Option<T>) {
        if let Some(item) = slot.take() {
            self.0.push_back(item);
        }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn restore(&mut self, item: T) {
        self.0.push_front(item);
    }
}

impl<T> Order for Lifo<T> {
    type Item = T;
    const SPLITS: bool = false;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, slot: &mut Option<T>) {
        self.0.extend(slot.take());
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn restore(&mut self, item: T) {
        self.0.push(item);
    }
}
