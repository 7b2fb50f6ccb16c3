//! Plain threads as carriers: their token, their place in the registry.

#![allow(unsafe_code)]

use std::cell::{Cell, OnceCell};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Acquire, Release},
};
use std::time::{Duration, Instant};

use crate::registry::{Entry, Live, State};
use crate::sys::futex;

const EMPTY: u32 = 0;
const TOKEN: u32 = 1;
const PARKED: u32 = 2;

/// What others can reach of a thread.
#[derive(Debug)]
pub(crate) struct ThreadRecord {
    word: AtomicU32,
    /// The token of `thread::park`, never used by other waits.
    pub(crate) user_token: AtomicBool,
    pub(crate) entry: Entry,
    pub(crate) live: Live,
}

impl ThreadRecord {
    pub(crate) fn new(entry: Entry) -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU32::new(EMPTY),
            user_token: AtomicBool::new(false),
            entry,
            live: Live::new(State::Running),
        })
    }

    /// Lists the thread; it must be unlisted by `entry.leave()` before the last `Arc` goes.
    fn enter(self: &Arc<Self>) {
        // SAFETY: in an `Arc`, so it does not move; freed only after `leave` (the
        // caller, `Listed` below, holds an `Arc` until then).
        unsafe {
            self.entry.enter();
            self.entry.started(&self.live);
        }
    }

    /// Leaves a token and wakes the thread if it waits.
    pub(crate) fn unpark(&self) {
        // Release: pairs with the Acquire swap in `park`, which consumes the token.
        if self.word.swap(TOKEN, Release) == PARKED {
            futex::wake(self.word.as_ptr(), 1);
        }
    }

    /// Waits for a token or the deadline; only by the thread itself. May return early.
    pub(crate) fn park(&self, deadline: Option<Instant>) {
        if self.spin() {
            return;
        }
        // Acquire: pairs with the Release in `unpark`.
        if self
            .word
            .compare_exchange(EMPTY, PARKED, Acquire, Acquire)
            .is_err()
        {
            self.word.swap(EMPTY, Acquire);
            return;
        }
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left != Some(Duration::ZERO) {
                futex::wait(&self.word, PARKED, left);
                if self.word.load(Acquire) == PARKED && left.is_none() {
                    continue; // a signal
                }
            }
            if self.word.load(Acquire) != PARKED || deadline.is_some_and(|at| Instant::now() >= at)
            {
                self.word.swap(EMPTY, Acquire);
                return;
            }
        }
    }

    /// A wake-up that is about to come is cheaper caught here than in the kernel.
    fn spin(&self) -> bool {
        if !super::more_than_one_cpu() {
            return false;
        }
        for _ in 0..100 {
            if self.word.load(Acquire) == TOKEN {
                self.word.swap(EMPTY, Acquire);
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }
}

/// A listed record. Unlists it when it goes.
#[derive(Debug)]
pub(crate) struct Listed(Arc<ThreadRecord>);

impl Listed {
    /// Lists the record of a thread that is about to be made, so that whoever spawned it
    /// finds it in a snapshot at once.
    pub(crate) fn new(record: Arc<ThreadRecord>) -> Self {
        record.enter();
        Self(record)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.entry.leave();
    }
}

/// What a thread knows of itself, for as long as its thread-locals live.
struct Mine {
    record: Arc<ThreadRecord>,
    listed: Cell<Option<Listed>>,
}

impl Mine {
    fn new(listed: Listed) -> Self {
        Self {
            record: listed.0.clone(),
            listed: Cell::new(Some(listed)),
        }
    }
}

thread_local! {
    static MINE: OnceCell<Mine> = const { OnceCell::new() };
    /// In place of `MINE` once that is gone. `exit` drops the calling thread's thread-locals
    /// first and then runs its handlers, which may wait. Never dropped, so always there.
    static LATE: ManuallyDrop<OnceCell<Arc<ThreadRecord>>> =
        const { ManuallyDrop::new(OnceCell::new()) };
    /// Whether the process waits for this thread; also asked that late.
    static KEEPS_PROCESS: Cell<bool> = const { Cell::new(false) };
}

/// Whether the process ends without waiting for the calling thread.
pub(super) fn is_daemon() -> bool {
    !KEEPS_PROCESS.get()
}

/// Makes the record the calling thread's own, before anything else asks for it.
pub(crate) fn adopt(listed: Listed) {
    KEEPS_PROCESS.set(!listed.0.entry.daemon);
    MINE.with(|mine| {
        if mine.set(Mine::new(listed)).is_err() {
            unreachable!("a new thread adopts its record first");
        }
    });
}

/// Unlists the calling thread, which is about to deliver its result: who has joined a
/// thread does not find it in a snapshot any more.
pub(crate) fn retire() {
    MINE.with(|mine| drop(mine.get().and_then(|mine| mine.listed.take())));
}

/// The calling thread's record, made on first use.
#[track_caller]
pub(crate) fn current() -> Arc<ThreadRecord> {
    current_at(Location::caller())
}

/// The same, for a caller at `here`.
pub(super) fn current_at(here: &'static Location<'static>) -> Arc<ThreadRecord> {
    let make = || {
        let name = std::thread::current().name().map(Arc::from);
        ThreadRecord::new(Entry::found(name, here))
    };
    MINE.try_with(|mine| {
        mine.get_or_init(|| Mine::new(Listed::new(make())))
            .record
            .clone()
    })
    // The thread is ending and its locals are gone: a record that nobody lists.
    .unwrap_or_else(|_| LATE.with(|late| late.get_or_init(make).clone()))
}
