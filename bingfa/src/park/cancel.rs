//! Cancels and timeouts: flags that a wait turns into an unwind.
//!
//! A cancel never touches the coroutine's stack from outside. It sets a flag and
//! ends the current wait; the wait's own code, resumed normally, then unwinds with
//! a private payload, so that destructors run as after a `?`. See [`raise`] for
//! when a wait may do so.
//!
//! # Invariants
//! 1. A [`Scope`] lives on the frame of its `within`, which unlinks it before it
//!    returns or unwinds on; the chain runs from the innermost outwards.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::frame::Frame;
use super::home::Target;
use super::local;
use crate::sys::unwind;

/// The payload of a coroutine that was cancelled: what `join` gives as its error.
///
/// ```
/// use bingfa::coroutine::{self, Cancelled};
///
/// let sleeper = coroutine::spawn(|| coroutine::sleep(std::time::Duration::from_secs(3600)));
/// sleeper.cancel();
/// assert!(sleeper.join().unwrap_err().is::<Cancelled>());
/// ```
#[derive(Debug)]
pub struct Cancelled(());

impl Cancelled {
    /// The payload for a task that was cancelled before it ever ran.
    pub(crate) fn payload() -> Box<dyn Any + Send> {
        Box::new(Cancelled(()))
    }
}

/// The payload of an expired `time::timeout`; names its scope by address.
struct Expired(*const Scope);

// SAFETY: the address is compared, never followed.
unsafe impl Send for Expired {}

/// How long waits in destructors may take once their coroutine is being unwound.
const GRACE: Duration = Duration::from_secs(1);

/// One running `time::timeout`.
#[derive(Debug)]
pub(crate) struct Scope {
    deadline: Instant,
    expired: Cell<bool>,
    /// How many shields were around it when it began: only later ones protect from it.
    shields: u32,
    outer: *const Scope,
}

/// What may interrupt the waits of one carrier.
#[derive(Debug)]
pub(crate) struct Interrupts {
    innermost: Cell<*const Scope>,
    shields: Cell<u32>,
    /// Some scope has expired. (On plain threads the clock is asked instead.)
    expired: Cell<bool>,
    /// Whether the carrier was unwinding when its current wait began: [`observe`].
    unwinding: Cell<bool>,
    /// When the waits of destructors end; set by the first raise.
    grace: Cell<Option<Instant>>,
    /// The current wait has to end with this panic. (Taken at once: nothing is left to drop,
    /// so that thread-locals with it need no destructor.)
    doom: ManuallyDrop<RefCell<Option<String>>>,
}

/// Why a wait has to unwind.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Cancelled,
    Expired(*const Scope),
}

impl Interrupts {
    pub(crate) const fn new() -> Self {
        Self {
            innermost: Cell::new(std::ptr::null()),
            shields: Cell::new(0),
            expired: Cell::new(false),
            unwinding: Cell::new(false),
            grace: Cell::new(None),
            doom: ManuallyDrop::new(RefCell::new(None)),
        }
    }

    /// The wait that is about to end has this reason to panic.
    pub(super) fn doom(&self, report: String) {
        *self.doom.borrow_mut() = Some(report);
    }

    pub(super) fn take_doom(&self) -> Option<String> {
        self.doom.borrow_mut().take()
    }

    /// A timeout surrounds what the carrier does.
    pub(super) fn are_timed(&self) -> bool {
        !self.innermost.get().is_null()
    }

    #[inline]
    pub(super) fn reset(&self) {
        self.innermost.set(std::ptr::null());
        self.shields.set(0);
        self.expired.set(false);
        self.grace.set(None);
    }

    /// The expired scope furthest out that no shield protects from.
    fn outermost_expired(&self) -> Option<*const Scope> {
        let mut found = None;
        let mut next = NonNull::new(self.innermost.get().cast_mut());
        while let Some(scope) = next {
            // SAFETY: linked, so its frame is still there (invariant 1).
            let scope = unsafe { scope.as_ref() };
            if scope.expired.get() && scope.shields == self.shields.get() {
                found = Some(std::ptr::from_ref(scope));
            }
            next = NonNull::new(scope.outer.cast_mut());
        }
        found
    }

    /// On a plain thread nobody fires timers: look at the clock.
    fn ask_clock(&self) {
        let mut next = NonNull::new(self.innermost.get().cast_mut());
        if next.is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(scope) = next {
            // SAFETY: linked, so its frame is still there (invariant 1).
            let scope = unsafe { scope.as_ref() };
            if scope.deadline <= now {
                scope.expired.set(true);
                self.expired.set(true);
            }
            next = NonNull::new(scope.outer.cast_mut());
        }
    }

    /// The earliest deadline that the current shields let through; for plain threads.
    fn earliest(&self) -> Option<Instant> {
        let mut earliest = None;
        let mut next = NonNull::new(self.innermost.get().cast_mut());
        while let Some(scope) = next {
            // SAFETY: linked, so its frame is still there (invariant 1).
            let scope = unsafe { scope.as_ref() };
            if scope.shields == self.shields.get() {
                earliest = sooner(earliest, Some(scope.deadline));
            }
            next = NonNull::new(scope.outer.cast_mut());
        }
        earliest
    }

    #[inline]
    fn reason(&self, cancelled: bool) -> Option<Reason> {
        if !cancelled && !self.expired.get() {
            return None;
        }
        // A second unwind in the middle of a first would abort: later.
        if self.unwinding.get() {
            return None;
        }
        if cancelled && self.shields.get() == 0 {
            return Some(Reason::Cancelled);
        }
        self.outermost_expired().map(Reason::Expired)
    }

    fn raise(&self, reason: Reason) -> ! {
        if cfg!(panic = "abort") {
            panic!(
                "bingfa: a cancel or timeout has to unwind the coroutine, but this program is \
                 built with panic = \"abort\"; use panic = \"unwind\""
            );
        }
        self.grace.set(Some(Instant::now() + GRACE));
        match reason {
            Reason::Cancelled => resume_unwind(Cancelled::payload()),
            Reason::Expired(scope) => resume_unwind(Box::new(Expired(scope))),
        }
    }
}

/// The sooner of two deadlines, where `None` is never.
pub(crate) fn sooner(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// True if the calling carrier is running destructors for an unwind.
///
/// The thread counts unwinds, not the coroutine: while a neighbour is suspended in
/// mid-unwind, `std::thread::panicking` is true for all of them. Then the frames tell.
#[inline(always)]
pub(crate) fn is_unwinding() -> bool {
    std::thread::panicking() && unwinds_here()
}

/// Out of line: locks ask at each turn, and the answer is hardly ever needed.
#[cold]
#[inline(never)]
fn unwinds_here() -> bool {
    local::frame().is_none_or(|frame| unwind::is_held(frame.extent.range()))
}

/// A wait (or a checkpoint) of the coroutine begins. Until it ends, no code runs that could
/// begin or end an unwind of it, so what is seen now stays true, whatever its
/// neighbours do meanwhile.
#[inline(always)]
pub(crate) fn observe(frame: &Frame) {
    let interrupts = &frame.interrupts;
    interrupts.unwinding.set(is_unwinding());
}

fn current_reason() -> Option<Reason> {
    match local::frame() {
        Some(frame) => frame.interrupts.reason(frame.task().word.is_cancelled()),
        None => local::interrupts(|interrupts| {
            interrupts.ask_clock();
            interrupts.unwinding.set(std::thread::panicking());
            interrupts.reason(false)
        }),
    }
}

/// True if the calling carrier's next wait has to unwind.
#[inline]
pub(crate) fn is_pending() -> bool {
    match local::frame() {
        Some(frame) => frame_is_pending(frame),
        None => current_reason().is_some(),
    }
}

/// The same for a coroutine of this thread, which waits (or is about to, see
/// [`observe`]).
#[inline(always)]
pub(crate) fn frame_is_pending(frame: &Frame) -> bool {
    frame
        .interrupts
        .reason(frame.task().word.is_cancelled())
        .is_some()
}

/// Unwinds the calling carrier if it was cancelled or a timeout around it has expired.
/// Called by the code of a wait, after [`observe`].
///
/// Does nothing while the carrier is unwinding anyway, or inside a [`shield`]; the
/// flags are sticky, so the next wait after that asks again.
#[inline]
pub(crate) fn raise() {
    if let Some(reason) = current_reason() {
        local::interrupts(|interrupts| interrupts.raise(reason));
    }
}

/// The same where nothing is waited for.
#[inline]
pub(crate) fn checkpoint() {
    if let Some(frame) = local::frame() {
        observe(frame);
    }
    raise();
}

/// When the waits of destructors end that the calling carrier runs because a cancel or
/// timeout unwinds it.
pub(crate) fn grace() -> Option<Instant> {
    let grace = local::interrupts(|interrupts| interrupts.grace.get());
    grace.filter(|_| is_unwinding())
}

/// When a wait of a plain thread must end although nothing may be raised: a timeout surrounds
/// it, or [`grace`] is over. (A coroutine is told by its worker.)
pub(crate) fn ambient_deadline() -> Option<Instant> {
    if local::frame().is_some() {
        return None;
    }
    if std::thread::panicking() {
        grace()
    } else {
        local::interrupts(Interrupts::earliest)
    }
}

/// True if the calling carrier is running destructors for a panic, and not for a cancel or
/// timeout.
#[inline(always)]
pub(crate) fn is_panicking() -> bool {
    std::thread::panicking() && panics_here()
}

#[cold]
#[inline(never)]
fn panics_here() -> bool {
    local::interrupts(|interrupts| interrupts.grace.get().is_none()) && unwinds_here()
}

/// Runs `f` with cancels and outer timeouts held back; they act at the first wait afterwards.
pub(crate) fn shield<R>(f: impl FnOnce() -> R) -> R {
    struct Lower;
    impl Drop for Lower {
        fn drop(&mut self) {
            local::interrupts(|i| i.shields.set(i.shields.get() - 1));
        }
    }
    local::interrupts(|i| i.shields.set(i.shields.get() + 1));
    let _lower = Lower;
    f()
}

/// Runs `f`; its waits unwind once `deadline` has passed, which makes this return `None`.
pub(crate) fn within<R>(deadline: Instant, f: impl FnOnce() -> R) -> Option<R> {
    let scope = local::interrupts(|interrupts| Scope {
        deadline,
        expired: Cell::new(false),
        shields: interrupts.shields.get(),
        outer: interrupts.innermost.get(),
    });
    let here = NonNull::from(&scope);
    local::interrupts(|interrupts| interrupts.innermost.set(here.as_ptr()));
    let timer = local::frame().and_then(|frame| {
        let target = Target {
            frame: NonNull::from(frame),
            scope: Some(here),
        };
        local::home().map(|home| (home, home.timers(|timers| timers.arm(deadline, target))))
    });

    let result = catch_unwind(AssertUnwindSafe(f));

    if let Some((home, key)) = timer {
        home.timers(|timers| timers.disarm(key));
    }
    local::interrupts(|interrupts| {
        interrupts.innermost.set(scope.outer);
        // Others may have expired with it, or before it.
        interrupts.expired.set(interrupts.any_expired());
    });
    match result {
        Ok(value) => Some(value),
        Err(payload) => {
            let ours = payload
                .downcast_ref::<Expired>()
                .is_some_and(|e| e.0 == here.as_ptr());
            if !ours {
                resume_unwind(payload);
            }
            local::interrupts(|interrupts| interrupts.grace.set(None));
            None
        }
    }
}

impl Interrupts {
    fn any_expired(&self) -> bool {
        let mut next = NonNull::new(self.innermost.get().cast_mut());
        while let Some(scope) = next {
            // SAFETY: linked, so its frame is still there (invariant 1).
            let scope = unsafe { scope.as_ref() };
            if scope.expired.get() {
                return true;
            }
            next = NonNull::new(scope.outer.cast_mut());
        }
        false
    }
}

/// A worker fired the timer of `scope`, which belongs to the coroutine of `frame`.
///
/// # Safety
/// The scope is still linked: `within` disarms its timer before it goes.
pub(crate) unsafe fn expire(frame: &Frame, scope: NonNull<Scope>) {
    // SAFETY: the caller's duty.
    unsafe { scope.as_ref() }.expired.set(true);
    frame.interrupts.expired.set(true);
}
