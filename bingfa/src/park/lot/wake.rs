//! Waking: who is chosen, served and moved.
//!
//! # Invariants
//! Those of the [room](super).

#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::chosen::{BATCH, Chosen};
use super::queue::{lock, lock_both};
use super::waiter::{hand_out, inner};
use super::{Choice, Move, Owner, Waiting};
use crate::park::atomic::{AtomicU64, Ordering::Relaxed};
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

/// Moves the first `limit` waiters of `from` to the end of the queue of `to`, whose
/// exclusive lock's word is `word`. They are carriers, whose waits borrow that lock.
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
            let is_coroutine = || {
                inner(waiter.as_ptr(), |this| {
                    this.who.as_ref().is_some_and(Queued::is_coroutine)
                })
            };
            let token = match how {
                Move::WakeAll(token) => Some(token),
                Move::Wake(first, _) if count == 1 => Some(first),
                Move::Wake(_, others) if is_coroutine() => Some(others),
                _ => None,
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
