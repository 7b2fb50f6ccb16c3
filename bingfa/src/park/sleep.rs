//! How a worker falls asleep in its driver and is woken from other threads.
//!
//! One word per worker says AWAKE, SLEEPING or NOTIFIED. Only a waker that finds
//! SLEEPING makes a system call.
//!
//! # Why no wake-up is lost
//! A waker first publishes its work (in the worker's inbox), then swaps the word to
//! NOTIFIED. The worker first swaps it to SLEEPING (`prepare`), then looks at its
//! inbox once more, then waits, then swaps it to AWAKE (`awake`) and looks again. All
//! swaps of one word have one order, so:
//! - The waker's swap comes before `prepare`. Then `prepare` reads it, or reads a
//!   later swap in an unbroken chain of swaps, and the work is seen in the look that
//!   follows.
//! - It comes after `prepare`, and before `awake`. The first such waker finds SLEEPING
//!   and wakes the driver:
//!   * with a futex. If the wait in the ring is armed already, it is in the kernel's
//!     queue and the wake finds it. If it is being armed, the kernel compares the word
//!     under the lock of that queue: it sees NOTIFIED and returns at once, or has
//!     queued before the wake comes.
//!   * with an eventfd. The counter goes up, and the poll that is armed, or is about
//!     to be, sees that.
//!
//!   Later ones find NOTIFIED: the wake is on its way. All their work is seen after
//!   `awake`, which reads the last of their swaps.
//! - It comes after `awake`: the worker is awake, and the next `prepare` is the first
//!   case.
//!
//! A futex wait that stays armed across sleeps, as I/O ended them, is still queued and
//! needs no comparison. A wake that was delayed past the sleep it was meant for ends a
//! later one early, which is allowed.
//!
//! # Memory ordering
//! Every access that publishes or reads is a swap with `AcqRel`: plain stores would
//! break the chain of swaps (release sequence) that the first case relies on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use crate::sys::{eventfd, futex};

mod atomic {
    #[cfg(loom)]
    pub(super) use loom::sync::atomic::{AtomicU32, Ordering};
    #[cfg(not(loom))]
    pub(super) use std::sync::atomic::{AtomicU32, Ordering};
}
use atomic::{
    AtomicU32,
    Ordering::{AcqRel, Relaxed},
};

const AWAKE: u32 = 0;
const SLEEPING: u32 = 1;
const NOTIFIED: u32 = 2;

/// The protocol, without the system calls.
#[derive(Debug)]
struct Word(AtomicU32);

impl Word {
    fn prepare(&self) {
        self.0.swap(SLEEPING, AcqRel);
    }

    fn awake(&self) {
        self.0.swap(AWAKE, AcqRel);
    }

    /// Whether the sleeper has to be woken.
    #[must_use]
    fn notify(&self) -> bool {
        self.0.swap(NOTIFIED, AcqRel) == SLEEPING
    }

    fn is_sleeping(&self) -> bool {
        // Relaxed: decides nothing but whether to block, and whoever changes the word
        // from SLEEPING makes a blocked driver return.
        self.0.load(Relaxed) == SLEEPING
    }
}

/// A worker's sleep, shared by the worker and those who wake it.
#[derive(Debug)]
pub(crate) struct Sleeper {
    word: Word,
    /// Made by drivers that cannot wait for a futex.
    event: OnceLock<OwnedFd>,
}

impl Sleeper {
    /// The value of the word on which a driver waits.
    pub(crate) const SLEEPING: u32 = SLEEPING;

    /// Of a worker that is awake.
    pub(crate) fn new() -> Sleeper {
        Sleeper {
            word: Word(AtomicU32::new(AWAKE)),
            event: OnceLock::new(),
        }
    }

    /// The worker is about to sleep. It looks at its queues once more, then calls
    /// `Driver::wait`, or [`awake`](Self::awake) if it found something.
    #[inline]
    pub(crate) fn prepare(&self) {
        self.word.prepare();
    }

    /// The worker is awake again. It looks at its queues after this.
    #[inline]
    pub(crate) fn awake(&self) {
        self.word.awake();
    }

    /// Ends the worker's sleep, now or before it begins. To be called after the work
    /// that it should find has been published. No system call if it is awake.
    #[inline]
    pub(crate) fn wake(&self) {
        if self.word.notify() {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        match self.event.get() {
            Some(event) => eventfd::signal(event.as_fd()),
            // All of them: the ring of an earlier worker on this sleeper may still be queued,
            // since the kernel takes a closed ring apart in its own time.
            None => futex::wake(self.address(), i32::MAX),
        }
    }

    /// Whether nobody has woken it since `prepare`.
    #[inline]
    pub(crate) fn is_sleeping(&self) -> bool {
        self.word.is_sleeping()
    }

    /// The word, as the kernel knows it.
    pub(crate) fn address(&self) -> *const u32 {
        (&raw const self.word.0).cast()
    }

    /// The event counter by which it is woken from now on. Called by the worker while
    /// it is awake.
    pub(crate) fn event(&self) -> io::Result<RawFd> {
        if let Some(event) = self.event.get() {
            return Ok(event.as_raw_fd());
        }
        let event = eventfd::create()?;
        Ok(self.event.get_or_init(|| event).as_raw_fd())
    }

    /// Whether it is woken by an event counter.
    pub(crate) fn has_event(&self) -> bool {
        self.event.get().is_some()
    }

    /// Takes back all signals of the event counter.
    pub(crate) fn drain_event(&self) {
        if let Some(event) = self.event.get() {
            eventfd::drain(event.as_fd());
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// A futex queue with place for one: what the kernel does, under its lock.
    struct Kernel {
        /// (armed, fired)
        queue: Mutex<(bool, bool)>,
        returned: Condvar,
    }

    impl Kernel {
        /// The driver's wait: arms unless armed, and blocks until fired.
        fn wait(&self, word: &Word) {
            let mut queue = self.queue.lock().unwrap();
            if !queue.0 {
                if !word.is_sleeping() {
                    return;
                }
                *queue = (true, false);
            }
            while !queue.1 {
                queue = self.returned.wait(queue).unwrap();
            }
            *queue = (false, false);
        }

        fn wake(&self) {
            let mut queue = self.queue.lock().unwrap();
            if queue.0 {
                queue.1 = true;
                self.returned.notify_one();
            }
        }
    }

    /// `wakers` threads publish one item each (relaxed: the word has to order it); the
    /// worker sleeps until it has all. A lost wake-up is a deadlock, which loom reports.
    fn nothing_is_lost(wakers: usize, armed: bool) {
        let mut model = loom::model::Builder::new();
        // Every order of one waker's steps; with two, those with up to three preemptions.
        model.preemption_bound = (wakers > 1).then_some(3);
        model.check(move || {
            let word = Arc::new(Word(AtomicU32::new(AWAKE)));
            let kernel = Arc::new(Kernel {
                queue: Mutex::new((armed, false)),
                returned: Condvar::new(),
            });
            let items: Arc<Vec<AtomicU32>> =
                Arc::new((0..wakers).map(|_| AtomicU32::new(0)).collect());
            let threads: Vec<_> = (0..wakers)
                .map(|i| {
                    let (word, kernel, items) = (word.clone(), kernel.clone(), items.clone());
                    thread::spawn(move || {
                        items[i].store(1, Relaxed);
                        if word.notify() {
                            kernel.wake();
                        }
                    })
                })
                .collect();
            let found = || items.iter().filter(|item| item.load(Relaxed) == 1).count();
            loop {
                if found() == wakers {
                    break;
                }
                word.prepare();
                if found() == wakers {
                    word.awake();
                    break;
                }
                kernel.wait(&word);
                word.awake();
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn one_waker() {
        nothing_is_lost(1, false);
    }

    #[test]
    fn one_waker_and_a_wait_that_stayed_armed() {
        nothing_is_lost(1, true);
    }

    #[test]
    fn two_wakers() {
        nothing_is_lost(2, false);
    }
}
