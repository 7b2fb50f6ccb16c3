//! What runs, what it waits for, and who waits for whom.
//!
//! # Deadlocks
//! When threads or coroutines wait for each other's locks for ever, the last of them finds
//! that out when it begins to wait. By default there is a report on standard error, which
//! names each of them, where it was spawned, what it holds, and where it waits for what;
//! [`on_deadlock`] or `BINGFA_DEADLOCK=report|panic|off` choose what is done.
//!
//! Who takes part: [`Mutex`](crate::sync::Mutex), [`ReentrantLock`](crate::sync::ReentrantLock),
//! [`RwLock`](crate::sync::RwLock) held for writing, [`Once`](crate::sync::Once) and its kin while
//! they run, and waits at a [`Condvar`](crate::sync::Condvar) once they are notified and want the
//! mutex back. Nobody knows who holds an `RwLock` for reading, what an async task holds, or
//! who has a guard that may wander (`lock_arc`): a deadlock through one of these is not seen,
//! nor one through a join, a queue or a semaphore. A wait with a time limit, or inside a
//! [`time::timeout`](crate::time::timeout), ends by itself and so is no part of a deadlock; nor is
//! the wait of a coroutine that was cancelled (though it may shield itself from that).
//! A guard that was given to another coroutine of the same thread counts as held by who took it.
//! Locks between processes take part as far as both, who waits and who holds, are of this process:
//! [`process::Mutex`](crate::process::Mutex), `Value`, `Array` and `ReentrantLock`, and
//! [`process::RwLock`](crate::process::RwLock) held for writing. A circle through two processes is not
//! reported; a [`snapshot`] in each shows [who](Carrier::held_by_process) holds what.
//!
//! A lock that is free, or whose owner does not wait itself, costs nothing for this.
//!
//! # Lock orders
//! A deadlock needs two to be in the wrong places at the same time; that they take two locks in
//! opposite orders shows whenever both do so. [`on_lock_order`], a [`Runtime`](crate::Runtime)'s
//! builder or `BINGFA_LOCK_ORDER=off|report|panic` have such orders watched, also circles of more
//! than two locks. A report names each step, who took it and where.
//!
//! Who takes part: [`Mutex`](crate::sync::Mutex), [`ReentrantLock`](crate::sync::ReentrantLock)
//! and [`RwLock`](crate::sync::RwLock), for reading and for writing: our readers wait behind writers
//! that wait, so two readers are harmless only as long as nobody writes. A
//! [`Condvar`](crate::sync::Condvar) wait unlocks its mutex and takes it again. What is got by `try_lock`
//! or within a time limit counts as held, but not as wanted, as nobody waits for it for ever. Async tasks, and
//! guards that may wander (`lock_arc`), do not take part. A guard that is forgotten counts as held.
//!
//! A lock is known by its address, from the first time that it is taken while orders are
//! watched; a lock that is made later at the address of one that has gone is another one. So two of many
//! locks of a kind are seen only if it is the same two each time, and a lock should not be moved
//! after its first use. Orders that cannot meet, because a third lock is always held with them
//! or one has ended before the other began, are reported all the same.
//!
//! While nobody watches, a lock costs nothing for this, not one instruction. While
//! somebody does, a lock and its unlock take some 200 ns, and those with
//! other locks held take turns. Afterwards, locks that were used meanwhile stay a little slower.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::num::NonZeroU64;

use crate::park::{deadlock, local, lot, order, outside, thread};
use crate::registry;

pub use crate::park::deadlock::Deadlock;
pub use crate::park::order::LockOrder;
pub use crate::registry::{Info, Kind, State, Waiting};

/// Says what is done, from now on, when threads or coroutines wait for each other's locks for
/// ever.
///
/// The setting is the process's: such a circle may go through plain threads and several
/// runtimes. It overrides `BINGFA_DEADLOCK`.
///
/// With [`Deadlock::Panic`] the last wait panics instead of waiting, and leaves the queue.
/// That panic drops the guards of its carrier, so that the others go on; it poisons those
/// locks, as any panic does.
///
/// # Examples
/// ```
/// use bingfa::observe::{self, Deadlock};
/// use bingfa::sync::Mutex;
/// use bingfa::thread;
///
/// observe::on_deadlock(Deadlock::Panic);
/// let twice = thread::spawn(|| {
///     let lock = Mutex::new(());
///     let _guard = lock.lock();
///     let _again = lock.lock(); // would wait for itself
/// });
/// let payload = twice.join().unwrap_err();
/// assert!(payload.downcast_ref::<String>().unwrap().contains("deadlock"));
/// ```
pub fn on_deadlock(what: Deadlock) {
    deadlock::set(what);
}

/// Says what is done, from now on, about locks that are taken in opposite orders, although
/// nothing hangs.
///
/// The setting is the process's, as locks are for all threads and runtimes. It overrides
/// `BINGFA_LOCK_ORDER`. Only what is locked from now on is known: set it at the beginning.
///
/// # Examples
/// ```
/// use bingfa::observe::{self, LockOrder};
/// use bingfa::sync::Mutex;
/// use bingfa::thread;
///
/// observe::on_lock_order(LockOrder::Panic);
/// let (a, b) = (Mutex::new(1), Mutex::new(2));
/// {
///     let _a = a.lock();
///     let _b = b.lock();
/// }
/// let opposite = thread::scope(|s| {
///     s.spawn(|| {
///         let _b = b.lock();
///         let _a = a.lock(); // nobody has it, but somebody might
///     })
///     .join()
/// });
/// let payload = opposite.unwrap_err();
/// assert!(payload.downcast_ref::<String>().unwrap().contains("opposite orders"));
/// ```
#[doc(alias = "lockdep")]
pub fn on_lock_order(what: LockOrder) {
    order::set(what);
}

/// A thread or coroutine, and who holds what it waits for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Carrier {
    /// Its name, state, place of birth and current or last wait.
    pub info: Info,
    /// The id of the thread or coroutine that has the lock for which it waits now, if that has
    /// one owner and the owner is known.
    pub held_by: Option<NonZeroU64>,
    /// The id of the process that has the lock for which it waits now, if that is a lock between
    /// processes. (`held_by` says which carrier, if that process is this one.)
    pub held_by_process: Option<u32>,
}

/// A snapshot of all threads and coroutines, oldest id first.
///
/// Threads are those that [`thread::enumerate`](crate::thread::enumerate) finds. Nothing is
/// stopped for it, so two parts of it may be a moment apart.
///
/// # Examples
/// ```
/// use bingfa::observe::{self, State};
/// use bingfa::sync::Mutex;
/// use bingfa::thread;
///
/// static LOCK: Mutex<()> = Mutex::new(());
/// let guard = LOCK.lock().unwrap();
/// let waiter = thread::spawn(|| drop(LOCK.lock()));
/// let id = waiter.thread().id().as_u64();
/// let seen = loop {
///     let all = observe::snapshot();
///     let seen = all.into_iter().find(|carrier| carrier.info.id == id).unwrap();
///     if seen.held_by.is_some() {
///         break seen;
///     }
/// };
/// assert_eq!(seen.info.state, State::Blocked);
/// assert_eq!(seen.held_by, Some(thread::current().id().as_u64()));
/// # drop(guard);
/// # waiter.join().unwrap();
/// ```
#[doc(alias = "dump")]
#[track_caller]
pub fn snapshot() -> Vec<Carrier> {
    if local::frame().is_none() {
        thread::current(); // lists the calling thread, if it was unknown
    }
    let mut holders = HashMap::new();
    lot::for_each(|id, held| {
        holders.insert(id, held.owner);
    });
    let mut infos = registry::snapshot(Kind::Thread);
    infos.extend(registry::snapshot(Kind::Coroutine));
    infos.sort_by_key(|info| info.id);
    let carrier = |info: Info| {
        let id = info.id.get();
        let outside = outside::holder_for(id);
        let held_by = holders.get(&id).copied().flatten();
        let held_by = held_by.or_else(|| outside.and_then(|holder| holder.carrier));
        Carrier {
            held_by: held_by.and_then(NonZeroU64::new),
            held_by_process: outside.map(|holder| holder.pid),
            info,
        }
    };
    infos.into_iter().map(carrier).collect()
}
