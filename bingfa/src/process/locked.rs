//! A lock and what it protects, as one shared object.
//!
//! # Invariants
//! 1. The payload is a [`Lock`], and behind it, aligned to 64, the data: values of a `Pod`
//!    type, which every pattern of bytes is.
//! 2. The data is reached only through a [`MutexGuard`], which exists only while its maker
//!    owns the lock. A process that ends with it leaves bytes, which are values.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

use super::poison::{LockResult, TryLockError, TryLockResult, wrap};
use super::shared::Shared;
use super::waiting::{self, Look};
use super::{Pod, polling};
use crate::park::outside::{Holder, Outside};
use crate::park::{cancel, carrier};
use crate::shm::blame::Poison;
use crate::shm::kind::Kind;
use crate::shm::lock::{Lock, Owner};

/// Where the data begins.
pub(super) const DATA: u64 = 64;

const _: () = assert!(size_of::<Lock>() <= DATA as usize);

/// What a wait for a lock is called in snapshots.
const WHAT: &&str = &"process lock";

/// Makes the object that `T` is, with `data`.
///
/// # Errors
/// If there is no memory.
pub(super) fn create<T: 'static, E: Pod>(data: &[E]) -> io::Result<Shared> {
    const { assert!(align_of::<E>() <= DATA as usize, "an alignment above 64") };
    let len = DATA + size_of_val(data) as u64;
    Shared::create::<T>(Kind::Locked, len, |payload| {
        // SAFETY: the payload has room for it, and is nobody else's yet. Zeroes are a lock.
        unsafe {
            let at = payload.add(DATA as usize).cast::<E>();
            at.copy_from_nonoverlapping(NonNull::from(data).cast(), data.len());
        }
        Ok(())
    })
}

pub(super) fn lock_of(shared: &Shared) -> &Lock {
    // SAFETY: invariant 1; the object lives as long as its handle.
    unsafe { shared.payload().cast::<Lock>().as_ref() }
}

/// The data of an object made by [`create`].
pub(super) fn data<E: Pod>(shared: &Shared) -> NonNull<[E]> {
    let bytes = (shared.len() - DATA) as usize;
    let count = bytes.checked_div(size_of::<E>()).unwrap_or(0);
    // SAFETY: inside the payload (invariant 1).
    let first = unsafe { shared.payload().add(DATA as usize) }.cast::<E>();
    NonNull::slice_from_raw_parts(first, count)
}

/// The right to use data that processes share. Dropping it unlocks.
///
/// It stays with its carrier: it is not `Send`.
#[must_use = "if unused the lock is unlocked at once"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized> {
    shared: &'a Shared,
    data: NonNull<T>,
    /// As in std: only a panic that begins while it lives poisons.
    unwinding: bool,
    not_send: PhantomData<*const ()>,
}

// SAFETY: shared access gives `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The caller owns the lock, and `data` is the object's.
    fn new(shared: &'a Shared, data: NonNull<T>) -> Self {
        Self {
            shared,
            data,
            unwinding: cancel::is_unwinding(),
            not_send: PhantomData,
        }
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Unlocks, for somebody who locks again.
    pub(super) fn into_parts(self) -> (&'a Shared, NonNull<T>) {
        (self.shared, self.data)
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        unlock(self.shared, self.unwinding);
    }
}

/// What the drop of a guard does. `unwinding`: whether its carrier was when it got the lock.
pub(super) fn unlock(shared: &Shared, unwinding: bool) {
    let arena = shared.family().arena();
    if arena.forked() {
        return; // the lock is the other process's
    }
    let lock = lock_of(shared);
    if !unwinding && cancel::is_panicking() {
        lock.poison.panicked(std::process::id() as i32);
    }
    lock.unlock(arena);
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: ours while the guard lives (invariant 2).
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: ours while the guard lives (invariant 2).
        unsafe { self.data.as_mut() }
    }
}

impl<T: ?Sized + std::fmt::Debug> std::fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

pub(super) fn me(shared: &Shared) -> Owner {
    shared.arena(); // not in a fork
    Owner::new(shared.family().me(), carrier::id())
}

/// The caller, if it is an async task, or gets a guard that may wander: somebody of this process.
#[track_caller]
pub(super) fn somebody(shared: &Shared) -> Owner {
    shared.arena(); // not in a fork
    Owner::new(shared.family().me(), carrier::ANONYMOUS)
}

/// Waits for the lock. `data` is that of the object.
#[track_caller]
pub(super) fn lock<T: ?Sized>(shared: &Shared, data: NonNull<T>) -> LockResult<MutexGuard<'_, T>> {
    acquire(shared, me(shared), None);
    guard(shared, data)
}

/// The guard of a lock that was acquired. `data` is that of the object.
pub(super) fn guard<T: ?Sized>(shared: &Shared, data: NonNull<T>) -> LockResult<MutexGuard<'_, T>> {
    wrap(lock_of(shared).poison.get(), MutexGuard::new(shared, data))
}

/// Waits for the lock until `deadline`; `None`: not at all. `data` is that of the object.
#[track_caller]
pub(super) fn try_lock<T: ?Sized>(
    shared: &Shared,
    data: NonNull<T>,
    deadline: Option<Instant>,
) -> TryLockResult<MutexGuard<'_, T>> {
    let had = match deadline {
        None => lock_of(shared).try_lock(me(shared)),
        Some(_) => acquire(shared, me(shared), deadline),
    };
    if !had {
        return Err(TryLockError::WouldBlock);
    }
    Ok(guard(shared, data)?)
}

/// Takes the lock, as an async task.
pub(super) async fn acquire_async(shared: &Shared) {
    let (lock, me) = (lock_of(shared), somebody(shared));
    let attempt = |_| lock.try_lock(me).then_some(()).into();
    polling::done(shared, &lock.word, attempt).await;
}

/// Takes the lock as `me`; false: `deadline` came first.
#[track_caller]
pub(super) fn acquire(shared: &Shared, me: Owner, deadline: Option<Instant>) -> bool {
    let lock = lock_of(shared);
    if lock.try_lock(me) {
        return true;
    }
    let attempt = || lock.try_lock(me).then_some(()).into();
    wait_for_owner(shared, lock, WHAT, deadline, attempt)
}

/// Waits for what the owner of `lock` is to let go of; false: `deadline` came first.
///
/// # Panics
/// If the wait would be the last of a deadlock within this process, and
/// [`on_deadlock`](crate::observe::on_deadlock) says so.
#[track_caller]
pub(super) fn wait_for_owner(
    shared: &Shared,
    lock: &Lock,
    what: &'static &'static str,
    deadline: Option<Instant>,
    mut attempt: impl FnMut() -> Look<()>,
) -> bool {
    let at = Location::caller();
    let family = shared.family();
    let holder = || {
        let (slot, carrier) = lock.owner()?;
        let carrier =
            (slot == family.me().slot() && !Owner::is_somebody(carrier)).then_some(carrier);
        let pid = family.arena().pid_at(slot)?.unsigned_abs();
        Some(Holder { pid, carrier })
    };
    let key = std::ptr::from_ref(lock).addr();
    let waited = Outside::with(key, deadline.is_some(), &holder, |wait| {
        let mut is_listed = false;
        let attempt = |sleeps_next: bool| match attempt() {
            Look::Done(()) => Look::Done(None),
            Look::NotYet if sleeps_next && !is_listed => {
                is_listed = true;
                match wait.list(what, at) {
                    Some(report) => Look::Done(Some(report)),
                    None => Look::NotYet,
                }
            }
            Look::NotYet => Look::NotYet,
            Look::Busy => Look::Busy,
        };
        waiting::wait_for(family, &lock.word, what, deadline, attempt)
    });
    match waited {
        Some(Some(report)) => panic!("bingfa: {report}"),
        Some(None) => true,
        None => false,
    }
}

pub(super) fn poisoned(shared: &Shared) -> Option<Poison> {
    lock_of(shared).poison.get()
}

pub(super) fn clear_poison(shared: &Shared) {
    lock_of(shared).poison.clear();
}

pub(super) fn is_locked(shared: &Shared) -> bool {
    lock_of(shared).is_locked()
}
