//! The word of a lock with many readers or one writer.
//!
//! The upper bits are the writer's carrier id or, if `SHARED` is set, the number of readers;
//! 0 if the lock is free. Readers and writers wait in one queue.
//!
//! # Who is next
//! Readers join other readers only while nobody waits, so a stream of readers does not
//! starve a writer. When the lock becomes free, the longest waiting is looked at: if it is a
//! reader, it and the readers right behind it are handed the lock, up to the first writer.
//! A writer is woken, and others may take the lock before it runs (see `raw_mutex`); after
//! [`MAX_LOSSES`] times it is handed the lock, too.
//!
//! # Invariants
//! 1. While anybody is queued, either `PARKED` is set and the lock is held, so that the last
//!    unlock will look at the queue; or a writer was woken with [`RETRY_MORE`] and is on the
//!    way, who sets `PARKED` when it takes the lock or queues again.
//! 2. `PARKED` is cleared only with the bucket locked, and set by those who are about to
//!    queue, who look again with the bucket locked. It may be set though nobody is queued.
//! 3. While `PARKED` is set, nobody joins the readers from outside of the queue, and the last
//!    of them leaves with the bucket locked.
//!
//! # Memory ordering
//! Each `Release` that takes a holder off the word pairs with the `Acquire` of the exchange
//! that puts the next one on it; readers leave and join by exchanges, which continue the
//! release sequences of those before them. What is handed over is ordered by the lot.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::task::{Context, Poll};
use std::time::Instant;

use super::raw_mutex::{HANDED, Locked, MAX_LOSSES, RETRY_MORE, SPINS, may_spin};
use crate::park::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::park::carrier::{self, ANONYMOUS, FLAG_BITS, FLAGS, SHARED, WATCHED};
use crate::park::lot::{self, Choice, Owner, Parked, Spot, Waiter};
use crate::park::order::{self, Take};
use crate::park::wait::{self, Queued, Unparker};

/// Somebody is queued.
const PARKED: u64 = 1;
/// A panic unwound through a writer's guard. Not looked at here.
const POISONED: u64 = 1 << 1;
/// The flags of a free lock.
const STAYS: u64 = POISONED | WATCHED;
const READER: u64 = 1 << FLAG_BITS;
/// One reader, and nothing else to know.
const ALONE: u64 = SHARED | READER;

/// What the waits are called in snapshots.
const READ: &&str = &"read lock";
const WRITE: &&str = &"write lock";

/// The tag of a waiting reader. A writer's is [`WRITER`], with its id above that if it is to
/// be handed the lock.
const READS: u64 = 0;
const WRITER: u64 = 1;

#[derive(Debug)]
pub(super) struct RawRwLock {
    word: AtomicU64,
}

fn is_free(word: u64) -> bool {
    word & !FLAGS == 0
}

fn may_join(word: u64) -> bool {
    is_free(word) || word & (SHARED | PARKED) == SHARED
}

fn is_last_reader(word: u64) -> bool {
    word & !FLAGS == READER
}

impl RawRwLock {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn spot(&self, tag: u64, losses: u32) -> Spot {
        Spot {
            tag,
            again: losses > 0,
            owner: Owner::Word(NonNull::from(&self.word)),
            ..Spot::at(self.key())
        }
    }

    fn exchange(&self, word: u64, new: u64) -> Result<u64, u64> {
        self.word.compare_exchange_weak(word, new, AcqRel, Relaxed)
    }

    // -- poisoning: a flag that lock and unlock carry along ----------------------

    #[inline(always)]
    pub(super) fn is_poisoned(&self) -> bool {
        self.word.load(Relaxed) & POISONED != 0 // with the lock held, or a hint
    }

    pub(super) fn poison(&self) {
        self.word.fetch_or(POISONED, Relaxed); // published by the unlock
    }

    pub(super) fn clear_poison(&self) {
        self.word.fetch_and(!POISONED, Relaxed); // orders nothing
    }

    // -- locking -----------------------------------------------------------------

    /// Becomes the only reader of a lock that is free, not poisoned, not waited for and not
    /// watched, or joins others.
    #[inline(always)]
    pub(super) fn read_fast(&self) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            word |= order::free_word();
            let joined = match word {
                0 => ALONE,
                _ if word & (SHARED | PARKED | WATCHED) == SHARED => word + READER,
                _ => return false,
            };
            match self
                .word
                .compare_exchange_weak(word, joined, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Joins the readers if that is possible at once.
    #[inline]
    #[track_caller]
    pub(super) fn try_read(&self, id: impl FnOnce() -> u64) -> bool {
        self.read_fast() || self.try_read_slow(id)
    }

    #[track_caller]
    fn try_read_slow(&self, id: impl FnOnce() -> u64) -> bool {
        match order::free_word() {
            0 => self.join(),
            _ => {
                let take = Take::watch(&self.word, id(), READ);
                has(take, self.join())
            }
        }
    }

    fn join(&self) -> bool {
        let mut word = self.word.load(Relaxed);
        while may_join(word) {
            let joined = (word | SHARED) + READER;
            match self
                .word
                .compare_exchange_weak(word, joined, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes a lock that is free, not poisoned, not waited for and not watched.
    #[inline(always)]
    pub(super) fn write_fast(&self, id: u64) -> bool {
        self.word
            .compare_exchange(order::free_word(), id << FLAG_BITS, Acquire, Relaxed)
            .is_ok()
    }

    /// Takes the lock for writing if it is free.
    #[inline]
    #[track_caller]
    pub(super) fn try_write(&self, id: u64) -> bool {
        let free_word = order::free_word(); // once: it may change in between
        self.write_if_free(id, free_word) || free_word != 0 && self.try_write_watched(id)
    }

    #[cold]
    #[track_caller]
    fn try_write_watched(&self, id: u64) -> bool {
        let take = Take::watch(&self.word, id, WRITE);
        has(take, self.write_if_free(id, 0))
    }

    fn write_if_free(&self, id: u64, free_word: u64) -> bool {
        let mut word = self.word.load(Relaxed);
        while is_free(word | free_word) {
            match self.exchange(word, word | id << FLAG_BITS) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes the lock if it is free: true. Else announces that the caller is about to queue.
    /// `more`: the caller was served with [`RETRY_MORE`].
    fn write_or_announce(&self, id: u64, more: bool) -> bool {
        let parked = if more { PARKED } else { 0 };
        let mut word = self.word.load(Relaxed);
        loop {
            let free = is_free(word);
            let new = word | parked | if free { id << FLAG_BITS } else { PARKED };
            if new == word {
                return false;
            }
            match self.exchange(word, new) {
                Ok(_) => return free,
                Err(now) => word = now,
            }
        }
    }

    /// The same for a reader.
    fn read_or_announce(&self) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            let join = may_join(word);
            let new = if join {
                (word | SHARED) + READER
            } else {
                word | PARKED
            };
            if new == word {
                return false;
            }
            match self.exchange(word, new) {
                Ok(_) => return join,
                Err(now) => word = now,
            }
        }
    }

    /// Asked with the bucket locked: whether an unlock is to come that looks at the queue.
    fn is_to_be_unlocked(&self) -> bool {
        let word = self.word.load(Relaxed); // ordered by the bucket's lock
        !is_free(word) && word & PARKED != 0
    }

    fn left(&self, more: bool) {
        if !more {
            self.word.fetch_and(!PARKED, Relaxed); // ordered by the bucket's lock
        }
    }

    /// Waits until the caller, `id`, is a reader.
    #[cold]
    #[track_caller]
    pub(super) fn read_slow(&self, id: u64, deadline: Option<Instant>) -> Locked {
        let take = Take::watch(&self.word, id, READ);
        if is_refused(take, deadline) {
            return Locked::Interrupted;
        }
        let locked = self.wait_to_read(deadline);
        has(take, locked == Locked::Yes);
        locked
    }

    #[inline(always)]
    #[track_caller]
    fn wait_to_read(&self, deadline: Option<Instant>) -> Locked {
        let waiter = pin!(Waiter::new(carrier::id()));
        loop {
            self.spin(|word| !may_join(word) && word & PARKED == 0);
            if self.read_or_announce() {
                return Locked::Yes;
            }
            let parked = lot::park_as(
                waiter.as_ref(),
                self.spot(READS, 0),
                READ,
                deadline,
                || self.is_to_be_unlocked(),
                || (),
                |more| self.left(more),
            );
            match parked {
                Parked::Served(_) => return Locked::Yes,
                Parked::Invalid => {}
                Parked::TimedOut => return Locked::TimedOut,
                Parked::Interrupted => return Locked::Interrupted,
            }
        }
    }

    /// Waits until the caller is the writer, as `id`.
    #[cold]
    #[track_caller]
    pub(super) fn write_slow(&self, id: u64, deadline: Option<Instant>) -> Locked {
        let take = Take::watch(&self.word, id, WRITE);
        if is_refused(take, deadline) {
            return Locked::Interrupted;
        }
        let locked = self.wait_to_write(id, deadline);
        has(take, locked == Locked::Yes);
        locked
    }

    #[inline(always)]
    #[track_caller]
    fn wait_to_write(&self, id: u64, deadline: Option<Instant>) -> Locked {
        let waiter = pin!(Waiter::new(carrier::id()));
        let (mut losses, mut more) = (0, false);
        loop {
            self.spin(|word| !is_free(word) && word & PARKED == 0);
            if self.write_or_announce(id, more) {
                return Locked::Yes;
            }
            more = false;
            let parked = lot::park_as(
                waiter.as_ref(),
                self.spot(writer_tag(id, losses), losses),
                WRITE,
                deadline,
                || self.is_to_be_unlocked(),
                || (),
                |more| self.left(more),
            );
            match parked {
                Parked::Served(HANDED) => return Locked::Yes,
                Parked::Served(token) => {
                    more = token == RETRY_MORE;
                    losses += 1;
                }
                Parked::Invalid => {}
                Parked::TimedOut => {
                    self.admit_readers();
                    return Locked::TimedOut;
                }
                Parked::Interrupted => {
                    self.admit_readers();
                    return Locked::Interrupted;
                }
            }
        }
    }

    /// Waits a little while `wait` holds, if that may help.
    fn spin(&self, wait: impl Fn(u64) -> bool) {
        let mut left = if may_spin() { SPINS } else { 0 };
        while left > 0 && wait(self.word.load(Relaxed)) {
            std::hint::spin_loop();
            left -= 1;
        }
    }

    // -- unlocking ---------------------------------------------------------------

    /// Unlocks what was locked for reading as `id`.
    #[inline(always)]
    pub(super) fn unlock_read(&self, id: impl FnOnce() -> u64) {
        let word = self.word.load(Relaxed);
        if word == ALONE
            && self
                .word
                .compare_exchange(ALONE, 0, Release, Relaxed)
                .is_ok()
        {
            return;
        }
        // If the lock was watched when the caller took it, it is so since then.
        if word & WATCHED != 0 {
            order::let_go(&self.word, id());
        }
        self.leave_others();
    }

    #[inline(never)]
    fn leave_others(&self) {
        let mut word = self.word.load(Relaxed);
        loop {
            let new = match (is_last_reader(word), word & PARKED != 0) {
                (false, _) => word - READER,
                (true, false) => word & STAYS,
                (true, true) => return self.unlock_slow(),
            };
            match self.word.compare_exchange_weak(word, new, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Unlocks what was locked for writing as `id`.
    #[inline(always)]
    pub(super) fn unlock_write(&self, id: u64) {
        if self
            .word
            .compare_exchange(id << FLAG_BITS, 0, Release, Relaxed)
            .is_err()
        {
            self.unlock_write_slow(id);
        }
    }

    #[cold]
    fn unlock_write_slow(&self, id: u64) {
        if self.word.load(Relaxed) & WATCHED != 0 {
            order::let_go(&self.word, id);
        }
        self.unlock_slow();
    }

    /// The writer or a reader leaves, perhaps the last.
    #[cold]
    fn unlock_slow(&self) {
        let mut done = false;
        while !done {
            let next = Next::default();
            lot::unpark(
                self.key(),
                |waiter| {
                    let word = self.word.load(Relaxed);
                    if word & SHARED != 0 && !is_last_reader(word) {
                        return Choice::Stop; // it is not for us to say who is next
                    }
                    next.choose(waiter.tag)
                },
                |more| done = self.release(&next, more),
            );
        }
    }

    /// With the bucket locked: puts the chosen ones on the word in place of the caller.
    /// False: nobody was chosen because of other readers, who have left meanwhile.
    fn release(&self, next: &Next, more: bool) -> bool {
        let parked = if more { PARKED } else { 0 };
        let mut word = self.word.load(Relaxed);
        loop {
            let others = word & SHARED != 0 && !is_last_reader(word);
            let new = match next.holders() {
                _ if others => word - READER,
                // A writer that tries again sees to those behind it.
                0 if next.retries.get() => word & STAYS,
                0 if more => return false,
                holders => word & STAYS | holders | parked,
            };
            match self.exchange(word, new) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// The readers at the head of the queue join those who are there, if a writer has left
    /// that they were waiting behind.
    fn admit_readers(&self) {
        let next = Next::default();
        lot::unpark(
            self.key(),
            |waiter| {
                let shared = self.word.load(Relaxed) & (SHARED | PARKED) == SHARED | PARKED;
                if shared && waiter.tag == READS {
                    next.choose(READS)
                } else {
                    Choice::Stop
                }
            },
            |more| self.add(next.readers.get(), more),
        );
    }

    /// With the bucket locked: more readers; the lock is shared, and stays so (invariant 3).
    fn add(&self, readers: u64, more: bool) {
        if readers == 0 {
            return;
        }
        let mut word = self.word.load(Relaxed);
        loop {
            let flags = if more { word } else { word & !PARKED };
            match self.exchange(word, flags + readers * READER) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// The writer becomes a reader, without letting another writer in between, and readers
    /// who wait with no writer before them join it.
    pub(super) fn downgrade(&self) {
        let mut word = self.word.load(Relaxed);
        while word & PARKED == 0 {
            match self.exchange(word, word & STAYS | SHARED | READER) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        let next = Next::default();
        next.readers.set(1);
        lot::unpark(
            self.key(),
            |waiter| next.choose(waiter.tag),
            |more| {
                self.release(&next, more);
            },
        );
    }

    /// The caller was served as a writer, and does not want the lock any more.
    fn pass_on(&self, token: usize) {
        // If the lock is not free, its holders are told to look at the queue.
        if token == HANDED || self.write_or_announce(ANONYMOUS, true) {
            self.unlock_write(ANONYMOUS);
        }
    }
}

/// The caller must not wait as long as it takes for this lock, and panics instead.
fn is_refused(take: Option<Take>, deadline: Option<Instant>) -> bool {
    let refused = take
        .filter(|_| deadline.is_none())
        .and_then(|take| take.wants(true));
    refused.map(wait::doom).is_some()
}

/// Notes that the caller has the lock, if it was `taken`, which it gives back.
fn has(take: Option<Take>, taken: bool) -> bool {
    if let Some(take) = take.filter(|_| taken) {
        take.has();
    }
    taken
}

fn writer_tag(id: u64, losses: u32) -> u64 {
    WRITER | if losses < MAX_LOSSES { 0 } else { id << 1 }
}

/// Who was chosen to have the lock.
#[derive(Default)]
struct Next {
    readers: Cell<u64>,
    /// The id of the writer that is handed the lock.
    writer: Cell<u64>,
    /// A writer was woken and tries again.
    retries: Cell<bool>,
}

impl Next {
    fn choose(&self, tag: u64) -> Choice {
        if self.writer.get() != 0 || self.retries.get() {
            return Choice::Stop;
        }
        match (tag, tag >> 1) {
            (READS, _) => {
                self.readers.set(self.readers.get() + 1);
                Choice::Serve(HANDED)
            }
            _ if self.readers.get() > 0 => Choice::Stop,
            (_, 0) => {
                self.retries.set(true);
                // It finds out when it looks at an empty queue that there are no more.
                Choice::Serve(RETRY_MORE)
            }
            (_, id) => {
                self.writer.set(id);
                Choice::Serve(HANDED)
            }
        }
    }

    /// The upper bits of the word, with `SHARED` if they are readers.
    fn holders(&self) -> u64 {
        match self.readers.get() {
            0 => self.writer.get() << FLAG_BITS,
            readers => (readers * READER) | SHARED,
        }
    }
}

/// An async task's wait to be a reader or the writer.
#[derive(Debug)]
pub(super) struct RwLockFuture<'a> {
    lock: &'a RawRwLock,
    waiter: Waiter,
    writes: bool,
    losses: Cell<u32>,
}

impl<'a> RwLockFuture<'a> {
    pub(super) fn new(lock: &'a RawRwLock, writes: bool) -> Self {
        Self {
            lock,
            waiter: Waiter::new(ANONYMOUS),
            writes,
            losses: Cell::new(0),
        }
    }
}

impl Future for RwLockFuture<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.into_ref().get_ref();
        // SAFETY: a field of what is pinned, and never moved out of it.
        let waiter = unsafe { Pin::new_unchecked(&this.waiter) };
        if waiter.refresh(context.waker()) {
            return Poll::Pending;
        }
        let mut more = false;
        match waiter.collect() {
            None => {}
            Some(HANDED) => return Poll::Ready(()),
            Some(token) => {
                more = token == RETRY_MORE;
                this.losses.set(this.losses.get() + 1);
            }
        }
        let lock = this.lock;
        loop {
            let (taken, tag) = if this.writes {
                let tag = writer_tag(ANONYMOUS, this.losses.get());
                (lock.write_or_announce(ANONYMOUS, more), tag)
            } else {
                (lock.read_or_announce(), READS)
            };
            if taken {
                return Poll::Ready(());
            }
            more = false;
            let spot = Spot {
                owner: Owner::None, // a forgotten future may outlive the lock
                ..lock.spot(tag, this.losses.get())
            };
            let who = Queued::Other(Unparker::Async(context.waker().clone()));
            if waiter.enqueue(spot, who, || lock.is_to_be_unlocked()) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for RwLockFuture<'_> {
    fn drop(&mut self) {
        let mut queued = false;
        let token = self.waiter.withdraw(|more| {
            queued = true;
            self.lock.left(more);
        });
        match token {
            Some(_) if !self.writes => self.lock.unlock_read(|| ANONYMOUS),
            Some(token) => self.lock.pass_on(token),
            None if queued && self.writes => self.lock.admit_readers(),
            None => {}
        }
    }
}
