//! Who exists: every coroutine and thread of ours, by name, with its state and
//! the place where it was spawned.
//!
//! Coroutines are kept in `cells`, which a snapshot walks; threads, being few, are on a list.
//!
//! # Invariants
//! 1. A thread's entry is listed from `enter` to `leave`; whoever embeds it calls `leave`
//!    before the entry (or its `Live`) goes away. Listed entries are read only with the
//!    list locked, and `leave` takes that lock.
//! 2. What `live` points to is valid for whoever reads an entry by `for_each`: for threads
//!    by 1, for coroutines as `cells` says.

#![allow(unsafe_code)]

pub(crate) mod cells;

use std::cell::Cell;
use std::num::NonZeroU64;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use slab::Slab;

/// What runs a piece of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An operating-system thread.
    Thread,
    /// A coroutine.
    Coroutine,
}

/// What a carrier is doing right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum State {
    /// Could run, but does not yet.
    Ready,
    /// Runs. (For a thread: is not inside a wait of this library.)
    Running,
    /// Waits for something.
    Blocked,
}

/// What a blocked carrier waits for, and where in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The kind of wait, such as `"sleep"` or `"recv"`.
    pub what: &'static str,
    /// The call that waits.
    pub at: &'static Location<'static>,
}

/// One carrier as it was at the moment of the snapshot.
#[derive(Clone, Debug)]
pub struct Info {
    /// Unique among all threads and coroutines of this process.
    pub id: NonZeroU64,
    /// Thread or coroutine.
    pub kind: Kind,
    /// The name given to the builder, if any.
    pub name: Option<Arc<str>>,
    /// Ready, running or blocked.
    pub state: State,
    /// Where it was spawned; of a thread that was not spawned by bingfa, such as the main one,
    /// the first call to bingfa that needed to know who calls.
    pub spawned_at: &'static Location<'static>,
    /// What it waits for, or waited for last.
    pub last_wait: Option<Waiting>,
    /// Whether the process ends without waiting for it.
    pub daemon: bool,
    foreign: bool,
}

impl Info {
    /// Its name for people, with what tells it from others of that name.
    pub(crate) fn describe(&self) -> String {
        describe(self.id, self.name.as_deref(), self.foreign, self.spawned_at)
    }
}

fn describe(id: NonZeroU64, name: Option<&str>, foreign: bool, at: &Location<'_>) -> String {
    let came = if foreign { "first seen" } else { "spawned" };
    match name {
        Some(name) => format!("'{name}' (id {id}, {came} at {at})"),
        None => format!("{id} ({came} at {at})"),
    }
}

/// The changing part of a carrier: written by its own thread alone, read by snapshots.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Live {
    state: AtomicU8,
    what: AtomicPtr<&'static str>,
    at: AtomicPtr<Location<'static>>,
    /// The address of the worker that runs it; 0 for threads.
    worker: AtomicUsize,
}

impl Live {
    pub(crate) const fn new(state: State) -> Self {
        Self {
            state: AtomicU8::new(state as u8),
            what: AtomicPtr::new(std::ptr::null_mut()),
            at: AtomicPtr::new(std::ptr::null_mut()),
            worker: AtomicUsize::new(0),
        }
    }

    // Relaxed throughout: a snapshot may be a moment old, and the two parts of a
    // wait may belong to two waits; both point to statics, so nothing worse happens.

    #[inline(always)]
    pub(crate) fn set(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    #[inline(always)]
    pub(crate) fn waits(&self, what: &'static &'static str, at: &'static Location<'static>) {
        self.what.store((&raw const *what).cast_mut(), Relaxed);
        self.at.store((&raw const *at).cast_mut(), Relaxed);
        self.set(State::Blocked);
    }

    /// Says whose it is; `worker` is an address that is only compared.
    pub(crate) fn belongs_to(&self, worker: usize) {
        self.worker.store(worker, Relaxed);
    }

    fn state(&self) -> State {
        match self.state.load(Relaxed) {
            0 => State::Ready,
            1 => State::Running,
            _ => State::Blocked,
        }
    }

    fn last_wait(&self) -> Option<Waiting> {
        let what = NonNull::new(self.what.load(Relaxed))?;
        let at = NonNull::new(self.at.load(Relaxed))?;
        // SAFETY: only `waits` stores here, and only references to statics.
        Some(unsafe {
            Waiting {
                what: what.as_ref(),
                at: at.as_ref(),
            }
        })
    }
}

/// What is known of a carrier.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: NonZeroU64,
    pub(crate) kind: Kind,
    pub(crate) daemon: bool,
    /// It is a thread that somebody else has spawned, and was first seen at `spawned_at`.
    foreign: bool,
    /// A thread's key on the list; written by `enter`, before anybody else knows the entry.
    key: Cell<u32>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
    /// Null until started.
    live: AtomicPtr<Live>,
}

// SAFETY: `key` is written once, by `enter`, and read by `leave`; whoever embeds the entry
// orders the two. The rest is atomic or never changes.
unsafe impl Sync for Entry {}
// SAFETY: as above; the `Live` pointer is followed only as invariant 2 says.
unsafe impl Send for Entry {}

#[derive(Debug)]
struct Listed(NonNull<Entry>);
// SAFETY: an entry may be read from any thread (it is `Sync`) while listed (invariant 1).
unsafe impl Send for Listed {}

static THREADS: Mutex<Slab<Listed>> = Mutex::new(Slab::new());
static NEXT_IDS: AtomicU64 = AtomicU64::new(1);

const IDS_AT_A_TIME: u64 = 1024;

struct PerThread {
    next_id: Cell<u64>,
    last_id: Cell<u64>,
}

thread_local! {
    static MINE: PerThread = const {
        PerThread { next_id: Cell::new(0), last_id: Cell::new(0) }
    };
}

/// A new id, unique in the process. Threads take them in blocks, so that no
/// cache line is shared per spawn.
#[inline]
pub(crate) fn new_id() -> NonZeroU64 {
    MINE.with(|mine| {
        if mine.next_id.get() == mine.last_id.get() {
            let first = NEXT_IDS.fetch_add(IDS_AT_A_TIME, Relaxed); // a counter, orders nothing
            mine.next_id.set(first);
            mine.last_id.set(first + IDS_AT_A_TIME);
        }
        let id = mine.next_id.get();
        mine.next_id.set(id + 1);
        NonZeroU64::new(id).expect("ids start at 1")
    })
}

fn threads() -> MutexGuard<'static, Slab<Listed>> {
    // Nothing panics while holding the lock, but a poisoned list would still be whole.
    THREADS
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Entry {
    pub(crate) fn new(
        kind: Kind,
        name: Option<Arc<str>>,
        daemon: bool,
        spawned_at: &'static Location<'static>,
    ) -> Self {
        Self {
            id: new_id(),
            kind,
            daemon,
            foreign: false,
            name,
            spawned_at,
            live: AtomicPtr::new(std::ptr::null_mut()),
            key: Cell::new(0),
        }
    }

    /// One of a thread that is there already, and nobody knows where it was spawned.
    pub(crate) fn found(name: Option<Arc<str>>, seen_at: &'static Location<'static>) -> Self {
        Self {
            foreign: true,
            ..Self::new(Kind::Thread, name, true, seen_at)
        }
    }

    /// Lists a thread's entry.
    ///
    /// # Safety
    /// The entry stays where it is until `leave`, and nobody else uses it yet.
    pub(crate) unsafe fn enter(&self) {
        self.key
            .set(threads().insert(Listed(NonNull::from(self))) as u32);
    }

    /// The carrier has started: snapshots read its state from `live`.
    ///
    /// # Safety
    /// Invariant 2 holds for `live`.
    #[inline]
    pub(crate) unsafe fn started(&self, live: &Live) {
        // Pairs with the Acquire of readers.
        self.live.store(
            (&raw const *live).cast_mut(),
            std::sync::atomic::Ordering::Release,
        );
    }

    /// Takes a thread's entry off the list.
    pub(crate) fn leave(&self) {
        threads().remove(self.key.get() as usize);
    }

    /// Its name for people, as [`Info::describe`] gives it.
    pub(crate) fn describe(&self) -> String {
        describe(self.id, self.name.as_deref(), self.foreign, self.spawned_at)
    }

    /// What a snapshot says of it. Only where invariant 2 says so.
    fn info(&self) -> Info {
        let live = NonNull::new(self.live.load(std::sync::atomic::Ordering::Acquire));
        // SAFETY: invariant 2.
        let live = live.map(|live| unsafe { live.as_ref() });
        Info {
            id: self.id,
            kind: self.kind,
            name: self.name.clone(),
            state: live.map_or(State::Ready, Live::state),
            spawned_at: self.spawned_at,
            last_wait: live.and_then(Live::last_wait),
            daemon: self.daemon,
            foreign: self.foreign,
        }
    }
}

/// Calls `each` with everybody who exists. `each` must not spawn, block or end carriers.
pub(crate) fn for_each(mut each: impl FnMut(&Entry)) {
    for (_, listed) in threads().iter() {
        // SAFETY: listed, and the list is locked (invariant 1).
        each(unsafe { listed.0.as_ref() });
    }
    cells::for_each(each);
}

/// A snapshot of all carriers of one kind, oldest id first.
pub(crate) fn snapshot(kind: Kind) -> Vec<Info> {
    let mut all = Vec::new();
    for_each(|entry| {
        if entry.kind == kind {
            all.push(entry.info());
        }
    });
    all.sort_by_key(|info| info.id);
    all
}

/// The carrier that the worker at this address is running now.
pub(crate) fn running_on(worker: usize) -> Option<Info> {
    let mut found = None;
    for_each(|entry| {
        let live = NonNull::new(entry.live.load(std::sync::atomic::Ordering::Acquire));
        // SAFETY: invariant 2.
        if let Some(live) = live.map(|live| unsafe { live.as_ref() })
            && live.worker.load(Relaxed) == worker
            && live.state() == State::Running
        {
            found = Some(entry.info());
        }
    });
    found
}
