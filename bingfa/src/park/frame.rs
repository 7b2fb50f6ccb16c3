//! A coroutine's control block, at the top of its stack, and the switch.
//!
//! One coroutine of the underlying library is a *shell*: it runs one task after
//! another, so that a recycled stack costs neither a set-up nor a page fault. The
//! block shares the shell's first page, so a parked coroutine touches one page.
//!
//! # Invariants
//! 1. A frame lives from `create` to `destroy`, at a fixed address in its stack.
//! 2. It is used only on the thread that created it.
//! 3. `yielder` is set by the shell before anything else runs on it, and stays
//!    valid as long as the shell.
//! 4. `task` is set from `assign` to the handling of `Request::Finished`.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use corosensei::{Coroutine, Yielder};

use super::cancel::Interrupts;
use super::check;
use super::local;
use super::locals::Locals;
use super::task::{Header, TaskRef};
use crate::registry::{Live, State};
use crate::stack::{Extent, Owner, Stack};
use crate::sys::cache::{fetch, fetch_lines};

/// Why a coroutine switched to its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Put me at the end of the run queue.
    Yield,
    /// Somebody will make me ready.
    Wait,
    /// The task has ended; the shell is free.
    Finished,
}

type Shell = Coroutine<(), (), (), Stack>;

/// Laid out by hand: a switch touches the first two cache lines and no other.
#[repr(C, align(64))]
pub(crate) struct Frame {
    request: Cell<Request>,
    /// Look at the frames of each suspension (`BINGFA_CHECK`).
    pub(super) check: Cell<bool>,
    /// The current wait's own deadline has passed.
    pub(crate) timed_out: Cell<bool>,
    /// The run queue's level.
    pub(crate) level: Cell<u8>,
    yielder: Cell<*const Yielder<(), ()>>,
    task: Cell<*const Header>,
    pub(crate) live: Live,
    /// Roughly where its stack pointer was at the last wait: a hint for `prefetch`.
    depth: Cell<*const u8>,
    shell: UnsafeCell<MaybeUninit<Shell>>,
    /// The running task's id in the registry.
    pub(super) id: Cell<u64>,
    /// The I/O operation in flight, as its driver knows it.
    pub(crate) op: Cell<*const ()>,
    pub(crate) interrupts: Interrupts,
    pub(crate) locals: Locals,
    /// How long it has run on its run queue's level.
    pub(crate) ran_nanos: Cell<u64>,
    /// Its place in its worker's list of shells.
    pub(crate) place: Cell<usize>,
    /// For the report of a stack overflow, made by a signal handler on this thread.
    owner: UnsafeCell<Owner>,
    /// The stack that it lies on.
    pub(crate) extent: Extent,
}

const _: () = assert!(std::mem::offset_of!(Frame, shell) <= 64);

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// Makes a shell on `stack`.
pub(crate) fn create(mut stack: Stack) -> NonNull<Frame> {
    let extent = stack.extent();
    let frame = stack
        .reserve(size_of::<Frame>(), align_of::<Frame>())
        .cast::<Frame>();
    // SAFETY: points into the stack itself, is written below before anything runs on it,
    // and stays until the stack is taken apart.
    unsafe {
        stack.set_owner(
            frame
                .as_ptr()
                .wrapping_byte_add(std::mem::offset_of!(Frame, owner))
                .cast(),
        )
    };
    let shell = Shell::with_stack(stack, move |yielder, ()| run_tasks(frame, yielder));
    // SAFETY: `reserve` gave us this area of the stack, which `shell` now owns.
    unsafe {
        frame.write(Frame {
            yielder: Cell::new(std::ptr::null()),
            request: Cell::new(Request::Finished),
            check: Cell::new(false),
            timed_out: Cell::new(false),
            level: Cell::new(0),
            depth: Cell::new(std::ptr::null()),
            ran_nanos: Cell::new(0),
            place: Cell::new(0),
            live: Live::new(State::Ready),
            task: Cell::new(std::ptr::null()),
            id: Cell::new(0),
            op: Cell::new(std::ptr::null()),
            interrupts: Interrupts::new(),
            locals: Locals::new(),
            extent,
            owner: UnsafeCell::new(Owner {
                id: 0,
                name_ptr: std::ptr::null(),
                name_len: 0,
            }),
            shell: UnsafeCell::new(MaybeUninit::new(shell)),
        });
    }
    frame
}

/// The body of every shell. Not inlined: the check knows the outermost frame by its address.
#[inline(never)]
pub(super) fn run_tasks(frame: NonNull<Frame>, yielder: &Yielder<(), ()>) {
    // SAFETY: invariant 1; shared access only, its fields are cells.
    let frame = unsafe { frame.as_ref() };
    frame.yielder.set(yielder);
    loop {
        let task = frame.task();
        // SAFETY: a shell is resumed only with a task assigned (invariant 4), whose
        // closure has not run; `run` lets no panic out.
        unsafe { (task.vtable.run)(NonNull::from(task)) };
        frame.request.set(Request::Finished);
        yielder.suspend(());
    }
}

/// Takes a shell apart. It must be idle: never started, or between two tasks.
///
/// # Safety
/// `frame` came from `create`, is idle and is not used any more.
pub(crate) unsafe fn destroy(frame: NonNull<Frame>) -> Stack {
    // SAFETY: the caller gives the frame up; the shell is moved out once, and of the rest only
    // the locals have something to drop (the room for values, which are gone).
    let mut shell = unsafe {
        (&raw mut (*frame.as_ptr()).locals).drop_in_place();
        (*frame.as_ref().shell.get()).assume_init_read()
    };
    if !shell.done() {
        // SAFETY: idle, so nothing on its stack needs to be dropped.
        unsafe { shell.force_reset() };
    }
    shell.into_stack()
}

/// Switches to the coroutine and comes back with its request. It stays the thread's current
/// one until `local::leave`, so that a row of switches need not say so each time.
///
/// # Safety
/// On the frame's thread, not inside a coroutine, and `frame` is suspended with a
/// task assigned.
#[inline(always)]
pub(crate) unsafe fn resume(frame: NonNull<Frame>) -> Request {
    // SAFETY: alive (caller); only shared references to it exist besides `shell`,
    // which nothing but this function touches while it is running.
    let block = unsafe { frame.as_ref() };
    local::set_frame(block);
    // SAFETY: initialised by `create`; not running (caller), so not borrowed.
    unsafe { (*block.shell.get()).assume_init_mut() }.resume(());
    block.request.get()
}

/// Has the processor fetch what the first steps of a resumption will touch, which for a
/// coroutine among thousands is in no cache. First, and for several at a time: where the page of
/// the block is.
#[inline(always)]
pub(crate) fn prefetch_page(frame: NonNull<Frame>) {
    fetch(frame.as_ptr().cast());
}

/// Soon: the block itself.
#[inline(always)]
pub(crate) fn prefetch_block(frame: NonNull<Frame>) {
    fetch_lines(frame.as_ptr().cast(), 4);
}

/// Next: what the block, fetched by now, points to.
#[inline(always)]
pub(crate) fn prefetch_stack(frame: &Frame) {
    fetch_lines(frame.depth.get(), 4);
    let word = std::mem::offset_of!(Header, word);
    fetch(frame.task.get().wrapping_byte_add(word).cast());
}

impl Frame {
    /// Gives the idle shell its next task, whose reference it keeps until `release`.
    #[inline]
    pub(crate) fn assign(&self, task: TaskRef) {
        self.check.set(check::enabled());
        self.interrupts.reset();
        self.timed_out.set(false);
        self.level.set(0);
        self.ran_nanos.set(0);
        self.id.set(task.entry().id.get());
        let name = task.entry().name.as_deref().unwrap_or_default();
        let owner = Owner {
            id: task.entry().id.get(),
            name_ptr: name.as_ptr(),
            name_len: name.len(),
        };
        // SAFETY: read only by a signal handler while the task runs, which it does not yet.
        unsafe { *self.owner.get() = owner };
        self.task.set(task.into_raw().as_ptr());
    }

    /// The task has ended (or was not run after all): gives its reference back.
    #[inline]
    pub(crate) fn release(&self) -> TaskRef {
        let task = self.task.replace(std::ptr::null());
        let task = NonNull::new(task.cast_mut()).expect("a task was assigned");
        // SAFETY: the reference that `assign` took over.
        unsafe { TaskRef::from_raw(task) }
    }

    /// True while a task is assigned.
    pub(crate) fn is_busy(&self) -> bool {
        !self.task.get().is_null()
    }

    /// The running task.
    #[inline(always)]
    pub(crate) fn task(&self) -> &Header {
        debug_assert!(!self.task.get().is_null());
        // SAFETY: set while a task runs, and its reference is ours (invariant 4).
        unsafe { &*self.task.get() }
    }

    /// A counted reference to the running task.
    #[inline]
    pub(crate) fn task_ref(&self) -> TaskRef {
        // SAFETY: `task` is alive; the clone takes its own reference and the
        // temporary's one is given back unused.
        unsafe {
            let own = TaskRef::from_raw(NonNull::from(self.task()));
            let clone = own.clone();
            let _ = own.into_raw();
            clone
        }
    }

    /// Every wait starts with this, before anything of it is set up: with `BINGFA_CHECK`
    /// it panics if the coroutine may not suspend where it is.
    #[inline(always)]
    pub(crate) fn about_to_suspend(&self) {
        if self.check.get() {
            check::suspension();
        }
    }

    /// Switches to the worker; returns when it resumes us. Called on the coroutine itself.
    /// Never unwinds: the kernel and other threads may know of the wait by now.
    #[inline(always)]
    pub(crate) fn suspend(&self, request: Request) {
        self.request.set(request);
        if request == Request::Wait {
            self.depth.set((&raw const request).cast());
        }
        // SAFETY: we run on the shell, which has set it (invariant 3).
        unsafe { (*self.yielder.get()).suspend(()) };
    }

    /// Runs `f` on the worker's stack: that one is in the cache, and what `f` needs of a stack
    /// is not added to what each of thousands of coroutines touches.
    ///
    /// # Safety
    /// Called on the coroutine itself, and `f` does not suspend.
    #[inline(always)]
    pub(crate) unsafe fn on_worker_stack<R>(&self, f: impl FnOnce() -> R) -> R {
        /// The library asks for `Send` so that nobody suspends on the other stack.
        struct Call<F>(F);
        // SAFETY: it stays on the thread, and does not suspend (caller).
        unsafe impl<F> Send for Call<F> {}
        impl<R, F: FnOnce() -> R> Call<F> {
            #[inline(always)]
            fn make(self) -> R {
                (self.0)()
            }
        }
        let call = Call(f);
        // SAFETY: we run on the shell, which has set it (invariant 3).
        unsafe { (*self.yielder.get()).on_parent_stack(move || call.make()) }
    }
}
