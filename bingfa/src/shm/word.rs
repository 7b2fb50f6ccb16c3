//! A word in shared memory on which threads and coroutines of any process wait.
//!
//! # Why no wake-up is lost
//! A waker publishes what it has done, then takes all flags of those who wait, and if there
//! are any, counts the event up and wakes all who wait on that. A waiter reads the event, sets
//! its flag, looks again at what it waits for, and sleeps only while the event is still what
//! it read. Between publishing and taking, and between setting and looking, stands a SeqCst
//! fence, so one of the two sees the other:
//! - the waiter sees what was published, and does not sleep;
//! - or the waker sees the flag. Then the event, which the waiter read before it set the flag,
//!   goes up afterwards: the kernel finds it changed, or the wake finds the sleeper.
//!
//! A flag that was taken for an earlier event is set again by each turn of the waiter's loop.
//! The flag must be taken before the event goes up: the other way round, a waiter could set
//! its flag in between, read the new event, and sleep without a flag.
//!
//! A waker that is killed between taking and waking leaves sleepers behind. Whoever buries it
//! wakes everybody on the words of the objects that it held ([`Word::rouse`]).
//!
//! # How they wait
//! Flag 0 is for those who wait on the event itself, by futex: threads, and coroutines through
//! io_uring; flag 1 for those of them who are **patient**: they are not woken before it is
//! worth it, as the waker sees it, and sleep for a limited time therefore. Where a driver cannot wait for a futex, the coroutines of a process wait through
//! its **doorbell**, a word of the process; the other 30 flags are shared by all doorbells, by
//! number.

mod atomic {
    #[cfg(loom)]
    pub(super) use loom::sync::atomic::{AtomicU32, Ordering, fence};
    #[cfg(not(loom))]
    pub(super) use std::sync::atomic::{AtomicU32, Ordering, fence};
}
use atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

#[cfg(not(loom))]
use crate::sys::futex;

/// The flag of those who wait on the event.
pub(crate) const FUTEX: u32 = 1;
/// The flag of those who do, for a limited time, and let others go on.
pub(crate) const PATIENT: u32 = 2;
/// How many flags are for doorbells.
const BELLS: u32 = 30;

/// The flag of the doorbell of the peer in this slot.
pub(crate) fn bell(slot: u32) -> u32 {
    4 << (slot % BELLS)
}

/// Counts events for those who wait; zeroed memory is a valid one.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Word {
    event: AtomicU32,
    waiters: AtomicU32,
}

impl Word {
    /// Announces a waiter by its flag, and gives what it may sleep on if it still has to wait
    /// after one more look.
    #[inline]
    pub(crate) fn prepare(&self, flag: u32) -> u32 {
        // Acquire: pairs with the Release in `take`; the look that follows is at least as new.
        let seen = self.event.load(Acquire);
        self.waiters.fetch_or(flag, Relaxed);
        fence(SeqCst); // pairs with the one in `take`
        seen
    }

    /// The event has happened and is published: the flags of those to be woken.
    #[inline]
    fn take(&self, is_worth_it: impl FnOnce() -> bool) -> u32 {
        fence(SeqCst); // pairs with the one in `prepare`
        // Relaxed: the fences order it. Most often nobody waits, and then nothing is written.
        match self.waiters.load(Relaxed) {
            0 => return 0,
            PATIENT if !is_worth_it() => return 0,
            _ => {}
        }
        let flags = self.waiters.swap(0, Relaxed);
        if flags != 0 {
            self.event.fetch_add(1, Release); // pairs with the Acquire in `prepare`
        }
        flags
    }

    /// Whether there has been an event since `prepare` gave `seen`.
    pub(crate) fn has_changed(&self, seen: u32) -> bool {
        self.event.load(Acquire) != seen
    }
}

#[cfg(not(loom))]
impl Word {
    /// Wakes all who wait; to be called after what they wait for has been published. `ring`
    /// rings the doorbells with these flags.
    #[inline]
    pub(crate) fn wake(&self, ring: impl FnOnce(u32)) {
        self.wake_if(|| true, ring);
    }

    /// The same, but wakes those who are patient only together with others, or if it is worth
    /// it.
    #[inline]
    pub(crate) fn wake_if(&self, is_worth_it: impl FnOnce() -> bool, ring: impl FnOnce(u32)) {
        let flags = self.take(is_worth_it);
        if flags != 0 {
            self.deliver(flags, ring);
        }
    }

    #[cold]
    fn deliver(&self, flags: u32, ring: impl FnOnce(u32)) {
        if flags & (FUTEX | PATIENT) != 0 {
            futex::wake_shared(&self.event);
        }
        if flags & !(FUTEX | PATIENT) != 0 {
            ring(flags & !(FUTEX | PATIENT));
        }
    }

    /// Wakes all who wait, also those whom a waker that was killed has forgotten.
    pub(crate) fn rouse(&self, ring: impl FnOnce(u32)) {
        self.event.fetch_add(1, Release);
        self.deliver(u32::MAX, ring);
    }

    /// What the kernel waits on.
    pub(crate) fn event(&self) -> &AtomicU32 {
        &self.event
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// The queue of a futex: what the kernel does, under its lock.
    #[derive(Default)]
    struct Kernel {
        /// How often all sleepers were woken.
        wakes: Mutex<u32>,
        woken: Condvar,
    }

    impl Kernel {
        fn wait(&self, word: &Word, seen: u32) {
            let mut wakes = self.wakes.lock().unwrap();
            if word.has_changed(seen) {
                return;
            }
            let before = *wakes;
            while *wakes == before {
                wakes = self.woken.wait(wakes).unwrap();
            }
        }

        fn wake(&self) {
            *self.wakes.lock().unwrap() += 1;
            self.woken.notify_all();
        }
    }

    /// Producers publish one item each (relaxed: the protocol has to order it), consumers take
    /// one each and wait for it. A lost wake-up is a deadlock, which loom reports.
    fn nothing_is_lost(pairs: u32, preemptions: Option<usize>) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = preemptions;
        model.check(move || {
            let word = Arc::new(Word {
                event: AtomicU32::new(0),
                waiters: AtomicU32::new(0),
            });
            let kernel = Arc::new(Kernel::default());
            let items = Arc::new(AtomicU32::new(0));
            let take = |items: &AtomicU32| {
                items
                    .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1))
                    .is_ok()
            };
            let mut threads = Vec::new();
            for consumer in 0..pairs {
                let (word, kernel, items) = (word.clone(), kernel.clone(), items.clone());
                if consumer + 1 < pairs {
                    threads.push(thread::spawn(move || {
                        consume(&word, &kernel, || take(&items))
                    }));
                }
            }
            for _ in 0..pairs {
                let (word, kernel, items) = (word.clone(), kernel.clone(), items.clone());
                threads.push(thread::spawn(move || {
                    items.fetch_add(1, Relaxed);
                    if word.take(|| true) != 0 {
                        kernel.wake();
                    }
                }));
            }
            consume(&word, &kernel, || take(&items));
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    fn consume(word: &Word, kernel: &Kernel, take: impl Fn() -> bool) {
        loop {
            if take() {
                return;
            }
            let seen = word.prepare(FUTEX);
            if take() {
                return;
            }
            kernel.wait(word, seen);
        }
    }

    #[test]
    fn one_waker_one_waiter() {
        nothing_is_lost(1, None);
    }

    #[test]
    fn two_wakers_two_waiters() {
        nothing_is_lost(2, Some(2));
    }
}
