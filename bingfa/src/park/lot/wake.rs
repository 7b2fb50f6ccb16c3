//! Waking: who is chosen, served and moved.
//!
//! # Invariants
//! Those of the [room](super).

#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::chosen::{BATCH, Chosen};
use super::queue::{lock, lock_both};
use super::waiter::{Waiter, hand_out, inner};
use super::{Choice, Move, Owner, Waiting, fence_after_exchange};
use crate::park::atomic::{AtomicU64, Ordering::Relaxed};
use crate::park::deadlock;
use crate::park::wait::Queued;

/// Asks `choose` about each waiter of `key`, first come first, and wakes those it picks.
/// `finish` is told whether any are left, before anybody is served. Gives back how many were.
///
/// Both run with the bucket locked: they only look at the lock's word and change it.
pub(crate) fn unpark(
    key: usize,
    mut choose: impl FnMut(Waiting) -> Choice,
    finish: impl FnOnce(bool),
) -> usize {
    let mut chosen = Chosen::new();
    let mut queue = lock(key);
    let mut more = false;
    // SAFETY: the bucket is locked, and what is reached is in it.
    unsafe {
        let mut next = queue.find(queue.first, key);
        while let Some(waiter) = next {
            next = queue.after(waiter, key);
            let tag = inner(waiter.as_ptr(), |this| this.tag);
            match choose(Waiting { tag }) {
                Choice::Serve(token) => {
                    queue.remove(waiter);
                    chosen.add(waiter, token);
                }
                Choice::Stop => {
                    more = true;
                    break;
                }
            }
        }
        finish(more);
        chosen.serve();
    }
    drop(queue);
    chosen.wake()
}

/// Wakes the first waiter of `key`, if any; `finish` is told (with the bucket locked) whether
/// there was one and whether more are left, and gives its token.
pub(crate) fn unpark_one(key: usize, finish: impl FnOnce(Option<Waiting>, bool) -> usize) -> bool {
    let mut queue = lock(key);
    // SAFETY: the bucket is locked, and what is reached is in it.
    let unparker = unsafe {
        let Some(waiter) = queue.find(queue.first, key) else {
            finish(None, false);
            return false;
        };
        let more = queue.after(waiter, key).is_some();
        queue.remove(waiter);
        let tag = inner(waiter.as_ptr(), |this| this.tag);
        let token = finish(Some(Waiting { tag }), more);
        hand_out(waiter, token)
    };
    drop(queue);
    if let Some(unparker) = unparker {
        unparker.wake();
    }
    true
}

/// Wakes all who are waiting at `key` now, with the same token; gives back how many.
///
/// The bucket is unlocked now and then, so that ten thousand waiters do not hold up others.
pub(crate) fn unpark_all(key: usize, token: usize) -> usize {
    let mut woken = 0;
    let mut last_arrival = None;
    loop {
        let mut chosen = Chosen::new();
        let mut queue = lock(key);
        let last_arrival = *last_arrival.get_or_insert(queue.arrivals);
        // SAFETY: the bucket is locked, and what is reached is in it.
        unsafe {
            while chosen.len() < BATCH
                && let Some(waiter) = queue.find(queue.first, key)
                && inner(waiter.as_ptr(), |this| this.arrival) <= last_arrival
            {
                queue.remove(waiter);
                chosen.add(waiter, token);
            }
            chosen.serve();
        }
        drop(queue);
        let some = chosen.wake();
        woken += some;
        if some < BATCH {
            return woken;
        }
    }
}

/// Wakes the first waiters of `key` as long as their tags are at most `last`, with the same
/// token.
///
/// The bucket is unlocked now and then, so that ten thousand waiters do not hold up others.
pub(crate) fn unpark_up_to(key: usize, last: u64, token: usize) {
    let mut woken = BATCH;
    while woken == BATCH {
        let mut chosen = 0;
        let choose = |waiter: Waiting| {
            if chosen == BATCH || waiter.tag > last {
                return Choice::Stop;
            }
            chosen += 1;
            Choice::Serve(token)
        };
        woken = unpark(key, choose, |_| ());
    }
}

/// Wakes those who come first at `key`, at most `limit`, as long as they are coroutines of this
/// thread and `may` (asked with the bucket locked, if there is anybody) holds, with the same
/// token. `finish` is told, still so, whether any are left. Gives back how many were woken.
///
/// The bucket is unlocked now and then. No others come in between: this is their thread.
pub(crate) fn unpark_here(
    key: usize,
    limit: usize,
    token: usize,
    may: impl Fn() -> bool,
    finish: impl Fn(bool),
) -> usize {
    let mut woken = 0;
    loop {
        let mut chosen = Chosen::new();
        let mut queue = lock(key);
        // SAFETY: the bucket is locked, and what is reached is in it.
        let more = unsafe {
            let mut next = queue.find(queue.first, key);
            if next.is_some() && may() {
                let batch = BATCH.min(limit - woken);
                while chosen.len() < batch
                    && let Some(waiter) = next
                    && is(waiter, Queued::is_here)
                {
                    next = queue.after(waiter, key);
                    queue.remove(waiter);
                    chosen.add(waiter, token);
                }
            }
            finish(next.is_some());
            chosen.serve();
            next.is_some()
        };
        drop(queue);
        let some = chosen.wake();
        woken += some;
        if !more || some < BATCH || woken == limit {
            return woken;
        }
    }
}

/// # Safety
/// The bucket is locked and the waiter in it.
unsafe fn is(waiter: NonNull<Waiter>, what: impl FnOnce(&Queued) -> bool) -> bool {
    // SAFETY: the caller's duty.
    unsafe { inner(waiter.as_ptr(), |this| this.who.as_ref().is_some_and(what)) }
}

/// Moves the first `limit` waiters of `from` to the end of the queue of `to`, whose
/// exclusive lock's word is `word`. They are carriers, whose waits borrow that lock.
///
/// One whose wait for the lock could close a circle of owners is woken instead, to find that
/// out itself: [`deadlock`] has the argument.
///
/// `decide` is asked with both buckets locked, if there is anybody; `finish` is told, still
/// so, whether any are left at `from`. Gives back how many were moved or woken.
pub(crate) fn requeue(
    from: usize,
    to: usize,
    word: NonNull<AtomicU64>,
    limit: usize,
    decide: impl FnOnce() -> Move,
    finish: impl FnOnce(bool),
) -> usize {
    let mut chosen = Chosen::new();
    let (mut source, mut target) = lock_both(from, to);
    // SAFETY: the buckets are locked, and what is reached is in them.
    let count = unsafe {
        let mut next = source.find(source.first, from);
        if next.is_none() {
            finish(false);
            return 0;
        }
        let how = decide();
        if let Move::Nothing = how {
            return 0;
        }
        let mut count = 0;
        while count < limit
            && let Some(waiter) = next
        {
            next = source.after(waiter, from);
            source.remove(waiter);
            count += 1;
            let token = match how {
                Move::Wake(first, _) if count == 1 => Some(first),
                Move::Wake(_, others) if is(waiter, Queued::is_coroutine) => Some(others),
                Move::Wake(_, token) | Move::All(token) => {
                    (!may_wait_unseen(waiter, word.as_ref())).then_some(token)
                }
                Move::Nothing => None,
            };
            if let Some(token) = token {
                chosen.add(waiter, token);
                if chosen.len() == BATCH {
                    chosen.serve();
                }
                continue;
            }
            waiter.as_ref().key.store(to, Relaxed); // both buckets are locked
            inner(waiter.as_ptr(), |this| this.owner = Owner::Word(word));
            target.as_mut().unwrap_or(&mut source).push(waiter, false);
        }
        chosen.serve();
        finish(next.is_some());
        count
    };
    drop((source, target));
    chosen.wake();
    count
}

/// Lists a waiter that is about to wait for the lock of `word`; false: its slot is taken, or the
/// lock's owner may be waiting, too.
///
/// # Safety
/// The buckets are locked, the waiter is in one, and the lock is alive.
unsafe fn may_wait_unseen(waiter: NonNull<Waiter>, word: &AtomicU64) -> bool {
    // SAFETY: the caller's duty; the waiter's drop calls `leave`.
    let listed = unsafe { waiter.as_ref().listing.enter_prepared() };
    fence_after_exchange();
    listed && !deadlock::owner_may_wait(word.load(Relaxed)) // after the fence
}
