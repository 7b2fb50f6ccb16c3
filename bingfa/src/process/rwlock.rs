//! `RwLock`: a lock between processes for many readers or one writer.
//!
//! # Invariants
//! 1. The payload is a [`rwlock::RwLock`], initialised before anybody else has it, and behind it,
//!    at `DATA`, a value of a `Pod` type, which every pattern of bytes is.
//! 2. The value is reached only through guards. A writer's exists only while its maker writes,
//!    and a reader's while its process is counted among the readers.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::poison::{LockResult, TryLockError, TryLockResult, wrap};
use super::shared::{Shared, can_be_sent};
use super::waiting::{self, Look};
use super::{Pod, locked, polling};
use crate::park::cancel;
use crate::shm::arena::Arena;
use crate::shm::blame::Poison;
use crate::shm::kind::Kind;
use crate::shm::later;
use crate::shm::lock::Owner;
use crate::shm::rwlock;
use crate::shm::tally::Attempt;

/// A lock between processes for many readers or one writer, and between the carriers in each:
/// as [`sync::RwLock`](crate::sync::RwLock), for plain data in shared memory.
///
/// A handle, like [`Mutex`](super::Mutex). The owner is a thread or coroutine of one process,
/// so coroutines that share a thread exclude each other, too.
///
/// # Who is next
/// Whoever calls while the lock is free gets it, even if others wait. Readers join other
/// readers only while no writer waits, so readers do not starve a writer: do not lock for
/// reading what the carrier has locked for reading already.
///
/// # Poisoning
/// A panic while the lock is held *for writing* poisons it, and so does the end of the
/// writer's process, by SIGKILL or otherwise: waiters have it at once, with a
/// [`PoisonError`](super::PoisonError) that names the process. A reader's end, and that of
/// a writer that waits, changes nothing: its share goes. A cancel poisons nothing.
///
/// # Examples
/// ```
/// use bingfa::process::{self, RwLock};
///
/// let price = RwLock::new(100u32)?;
/// let writer = process::spawn(price.clone(), |price: RwLock<u32>| *price.write().unwrap() += 1);
/// let reader = process::spawn(price.clone(), |price: RwLock<u32>| *price.read().unwrap());
/// writer.join().unwrap();
/// assert!([100, 101].contains(&reader.join().unwrap()));
/// assert_eq!(*price.read().unwrap(), 101);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RwLock<T: Pod = ()> {
    shared: Shared,
    data: PhantomData<T>,
}

/// Where the data begins.
const DATA: usize = size_of::<rwlock::RwLock>().next_multiple_of(64);

/// What waits are called in snapshots.
const READ: &&str = &"process rwlock (read)";
const WRITE: &&str = &"process rwlock (write)";

fn lock_of(shared: &Shared) -> &rwlock::RwLock {
    // SAFETY: invariant 1; the object lives as long as its handle.
    unsafe { shared.payload().cast().as_ref() }
}

/// Stops writing, or waiting for that.
fn end_write(shared: &Shared) {
    lock_of(shared).unlock_write(shared.family().arena());
}

/// A writer that waits for the readers.
struct Next<'a>(&'a Shared);

impl Drop for Next<'_> {
    fn drop(&mut self) {
        end_write(self.0);
    }
}

/// Locks for reading; false: `deadline` came first.
#[track_caller]
pub(super) fn read(shared: &Shared, deadline: Option<Instant>) -> bool {
    let (lock, arena, hold) = (lock_of(shared), shared.arena(), shared.handle().hold());
    let read = || lock.try_read(arena, hold).into();
    if let Look::Done(()) = read() {
        return true;
    }
    locked::wait_for_owner(shared, &lock.writer, READ, deadline, read)
}

/// Locks for reading, as an async task.
pub(super) async fn read_async(shared: &Shared) {
    let (lock, arena, hold) = (lock_of(shared), shared.arena(), shared.handle().hold());
    let read = |_| lock.try_read(arena, hold).into();
    polling::done(shared, &lock.writer.word, read).await;
}

/// Locks for writing, as an async task.
pub(super) async fn write_async(shared: &Shared) {
    let (lock, arena, me) = (lock_of(shared), shared.arena(), locked::somebody(shared));
    let first = |_| lock.writer.try_lock(me).then_some(()).into();
    polling::done(shared, &lock.writer.word, first).await;
    let next = Next(shared);
    polling::done(shared, &lock.word, |_| lock.try_write(arena).into()).await;
    std::mem::forget(next);
}

/// Locks for writing as `me`; false: `deadline` came first.
#[track_caller]
pub(super) fn write(shared: &Shared, me: Owner, deadline: Option<Instant>) -> bool {
    let (lock, arena, family) = (lock_of(shared), shared.arena(), shared.family());
    let first = || lock.writer.try_lock(me).then_some(()).into();
    let is_first = matches!(first(), Look::Done(()))
        || locked::wait_for_owner(shared, &lock.writer, WRITE, deadline, first);
    if !is_first {
        return false;
    }
    let next = Next(shared);
    let write = |_| lock.try_write(arena).into();
    let writes = waiting::wait_for(family, &lock.word, WRITE, deadline, write).is_some();
    if writes {
        std::mem::forget(next);
    }
    writes
}

/// Locks for reading if that is possible at once.
#[track_caller]
pub(super) fn try_read(shared: &Shared) -> bool {
    lock_of(shared).try_read(shared.arena(), shared.handle().hold()) == Attempt::Made
}

/// Locks for writing as `me`, if that is possible at once.
#[track_caller]
pub(super) fn try_write(shared: &Shared, me: Owner) -> bool {
    let (lock, arena) = (lock_of(shared), shared.arena());
    if !lock.writer.try_lock(me) {
        return false;
    }
    let writes = lock.try_write(arena) == Attempt::Made;
    if !writes {
        end_write(shared);
    }
    writes
}

impl<T: Pod> RwLock<T> {
    /// Makes a lock that is free.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new(value: T) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= 64, "an alignment above 64") };
        let len = DATA + size_of::<T>();
        let shared = Shared::create::<Self>(Kind::RwLock, len as u64, |payload| {
            // SAFETY: zeroed, with room for both, and nobody else's yet.
            unsafe {
                payload.add(DATA).cast::<T>().write(value);
                rwlock::RwLock::init(payload.cast().as_ptr())
            }
        })?;
        Ok(Self::over(shared))
    }

    fn over(shared: Shared) -> Self {
        let data = PhantomData;
        Self { shared, data }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn data(&self) -> NonNull<T> {
        // SAFETY: inside the payload (invariant 1).
        unsafe { self.shared.payload().add(DATA) }.cast()
    }

    /// Waits until no writer holds the lock or waits for it, and locks it for reading.
    ///
    /// # Errors
    /// With the guard, if the lock is poisoned.
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    ///
    /// # Cancellation
    /// A cancelled coroutine unwinds without the lock.
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        read(&self.shared, None);
        self.read_guard()
    }

    /// Locks for reading if that is possible at once.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if a writer holds the lock or waits for it;
    /// [`TryLockError::Poisoned`] with the guard if it is poisoned.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.try_read_guard(try_read(&self.shared))
    }

    /// As [`read`](Self::read), for at most `limit`.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it was too late; [`TryLockError::Poisoned`] with the
    /// guard if the lock is poisoned.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_timeout(&self, limit: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        match Instant::now().checked_add(limit) {
            Some(deadline) => self.read_deadline(deadline),
            None => Ok(self.read()?), // further than the clock goes
        }
    }

    /// As [`read`](Self::read), until `deadline`.
    ///
    /// # Errors
    /// As [`read_timeout`](Self::read_timeout).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_deadline(&self, deadline: Instant) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.try_read_guard(read(&self.shared, Some(deadline)))
    }

    /// Waits until nobody holds the lock, and locks it for writing.
    ///
    /// # Errors
    /// With the guard, if the lock is poisoned.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// A cancelled coroutine unwinds without the lock, and lets readers in again.
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        write(&self.shared, locked::me(&self.shared), None);
        self.write_guard()
    }

    /// Locks for writing if that is possible at once.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if the lock is held; [`TryLockError::Poisoned`] with the
    /// guard if it is poisoned.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.try_write_guard(try_write(&self.shared, locked::me(&self.shared)))
    }

    /// As [`write`](Self::write), for at most `limit`.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it was too late; [`TryLockError::Poisoned`] with the
    /// guard if the lock is poisoned.
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    #[track_caller]
    pub fn write_timeout(&self, limit: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        match Instant::now().checked_add(limit) {
            Some(deadline) => self.write_deadline(deadline),
            None => Ok(self.write()?), // further than the clock goes
        }
    }

    /// As [`write`](Self::write), until `deadline`.
    ///
    /// # Errors
    /// As [`write_timeout`](Self::write_timeout).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    #[track_caller]
    pub fn write_deadline(&self, deadline: Instant) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let me = locked::me(&self.shared);
        self.try_write_guard(write(&self.shared, me, Some(deadline)))
    }

    /// Waits until no writer holds the lock or waits for it, as an async task, and locks it for
    /// reading.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// Dropping the future leaves; it does not have the lock.
    pub async fn read_async(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        read_async(&self.shared).await;
        self.read_guard()
    }

    /// Waits until nobody holds the lock, as an async task, and locks it for writing.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// Dropping the future leaves without the lock, and lets readers in again.
    pub async fn write_async(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        write_async(&self.shared).await;
        self.write_guard()
    }

    /// Whether the lock is poisoned.
    pub fn is_poisoned(&self) -> bool {
        poisoned(&self.shared).is_some()
    }

    /// Makes a poisoned lock as good as new.
    pub fn clear_poison(&self) {
        lock_of(&self.shared).writer.poison.clear();
    }

    /// The caller is a reader.
    fn read_guard(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let guard = RwLockReadGuard {
            lock: self,
            not_send: PhantomData,
        };
        wrap(poisoned(&self.shared), guard)
    }

    /// The caller is the writer.
    fn write_guard(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let guard = RwLockWriteGuard {
            lock: self,
            unwinding: cancel::is_unwinding(),
            not_send: PhantomData,
        };
        wrap(poisoned(&self.shared), guard)
    }

    fn try_read_guard(&self, reads: bool) -> TryLockResult<RwLockReadGuard<'_, T>> {
        match reads {
            true => Ok(self.read_guard()?),
            false => Err(TryLockError::WouldBlock),
        }
    }

    fn try_write_guard(&self, writes: bool) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        match writes {
            true => Ok(self.write_guard()?),
            false => Err(TryLockError::WouldBlock),
        }
    }
}

can_be_sent!(RwLock<T>: Kind::RwLock);

impl<T: Pod> Clone for RwLock<T> {
    fn clone(&self) -> Self {
        Self::over(self.shared.clone())
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => out.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => out.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => out.field("data", &format_args!("<locked>")),
        };
        out.field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// The right to read what a [`RwLock`] protects. Dropping it unlocks.
///
/// It stays with its carrier: it is not `Send`.
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: Pod> {
    lock: &'a RwLock<T>,
    not_send: PhantomData<*const ()>,
}

/// The right to use what a [`RwLock`] protects. Dropping it unlocks.
///
/// It stays with its carrier: it is not `Send`.
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: Pod> {
    lock: &'a RwLock<T>,
    /// As in std: only a panic that begins while it lives poisons.
    unwinding: bool,
    not_send: PhantomData<*const ()>,
}

// SAFETY: shared access gives `&T` and nothing else.
unsafe impl<T: Pod + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Pod + Sync> Sync for RwLockWriteGuard<'_, T> {}

fn arena_of(shared: &Shared) -> &'static Arena {
    shared.family().arena()
}

impl<'a, T: Pod> RwLockWriteGuard<'a, T> {
    /// Becomes a reader, without letting another writer in between.
    pub fn downgrade(this: Self) -> RwLockReadGuard<'a, T> {
        let lock = ManuallyDrop::new(this).lock;
        let shared = &lock.shared;
        lock_of(shared).downgrade(arena_of(shared), shared.handle().hold());
        RwLockReadGuard {
            lock,
            not_send: PhantomData,
        }
    }
}

impl<T: Pod> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        unlock_read(&self.lock.shared);
    }
}

/// What the drop of a reader's guard does.
pub(super) fn unlock_read(shared: &Shared) {
    if arena_of(shared).forked() {
        return; // the lock is the other process's
    }
    let unlock =
        |shared: &Shared| lock_of(shared).unlock_read(arena_of(shared), shared.handle().hold());
    if !unlock(shared) {
        let shared = shared.clone();
        later::until_done(move || unlock(&shared));
    }
}

impl<T: Pod> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        unlock_write(&self.lock.shared, self.unwinding);
    }
}

/// What the drop of a writer's guard does. `unwinding`: whether its carrier was when it got the
/// lock.
pub(super) fn unlock_write(shared: &Shared, unwinding: bool) {
    if arena_of(shared).forked() {
        return; // the lock is the other process's
    }
    if !unwinding && cancel::is_panicking() {
        let pid = std::process::id() as i32;
        lock_of(shared).writer.poison.panicked(pid);
    }
    end_write(shared);
}

pub(super) fn poisoned(shared: &Shared) -> Option<Poison> {
    lock_of(shared).writer.poison.get()
}

impl<T: Pod> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: nobody writes while the guard lives (invariant 2).
        unsafe { self.lock.data().as_ref() }
    }
}

impl<T: Pod> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: ours while the guard lives (invariant 2).
        unsafe { self.lock.data().as_ref() }
    }
}

impl<T: Pod> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: ours while the guard lives (invariant 2).
        unsafe { self.lock.data().as_mut() }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
