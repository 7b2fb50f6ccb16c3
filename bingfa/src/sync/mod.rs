//! Twins of [`std::sync`]'s locks, for threads, coroutines and async tasks in any mix.
//!
//! Names, signatures and poisoning are std's: replace `std::sync` by `bingfa::sync`. A wait
//! suspends only its caller: a coroutine gives its worker to others, a plain thread sleeps
//! in the kernel after a short spin, and an async task, which calls the form that ends in
//! `_async`, gives its executor the thread back. One lock may serve all of them at once.
//!
//! Beyond std there are [`Semaphore`], [`BoundedSemaphore`], [`Event`] and [`ReentrantLock`],
//! forms with a time limit (`_timeout`, `_deadline`) and owned guards (`lock_arc`).
//!
//! # Ending early
//! A coroutine that is cancelled while it waits, or a wait inside [`time::timeout`](crate::time::timeout)
//! that takes too long, unwinds without the lock. One that holds locks while it unwinds
//! releases them, and does *not* poison them: a cancel is an early return, like `?`. Only a
//! panic poisons. (While two coroutines of one thread unwind at the same time, one of them
//! suspended in a destructor, a panic of the other cannot be told apart and does not poison.)
//!
//! # Deadlocks
//! Carriers that wait for each other's locks for ever are reported on standard error as soon
//! as the last of them waits; [`observe::on_deadlock`](crate::observe::on_deadlock) can make
//! that one panic instead. See [`observe`](crate::observe) for who takes part.
//!
//! # Async tasks
//! Dropping a future that waits leaves the queue, and passes on what it was given but has
//! not seen. A future that is *forgotten* ([`std::mem::forget`]) while it waits keeps its
//! place in the queue, so the lock may never be free again.

#[cfg(not(loom))]
mod barrier;
#[cfg(not(loom))]
mod bounded_semaphore;
#[cfg(not(loom))]
mod condvar;
#[cfg(not(loom))]
mod condvar_arc;
#[cfg(not(loom))]
mod event;
pub(crate) mod exchange;
#[cfg(not(loom))]
mod guard;
#[cfg(not(loom))]
mod lazy_lock;
#[cfg(not(loom))]
pub mod mpsc;
#[cfg(not(loom))]
mod mutex;
#[cfg(not(loom))]
mod once;
#[cfg(not(loom))]
mod once_lock;
#[cfg(not(loom))]
mod poison;
mod raw_barrier;
mod raw_condvar;
mod raw_event;
mod raw_mutex;
mod raw_once;
mod raw_rwlock;
mod raw_semaphore;
#[cfg(not(loom))]
mod reentrant_lock;
#[cfg(not(loom))]
mod rwlock;
#[cfg(not(loom))]
mod semaphore;

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, loom))]
mod models_counts;
#[cfg(all(test, loom))]
mod models_deadlock;
#[cfg(all(test, loom))]
mod models_once;

#[cfg(not(loom))]
pub use self::{
    barrier::{Barrier, BarrierWaitResult},
    bounded_semaphore::{BoundedSemaphore, TooManyPermits},
    condvar::{Condvar, WaitTimeoutResult},
    event::{Event, EventWait},
    lazy_lock::LazyLock,
    mutex::{ArcMutexGuard, Mutex, MutexGuard},
    once::{Once, OnceState},
    once_lock::OnceLock,
    poison::{LockResult, PoisonError, TryLockError, TryLockResult},
    reentrant_lock::{ReentrantLock, ReentrantLockGuard},
    rwlock::{ArcRwLockReadGuard, ArcRwLockWriteGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    semaphore::{ArcSemaphorePermit, Semaphore, SemaphorePermit},
};
#[cfg(not(loom))]
#[doc(no_inline)]
pub use std::sync::{Arc, Weak, atomic};
