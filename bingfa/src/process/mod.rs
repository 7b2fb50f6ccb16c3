//! Processes: functions that run in processes of their own, and twin of [`std::process`].
//!
//! [`spawn`] is to a process what [`thread::spawn`](crate::thread::spawn) is to a thread: it
//! runs a function and gives its result back. The child shares no memory with its parent, so
//! its crash is an error at [`join`](JoinHandle::join), and it can be killed.
//!
//! ```
//! use bingfa::process;
//!
//! let children: Vec<_> = (1..=4u64)
//!     .map(|n| process::spawn(n, |n: u64| (1..=n).product::<u64>()))
//!     .collect();
//! let products: Vec<u64> = children.into_iter().map(|c| c.join().unwrap()).collect();
//! assert_eq!(products, [1, 2, 6, 24]);
//! ```
//!
//! A [`pipe`] carries messages between processes, with sockets and other descriptors in them if
//! need be; a [`manager`] keeps objects for them. [`Command`] runs other programs, as std's does.
//!
//! The locks of [`sync`](crate::sync) have a twin here, for plain data in shared memory
//! ([`Mutex`], [`RwLock`], [`ReentrantLock`]) or none ([`Semaphore`], [`BoundedSemaphore`],
//! [`Event`], [`Condvar`], [`Barrier`]); each says what becomes of those who wait when a
//! process is killed. Async tasks wait by the `_async` forms, and
//! [`select!`](crate::select) for the first of several queues, channels and events.
//!
//! # How a child begins
//!
//! A child is this very program, started anew or copied from a *zygote*: a child of one thread
//! that was started anew once and waits before `main`. Nothing is copied from the running
//! parent, whose threads and locks a `fork` would tear apart. Nothing has to be called in
//! `main` for it to work, also in tests, examples and doctests; [`init`] says when to do so all
//! the same.
//!
//! # What processes share
//!
//! [`pipe`] carries messages and descriptors between two, [`Queue`] and [`channel`] items
//! between any number; [`Mutex`], [`Value`], [`Array`] and [`SharedMemory`] are data in memory
//! that they share; a [`manager`] keeps any data for others. Their handles are arguments,
//! results, or parts of other messages. When a process ends, even by SIGKILL, whoever waits for
//! it is told at once, and what only it had is freed.
//!
//! # How it ends
//!
//! A child whose function returns waits for its own threads, coroutines and children that are
//! no daemons, and ends without the `atexit` handlers and destructors of libraries; a function
//! that wants those ends by [`exit`], which leaves no result. A child that ends is reaped at once, whether anybody joins it or not. At normal exit the
//! process waits for its children; [daemons](Builder::daemon) are killed when it ends, even if
//! it is killed itself.

mod array;
mod barrier;
mod bounded_semaphore;
mod carry;
mod channel;
mod child;
mod command;
mod condvar;
mod error;
mod event;
mod family;
mod fd;
mod handle;
mod identity;
mod keeper;
mod locked;
pub mod manager;
mod mutex;
mod named;
mod owned;
mod pipe;
mod poison;
mod polling;
mod queue;
mod queue_async;
mod queue_error;
mod queue_join;
mod raw;
mod receipt;
mod record;
mod reentrant_lock;
mod rwlock;
mod semaphore;
mod shared;
mod shared_memory;
mod spawn;
mod stdio;
mod value;
mod wait;
mod waiting;
mod wire;
mod zygote;

pub use array::Array;
pub use barrier::{Barrier, BrokenBarrier};
pub use bounded_semaphore::BoundedSemaphore;
pub use channel::{Receiver, Sender, channel};
pub use child::init;
pub use command::{Child, Command};
pub use condvar::Condvar;
pub use error::JoinError;
pub use event::{Event, EventWait};
pub use fd::Fd;
pub use handle::{JoinHandle, Process, active_children, current, parent};
pub use mutex::{Mutex, MutexGuard};
pub use owned::{
    OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit,
};
pub use pipe::{Connection, pipe};
pub use poison::{LockResult, Owner, PoisonError, TryLockError, TryLockResult};
pub use queue::Queue;
pub use queue_async::{Get, Put};
pub use queue_error::{Abandoned, Closed, GetError, Last, PutError, Unjoined};
pub use queue_join::Join;
pub use raw::{RawArray, RawValue};
pub use reentrant_lock::{ReentrantLock, ReentrantLockGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphorePermit};
pub use shared_memory::SharedMemory;
pub use spawn::{Builder, spawn};
pub use stdio::{ChildStderr, ChildStdin, ChildStdout, Stdio};
pub use value::Value;
pub use wait::wait;

/// What may lie in memory that processes share: plain old data, of which every pattern of bytes
/// is a value. From the crate `bytemuck`, which can derive it.
pub use bytemuck::{Pod, Zeroable};

pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Termination, abort, exit, id,
};

/// How a child is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartMethod {
    /// A copy of the zygote, which takes a quarter of the time. The first such child starts
    /// the zygote. Where it cannot work (another C library than glibc, other threads before
    /// `main`), the child is made by `Exec`.
    #[default]
    #[doc(alias = "forkserver")]
    Zygote,
    /// A new image of the program.
    #[doc(alias = "spawn")]
    Exec,
}
