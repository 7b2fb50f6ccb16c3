//! Coroutines: plain blocking code, thousands to a thread.
//!
//! A coroutine has a stack of its own and runs until it waits: for a socket, a lock, a
//! timer, another coroutine. Then its thread runs another one. The code is what one
//! would write for a thread, and every blocking call of this crate works in either.
//!
//! # Where a coroutine runs
//! [`spawn`] puts the closure in a queue that every worker of the runtime takes from. Once
//! it has started, a coroutine stays on its thread for good, so it may hold `Rc`s, guards
//! and other values that are not `Send`, as long as the closure and its result are.
//! [`spawn_local`] lifts even that: such a coroutine starts on the caller's own thread.
//!
//! Nothing interrupts a coroutine that computes; others on its worker wait meanwhile. Call
//! [`checkpoint`] in long computations, or use a [thread](crate::thread).
//!
//! # What must not wait
//! Coroutines share their thread, but not the last-in-first-out order of its frames. The
//! initialiser of a lazy `std::thread_local!` must not wait (use
//! [`bingfa::thread_local!`](crate::thread_local)), nor may code inside `scoped_tls`'s
//! `set` or anything else that restores a thread-local on return. `BINGFA_CHECK=1` finds
//! such waits; with debug assertions the check is on.
//!
//! # Ending one early
//! [`JoinHandle::cancel`] makes the coroutine's current or next wait unwind, which runs
//! destructors as an early return would; see there.

mod builder;
mod handle;
mod key;
mod scope;

pub use builder::Builder;
pub use handle::{Coroutine, CoroutineId, JoinHandle, current, join_all, try_current};
pub use key::LocalKey;
pub use scope::{Scope, ScopedJoinHandle, scope};

pub use crate::park::cancel::Cancelled;
pub use crate::registry::{Info, State, Waiting};
pub use std::thread::AccessError;

use std::time::{Duration, Instant};

use crate::park::{cancel, local, wait};
use crate::registry::{self, Kind};

/// Spawns a coroutine on the current runtime, or on the global one.
///
/// The same signature as [`std::thread::spawn`]: the closure and its result may cross to
/// another thread, once each. Everything in between stays on one thread.
///
/// # Panics
/// If the global runtime has to be started and cannot be; [`Builder::spawn`] gives an
/// error instead.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
///
/// let handle = coroutine::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
#[doc(alias = "Greenlet")]
#[doc(alias = "create_task")]
#[doc(alias = "go")]
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new()
        .spawn(f)
        .unwrap_or_else(|error| panic!("bingfa: could not spawn a coroutine: {error}"))
}

/// Spawns a coroutine on the calling thread; nothing has to be `Send`.
///
/// # Panics
/// If the calling thread is neither a worker nor inside [`run`](crate::run).
///
/// # Examples
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use bingfa::coroutine;
///
/// bingfa::run(|| {
///     let shared = Rc::new(Cell::new(1));
///     let other = shared.clone();
///     coroutine::spawn_local(move || other.set(2)).join().unwrap();
///     assert_eq!(shared.get(), 2);
/// });
/// ```
#[track_caller]
pub fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    Builder::new()
        .spawn_local(f)
        .unwrap_or_else(|error| panic!("bingfa: could not spawn a coroutine: {error}"))
}

/// Lets the other ready coroutines of this worker run first. On a plain thread: as
/// [`std::thread::yield_now`].
///
/// Not a cancellation point: it does not wait for anything.
///
/// # Examples
/// ```
/// bingfa::run(|| bingfa::coroutine::yield_now());
/// ```
#[inline(always)]
pub fn yield_now() {
    wait::yield_now();
}

/// For long computations: gives way if this coroutine has had its slice, and unwinds if it
/// was cancelled or a timeout around it has expired.
///
/// Costs a few nanoseconds when there is nothing to do.
///
/// # Examples
/// ```
/// bingfa::run(|| {
///     let mut sum = 0u64;
///     for i in 0..100_000u64 {
///         sum = sum.wrapping_mul(31).wrapping_add(i);
///         bingfa::coroutine::checkpoint();
///     }
/// #   std::hint::black_box(sum);
/// });
/// ```
#[inline(always)]
pub fn checkpoint() {
    wait::yield_if_slice_over();
    cancel::checkpoint();
}

/// Waits until [`JoinHandle::unpark`] or [`Coroutine::unpark`] is called for the current
/// carrier; returns at once if it was called before. May return for no reason.
///
/// # Cancellation
/// A cancel or an expired timeout unwinds; the token stays.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
///
/// let sleeper = coroutine::spawn(|| coroutine::park());
/// sleeper.unpark();
/// sleeper.join().unwrap();
/// ```
#[track_caller]
pub fn park() {
    wait::park_user(None);
}

/// As [`park`], but waits for at most `limit`.
///
/// # Cancellation
/// A cancel or an expired timeout unwinds; the token stays.
#[track_caller]
pub fn park_timeout(limit: Duration) {
    wait::park_user(Instant::now().checked_add(limit));
}

/// Suspends the calling coroutine (or blocks the calling thread) for at least `length`.
///
/// Timers that are due at the same time fire in the order in which they were set.
///
/// # Cancellation
/// A cancel or an expired timeout ends the sleep and unwinds.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// bingfa::run(|| bingfa::coroutine::sleep(Duration::from_millis(5)));
/// assert!(start.elapsed() >= Duration::from_millis(5));
/// ```
#[track_caller]
pub fn sleep(length: Duration) {
    wait::sleep(length);
}

/// Runs `f` without being interrupted: cancels and timeouts from outside act at the first
/// wait after it. Timeouts that are set inside work as usual.
///
/// For sections that must not stop half-way, and for callbacks that C code calls: an
/// unwind must not leave them.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
///
/// let careful = coroutine::spawn(|| {
///     coroutine::shield(|| coroutine::park());
///     "both halves are done"
/// });
/// # while careful.state() != coroutine::State::Blocked { std::thread::yield_now(); }
/// careful.cancel();
/// careful.unpark();
/// assert_eq!(careful.join().unwrap(), "both halves are done");
/// ```
pub fn shield<R>(f: impl FnOnce() -> R) -> R {
    cancel::shield(f)
}

/// How many coroutines exist: spawned and not yet ended.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
///
/// let waiting = coroutine::spawn(coroutine::park);
/// assert!(coroutine::active_count() >= 1);
/// # waiting.unpark();
/// # waiting.join().unwrap();
/// ```
pub fn active_count() -> usize {
    let mut count = 0;
    registry::for_each(|entry| count += usize::from(entry.kind == Kind::Coroutine));
    count
}

/// A snapshot of all coroutines, oldest first: name, state, where spawned, what they wait for.
///
/// # Examples
/// ```
/// use bingfa::coroutine::{self, Builder};
///
/// let idler = Builder::new().name("idler").spawn(coroutine::park)?;
/// assert!(coroutine::enumerate().iter().any(|c| c.name.as_deref() == Some("idler")));
/// # idler.unpark();
/// # idler.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn enumerate() -> Vec<Info> {
    registry::snapshot(Kind::Coroutine)
}

/// How many bytes of its stack the calling coroutine (or an earlier one on the same stack)
/// has ever used, in whole pages; `None` on a plain thread.
///
/// For choosing a [`Builder::stack_size`]. One system call; memory that was swapped out is
/// not seen. (`mincore(2)`)
///
/// # Examples
/// ```
/// let used = bingfa::run(|| bingfa::coroutine::stack_high_water());
/// assert!(used.is_some_and(|bytes| bytes >= 4096));
/// ```
pub fn stack_high_water() -> Option<usize> {
    local::frame().map(|frame| frame.extent.high_water())
}

/// True inside a coroutine.
pub fn is_coroutine() -> bool {
    local::frame().is_some()
}
