//! Threads: twin of [`std::thread`], whose waits suspend a coroutine and block a thread.
//!
//! [`spawn`] always makes an operating-system thread. [`current`], [`park`], [`sleep`] and
//! [`yield_now`] act on whoever calls them, a thread or a coroutine, so the same function
//! serves both; a [`Thread`] may therefore be a coroutine. Joining a thread from a coroutine
//! suspends only that coroutine.
//!
//! What std has not: threads that the process waits for ([`Builder::daemon`]),
//! [`enumerate`], [`active_count`], [`JoinHandle::join_timeout`], and handles as futures.
//!
//! Threads cannot be cancelled. `time::timeout` cuts their waits short as it does those of
//! coroutines.

mod builder;
mod handle;
mod launch;
mod local;
mod scope;

pub use builder::Builder;
pub use handle::{JoinHandle, Thread, ThreadId, current};
pub use local::{AccessError, LocalKey};
pub use scope::{Scope, ScopedJoinHandle, scope};

pub use crate::registry::{Info, State, Waiting};
pub use std::thread::{Result, available_parallelism};

use std::time::{Duration, Instant};

use crate::park::{cancel, local as carrier, wait};
use crate::registry::{self, Kind};

/// Spawns a thread, also when called in a coroutine.
///
/// # Panics
/// If the operating system makes no thread; [`Builder::spawn`] gives an error instead.
///
/// # Examples
/// ```
/// use bingfa::thread;
///
/// let handle = thread::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
///
/// What it captures must be able to cross to another thread:
/// ```compile_fail,E0277
/// let local = std::rc::Rc::new(5);
/// bingfa::thread::spawn(move || println!("{local}"));
/// ```
#[doc(alias = "Thread")]
#[doc(alias = "start_new_thread")]
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f).expect("failed to spawn thread")
}

/// Waits until [`Thread::unpark`] is called for the calling carrier; returns at once if it was
/// called before. May return for no reason.
///
/// # Cancellation
/// A cancel or an expired timeout unwinds; the token stays.
///
/// # Examples
/// ```
/// use bingfa::thread;
///
/// let sleeper = thread::spawn(|| thread::park());
/// sleeper.thread().unpark();
/// sleeper.join().unwrap();
/// ```
#[track_caller]
pub fn park() {
    wait::park_user(None);
}

/// As [`park`], but waits for at most `dur`.
///
/// # Cancellation
/// A cancel or an expired timeout unwinds; the token stays.
#[track_caller]
pub fn park_timeout(dur: Duration) {
    wait::park_user(Instant::now().checked_add(dur));
}

/// As [`park_timeout`], in milliseconds.
#[deprecated(
    since = "0.1.0",
    note = "replaced by `bingfa::thread::park_timeout`, as in std"
)]
#[track_caller]
pub fn park_timeout_ms(ms: u32) {
    park_timeout(Duration::from_millis(u64::from(ms)));
}

/// Suspends the calling coroutine, or blocks the calling thread, for at least `dur`.
///
/// # Cancellation
/// A cancel or an expired timeout ends the sleep and unwinds.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// bingfa::thread::sleep(Duration::from_millis(5));
/// assert!(start.elapsed() >= Duration::from_millis(5));
/// ```
#[track_caller]
pub fn sleep(dur: Duration) {
    wait::sleep(dur);
}

/// As [`sleep()`], in milliseconds.
#[deprecated(
    since = "0.1.0",
    note = "replaced by `bingfa::thread::sleep`, as in std"
)]
#[track_caller]
pub fn sleep_ms(ms: u32) {
    sleep(Duration::from_millis(u64::from(ms)));
}

/// Lets others run first: in a coroutine the other coroutines of its worker, on a thread the
/// other threads.
#[inline(always)]
pub fn yield_now() {
    wait::yield_now();
}

/// True while the calling carrier unwinds, be it from a panic or a cancel.
///
/// [`std::thread::panicking`] answers for the thread: in a coroutine it is also true while
/// another one on the same worker waits in a destructor that a panic or a cancel runs.
#[must_use]
pub fn panicking() -> bool {
    cancel::is_unwinding()
}

/// How many threads [`enumerate`] finds.
///
/// # Examples
/// ```
/// use bingfa::thread;
///
/// let waiting = thread::spawn(thread::park);
/// assert!(thread::active_count() >= 2);
/// # waiting.thread().unpark();
/// # waiting.join().unwrap();
/// ```
#[doc(alias = "activeCount")]
#[track_caller]
pub fn active_count() -> usize {
    list_oneself();
    let mut count = 0;
    registry::for_each(|entry| count += usize::from(entry.kind == Kind::Thread));
    count
}

/// A snapshot of all threads, oldest id first: name, state, where spawned, what they wait for.
///
/// Those that were spawned here, the calling one, and those that have used this crate to wait
/// or to ask who they are. A thread is listed from `spawn` until its result is there.
///
/// # Examples
/// ```
/// use bingfa::thread::{self, Builder};
///
/// let idler = Builder::new().name("idler".into()).spawn(thread::park)?;
/// assert!(thread::enumerate().iter().any(|t| t.name.as_deref() == Some("idler")));
/// # idler.thread().unpark();
/// # idler.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn enumerate() -> Vec<Info> {
    list_oneself();
    registry::snapshot(Kind::Thread)
}

#[track_caller]
fn list_oneself() {
    if carrier::frame().is_none() {
        crate::park::thread::current();
    }
}
