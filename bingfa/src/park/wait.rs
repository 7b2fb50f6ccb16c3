//! The one way to wait, whatever the carrier, and the one way to wake.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::cancel::{self, sooner};
use super::check;
use super::frame::{Frame, Request};
use super::home::{Home, Target};
use super::local;
use super::task::{Header, TaskRef};
use super::thread::{self, ThreadRecord};
use crate::registry::State;
use crate::sys::cache::{fetch, fetch_lines};

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A token was left (or nothing at all happened: callers check their condition).
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// The carrier was cancelled or a timeout around it expired. The caller tidies
    /// up and calls [`cancel::raise`], unless what it waited for has come as well.
    Interrupted,
}

/// Wakes one carrier from [`wait`]; any number of times, from anywhere.
#[derive(Clone, Debug)]
pub(crate) enum Unparker {
    /// A plain thread, by futex.
    Thread(Arc<ThreadRecord>),
    /// A coroutine, by its scheduler.
    Coroutine(TaskRef),
    /// An async task, by its waker.
    Async(Waker),
}

impl Unparker {
    /// The one of the calling thread or coroutine.
    #[track_caller]
    pub(crate) fn current() -> Self {
        match local::frame() {
            Some(frame) => Unparker::Coroutine(frame.task_ref()),
            None => Unparker::Thread(thread::current()),
        }
    }

    pub(crate) fn unpark(&self) {
        match self {
            Unparker::Thread(record) => record.unpark(),
            Unparker::Coroutine(task) => task.unpark(),
            Unparker::Async(waker) => waker.wake_by_ref(),
        }
    }

    /// As [`unpark`](Self::unpark), without need of it any longer.
    #[inline]
    pub(crate) fn wake(self) {
        match self {
            Unparker::Thread(record) => record.unpark(),
            Unparker::Coroutine(task) => task.wake(),
            Unparker::Async(waker) => waker.wake(),
        }
    }
}

/// Who waits in a queue: for a coroutine no reference is counted, as it does not end while
/// it is in there.
#[derive(Debug)]
pub(crate) enum Queued {
    Coroutine(NonNull<Header>),
    Other(Unparker),
}

impl Queued {
    /// The calling thread or coroutine.
    #[track_caller]
    #[inline]
    pub(crate) fn current() -> Self {
        match local::frame() {
            Some(frame) => Queued::Coroutine(NonNull::from(frame.task())),
            None => Queued::Other(Unparker::Thread(thread::current())),
        }
    }

    pub(crate) fn is_coroutine(&self) -> bool {
        matches!(self, Queued::Coroutine(_))
    }

    /// A coroutine of this very thread. To be asked with its bucket locked.
    pub(crate) fn is_here(&self) -> bool {
        match self {
            // SAFETY: it is in a queue whose bucket is locked, so it waits and has not ended.
            Queued::Coroutine(task) => unsafe { task.as_ref() }.home().is_some_and(Home::is_here),
            Queued::Other(_) => false,
        }
    }

    /// It is about to be woken: fetches what that will touch of it.
    #[inline]
    pub(crate) fn fetch(&self) {
        if let Queued::Coroutine(task) = self {
            fetch_lines(task.as_ptr().cast(), 2);
        }
    }

    /// The same a little later.
    ///
    /// # Safety
    /// It is in the queue and stays there meanwhile.
    #[inline]
    pub(crate) unsafe fn fetch_more(&self) {
        if let Queued::Coroutine(task) = self
            // SAFETY: it waits (caller), so it has not ended.
            && let Some(frame) = unsafe { task.as_ref() }.frame()
        {
            fetch(frame.as_ptr().cast());
        }
    }

    /// Whether it is a coroutine that was told to end. To be asked with its bucket locked.
    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            // SAFETY: it is in a queue whose bucket is locked, so it waits and has not ended.
            Queued::Coroutine(task) => unsafe { task.as_ref() }.word.is_cancelled(),
            Queued::Other(_) => false,
        }
    }

    /// Wakes it once `release` has let it go, or gives back who is to be woken.
    ///
    /// # Safety
    /// It is in the queue and stays there until `release` has been called.
    #[inline]
    pub(crate) unsafe fn wake_after(self, release: impl FnOnce()) -> Option<Unparker> {
        let task = match self {
            Queued::Coroutine(task) => task,
            Queued::Other(unparker) => {
                release();
                return Some(unparker);
            }
        };
        // SAFETY: it waits (caller), so it has not ended, and has a reference to itself.
        // The one that is made here without counting it is not dropped.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_raw(task) });
        if task.home().is_some_and(Home::is_here) {
            release();
            task.unpark(); // it cannot run meanwhile: this is its thread
            return None;
        }
        let task = TaskRef::clone(&task);
        release();
        Some(Unparker::Coroutine(task))
    }
}

/// Waits until somebody unparks the calling carrier, the deadline passes, or it is
/// interrupted. Suspends a coroutine; blocks a plain thread in the kernel.
///
/// May return [`Outcome::Woken`] for no reason, so it is called in a loop around a condition.
#[track_caller]
#[inline(always)]
pub(crate) fn wait(what: &'static &'static str, deadline: Option<Instant>) -> Outcome {
    match local::frame() {
        Some(frame) => wait_in_coroutine(frame, what, deadline, Location::caller()),
        None => wait_on_thread(what, deadline, Location::caller()),
    }
}

/// As [`wait`], and unwinds instead of answering [`Outcome::Interrupted`]: for waits
/// that have nothing to tidy up. True: woken; false: timed out.
#[track_caller]
#[inline]
pub(crate) fn wait_or_unwind(what: &'static &'static str, deadline: Option<Instant>) -> bool {
    match wait(what, deadline) {
        Outcome::Woken => true,
        Outcome::TimedOut => false,
        Outcome::Interrupted => {
            cancel::raise();
            true
        }
    }
}

#[inline(always)]
fn wait_in_coroutine(
    frame: &Frame,
    what: &'static &'static str,
    deadline: Option<Instant>,
    at: &'static Location<'static>,
) -> Outcome {
    frame.about_to_suspend();
    cancel::observe(frame);
    if cancel::frame_is_pending(frame) {
        return Outcome::Interrupted;
    }
    if !frame.task().word.prepare() {
        return Outcome::Woken;
    }
    frame.timed_out.set(false);
    let timer = deadline.map(|at| arm(frame, at));
    frame.live.waits(what, at);
    frame.suspend(Request::Wait);
    if let (Some(key), Some(home)) = (timer, local::home())
        && !frame.timed_out.get()
    {
        home.timers(|timers| timers.disarm(key));
    }
    if cancel::frame_is_pending(frame) {
        Outcome::Interrupted
    } else if frame.timed_out.get() {
        Outcome::TimedOut
    } else {
        Outcome::Woken
    }
}

/// Sets the deadline of the current wait.
pub(crate) fn arm(frame: &Frame, deadline: Instant) -> super::timers::TimerKey {
    let home = local::home().expect("a coroutine runs on a worker");
    let target = Target {
        frame: NonNull::from(frame),
        scope: None,
    };
    home.timers(|timers| timers.arm(deadline, target))
}

#[cold]
fn wait_on_thread(
    what: &'static &'static str,
    deadline: Option<Instant>,
    at: &'static Location<'static>,
) -> Outcome {
    if cancel::is_pending() {
        return Outcome::Interrupted;
    }
    let record = thread::current();
    record.live.waits(what, at);
    // Waits in destructors of an unwinding thread are not cut short: only a call that
    // can say so (I/O) is.
    let ambient = if std::thread::panicking() {
        None
    } else {
        cancel::ambient_deadline()
    };
    record.park(sooner(deadline, ambient));
    record.live.set(State::Running);
    if cancel::is_pending() {
        Outcome::Interrupted
    } else if deadline.is_some_and(|at| Instant::now() >= at) {
        Outcome::TimedOut
    } else {
        Outcome::Woken
    }
}

/// The calling carrier's waits may end early because of a timeout around them.
#[inline]
pub(crate) fn may_expire() -> bool {
    local::interrupts(cancel::Interrupts::are_timed)
}

/// A wait of the calling carrier would be interrupted at once.
pub(crate) fn is_interrupted() -> bool {
    if let Some(frame) = local::frame() {
        cancel::observe(frame);
    }
    cancel::is_pending()
}

/// A panic of the calling carrier would not come in the middle of another unwind.
pub(crate) fn may_panic() -> bool {
    !cancel::is_unwinding()
}

/// The wait that the calling carrier is about to end as interrupted has this reason to panic.
pub(crate) fn doom(report: String) {
    local::interrupts(|interrupts| interrupts.doom(report));
}

/// For callers that are about to start what only their own later wait can end: panics now,
/// while nothing has been started, if that wait would (`BINGFA_CHECK`).
#[inline]
pub(crate) fn about_to_wait() {
    if let Some(frame) = local::frame() {
        frame.about_to_suspend();
    }
}

/// Waits until `over`, whatever happens: neither cancels nor timeouts nor the check end it.
/// Whoever makes it true unparks the caller.
#[track_caller]
pub(crate) fn wait_until(what: &'static &'static str, over: impl Fn() -> bool) {
    while !over() {
        cancel::shield(|| check::without(|| wait(what, None)));
    }
}

/// Whom a user's handle can unpark: the carrier together with its user token.
impl Unparker {
    /// Leaves the token of `thread::park` and `coroutine::park`, and wakes the carrier.
    pub(crate) fn unpark_user(&self) {
        let token = match self {
            Unparker::Thread(record) => &record.user_token,
            Unparker::Coroutine(task) => &task.user_token,
            Unparker::Async(_) => unreachable!("only threads and coroutines have handles"),
        };
        // Release: pairs with the AcqRel swap in `park_user`.
        token.store(true, Release);
        self.unpark();
    }
}

/// Waits for the user token and takes it; returns without it at the deadline.
///
/// A cancel or an expired timeout unwinds.
#[track_caller]
pub(crate) fn park_user(deadline: Option<Instant>) {
    match local::frame() {
        Some(frame) => {
            // AcqRel: pairs with the Release in `unpark_user`.
            while !frame.task().user_token.swap(false, AcqRel) {
                if !wait_or_unwind(&"park", deadline) {
                    return;
                }
            }
        }
        None => {
            let record = thread::current();
            while !record.user_token.swap(false, AcqRel) {
                if !wait_or_unwind(&"park", deadline) {
                    return;
                }
            }
        }
    }
}

/// Suspends the calling carrier until `deadline`.
#[track_caller]
pub(crate) fn sleep_until(deadline: Instant) {
    // A destructor's sleep may not hold up an unwinding coroutine for ever.
    let deadline = sooner(Some(deadline), cancel::grace());
    while wait_or_unwind(&"sleep", deadline) {}
}

/// Suspends the calling carrier for at least `length`.
#[track_caller]
pub(crate) fn sleep(length: Duration) {
    match Instant::now().checked_add(length) {
        Some(deadline) => sleep_until(deadline),
        // Further away than the clock goes.
        None => loop {
            wait_or_unwind(&"sleep", None);
        },
    }
}

/// Lets the others run.
#[inline(always)]
pub(crate) fn yield_now() {
    match local::frame() {
        Some(frame) => {
            frame.about_to_suspend();
            frame.live.set(State::Ready);
            frame.suspend(Request::Yield);
        }
        None => std::thread::yield_now(),
    }
}

/// Yields if the watchdog's tick says that the slice is over.
#[inline(always)]
pub(crate) fn yield_if_slice_over() {
    if let Some(home) = local::home()
        && home.take_slice_over()
    {
        yield_now();
    }
}
