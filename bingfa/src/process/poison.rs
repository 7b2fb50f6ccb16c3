//! Poisoning of locks between processes: as in std, and it says who.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::shm::blame::Poison;

/// The result of a lock.
pub type LockResult<G> = Result<G, PoisonError<G>>;

/// The result of a lock that does not wait for ever.
pub type TryLockResult<G> = Result<G, TryLockError<G>>;

/// The lock was had, but an earlier owner panicked or ended while it had it: what it protects
/// may be half-changed. As [`std::sync::PoisonError`], and says which process that was.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Mutex};
///
/// let lock = Mutex::new(0u32)?;
/// let child = process::spawn(lock.clone(), |lock: Mutex<u32>| -> () {
///     let _guard = lock.lock();
///     std::process::exit(3); // without its destructor
/// });
/// let pid = child.pid();
/// child.join().unwrap_err();
/// let error = lock.lock().unwrap_err();
/// assert_eq!(error.owner().pid(), pid);
/// assert_eq!(error.owner().exit_status().unwrap().code(), Some(3));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct PoisonError<G> {
    guard: G,
    owner: Owner,
}

/// The process that has poisoned a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub(super) Poison);

impl Owner {
    /// Its number; it may be another process's by now.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid.unsigned_abs()
    }

    /// Whether the process has ended while it had the lock; else it panicked.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.0.died
    }

    /// How it has ended; `None` if it has not, or if nobody who saw it was its parent.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.status.map(ExitStatus::from_raw)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid();
        match self.exit_status() {
            _ if !self.has_died() => write!(f, "process {pid} panicked while it had the lock"),
            Some(status) => write!(f, "process {pid} ended while it had the lock: {status}"),
            None => write!(f, "process {pid} ended while it had the lock"),
        }
    }
}

impl<G> PoisonError<G> {
    fn new(guard: G, poison: Poison) -> Self {
        let owner = Owner(poison);
        Self { guard, owner }
    }

    pub(super) fn map<H>(self, f: impl FnOnce(G) -> H) -> PoisonError<H> {
        PoisonError {
            guard: f(self.guard),
            owner: self.owner,
        }
    }

    /// Who has poisoned the lock.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The guard.
    pub fn into_inner(self) -> G {
        self.guard
    }

    /// The guard.
    pub fn get_ref(&self) -> &G {
        &self.guard
    }

    /// The guard.
    pub fn get_mut(&mut self) -> &mut G {
        &mut self.guard
    }
}

/// The guard, as an error if the lock is poisoned.
pub(super) fn wrap<G>(poison: Option<Poison>, guard: G) -> LockResult<G> {
    match poison {
        Some(poison) => Err(PoisonError::new(guard, poison)),
        None => Ok(guard),
    }
}

impl<G> fmt::Debug for PoisonError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoisonError")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl<G> fmt::Display for PoisonError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "poisoned lock: {}", self.owner)
    }
}

impl<G> std::error::Error for PoisonError<G> {}

/// Why a lock was not had, or only poisoned. As [`std::sync::TryLockError`].
pub enum TryLockError<G> {
    /// It was had, and is poisoned.
    Poisoned(PoisonError<G>),
    /// Somebody else has it, and had it for as long as the caller would wait.
    WouldBlock,
}

impl<G> From<PoisonError<G>> for TryLockError<G> {
    fn from(error: PoisonError<G>) -> Self {
        TryLockError::Poisoned(error)
    }
}

impl<G> fmt::Debug for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Poisoned(error) => error.fmt(f),
            TryLockError::WouldBlock => f.write_str("WouldBlock"),
        }
    }
}

impl<G> fmt::Display for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Poisoned(error) => error.fmt(f),
            TryLockError::WouldBlock => f.write_str("the lock is held by somebody else"),
        }
    }
}

impl<G> std::error::Error for TryLockError<G> {}
