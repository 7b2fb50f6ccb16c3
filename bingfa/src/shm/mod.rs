//! Memory that a family of processes shares: who is in it, what lies in it, who holds what.
//!
//! A family is a process that nobody has spawned, and all that it and its children spawn. It
//! has one memory file, the **arena** (`arena.rs`), whose descriptor each child is given when
//! it is spawned, so that a shared object is named by a number wherever it goes. The arena has
//! a table of **peers** (`peers.rs`), the family's processes, and one of **objects**
//! (`object.rs`), each with a list of the peers that hold it. Whoever sees a peer end
//! **buries** it: what it held is let go or marked, and who waits for it is woken.
//!
//! # The rules for memory that others may leave behind half-done
//! 1. The tables, lists and free memory change under one robust lock, the arena's. Each change
//!    is committed by a single store, so that whoever is killed in between leaves at worst
//!    something behind that nobody uses, and there is nothing to repair.
//! 2. The arena's lock is taken before any other, and not while holding one.
//! 3. Nobody waits, in the sense of the other rooms, while holding a robust lock: those are
//!    for short sections, and their owner is a thread.
//! 4. Whoever has one may be stopped. What has a time limit, and what lets go of something, does
//!    not wait for that, but is tried again (`later.rs`). Who waits all the same says so.

#[cfg(not(loom))]
pub(crate) mod arena;
#[cfg(not(loom))]
pub(crate) mod barrier;
#[cfg(not(loom))]
pub(crate) mod blame;
#[cfg(not(loom))]
pub(crate) mod block;
#[cfg(not(loom))]
mod burial;
#[cfg(not(loom))]
pub(crate) mod condvar;
#[cfg(not(loom))]
pub(crate) mod end;
#[cfg(not(loom))]
pub(crate) mod event;
#[cfg(not(loom))]
pub(crate) mod family;
#[cfg(not(loom))]
pub(crate) mod hold;
#[cfg(not(loom))]
pub(crate) mod kind;
#[cfg(not(loom))]
pub(crate) mod last;
#[cfg(not(loom))]
pub(crate) mod later;
#[cfg(not(loom))]
pub(crate) mod lock;
#[cfg(not(loom))]
mod luggage;
#[cfg(not(loom))]
pub(crate) mod object;
#[cfg(not(loom))]
pub(crate) mod peers;
#[cfg(not(loom))]
pub(crate) mod permits;
#[cfg(not(loom))]
pub(crate) mod ring;
#[cfg(not(loom))]
pub(crate) mod rwlock;
#[cfg(not(loom))]
mod segment;
#[cfg(all(test, not(loom)))]
mod stopped;
#[cfg(not(loom))]
pub(crate) mod tally;
#[cfg(not(loom))]
pub(crate) mod tasks;
pub(crate) mod word;
