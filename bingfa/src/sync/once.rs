//! `Once`: std's, on every carrier.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::poison::Before;
use super::raw_once::{End, Found, OnceFuture, RawOnce};
use crate::park::{carrier, deadlock};

/// Something that is done once: [`std::sync::Once`], which suspends only the calling carrier.
///
/// # Cancellation
/// An initialiser that is cut short by a cancel or an expired
/// [`time::timeout`](crate::time::timeout) has not run: the next caller runs its own. Only a
/// panic poisons. One who is cancelled while somebody else initialises just unwinds.
///
/// # Examples
/// ```
/// use bingfa::sync::Once;
///
/// static START: Once = Once::new();
/// let mut runs = 0;
/// for _ in 0..2 {
///     START.call_once(|| runs += 1);
/// }
/// assert_eq!(runs, 1);
/// ```
pub struct Once {
    raw: RawOnce,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// What the closure of [`Once::call_once_force`] is told.
#[derive(Debug)]
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether the last attempt panicked.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

/// Ends the attempt of whoever holds it, also if it unwinds.
struct Attempt<'a> {
    raw: &'a RawOnce,
    before: Before,
    /// What it comes to if it is cut short.
    poisoned: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.raw.end(if self.before.panics() || self.poisoned {
            End::Poisoned
        } else {
            End::NotRun
        });
    }
}

impl<'a> Attempt<'a> {
    /// The caller was told to begin. `None`: the last attempt panicked, and not `force`.
    fn begin(raw: &'a RawOnce, poisoned: bool, force: bool) -> Option<Self> {
        let attempt = Attempt {
            raw,
            before: Before::now(),
            poisoned,
        };
        (force || !poisoned).then_some(attempt) // else it ends here
    }

    fn succeed(self) {
        let raw = self.raw;
        std::mem::forget(self);
        raw.end(End::Done);
    }
}

/// Runs `f` if it is for the caller to do. `None`: it was not known by `deadline`; else whether
/// it is done, or poisoned, and not `force`.
#[cold]
#[track_caller]
pub(super) fn run(
    raw: &RawOnce,
    force: bool,
    deadline: Option<Instant>,
    f: impl FnOnce(bool),
) -> Option<bool> {
    loop {
        match raw.begin(carrier::id(), deadline) {
            Found::Done => return Some(true),
            Found::NotRun { poisoned } => {
                let Some(attempt) = Attempt::begin(raw, poisoned, force) else {
                    return Some(false);
                };
                f(poisoned);
                attempt.succeed();
                return Some(true);
            }
            Found::Recursion => panic!(
                "bingfa: an initialiser came back to what it initialises, in the same thread or \
                 coroutine: it would wait for itself for ever"
            ),
            Found::TimedOut => return None,
            Found::Poisoned | Found::Interrupted => deadlock::raise(),
        }
    }
}

/// The same for an async task, without a deadline: whether it is done.
pub(super) async fn run_async(raw: &RawOnce, force: bool, f: impl AsyncFnOnce(bool)) -> bool {
    let Found::NotRun { poisoned } = OnceFuture::begin(raw).await else {
        return true;
    };
    let Some(attempt) = Attempt::begin(raw, poisoned, force) else {
        return false;
    };
    f(poisoned).await;
    attempt.succeed();
    true
}

/// Waits until it is done. `None`: too late; `Some(false)`: it is poisoned, and not `force`.
#[track_caller]
pub(super) fn wait(raw: &RawOnce, force: bool, deadline: Option<Instant>) -> Option<bool> {
    loop {
        match raw.wait(!force, deadline) {
            Found::Done => return Some(true),
            Found::Poisoned => return Some(false),
            Found::TimedOut => return None,
            _ => deadlock::raise(),
        }
    }
}

/// The same for an async task.
pub(super) async fn wait_async(raw: &RawOnce, force: bool) -> bool {
    OnceFuture::wait(raw, !force).await == Found::Done
}

/// Panics if an answer is that it is poisoned.
#[track_caller]
fn sound(done: Option<bool>) -> bool {
    assert!(
        done != Some(false),
        "Once instance has previously been poisoned"
    );
    done.is_some()
}

impl Once {
    /// Makes one that has not run.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self {
            raw: RawOnce::new(),
        }
    }

    /// Runs `f` if nothing has run here yet, and waits for whoever is about to.
    ///
    /// # Panics
    /// If `f` panics or an earlier one has; if `f` itself comes back here.
    ///
    /// # Cancellation
    /// See [`Once`].
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        self.call_until(None, f);
    }

    /// As [`call_once`](Self::call_once), but waits for somebody else's for at most `limit`; false:
    /// that has not ended in time. `f` itself has no limit.
    ///
    /// # Panics
    /// As [`call_once`](Self::call_once).
    ///
    /// # Cancellation
    /// See [`Once`].
    #[track_caller]
    pub fn call_once_timeout<F: FnOnce()>(&self, limit: Duration, f: F) -> bool {
        self.call_until(Instant::now().checked_add(limit), f)
    }

    /// As [`call_once_timeout`](Self::call_once_timeout), until `deadline`.
    ///
    /// # Panics
    /// As [`call_once`](Self::call_once).
    ///
    /// # Cancellation
    /// See [`Once`].
    #[track_caller]
    pub fn call_once_deadline<F: FnOnce()>(&self, deadline: Instant, f: F) -> bool {
        self.call_until(Some(deadline), f)
    }

    #[inline]
    #[track_caller]
    fn call_until(&self, deadline: Option<Instant>, f: impl FnOnce()) -> bool {
        self.raw.is_done() || sound(run(&self.raw, false, deadline, |_| f()))
    }

    /// As [`call_once`](Self::call_once), for async tasks.
    ///
    /// An `f` that comes back here waits for itself for ever.
    ///
    /// # Panics
    /// If `f` panics or an earlier one has.
    ///
    /// # Cancellation
    /// Dropped while its `f` runs, that has not run. Dropped while it waits, it leaves.
    ///
    /// # Examples
    /// ```
    /// # async fn doc() {
    /// use bingfa::sync::Once;
    ///
    /// static START: Once = Once::new();
    /// START.call_once_async(async || println!("only once")).await;
    /// assert!(START.is_completed());
    /// # }
    /// ```
    pub async fn call_once_async<F: AsyncFnOnce()>(&self, f: F) {
        sound(Some(
            self.raw.is_done() || run_async(&self.raw, false, async |_| f().await).await,
        ));
    }

    /// As [`call_once`](Self::call_once), also after a panic.
    ///
    /// # Panics
    /// If `f` panics or comes back here.
    ///
    /// # Cancellation
    /// See [`Once`].
    #[inline]
    #[track_caller]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        self.force_until(None, f);
    }

    /// As [`call_once_timeout`](Self::call_once_timeout), also after a panic.
    ///
    /// # Panics
    /// If `f` panics or comes back here.
    ///
    /// # Cancellation
    /// See [`Once`].
    #[track_caller]
    pub fn call_once_force_timeout<F: FnOnce(&OnceState)>(&self, limit: Duration, f: F) -> bool {
        self.force_until(Instant::now().checked_add(limit), f)
    }

    /// As [`call_once_force_timeout`](Self::call_once_force_timeout), until `deadline`.
    ///
    /// # Panics
    /// If `f` panics or comes back here.
    ///
    /// # Cancellation
    /// See [`Once`].
    #[track_caller]
    pub fn call_once_force_deadline<F: FnOnce(&OnceState)>(&self, deadline: Instant, f: F) -> bool {
        self.force_until(Some(deadline), f)
    }

    #[inline]
    #[track_caller]
    fn force_until(&self, deadline: Option<Instant>, f: impl FnOnce(&OnceState)) -> bool {
        let f = |poisoned| f(&OnceState { poisoned });
        self.raw.is_done() || run(&self.raw, true, deadline, f).is_some()
    }

    /// As [`call_once_async`](Self::call_once_async), also after a panic.
    ///
    /// # Panics
    /// If `f` panics.
    ///
    /// # Cancellation
    /// As [`call_once_async`](Self::call_once_async).
    pub async fn call_once_force_async<F: AsyncFnOnce(&OnceState)>(&self, f: F) {
        if !self.raw.is_done() {
            run_async(&self.raw, true, async |poisoned| {
                f(&OnceState { poisoned }).await;
            })
            .await;
        }
    }

    /// Whether some `call_once` has ended well.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.raw.is_done()
    }

    /// Waits until some `call_once` has ended well.
    ///
    /// # Panics
    /// If one has panicked.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait(&self) {
        sound(wait(&self.raw, false, None));
    }

    /// As [`wait`](Self::wait), for at most `limit`; false if it was too late.
    ///
    /// # Panics
    /// If a `call_once` has panicked.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        sound(wait(&self.raw, false, Instant::now().checked_add(limit)))
    }

    /// As [`wait`](Self::wait), until `deadline`; false if it was too late.
    ///
    /// # Panics
    /// If a `call_once` has panicked.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        sound(wait(&self.raw, false, Some(deadline)))
    }

    /// As [`wait`](Self::wait), for async tasks.
    ///
    /// # Panics
    /// If a `call_once` has panicked.
    ///
    /// # Cancellation
    /// Dropping the future leaves; there is nothing to lose.
    pub async fn wait_async(&self) {
        sound(Some(wait_async(&self.raw, false).await));
    }

    /// Waits until some `call_once` has ended well, whatever panics before.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_force(&self) {
        wait(&self.raw, true, None);
    }

    /// As [`wait_force`](Self::wait_force), for at most `limit`; false if it was too late.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_force_timeout(&self, limit: Duration) -> bool {
        wait(&self.raw, true, Instant::now().checked_add(limit)).is_some()
    }

    /// As [`wait_force`](Self::wait_force), until `deadline`; false if it was too late.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn wait_force_deadline(&self, deadline: Instant) -> bool {
        wait(&self.raw, true, Some(deadline)).is_some()
    }

    /// As [`wait_force`](Self::wait_force), for async tasks.
    ///
    /// # Cancellation
    /// Dropping the future leaves; there is nothing to lose.
    pub async fn wait_force_async(&self) {
        wait_async(&self.raw, true).await;
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}
