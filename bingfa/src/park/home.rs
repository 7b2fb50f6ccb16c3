//! Where a coroutine lives: its worker, as `park` and everybody who wakes it see it.
//!
//! # Invariants
//! 1. Homes are never freed: a worker that ends gives its home back for reuse, so
//!    a late waker finds a valid inbox.
//! 2. `owned` is touched only on the worker's own thread, never across a switch or
//!    a call that could touch it again (every access is one short closure).

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, PoisonError};

use super::cancel::Scope;
use super::frame::Frame;
use super::inbox::Inbox;
use super::local;
use super::sleep::Sleeper;
use super::task::{Header, TaskRef};
use super::timers::Timers;

/// Whom a timer concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) frame: NonNull<Frame>,
    /// The `time::timeout` that expires; `None`: the current wait's own deadline.
    pub(crate) scope: Option<NonNull<Scope>>,
}

#[derive(Debug)]
struct Owned {
    /// Made ready on this thread; the worker moves them to its run queue.
    ready: Vec<NonNull<Frame>>,
    timers: Timers<Target>,
}

#[derive(Debug)]
pub(crate) struct Home {
    inbox: Inbox<Header>,
    pub(crate) sleeper: Arc<Sleeper>,
    /// The watchdog's tick: whoever runs has had its slice.
    slice_over: AtomicBool,
    /// The same tick, for the worker: timers and I/O have waited long enough.
    turn_due: AtomicBool,
    /// A turn took far longer than it should: for the watchdog.
    turned_late: AtomicBool,
    /// Counts resumptions; the watchdog compares. Written by the worker alone.
    pub(crate) resumed: AtomicU64,
    /// The library is at work of its own in a coroutine: nobody is a hog meanwhile.
    excused: AtomicBool,
    /// Descriptors that were closed while somebody may wait for them here.
    closed: Mutex<Vec<(RawFd, u64)>>,
    any_closed: AtomicBool,
    owned: UnsafeCell<Owned>,
}

// SAFETY: `owned` is confined to one thread (invariant 2); the rest is `Sync`.
unsafe impl Sync for Home {}
// SAFETY: a home changes threads only between two workers, when nothing runs on it.
unsafe impl Send for Home {}

static SPARE: Mutex<Vec<&'static Home>> = Mutex::new(Vec::new());

impl Home {
    /// A home for a worker that starts on this thread.
    pub(crate) fn claim() -> &'static Home {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| {
            Box::leak(Box::new(Home {
                inbox: Inbox::new(),
                sleeper: Arc::new(Sleeper::new()),
                slice_over: AtomicBool::new(false),
                turn_due: AtomicBool::new(false),
                turned_late: AtomicBool::new(false),
                resumed: AtomicU64::new(0),
                excused: AtomicBool::new(false),
                closed: Mutex::default(),
                any_closed: AtomicBool::new(false),
                owned: UnsafeCell::new(Owned {
                    ready: Vec::new(),
                    timers: Timers::new(),
                }),
            }))
        })
    }

    /// The worker has ended and nothing lives here any more.
    pub(crate) fn give_back(&'static self) {
        SPARE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self);
    }

    /// How it is known to the registry.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// True on the worker's own thread.
    #[inline(always)]
    pub(crate) fn is_here(&self) -> bool {
        std::ptr::eq(local::home_ptr(), self)
    }

    /// Hands a coroutine to its worker, from any thread, and wakes the worker if it sleeps.
    ///
    /// # Safety
    /// The caller has set the word's `QUEUED` bit and gives up one reference.
    pub(crate) unsafe fn post(&self, task: NonNull<Header>) {
        // SAFETY: the caller's duties are the inbox's.
        if unsafe { self.inbox.push(task) } {
            // Only the first after a drain can find the worker asleep.
            self.sleeper.wake();
        }
    }

    /// Tells the worker that `fd` was closed in `epoch`, from any thread.
    pub(crate) fn post_closed(&self, fd: RawFd, epoch: u64) {
        self.closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((fd, epoch));
        self.any_closed.store(true, SeqCst);
        self.sleeper.wake();
    }

    /// The worker takes the descriptors that were closed.
    pub(crate) fn take_closed(&self) -> Vec<(RawFd, u64)> {
        if !self.any_closed.swap(false, SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn has_closed(&self) -> bool {
        // Relaxed: a hint while awake; before a sleep the sleeper's word orders it.
        self.any_closed.load(Relaxed)
    }

    pub(crate) fn has_mail(&self) -> bool {
        !self.inbox.is_empty() || self.has_closed()
    }

    /// The worker takes its mail, in arrival order.
    #[inline]
    pub(crate) fn drain(&self, mut each: impl FnMut(TaskRef)) {
        // SAFETY: every node was posted with a reference, which passes to us.
        self.inbox
            .drain(|task| each(unsafe { TaskRef::from_raw(task) }));
    }

    #[inline(always)]
    fn owned<R>(&self, f: impl FnOnce(&mut Owned) -> R) -> R {
        debug_assert!(self.is_here());
        // SAFETY: on the worker's thread, and no closure passed here calls back (invariant 2).
        f(unsafe { &mut *self.owned.get() })
    }

    /// On the worker's thread: this coroutine can run again.
    #[inline(always)]
    pub(crate) fn make_ready(&self, frame: NonNull<Frame>) {
        // SAFETY: a coroutine made ready is alive, and we are on its thread.
        unsafe { frame.as_ref() }
            .live
            .set(crate::registry::State::Ready);
        self.owned(|owned| owned.ready.push(frame));
    }

    #[inline(always)]
    pub(crate) fn has_ready(&self) -> bool {
        self.owned(|owned| !owned.ready.is_empty())
    }

    /// Moves what was made ready to `queue`.
    #[inline(always)]
    pub(crate) fn take_ready(&self, mut queue: impl FnMut(NonNull<Frame>)) {
        self.owned(|owned| {
            for frame in owned.ready.drain(..) {
                queue(frame);
            }
        });
    }

    /// On the worker's thread: access to its timers.
    #[inline]
    pub(crate) fn timers<R>(&self, f: impl FnOnce(&mut Timers<Target>) -> R) -> R {
        self.owned(|owned| f(&mut owned.timers))
    }

    /// A tick of the watchdog.
    pub(crate) fn tick(&self) {
        // Relaxed: hints, read by the thread that acts on them.
        self.slice_over.store(true, Relaxed);
        self.turn_due.store(true, Relaxed);
    }

    /// Runs `f`, which takes long and is not the fault of the coroutine in which it runs.
    pub(super) fn excused<R>(&self, f: impl FnOnce() -> R) -> R {
        self.excused.store(true, Relaxed); // a hint to the watchdog
        let result = f();
        self.excused.store(false, Relaxed);
        result
    }

    /// True while the library is at work of its own.
    pub(crate) fn is_excused(&self) -> bool {
        self.excused.load(Relaxed)
    }

    /// True from a tick of the watchdog to the worker's next look at timers and I/O.
    #[inline(always)]
    pub(crate) fn is_turn_due(&self) -> bool {
        self.turn_due.load(Relaxed) // as in `tick`
    }

    /// The worker looks at timers and I/O. `late` if the last look was long ago although it
    /// had coroutines to run.
    #[inline]
    pub(crate) fn turned(&self, late: bool) {
        self.turn_due.store(false, Relaxed); // as in `tick`
        if late {
            self.turned_late.store(true, Relaxed); // as in `tick`
        }
    }

    /// True if a turn was late since the last call. For the watchdog.
    pub(crate) fn take_turned_late(&self) -> bool {
        // Relaxed: a hint; one that is overwritten comes again with the next late turn.
        let late = self.turned_late.load(Relaxed);
        self.turned_late.store(false, Relaxed);
        late
    }

    /// True, once, after a tick of the watchdog.
    #[inline(always)]
    pub(crate) fn take_slice_over(&self) -> bool {
        // Relaxed: a hint, read by the thread that acts on it.
        let over = self.slice_over.load(Relaxed);
        if over {
            self.slice_over.store(false, Relaxed);
        }
        over
    }
}
