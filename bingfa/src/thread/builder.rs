//! How a thread is to be spawned.

#![allow(unsafe_code)]

use std::io;
use std::panic::Location;

use super::launch::{Plan, launch};
use super::{JoinHandle, Scope, ScopedJoinHandle};

/// Names a thread and sets its stack size and daemon flag before it is spawned.
///
/// # Examples
/// ```
/// use bingfa::thread::Builder;
///
/// let saver = Builder::new().name("saver".into()).daemon(false).spawn(|| {
///     // `main` may return meanwhile: the process waits for this one.
/// })?;
/// assert_eq!(saver.thread().name(), Some("saver"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until spawn() is called"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    daemon: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A thread without a name, with std's stack size, that is a daemon.
    pub fn new() -> Self {
        Self {
            name: None,
            stack_size: None,
            daemon: true,
        }
    }

    /// The name that messages, snapshots and the operating system show.
    #[doc(alias = "setName")]
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// The size of its stack in bytes; the operating system may round it up.
    pub fn stack_size(mut self, size: usize) -> Self {
        self.stack_size = Some(size);
        self
    }

    /// Whether the process may end without waiting for it. Default: true, as with std.
    ///
    /// What is not a daemon is waited for when `main` returns or `exit` is called, but not
    /// after an abort or a signal. Not inherited by threads that it spawns.
    #[doc(alias = "setDaemon")]
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    fn plan(self, at: &'static Location<'static>) -> Plan {
        Plan {
            name: self.name,
            stack_size: self.stack_size,
            daemon: self.daemon,
            at,
        }
    }

    /// Spawns the thread; see [`spawn`](super::spawn).
    ///
    /// # Errors
    /// The operating system's, if it makes no thread.
    ///
    /// # Panics
    /// If the name has a null byte in it.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: nothing is borrowed: both are 'static.
        unsafe { self.spawn_unchecked(f) }
    }

    /// Spawns the thread without asking how long what it borrows lives.
    ///
    /// # Safety
    /// Whatever the closure and its result borrow must stay valid until the thread has been
    /// joined.
    ///
    /// # Errors
    /// The operating system's, if it makes no thread.
    ///
    /// # Panics
    /// If the name has a null byte in it.
    #[track_caller]
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let plan = self.plan(Location::caller());
        // SAFETY: the caller's duty.
        unsafe { launch(plan, None, f) }.map(JoinHandle)
    }

    /// Spawns the thread in a scope; see [`Scope::spawn`].
    ///
    /// # Errors
    /// The operating system's, if it makes no thread.
    ///
    /// # Panics
    /// If the name has a null byte in it.
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.launch(self.plan(Location::caller()), f)
    }
}
