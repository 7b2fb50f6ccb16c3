//! Tasks: a closure before it runs, its result afterwards.
//!
//! # Invariants
//! 1. `stage` belongs to the scheduler until the completion is done, then to the
//!    handle, or, if the handle has detached before, still to the scheduler (the
//!    completion's protocol). So closure and result are used by one thread at a time.
//! 2. A task with a closure or result that is not `Send` is started, and its handle
//!    used, on one thread only (`spawn_local`'s duty).

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::Result;

use super::exit::keep_alive;
use super::shells::DEFAULT_CLASS;
use crate::park::cancel::Cancelled;
use crate::park::completion::{Completed, Completion};
use crate::park::local;
use crate::park::task::{Discard, Header, TaskRef, Vtable};
use crate::park::wait::Unparker;
use crate::registry::cells::{self, Record};
use crate::registry::{Entry, Kind};

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Called as the last thing of a task, when closure and result are done with. Given the
/// payload of a panic that nobody will join, and gives it back if it does not care.
pub(crate) type After = Box<dyn FnOnce(Option<Payload>) -> Option<Payload> + Send>;

/// How a coroutine is to be spawned.
pub(crate) struct Spawn {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) class: u8,
    pub(crate) priority: u8,
    pub(crate) daemon: bool,
    pub(crate) after: Option<After>,
    pub(crate) at: &'static Location<'static>,
}

/// The middle of the range.
const DEFAULT_PRIORITY: u8 = 3;

impl Spawn {
    #[inline]
    pub(crate) fn new(at: &'static Location<'static>) -> Self {
        Self {
            name: None,
            class: DEFAULT_CLASS,
            priority: DEFAULT_PRIORITY,
            daemon: true,
            after: None,
            at,
        }
    }
}

enum Stage<F, T> {
    Unstarted(F),
    Ended(Result<T>),
    Empty,
}

/// A task in its cell: this, and the stage behind it if there is room, else a box of it.
#[repr(C)]
struct Task {
    header: Header,
    completion: Completion<Unparker>,
    after: UnsafeCell<Option<After>>,
}

/// The handle's side of a task: `Completion` and the result, without the closure's type.
#[derive(Debug)]
pub(crate) struct Handle<T> {
    task: TaskRef,
    take: unsafe fn(NonNull<Header>) -> Option<Result<T>>,
    result: PhantomData<fn() -> T>,
}

// SAFETY: with it goes the right to take a `T` out; everything else is `Sync`.
unsafe impl<T: Send> Send for Handle<T> {}
// SAFETY: a shared handle gives access to atomics only.
unsafe impl<T> Sync for Handle<T> {}

/// Makes a task: the scheduler's reference and the handle.
#[inline]
pub(crate) fn new_task<F, T>(spawn: Spawn, f: F) -> (TaskRef, Handle<T>)
where
    F: FnOnce() -> T,
{
    let entry = Entry::new(Kind::Coroutine, spawn.name, spawn.daemon, spawn.at);
    let after = if spawn.daemon {
        spawn.after
    } else {
        Some(after_keeping_alive(spawn.after))
    };
    let task = cells::take().cast::<Task>();
    // SAFETY: the cell is ours, the parts are written before the header makes it known, and
    // there are two references, one for each.
    unsafe {
        (&raw mut (*task.as_ptr()).completion).write(Completion::new());
        (&raw mut (*task.as_ptr()).after).write(UnsafeCell::new(after));
        Body::<F, T>::put(task, Stage::Unstarted(f));
        Header::init(
            task.cast(),
            Body::<F, T>::VTABLE,
            Body::<F, T>::free,
            entry,
            spawn.priority,
            spawn.class,
        );
        let handle = Handle {
            task: TaskRef::from_raw(task.cast()),
            take: Body::<F, T>::take,
            result: PhantomData,
        };
        (TaskRef::from_raw(task.cast()), handle)
    }
}

/// Runs destructors of the user's, which may panic like any other code.
fn panic_of(f: impl FnOnce()) -> Option<Payload> {
    catch_unwind(AssertUnwindSafe(f)).err()
}

/// Drops what nobody is there to hear from any more.
fn drop_quietly<V>(value: V) {
    if let Some(payload) = panic_of(|| drop(value))
        && let Some(again) = panic_of(|| drop(payload))
    {
        std::mem::forget(again); // there may be no end to this
    }
}

/// Drops a result that nobody takes; gives back the payload of a panic, be it the
/// coroutine's or that of the destructor.
pub(crate) fn unjoined<T>(result: Result<T>) -> Option<Payload> {
    match result {
        Err(payload) if !payload.is::<Cancelled>() => Some(payload),
        rest => panic_of(|| drop(rest)),
    }
}

#[cold]
fn report_unjoined(entry: &Entry, payload: Payload) {
    eprintln!(
        "bingfa: coroutine {} panicked, and nobody joins it",
        entry.describe()
    );
    drop_quietly(payload);
}

/// Drops the values that belong to the calling coroutine.
fn clear_locals() {
    if let Some(frame) = local::frame() {
        frame.locals.clear();
    }
}

/// Holds the process until the task has ended.
fn after_keeping_alive(inner: Option<After>) -> After {
    let keep_alive = keep_alive();
    Box::new(move |unjoined| {
        let left = match inner {
            Some(inner) => inner(unjoined),
            None => unjoined,
        };
        drop(keep_alive);
        left
    })
}

/// The part of a task that depends on its types: where its stage is and what is done with it.
struct Body<F, T>(PhantomData<(F, T)>);

impl<F: FnOnce() -> T, T> Body<F, T> {
    const VTABLE: &'static Vtable = &Vtable {
        run: Self::run,
        discard: Self::discard,
    };

    const OFFSET: usize = size_of::<Task>().next_multiple_of(align_of::<UnsafeCell<Stage<F, T>>>());

    /// Whether the stage fits into the cell.
    const INLINE: bool = align_of::<UnsafeCell<Stage<F, T>>>() <= 64
        && Self::OFFSET + size_of::<UnsafeCell<Stage<F, T>>>() <= cells::SIZE;

    /// # Safety
    /// The cell is the caller's.
    #[inline]
    unsafe fn put(task: NonNull<Task>, stage: Stage<F, T>) {
        let stage = UnsafeCell::new(stage);
        // SAFETY: within the cell, as `INLINE` says, or the pointer to the box.
        unsafe {
            if Self::INLINE {
                task.byte_add(Self::OFFSET).cast().write(stage);
            } else {
                let place = size_of::<Task>().next_multiple_of(align_of::<*mut ()>());
                task.byte_add(place)
                    .cast()
                    .write(Box::into_raw(Box::new(stage)));
            }
        }
    }

    /// # Safety
    /// The task is alive for as long as the reference is used.
    #[inline]
    unsafe fn stage<'a>(task: NonNull<Header>) -> &'a UnsafeCell<Stage<F, T>> {
        // SAFETY: where `put` has put it.
        unsafe {
            if Self::INLINE {
                task.byte_add(Self::OFFSET).cast().as_ref()
            } else {
                let place = size_of::<Task>().next_multiple_of(align_of::<*mut ()>());
                &*task
                    .byte_add(place)
                    .cast::<*mut UnsafeCell<Stage<F, T>>>()
                    .read()
            }
        }
    }

    /// Replaces the stage by nothing.
    ///
    /// # Safety
    /// The stage is the caller's (invariant 1).
    #[inline]
    unsafe fn take_stage(task: NonNull<Header>) -> Stage<F, T> {
        // SAFETY: the caller's duty.
        unsafe { std::mem::replace(&mut *Self::stage(task).get(), Stage::Empty) }
    }

    /// # Safety
    /// `Vtable::run`: on the coroutine, once.
    unsafe fn run(header: NonNull<Header>) {
        // SAFETY: not done, so the stage is the scheduler's: ours (invariant 1).
        let Stage::Unstarted(f) = (unsafe { Self::take_stage(header) }) else {
            unreachable!("a task runs once")
        };
        let mut result = catch_unwind(AssertUnwindSafe(f));
        while let Some(payload) = panic_of(clear_locals) {
            // The first panic is the one that counts.
            let other = match result {
                Ok(_) => std::mem::replace(&mut result, Err(payload)),
                Err(_) => Err(payload),
            };
            drop_quietly(other);
        }
        // SAFETY: as above.
        unsafe { Self::end(header, result) };
        // The destructor of a result that nobody took may have made some again, which are
        // not to be found by the next coroutine on this stack.
        while let Some(payload) = panic_of(clear_locals) {
            drop_quietly(payload);
        }
    }

    /// # Safety
    /// `Vtable::discard`: instead of `run`, once.
    unsafe fn discard(header: NonNull<Header>, why: Discard) {
        // SAFETY: as in `run`.
        drop_quietly(unsafe { Self::take_stage(header) });
        // SAFETY: alive by the caller's reference.
        let entry = unsafe { header.as_ref() }.entry();
        let result = Err(match why {
            Discard::Cancelled => Cancelled::payload(),
            Discard::NoStack(error) => {
                let message = format!(
                    "bingfa: coroutine {} could not start: {error}",
                    entry.describe()
                );
                eprintln!("{message}");
                Box::new(message)
            }
        });
        // SAFETY: as in `run`.
        unsafe { Self::end(header, result) };
    }

    /// # Safety
    /// The stage is the caller's, and empty; called once.
    unsafe fn end(header: NonNull<Header>, result: Result<T>) {
        // SAFETY: alive by the scheduler's reference; the header is the first part of it.
        let task = unsafe { header.cast::<Task>().as_ref() };
        task.header.record.end();
        // SAFETY: not done, so both cells are the scheduler's (invariant 1).
        let after = unsafe {
            *Self::stage(header).get() = Stage::Ended(result);
            (*task.after.get()).take()
        };
        let unjoined = match task.completion.complete() {
            Completed::Unwatched => None,
            Completed::Wake(waiter) => {
                waiter.unpark();
                None
            }
            // SAFETY: detached, so the result is still ours (invariant 1).
            Completed::Detached => match unsafe { Self::take_stage(header) } {
                Stage::Ended(result) => self::unjoined(result),
                Stage::Unstarted(_) | Stage::Empty => None,
            },
        };
        let unjoined = match after {
            Some(after) => after(unjoined),
            None => unjoined,
        };
        if let Some(payload) = unjoined {
            report_unjoined(task.header.entry(), payload);
        }
    }

    /// # Safety
    /// The completion is done and the caller is the handle (invariant 1).
    unsafe fn take(header: NonNull<Header>) -> Option<Result<T>> {
        // SAFETY: done, so the stage is the handle's (caller).
        match unsafe { Self::take_stage(header) } {
            Stage::Ended(result) => Some(result),
            Stage::Unstarted(_) | Stage::Empty => None,
        }
    }

    /// # Safety
    /// The last reference is gone.
    unsafe fn free(record: NonNull<Record>) {
        let task = record.cast::<Task>();
        // SAFETY: nobody else knows the task any more, and all its parts are initialised.
        unsafe {
            let stage = Self::stage(record.cast());
            if Self::INLINE {
                stage.get().drop_in_place();
            } else {
                drop(Box::from_raw(std::ptr::from_ref(stage).cast_mut()));
            }
            task.drop_in_place();
            cells::give(record);
        }
    }
}

impl<T> Handle<T> {
    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    pub(crate) fn completion(&self) -> &Completion<Unparker> {
        // SAFETY: every header is the first part of a `Task`, which our reference keeps alive.
        unsafe { &self.task.as_ptr().cast::<Task>().as_ref().completion }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.completion().is_done()
    }

    /// The result of a task that is done.
    ///
    /// # Panics
    /// If it is not done, or the result was taken before.
    pub(crate) fn take(self) -> Result<T> {
        let mut handle = ManuallyDrop::new(self);
        let result = handle.take_in_place();
        // SAFETY: not used again: the handle itself is not dropped, as there is nothing
        // left to detach from.
        unsafe { std::ptr::drop_in_place(&raw mut handle.task) };
        result
    }

    /// The same for a handle that has to stay, as a future's.
    pub(crate) fn take_in_place(&mut self) -> Result<T> {
        assert!(self.is_done(), "the task is still running");
        // SAFETY: done, and there is one handle, which we have exclusively.
        unsafe { (self.take)(self.task.as_ptr()) }.expect("the result is taken once")
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if self.completion().detach()
            // SAFETY: done, and the handle is the only one to take (invariant 1).
            && let Some(result) = unsafe { (self.take)(self.task.as_ptr()) }
            && let Some(payload) = unjoined(result)
        {
            report_unjoined(self.task.entry(), payload);
        }
    }
}
