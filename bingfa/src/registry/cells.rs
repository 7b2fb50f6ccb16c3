//! Where coroutines are kept outside their stacks: cells of one size, which are never
//! given back to the system, so that a snapshot can walk them all without a lock on
//! spawning or ending.
//!
//! Threads keep stocks of free cells and hand surplus over in batches: tasks are made by
//! one thread and freed by another, in waves of thousands.
//!
//! # Invariants
//! 1. A cell is handed out to one owner at a time: it is in a stock, in `SPARE`, or out.
//! 2. A cell begins with a [`Record`], whose `refs` and `ended` are valid atomics at all
//!    times (chunks start as zeroes). The rest of the record may be read only by who has
//!    a reference: got from 0 by the owner alone, from more than 0 by anybody.
//! 3. A record's `live` points into a stack that stays mapped while [`stacks`] is locked
//!    for reading.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::{Entry, Info};

/// The size of a cell.
pub(crate) const SIZE: usize = 256;
const CHUNK: usize = 256;

/// How a coroutine is counted and known; the first part of every cell.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record {
    refs: AtomicU32,
    /// It has ended and is no longer shown.
    ended: AtomicBool,
    /// Drops what is in the cell and gives the cell back.
    free: unsafe fn(NonNull<Record>),
    pub(crate) entry: Entry,
}

impl Record {
    /// Makes the record of a cell that was just taken, with `refs` references. From here
    /// on snapshots see it.
    ///
    /// # Safety
    /// The cell is the caller's, and `free` does what its field says.
    #[inline]
    pub(crate) unsafe fn init(
        record: NonNull<Record>,
        refs: u32,
        free: unsafe fn(NonNull<Record>),
        entry: Entry,
    ) {
        let record = record.as_ptr();
        // SAFETY: the cell is ours, and others touch only its two atomics (invariant 2).
        unsafe {
            (&raw mut (*record).free).write(free);
            (&raw mut (*record).entry).write(entry);
            (*record).ended.store(false, Relaxed); // published by the next line
            // Pairs with the Acquire in `try_ref`.
            (*record).refs.store(refs, Release);
        }
    }

    #[inline]
    pub(crate) fn add_ref(&self) {
        self.refs.fetch_add(1, Relaxed); // made from a reference that is alive
    }

    /// Gives a reference back; the last one frees the cell.
    ///
    /// # Safety
    /// The caller owned one and does not use the record any more.
    #[inline]
    pub(crate) unsafe fn drop_ref(record: NonNull<Record>) {
        // SAFETY: alive until our reference is gone.
        let this = unsafe { record.as_ref() };
        let free = this.free;
        // Release: our uses come before the free; pairs with the fence.
        if this.refs.fetch_sub(1, Release) == 1 {
            fence(Acquire);
            // SAFETY: that was the last reference.
            unsafe { free(record) };
        }
    }

    /// The coroutine is shown no longer.
    pub(crate) fn end(&self) {
        self.ended.store(true, Release); // pairs with the Acquire in `for_each`
    }

    /// What a snapshot says of the coroutine; `None` once it has ended. Only with a reference.
    pub(crate) fn info(&self) -> Option<Info> {
        let _stacks_stay = STACKS.read().unwrap_or_else(PoisonError::into_inner);
        (!self.ended.load(Acquire)).then(|| self.entry.info()) // pairs with `end`
    }

    /// Takes a reference if the record is in use.
    ///
    /// # Safety
    /// `record` is the beginning of a cell.
    unsafe fn try_ref(record: NonNull<Record>) -> bool {
        // SAFETY: `refs` is valid at all times (invariant 2); no reference to the rest of the
        // record is made, which its owner may be writing.
        let count = unsafe { &(*record.as_ptr()).refs };
        let mut refs = count.load(Relaxed);
        while refs != 0 {
            match count.compare_exchange_weak(refs, refs + 1, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => refs = now,
            }
        }
        false
    }
}

#[repr(C, align(64))]
struct Cell([u8; SIZE]);

/// Free cells on their way between threads.
struct Batch(Vec<NonNull<Record>>);
// SAFETY: memory that nobody uses.
unsafe impl Send for Batch {}

struct Chunk(NonNull<Cell>);
// SAFETY: only the atomics of its cells are touched through it.
unsafe impl Send for Chunk {}

static CHUNKS: Mutex<Vec<Chunk>> = Mutex::new(Vec::new());
static SPARE: Mutex<Vec<Batch>> = Mutex::new(Vec::new());

/// Locked for reading by snapshots, for writing by whoever unmaps stacks.
pub(crate) static STACKS: RwLock<()> = RwLock::new(());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // nothing panics half-way
}

/// The free cells of one thread.
struct Stock(UnsafeCell<Vec<NonNull<Record>>>);

impl Drop for Stock {
    fn drop(&mut self) {
        let rest = std::mem::take(self.0.get_mut());
        if !rest.is_empty() {
            lock(&SPARE).push(Batch(rest));
        }
    }
}

thread_local! {
    static STOCK: Stock = const { Stock(UnsafeCell::new(Vec::new())) };
}

/// A free cell. Its record is to be made with [`Record::init`].
#[inline]
pub(crate) fn take() -> NonNull<Record> {
    let taken = STOCK.try_with(|stock| {
        // SAFETY: thread-local, and nothing in this closure comes back here.
        let cells = unsafe { &mut *stock.0.get() };
        cells.pop().unwrap_or_else(|| {
            *cells = more();
            cells.pop().expect("no batch is empty")
        })
    });
    taken.unwrap_or_else(|_| {
        // The thread is ending and has no stock any more.
        let mut batch = more();
        let cell = batch.pop().expect("no batch is empty");
        if !batch.is_empty() {
            lock(&SPARE).push(Batch(batch));
        }
        cell
    })
}

#[cold]
fn more() -> Vec<NonNull<Record>> {
    let spare = lock(&SPARE).pop();
    if let Some(batch) = spare {
        return batch.0;
    }
    let layout = Layout::new::<[Cell; CHUNK]>();
    // SAFETY: not of size zero.
    let memory = NonNull::new(unsafe { alloc_zeroed(layout) });
    let first = memory
        .unwrap_or_else(|| handle_alloc_error(layout))
        .cast::<Cell>();
    lock(&CHUNKS).push(Chunk(first));
    // SAFETY: within the allocation.
    (0..CHUNK)
        .rev()
        .map(|i| unsafe { first.add(i) }.cast())
        .collect()
}

/// Gives a cell back.
///
/// # Safety
/// It came from `take`, its last reference is gone, and what was in it has been dropped.
#[inline]
pub(crate) unsafe fn give(cell: NonNull<Record>) {
    let kept = STOCK.try_with(|stock| {
        // SAFETY: as in `take`.
        let cells = unsafe { &mut *stock.0.get() };
        cells.push(cell);
        if cells.len() >= 64 * CHUNK {
            hand_over(cells);
        }
    });
    if kept.is_err() {
        lock(&SPARE).push(Batch(vec![cell]));
    }
}

#[cold]
fn hand_over(cells: &mut Vec<NonNull<Record>>) {
    let mut spare = lock(&SPARE);
    while cells.len() > 32 * CHUNK {
        let batch = cells.split_off(cells.len() - CHUNK);
        spare.push(Batch(batch));
    }
}

/// Calls `each` with every coroutine that has not ended.
pub(super) fn for_each(mut each: impl FnMut(&Entry)) {
    let chunks: Vec<NonNull<Cell>> = lock(&CHUNKS).iter().map(|chunk| chunk.0).collect();
    let _stacks_stay = STACKS.read().unwrap_or_else(PoisonError::into_inner);
    for first in chunks {
        for i in 0..CHUNK {
            // SAFETY: chunks are never freed, and this is within one.
            let cell = unsafe { first.add(i) }.cast::<Record>();
            // SAFETY: `cell` is one.
            if !unsafe { Record::try_ref(cell) } {
                continue;
            }
            // SAFETY: in use, and we have a reference.
            let record = unsafe { cell.as_ref() };
            if !record.ended.load(Acquire) {
                each(&record.entry);
            }
            // SAFETY: ours since `try_ref`.
            unsafe { Record::drop_ref(cell) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Kind;
    use std::panic::Location;

    unsafe fn free(record: NonNull<Record>) {
        // SAFETY: the last reference is gone.
        unsafe {
            (&raw mut (*record.as_ptr()).entry).drop_in_place();
            give(record);
        }
    }

    fn make(name: &str) -> NonNull<Record> {
        let cell = take();
        let entry = Entry::new(Kind::Coroutine, Some(name.into()), true, Location::caller());
        // SAFETY: just taken.
        unsafe { Record::init(cell, 1, free, entry) };
        cell
    }

    fn listed(name: &str) -> usize {
        let mut found = 0;
        for_each(|entry| found += usize::from(entry.name.as_deref() == Some(name)));
        found
    }

    #[test]
    fn a_record_is_seen_from_init_to_its_end() {
        let record = make("seen");
        assert_eq!(listed("seen"), 1);
        // SAFETY: we hold the reference.
        unsafe { record.as_ref() }.end();
        assert_eq!(listed("seen"), 0);
        // SAFETY: ours, not used afterwards.
        unsafe { Record::drop_ref(record) };
        assert_eq!(listed("seen"), 0);
    }

    #[test]
    fn a_thread_that_frees_what_others_make_hands_it_over() {
        let made: Vec<_> = (0..65 * CHUNK).map(|_| Batch(vec![make("many")])).collect();
        assert_eq!(listed("many"), 65 * CHUNK);
        std::thread::spawn(move || {
            for cell in made {
                // SAFETY: its only reference.
                unsafe { Record::drop_ref(cell.0[0]) };
            }
        })
        .join()
        .unwrap();
        assert_eq!(listed("many"), 0);
        assert!(!lock(&SPARE).is_empty());
    }
}
