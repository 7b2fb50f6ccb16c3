//! How a coroutine is to be spawned.

use std::io;
use std::panic::Location;
use std::sync::Arc;

use super::{JoinHandle, Scope, ScopedJoinHandle};
use crate::sched::queue::TOP_PRIORITY;
use crate::sched::runtime::Runtime;
use crate::sched::shells::class_of;
use crate::sched::spawn::{Spawn, new_task};
use crate::sched::{runtime, worker};

/// Names a coroutine and sets its stack size, priority and daemon flag before it is spawned.
///
/// # Examples
/// ```
/// use bingfa::coroutine::Builder;
///
/// let deep = Builder::new().name("deep").stack_size(4 << 20).spawn(|| {
///     assert_eq!(bingfa::coroutine::current().name(), Some("deep"));
/// })?;
/// deep.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing happens until spawn() is called"]
pub struct Builder {
    name: Option<Arc<str>>,
    stack_size: Option<usize>,
    priority: Option<u8>,
    keep_process: bool,
}

impl Builder {
    /// A coroutine without a name, with its runtime's stack size, that is a daemon.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name that messages and snapshots show.
    #[doc(alias = "setName")]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// The size of its stack in bytes of address space, rounded up to a power of two.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// From 0 (runs last) to 7 (runs first), 3 if not set. Counts only under
    /// [`Policy::Priority`](crate::Policy::Priority).
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Whether the process may end without waiting for it. Default: true, as for threads.
    ///
    /// What is not a daemon is waited for when `main` returns or `exit` is called.
    #[doc(alias = "setDaemon")]
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.keep_process = !daemon;
        self
    }

    fn into_spawn(self, at: &'static Location<'static>) -> io::Result<Spawn> {
        let mut spawn = Spawn::new(at);
        if let Some(priority) = self.priority {
            if priority > TOP_PRIORITY {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("coroutine priority {priority}: expected 0 to {TOP_PRIORITY}"),
                ));
            }
            spawn.priority = priority;
        }
        if let Some(bytes) = self.stack_size {
            if bytes > MAX_STACK {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("coroutine stack of {bytes} bytes: at most {MAX_STACK} can be had"),
                ));
            }
            spawn.class = class_of(bytes.max(MIN_STACK));
        }
        spawn.name = self.name;
        spawn.daemon = !self.keep_process;
        Ok(spawn)
    }

    /// Spawns the coroutine on the current runtime, or on the global one; see
    /// [`spawn`](super::spawn()).
    ///
    /// # Errors
    /// `InvalidInput`: a priority or stack size out of range. Others: the global runtime
    /// has to be started and cannot be; see
    /// [`RuntimeBuilder::build`](crate::RuntimeBuilder::build).
    #[track_caller]
    #[inline]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let spawn = self.into_spawn(Location::caller())?;
        runtime::with_current(|shared| {
            let (task, handle) = new_task(spawn, f);
            shared.place(task);
            JoinHandle(handle)
        })
    }

    /// Spawns the coroutine on `runtime`.
    ///
    /// # Errors
    /// `InvalidInput`: a priority or stack size out of range.
    #[track_caller]
    pub fn spawn_on<F, T>(self, runtime: &Runtime, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (task, handle) = new_task(self.into_spawn(Location::caller())?, f);
        runtime.shared().place(task);
        Ok(JoinHandle(handle))
    }

    /// Spawns the coroutine on the calling thread; see [`spawn_local`](super::spawn_local).
    ///
    /// # Errors
    /// `InvalidInput`: a priority or stack size out of range.
    ///
    /// # Panics
    /// If the calling thread is neither a worker nor inside [`run`](crate::run).
    #[track_caller]
    pub fn spawn_local<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let worker = worker::current_or_panic();
        let (task, handle) = new_task(self.into_spawn(Location::caller())?, f);
        worker.push_own(task);
        Ok(JoinHandle(handle))
    }

    /// Spawns the coroutine in a scope; see [`Scope::spawn`].
    ///
    /// # Errors
    /// As for [`spawn`](Self::spawn).
    ///
    /// # Examples
    /// ```
    /// use bingfa::coroutine::{self, Builder};
    ///
    /// let numbers = vec![1, 2, 3];
    /// coroutine::scope(|s| {
    ///     let sum = Builder::new().name("sum").spawn_scoped(s, || numbers.iter().sum::<i32>())?;
    ///     assert_eq!(sum.name(), Some("sum"));
    ///     assert_eq!(sum.join().unwrap(), 6);
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
        scope.place(self.into_spawn(Location::caller())?, f)
    }
}

const MIN_STACK: usize = 16 << 10;
const MAX_STACK: usize = 1 << 36;

impl Runtime {
    /// Spawns a coroutine on this runtime; see [`coroutine::spawn`](super::spawn()).
    ///
    /// After a shutdown the coroutine never runs; its joiner gets
    /// [`Cancelled`](super::Cancelled).
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Builder::new()
            .spawn_on(self, f)
            .expect("a plain coroutine has nothing to be refused")
    }
}
