//! The parking lot: where waiters queue, by the address of what they wait for.
//!
//! A lock is one word; its queue exists only while somebody waits, in one of many
//! buckets, which the address selects. A [`Waiter`] is a node on the waiting frame, or
//! inside the pinned future of an async task. As in WebKit's `WTF::ParkingLot` and the
//! `parking_lot` crate, what decides whether to sleep (`valid`) and what a waker does to
//! the lock's word (`finish`) run with the bucket locked, so neither misses the other.
//!
//! A waiter is *served* at most once, with a token that says what it got. One that gives
//! up takes its node out under the bucket's lock and learns there whether it was served
//! first: then it has what it waited for, or has to pass it on. So nothing is lost.
//!
//! A bucket's lock is std's, held for a few instructions and never across a suspension.
//!
//! # Invariants
//! 1. A queued waiter stays where it is: it is pinned, and its drop takes it out.
//! 2. `inner` is touched only with the bucket of `key` locked, or by its owner while it
//!    is not queued. `key` changes only with both its buckets locked.
//! 3. `served` is set after the node has left its list and is the last that the server
//!    does with it, still with the bucket locked.
//!
//! # Memory ordering
//! The `Release` of `served` pairs with the `Acquire` of whoever finds it set. The rest
//! is ordered by the buckets' locks.

#![allow(unsafe_code)]

use std::marker::PhantomPinned;
use std::pin::{Pin, pin};
use std::ptr::{NonNull, null};
use std::sync::PoisonError;
use std::time::Instant;

use super::atomic::{
    AtomicU64, AtomicUsize, Mutex, MutexGuard,
    Ordering::{Acquire, Relaxed, Release},
    UnsafeCell,
};
use super::carrier;
use super::wait::{self, Outcome, Queued, Unparker};

/// How many waiters are woken at a time, outside of the bucket's lock.
const BATCH: usize = 16;

/// `served` of one that is in no queue.
const IDLE: usize = 0;
/// `served` of one that is in a queue. Above it: the token it was served with.
const QUEUED: usize = 1;

/// Where and how to queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// The address of what is waited for, or any address that belongs to it alone.
    pub(crate) key: usize,
    /// What wakers should know of the waiter.
    pub(crate) tag: u64,
    /// The waiter was in this queue before: it goes before all who came later than it.
    pub(crate) again: bool,
    /// The word of an exclusive lock, which names its owner (see [`carrier::owner`]), for
    /// the deadlock report. It must live as long as the wait.
    pub(crate) word: Option<NonNull<AtomicU64>>,
}

impl Spot {
    /// The end of the queue of `key`.
    pub(crate) const fn at(key: usize) -> Self {
        Self {
            key,
            tag: 0,
            again: false,
            word: None,
        }
    }
}

/// How a [`park`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// A waker chose it and gave it this token.
    Served(usize),
    /// `valid` said no: it has not waited.
    Invalid,
    /// The deadline has passed, and nobody has served it.
    TimedOut,
    /// The carrier has to unwind ([`cancel::raise`](super::cancel::raise)), and nobody has served it.
    Interrupted,
}

/// What a waker sees of a waiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Who it is; [`carrier::ANONYMOUS`] for async tasks.
    pub(crate) id: u64,
    pub(crate) tag: u64,
}

/// What a waker does with a waiter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    /// Wakes it with this token.
    Serve(usize),
    /// Leaves it where it is.
    Skip,
    /// Leaves it and all behind it.
    Stop,
}

/// What [`requeue`] does with the waiters of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    /// Moves them.
    All,
    /// Wakes the first with the first token and all other coroutines with the second, as they
    /// run one after the other anyway, and moves the threads.
    Wake(usize, usize),
    /// Leaves them.
    Nothing,
}

/// A place in a queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    key: AtomicUsize,
    /// [`IDLE`], [`QUEUED`], or above that by the token it was served with, plus 1.
    served: AtomicUsize,
    id: u64,
    inner: UnsafeCell<Inner>,
    _pin: PhantomPinned,
}

#[derive(Debug)]
struct Inner {
    previous: *const Waiter,
    next: *const Waiter,
    arrival: u64,
    tag: u64,
    word: Option<NonNull<AtomicU64>>,
    who: Option<Queued>,
}

// SAFETY: `inner` is guarded by the bucket's lock (invariant 2); what it points to is
// other waiters, guarded likewise, and words of locks, which are atomic.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

#[derive(Debug)]
struct Queue {
    first: *const Waiter,
    last: *const Waiter,
    arrivals: u64,
}

// SAFETY: the pointers are followed only with the bucket locked (invariants 1 and 2).
unsafe impl Send for Queue {}

#[derive(Debug)]
#[repr(align(64))]
struct Bucket(Mutex<Queue>);

#[cfg(not(loom))]
mod table {
    use super::{Bucket, Mutex, Queue, null};

    /// Most are never touched, and what is never touched takes no memory.
    const BITS: u32 = 12;

    static BUCKETS: [Bucket; 1 << BITS] = [const {
        Bucket(Mutex::new(Queue {
            first: null(),
            last: null(),
            arrivals: 0,
        }))
    }; 1 << BITS];

    /// Fibonacci hashing: the upper bits of the product depend on all of the key.
    #[inline]
    pub(super) fn index(key: usize) -> usize {
        ((key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BITS)) as usize
    }

    #[inline]
    pub(super) fn bucket(index: usize) -> &'static Bucket {
        &BUCKETS[index]
    }

    pub(super) fn all() -> impl Iterator<Item = &'static Bucket> {
        BUCKETS.iter()
    }
}

/// Two buckets, chosen by an address bit that the models control.
#[cfg(loom)]
mod table {
    use super::{Bucket, Mutex, Queue, null};

    loom::lazy_static! {
        static ref BUCKETS: [Bucket; 2] = [0, 1].map(|_| {
            Bucket(Mutex::new(Queue { first: null(), last: null(), arrivals: 0 }))
        });
    }

    pub(super) fn index(key: usize) -> usize {
        key >> 7 & 1
    }

    pub(super) fn bucket(index: usize) -> &'static Bucket {
        &BUCKETS[index]
    }
}

impl Bucket {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that runs with it locked can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[inline]
fn lock(key: usize) -> MutexGuard<'static, Queue> {
    table::bucket(table::index(key)).lock()
}

/// # Safety
/// The node's bucket is locked and the node alive, or it is the caller's own and not queued.
#[inline]
unsafe fn inner<R>(waiter: *const Waiter, f: impl FnOnce(&mut Inner) -> R) -> R {
    // SAFETY: the caller's duty, by invariant 2; closures passed here touch this node only.
    unsafe { (*waiter).inner.with_mut(|inner| f(&mut *inner)) }
}

impl Queue {
    /// The first of `key` from `from` on.
    ///
    /// # Safety
    /// The bucket is locked and `from` is in it, or null.
    unsafe fn find(&self, mut from: *const Waiter, key: usize) -> Option<NonNull<Waiter>> {
        while let Some(waiter) = NonNull::new(from.cast_mut()) {
            // SAFETY: queued, so alive (invariant 1), and the bucket is locked.
            unsafe {
                if waiter.as_ref().key.load(Relaxed) == key {
                    return Some(waiter);
                }
                from = inner(from, |this| this.next);
            }
        }
        None
    }

    /// # Safety
    /// The bucket is locked and the waiter in it.
    unsafe fn after(&self, waiter: NonNull<Waiter>, key: usize) -> Option<NonNull<Waiter>> {
        // SAFETY: the caller's duty.
        unsafe { self.find(inner(waiter.as_ptr(), |this| this.next), key) }
    }

    /// # Safety
    /// The bucket is locked; the waiter is pinned and in no queue.
    unsafe fn push(&mut self, waiter: NonNull<Waiter>, again: bool) {
        let this = waiter.as_ptr().cast_const();
        // SAFETY: what is reached is queued, so alive (invariant 1), and the bucket is locked.
        unsafe {
            let mut next = null();
            if again {
                let arrival = inner(this, |this| this.arrival);
                next = self.first;
                while !next.is_null() && inner(next, |next| next.arrival) < arrival {
                    next = inner(next, |next| next.next);
                }
            } else {
                self.arrivals += 1;
                inner(this, |this| this.arrival = self.arrivals);
            }
            let previous = if next.is_null() {
                self.last
            } else {
                inner(next, |next| next.previous)
            };
            inner(this, |this| {
                this.previous = previous;
                this.next = next;
            });
            self.link(previous, this);
            self.relink(next, this);
        }
    }

    /// # Safety
    /// The bucket is locked and the waiter in it.
    unsafe fn remove(&mut self, waiter: NonNull<Waiter>) {
        // SAFETY: as in `push`.
        unsafe {
            let (previous, next) = inner(waiter.as_ptr(), |this| (this.previous, this.next));
            self.link(previous, next);
            self.relink(next, previous);
        }
    }

    /// What follows `at`, or comes first.
    unsafe fn link(&mut self, at: *const Waiter, next: *const Waiter) {
        if at.is_null() {
            self.first = next;
        } else {
            // SAFETY: the caller's duty, as in `push`.
            unsafe { inner(at, |at| at.next = next) };
        }
    }

    /// What precedes `at`, or comes last.
    unsafe fn relink(&mut self, at: *const Waiter, previous: *const Waiter) {
        if at.is_null() {
            self.last = previous;
        } else {
            // SAFETY: the caller's duty, as in `push`.
            unsafe { inner(at, |at| at.previous = previous) };
        }
    }
}

/// Gives a waiter that has left its queue its token; the node is its owner's again.
///
/// # Safety
/// The bucket is still locked.
#[inline]
unsafe fn hand_out(waiter: NonNull<Waiter>, token: usize) -> Option<Unparker> {
    // SAFETY: not served yet, so still there: its owner has to lock this bucket to leave.
    unsafe {
        let who = inner(waiter.as_ptr(), |this| this.who.take());
        let release = || waiter.as_ref().served.store(QUEUED + 1 + token, Release);
        who.expect("queued with it").wake_after(release)
    }
}

impl Waiter {
    /// One that is not queued yet, of the carrier `id`.
    pub(crate) fn new(id: u64) -> Self {
        Self {
            key: AtomicUsize::new(0),
            served: AtomicUsize::new(IDLE),
            id,
            inner: UnsafeCell::new(Inner {
                previous: null(),
                next: null(),
                arrival: 0,
                tag: 0,
                word: None,
                who: None,
            }),
            _pin: PhantomPinned,
        }
    }

    /// Queues it if `valid` (asked with the bucket locked) holds. It must not be queued.
    pub(crate) fn enqueue(
        self: Pin<&Self>,
        spot: Spot,
        who: Queued,
        valid: impl FnOnce() -> bool,
    ) -> bool {
        debug_assert!(!self.is_queued());
        let this = NonNull::from(self.get_ref());
        // SAFETY: not queued, so its inner part is ours.
        unsafe {
            inner(this.as_ptr(), |inner| {
                inner.tag = spot.tag;
                inner.word = spot.word;
                inner.who = Some(who);
            });
        }
        let mut queue = lock(spot.key);
        if !valid() {
            return false;
        }
        // Both are ordered by the bucket's lock.
        self.key.store(spot.key, Relaxed);
        self.served.store(QUEUED, Relaxed);
        // SAFETY: pinned, and from now on in this queue alone (invariant 1).
        unsafe { queue.push(this, spot.again) };
        true
    }

    #[inline]
    fn is_queued(&self) -> bool {
        self.served.load(Acquire) == QUEUED
    }

    /// The token it was served with.
    #[inline]
    pub(crate) fn served(&self) -> Option<usize> {
        self.served.load(Acquire).checked_sub(QUEUED + 1)
    }

    /// The same, once: it can be queued again.
    pub(crate) fn collect(&self) -> Option<usize> {
        let token = self.served();
        if token.is_some() {
            self.served.store(IDLE, Relaxed); // its owner's alone
        }
        token
    }

    /// The key at which it waits, or waited last.
    pub(crate) fn key(&self) -> usize {
        self.key.load(Relaxed) // a hint while it is queued, its owner's otherwise
    }

    /// Locks its bucket; `None`: it is in no queue.
    fn lock(&self) -> Option<MutexGuard<'static, Queue>> {
        while self.is_queued() {
            let key = self.key.load(Relaxed); // checked again below
            let queue = lock(key);
            // It may have been served, or moved to another queue, meanwhile.
            if self.is_queued() && self.key.load(Relaxed) == key {
                return Some(queue);
            }
        }
        None
    }

    /// Leaves the queue and gives `None`, having called `left` with the bucket locked:
    /// whether others are still at this key. Or gives the token it was served with first.
    pub(crate) fn withdraw(&self, left: impl FnOnce(bool)) -> Option<usize> {
        if let Some(mut queue) = self.lock() {
            // SAFETY: queued, and its bucket is locked.
            unsafe {
                queue.remove(NonNull::from(self));
                left(queue.find(queue.first, self.key()).is_some());
            }
            self.served.store(IDLE, Relaxed); // read by its owner alone from now on
        }
        self.served()
    }

    /// Replaces the waker of an async task; false: it is in no queue.
    pub(crate) fn refresh(&self, waker: &std::task::Waker) -> bool {
        if !self.is_queued() {
            return false;
        }
        // Cloned and dropped without the lock: wakers are other people's code.
        let mut who = Some(Queued::Other(Unparker::Async(waker.clone())));
        let Some(queue) = self.lock() else {
            return false;
        };
        // SAFETY: queued, and its bucket is locked.
        unsafe { inner(self, |inner| std::mem::swap(&mut inner.who, &mut who)) };
        drop(queue);
        true
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.withdraw(|_| ());
    }
}

/// Waits at `spot` if `valid` holds, until it is served, the deadline passes or the
/// carrier is interrupted.
///
/// `valid` and `left` (see [`Waiter::withdraw`]) run with the bucket locked: they only look
/// at the lock's word and change it. `before_sleep` runs without, once queued.
#[track_caller]
pub(crate) fn park(
    spot: Spot,
    what: &'static &'static str,
    deadline: Option<Instant>,
    valid: impl FnOnce() -> bool,
    before_sleep: impl FnOnce(),
    left: impl FnOnce(bool),
) -> Parked {
    let waiter = pin!(Waiter::new(carrier::id()));
    park_as(
        waiter.as_ref(),
        spot,
        what,
        deadline,
        valid,
        before_sleep,
        left,
    )
}

/// As [`park`], with a waiter that may have waited before.
#[track_caller]
pub(crate) fn park_as(
    waiter: Pin<&Waiter>,
    spot: Spot,
    what: &'static &'static str,
    deadline: Option<Instant>,
    valid: impl FnOnce() -> bool,
    before_sleep: impl FnOnce(),
    left: impl FnOnce(bool),
) -> Parked {
    wait::about_to_wait();
    if !waiter.enqueue(spot, Queued::current(), valid) {
        return Parked::Invalid;
    }
    before_sleep();
    let ended = loop {
        if let Some(token) = waiter.served() {
            return Parked::Served(token);
        }
        match wait::wait(what, deadline) {
            Outcome::Woken => {}
            Outcome::TimedOut => break Parked::TimedOut,
            Outcome::Interrupted => break Parked::Interrupted,
        }
    };
    match waiter.withdraw(left) {
        Some(token) => Parked::Served(token),
        None => ended,
    }
}

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
            let id = waiter.as_ref().id;
            let tag = inner(waiter.as_ptr(), |this| this.tag);
            match choose(Waiting { id, tag }) {
                Choice::Serve(token) => {
                    queue.remove(waiter);
                    chosen.add(waiter, token);
                }
                Choice::Skip => more = true,
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
        let id = waiter.as_ref().id;
        let tag = inner(waiter.as_ptr(), |this| this.tag);
        let token = finish(Some(Waiting { id, tag }), more);
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
            while chosen.len < BATCH
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
/// exclusive lock's word is `word`.
///
/// `decide` is asked with both buckets locked, if there is anybody; `finish` is told, still
/// so, whether any are left at `from`. Gives back how many were moved or woken.
pub(crate) fn requeue(
    from: usize,
    to: usize,
    word: Option<NonNull<AtomicU64>>,
    limit: usize,
    decide: impl FnOnce() -> Move,
    finish: impl FnOnce(bool),
) -> usize {
    let (mut source, mut target) = lock_both(from, to);
    // SAFETY: the buckets are locked, and what is reached is in them.
    let (woken, count) = unsafe {
        let mut next = source.find(source.first, from);
        if next.is_none() {
            finish(false);
            return 0;
        }
        let mut tokens = None;
        match decide() {
            Move::Nothing => return 0,
            Move::All => {}
            Move::Wake(first, others) => tokens = Some((first, others)),
        }
        let mut count = 0;
        let mut woken = Vec::new();
        while count < limit
            && let Some(waiter) = next
        {
            next = source.after(waiter, from);
            source.remove(waiter);
            count += 1;
            if let Some((first, others)) = tokens {
                let is_coroutine = inner(waiter.as_ptr(), |this| {
                    this.who.as_ref().is_some_and(Queued::is_coroutine)
                });
                if count == 1 || is_coroutine {
                    let token = if count == 1 { first } else { others };
                    woken.extend(hand_out(waiter, token));
                    continue;
                }
            }
            waiter.as_ref().key.store(to, Relaxed); // both buckets are locked
            // A forgotten future may outlive the lock, so nobody follows its word.
            let word = word.filter(|_| waiter.as_ref().id != carrier::ANONYMOUS);
            inner(waiter.as_ptr(), |this| this.word = word);
            target.as_mut().unwrap_or(&mut source).push(waiter, false);
        }
        finish(next.is_some());
        (woken, count)
    };
    drop((source, target));
    woken.into_iter().for_each(Unparker::wake);
    count
}

/// Locks the buckets of both keys, always in the same order. `None`: it is the same one.
fn lock_both(
    from: usize,
    to: usize,
) -> (
    MutexGuard<'static, Queue>,
    Option<MutexGuard<'static, Queue>>,
) {
    let (a, b) = (table::index(from), table::index(to));
    match a.cmp(&b) {
        std::cmp::Ordering::Equal => (table::bucket(a).lock(), None),
        std::cmp::Ordering::Less => {
            let source = table::bucket(a).lock();
            (source, Some(table::bucket(b).lock()))
        }
        std::cmp::Ordering::Greater => {
            let target = table::bucket(b).lock();
            (table::bucket(a).lock(), Some(target))
        }
    }
}

/// One who waits, as a deadlock report sees it.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// Who waits.
    pub(crate) id: u64,
    /// For what: the key of its queue.
    pub(crate) key: usize,
    /// Who holds that, if it has one owner and that is known.
    pub(crate) owner: Option<u64>,
}

/// Calls `each` with everybody who waits in the lot, bucket by bucket. It must not block.
#[cfg(not(loom))]
pub(crate) fn for_each(mut each: impl FnMut(Blocked)) {
    for bucket in table::all() {
        let queue = bucket.lock();
        let mut next = queue.first;
        while let Some(waiter) = NonNull::new(next.cast_mut()) {
            // SAFETY: the bucket is locked, and the waiter in it; while it is, its lock
            // is borrowed by the wait, so its word is alive.
            let (id, key, word) = unsafe {
                let (following, word) = inner(waiter.as_ptr(), |this| (this.next, this.word));
                next = following;
                let waiter = waiter.as_ref();
                (waiter.id, waiter.key(), word.map(|word| word.as_ref()))
            };
            each(Blocked {
                id,
                key,
                // Relaxed: a report that is a moment old.
                owner: word.and_then(|word| carrier::owner(word.load(Relaxed))),
            });
        }
    }
}

/// Waiters taken out of their queue under the lock: first served, then woken without it.
struct Chosen {
    few: [Option<Picked>; BATCH],
    rest: Vec<Picked>,
    len: usize,
}

enum Picked {
    Waiter(NonNull<Waiter>, usize),
    Served(Option<Unparker>),
}

impl Chosen {
    fn new() -> Self {
        Self {
            few: [const { None }; BATCH],
            rest: Vec::new(),
            len: 0,
        }
    }

    fn add(&mut self, waiter: NonNull<Waiter>, token: usize) {
        let picked = Picked::Waiter(waiter, token);
        match self.few.get_mut(self.len) {
            Some(place) => *place = Some(picked),
            None => self.rest.push(picked),
        }
        self.len += 1;
    }

    /// # Safety
    /// The bucket is still locked, and what was added has left its queue.
    unsafe fn serve(&mut self) {
        let few = self.few.iter_mut().map_while(Option::as_mut);
        for picked in few.chain(&mut self.rest) {
            if let Picked::Waiter(waiter, token) = *picked {
                // SAFETY: the caller's duty.
                *picked = Picked::Served(unsafe { hand_out(waiter, token) });
            }
        }
    }

    fn wake(self) -> usize {
        for picked in self.few.into_iter().map_while(|few| few).chain(self.rest) {
            if let Picked::Served(Some(unparker)) = picked {
                unparker.wake();
            }
        }
        self.len
    }
}
