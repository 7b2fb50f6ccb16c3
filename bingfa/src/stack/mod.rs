//! Coroutine stacks: slabs of address space cut into slots, guard pages, reuse, and the
//! report of an overflow.
//!
//! A thread owns a [`StackPool`]. The pool maps *slabs*, each cut into *slots* of one power
//! of two; a [`Stack`] is the right to use one slot. From the lowest address up, a slot is
//!
//! ```text
//! limit        limit + guard                        base              limit + slot
//! | guard pages | frames, growing down from `base` .. | control area | colour |
//! ```
//!
//! The *colour* shifts the top of neighbouring slots by a cache line each: else the hottest
//! lines of all coroutines would compete for the same few sets of the cache.
//!
//! # Invariants
//! 1. A slot is represented by exactly one `Stack`, made when the slot is handed out for the
//!    first time: in use somewhere, or on its pool's free list.
//! 2. A slab is unmapped only by the drop of its pool, and only if all the `Stack`s ever made
//!    for its slots are then on that pool's free list. Other slabs are leaked.
//! 3. Pools and stacks are not `Send`: whoever runs on a slot runs on the thread of its pool.

mod directory;
mod guard;
mod overflow;
mod pool;
mod slot;

pub(crate) use crate::sys::signal::ensure_alt_stack;
pub(crate) use directory::Owner;
pub use guard::GuardPages;
pub(crate) use overflow::install_overflow_handler;
pub(crate) use pool::StackPool;
pub(crate) use slot::{Extent, Stack};
