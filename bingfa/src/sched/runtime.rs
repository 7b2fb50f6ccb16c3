//! Runtimes: a set of workers that share unstarted coroutines.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_deque::{Injector, Stealer, Worker as Deque};

use super::info::RuntimeInfo;
use super::queue::Policy;
use super::worker::{self, Worker};
use crate::park::home::Home;
use crate::park::order::{self, LockOrder};
use crate::park::task::{Discard, TaskRef};
use crate::park::{cancel, wait};
use crate::reactor::{self, IoBackend, Kind};
use crate::stack::{self, GuardPages};

/// The default size of a coroutine's stack: address space, of which only what is touched uses memory.
const STACK_SIZE: usize = if cfg!(debug_assertions) {
    1 << 20
} else {
    256 << 10
};

/// Why a worker could not be had, and how to mend it.
const MAX_WORKERS: usize = 64;

#[derive(Debug)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) workers: usize,
    pub(super) stack_size: usize,
    pub(super) guard_pages: GuardPages,
    pub(super) policy: Policy,
    pub(super) io: Kind,
    pub(super) io_reason: String,
    pub(super) polling: Option<Duration>,
    pub(super) hog_threshold: Duration,
    pub(super) shutdown_timeout: Duration,
}

/// What the workers of a runtime share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) config: Config,
    pub(super) injector: Injector<TaskRef>,
    stealers: Vec<Stealer<TaskRef>>,
    homes: Vec<OnceLock<&'static Home>>,
    /// A bit per worker that sleeps or is about to.
    idle: AtomicU64,
    stopping: AtomicBool,
    /// Workers whose thread still runs.
    running: AtomicUsize,
    /// A bit per worker whose thread was parked for ever, with what refused to end.
    left_behind: AtomicU64,
}

impl Shared {
    /// The worker `index` is about to sleep. It must look for work once more afterwards.
    pub(super) fn sleeps(&self, index: usize) {
        // SeqCst here and the fence in `wake_idle`: either the worker sees the work, or
        // whoever added it sees the bit.
        self.idle.fetch_or(1 << index, SeqCst);
        fence(SeqCst);
    }

    pub(super) fn is_awake(&self, index: usize) {
        self.idle.fetch_and(!(1 << index), SeqCst);
    }

    pub(super) fn has_stealable(&self) -> bool {
        !self.injector.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }

    pub(super) fn stealers_but(&self, index: usize) -> impl Iterator<Item = &Stealer<TaskRef>> {
        let (before, after) = self.stealers.split_at(index);
        after[1..].iter().chain(before)
    }

    /// Wakes one sleeping worker, if there is any, because work was added.
    pub(super) fn wake_idle(&self) {
        fence(SeqCst); // pairs with `sleeps`
        self.wake_one();
    }

    /// The same without the fence: may miss a worker that is just falling asleep,
    /// which the watchdog's next tick makes good.
    #[inline]
    pub(super) fn wake_idle_hint(&self) {
        if self.idle.load(Relaxed) != 0 {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        let mut idle = self.idle.load(SeqCst);
        while idle != 0 {
            let index = idle.trailing_zeros();
            // Whoever clears the bit wakes the worker, so that two pushes wake two.
            let before = self.idle.fetch_and(!(1 << index), SeqCst);
            if before & (1 << index) != 0 {
                if let Some(home) = self.homes[index as usize].get() {
                    home.sleeper.wake();
                }
                return;
            }
            idle = before & !(1 << index);
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// For the watchdog: somebody sleeps while work waits in a queue.
    pub(super) fn wake_if_work_waits(&self) {
        if self.idle.load(Relaxed) != 0 && self.has_stealable() {
            self.wake_one();
        }
    }

    /// Places a task that any worker may start.
    #[inline]
    pub(crate) fn place(self: &Arc<Self>, task: TaskRef) {
        match worker::current() {
            Some(worker) if worker.index.is_some() && Arc::ptr_eq(&worker.shared, self) => {
                worker.push_stealable(task);
            }
            _ => {
                if self.is_stopping() {
                    super::discard(task, Discard::Cancelled);
                    return;
                }
                self.injector.push(task);
                self.wake_idle();
                if self.is_stopping() {
                    // The workers may have left already: nobody else will take it.
                    self.discard_injected();
                }
            }
        }
    }

    pub(super) fn info(&self) -> RuntimeInfo {
        RuntimeInfo::of(&self.config)
    }

    fn discard_injected(&self) {
        loop {
            match self.injector.steal() {
                crossbeam_deque::Steal::Success(task) => super::discard(task, Discard::Cancelled),
                crossbeam_deque::Steal::Retry => {}
                crossbeam_deque::Steal::Empty => return,
            }
        }
    }
}

/// Sets up a [`Runtime`].
///
/// ```
/// use bingfa::{Policy, Runtime};
///
/// let runtime = Runtime::builder().name("crunch").workers(2).policy(Policy::Mlfq).build()?;
/// let sum = runtime.spawn(|| (1..=100).sum::<u64>());
/// assert_eq!(sum.join().unwrap(), 5050);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call build() to start the runtime"]
pub struct RuntimeBuilder {
    name: String,
    workers: Option<usize>,
    stack_size: Option<usize>,
    guard_pages: GuardPages,
    policy: Policy,
    io: IoBackend,
    polling: Option<Duration>,
    hog_threshold: Duration,
    shutdown_timeout: Duration,
    lock_order: Option<LockOrder>,
}

impl RuntimeBuilder {
    pub(crate) fn new() -> Self {
        Self {
            name: "bingfa".into(),
            workers: None,
            stack_size: None,
            guard_pages: GuardPages::Auto,
            policy: Policy::Fifo,
            io: IoBackend::Auto,
            polling: None,
            hog_threshold: Duration::from_millis(100),
            shutdown_timeout: Duration::from_secs(1),
            lock_order: None,
        }
    }

    /// The name of the runtime and, with a number, of its threads.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many worker threads. Default: `BINGFA_WORKERS`, else one per core that the
    /// process may use (affinity and cgroup limits count).
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The stack size of its coroutines in bytes, unless a coroutine's own builder says
    /// otherwise. Rounded up to a power of two. It is address space: memory is used
    /// only for what is touched. Default: 256 KiB, with debug assertions 1 MiB.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// How stacks are guarded against overflow.
    pub fn guard_pages(mut self, kind: GuardPages) -> Self {
        self.guard_pages = kind;
        self
    }

    /// In which order ready coroutines run. Default: [`Policy::Fifo`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// io_uring or epoll. Default: [`IoBackend::Auto`], which `BINGFA_IO` overrides.
    pub fn io(mut self, backend: IoBackend) -> Self {
        self.io = backend;
        self
    }

    /// Lets a worker look for I/O completions for this long before it goes to sleep.
    /// Speeds up request-response traffic on few connections, and burns the core.
    /// Default: off.
    pub fn polling(mut self, limit: Duration) -> Self {
        self.polling = (!limit.is_zero()).then_some(limit);
        self
    }

    /// After how long the watchdog names a coroutine that holds its worker without
    /// waiting. Default: 100 ms. Zero: never.
    pub fn hog_threshold(mut self, limit: Duration) -> Self {
        self.hog_threshold = limit;
        self
    }

    /// How long a shutdown lets cancelled coroutines unwind. Default: 1 s.
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.shutdown_timeout = limit;
        self
    }

    /// What is done about locks that are taken in opposite orders, from the start of this runtime
    /// on and in the whole process: [`observe::on_lock_order`](crate::observe::on_lock_order).
    /// Default: as it is, which is nothing unless `BINGFA_LOCK_ORDER` says otherwise.
    pub fn lock_order(mut self, what: LockOrder) -> Self {
        self.lock_order = Some(what);
        self
    }

    fn config(self) -> io::Result<Config> {
        let (io, io_reason) = reactor::choose(self.io)?;
        let workers = match self.workers {
            Some(workers) => workers,
            None => workers_by_default()?,
        };
        if workers == 0 || workers > MAX_WORKERS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "runtime '{}': {workers} workers; it needs between 1 and {MAX_WORKERS} \
                     (leave the number out for one per core)",
                    self.name
                ),
            ));
        }
        Ok(Config {
            workers,
            stack_size: self.stack_size.unwrap_or(STACK_SIZE),
            guard_pages: self.guard_pages.resolve()?,
            policy: self.policy,
            io,
            io_reason,
            polling: self.polling,
            hog_threshold: self.hog_threshold,
            shutdown_timeout: self.shutdown_timeout,
            name: self.name,
        })
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// `InvalidInput`: a number of workers out of range, or an unknown `BINGFA_IO` or
    /// `BINGFA_WORKERS`. `Unsupported`: the kernel has not what was asked for. Others: no
    /// thread, ring or memory could be had.
    pub fn build(self) -> io::Result<Runtime> {
        if let Some(what) = self.lock_order {
            order::set(what);
        }
        let config = self.config()?;
        stack::install_overflow_handler();
        let deques: Vec<Deque<TaskRef>> = (0..config.workers).map(|_| Deque::new_fifo()).collect();
        let shared = Arc::new(Shared {
            injector: Injector::new(),
            stealers: deques.iter().map(Deque::stealer).collect(),
            homes: (0..config.workers).map(|_| OnceLock::new()).collect(),
            idle: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            left_behind: AtomicU64::new(0),
            config,
        });
        let runtime = Runtime {
            inner: Arc::new(Inner {
                shared,
                threads: Mutex::default(),
            }),
        };
        let (started, starts) = mpsc::channel();
        for (index, deque) in deques.into_iter().enumerate() {
            runtime.inner.start_worker(index, deque, started.clone())?;
        }
        drop(started);
        for result in starts {
            result?; // dropping the runtime stops those that did start
        }
        Ok(runtime)
    }

    /// Starts the workers as the process's global runtime, which
    /// [`coroutine::spawn`](crate::coroutine::spawn) uses outside of any other.
    ///
    /// # Errors
    /// As [`build`](Self::build); `AlreadyExists` if the global runtime runs already.
    pub fn build_global(self) -> io::Result<()> {
        let taken = || {
            io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the global runtime is already running; build it before the first spawn",
            )
        };
        let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        if GLOBAL.get().is_some() {
            return Err(taken());
        }
        GLOBAL.set(self.build()?).map_err(|_| taken())
    }
}

fn workers_by_default() -> io::Result<usize> {
    match std::env::var("BINGFA_WORKERS") {
        Ok(value) => match value.parse() {
            Ok(workers @ 1..=MAX_WORKERS) => Ok(workers),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("BINGFA_WORKERS={value}: expected a number between 1 and {MAX_WORKERS}"),
            )),
        },
        Err(_) => Ok(std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS))),
    }
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Worker threads that run coroutines.
///
/// Most programs never name one: [`coroutine::spawn`](crate::coroutine::spawn) starts a
/// global runtime when it is first needed. Dropping the last handle shuts it down, see
/// [`shutdown`](Self::shutdown).
#[derive(Clone, Debug)]
pub struct Runtime {
    inner: Arc<Inner>,
}

impl Inner {
    fn start_worker(
        &self,
        index: usize,
        deque: Deque<TaskRef>,
        started: mpsc::Sender<io::Result<()>>,
    ) -> io::Result<()> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("{}-{index}", shared.config.name))
            .spawn(move || work(&shared, index, deque, started))?;
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        Ok(())
    }

    /// Asks all workers to end and waits for them, as long as the configuration allows.
    fn shut_down(&self) {
        let shared = &self.shared;
        shared.stopping.store(true, SeqCst);
        for home in shared.homes.iter().filter_map(OnceLock::get) {
            home.sleeper.wake();
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let here = worker::current().is_some_and(|worker| Arc::ptr_eq(&worker.shared, shared));
        // Workers give up by themselves after the timeout; one that a coroutine holds
        // cannot, so do not wait much longer.
        let until = Instant::now() + shared.config.shutdown_timeout + Duration::from_millis(500);
        while !here && shared.running.load(SeqCst) > 0 && Instant::now() < until {
            let soon = Instant::now() + Duration::from_millis(1);
            cancel::shield(|| wait::sleep_until(soon)); // a coroutine of another runtime, perhaps
        }
        shared.discard_injected();
        if here {
            return; // the last handle was dropped by one of its own coroutines
        }
        if shared.running.load(SeqCst) == 0 {
            let left_behind = shared.left_behind.load(SeqCst);
            for (index, thread) in threads.into_iter().enumerate() {
                if left_behind & (1 << index) == 0 {
                    let _ = thread.join();
                }
            }
        } else {
            eprintln!(
                "bingfa: runtime '{}': a coroutine holds its worker and did not let it shut down",
                shared.config.name
            );
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.shared.is_stopping() {
            self.shut_down();
        }
    }
}

/// The thread function of a worker.
fn work(
    shared: &Arc<Shared>,
    index: usize,
    deque: Deque<TaskRef>,
    started: mpsc::Sender<io::Result<()>>,
) {
    let worker = match Worker::new(shared.clone(), Some(index), deque) {
        Ok(worker) => Box::new(worker),
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = shared.homes[index].set(worker.home);
    shared.running.fetch_add(1, SeqCst);
    let _ = started.send(Ok(()));
    drop(started); // `build` waits for the last sender to go
    // SAFETY: boxed, and either dropped after `detach` or leaked.
    let before = unsafe { worker.attach() };
    worker.run_until(&|| shared.is_stopping());
    let refused = worker.shut_down(shared.config.shutdown_timeout);
    if refused == 0 {
        // What is left takes as long as a million stacks take to unmap, and is no coroutine's
        // fault: the join waits for it.
        shared.running.fetch_sub(1, SeqCst);
        worker.retire(before);
    } else {
        name_survivors(&worker);
        shared.left_behind.fetch_or(1 << index, SeqCst);
        shared.running.fetch_sub(1, SeqCst);
        // Their stacks may hold borrows of this thread's locals: neither may go.
        std::mem::forget(worker);
        loop {
            std::thread::park();
        }
    }
}

pub(super) fn name_survivors(worker: &Worker) {
    let runtime = &worker.shared.config.name;
    for task in worker.survivors() {
        let Some(info) = task.record.info() else {
            continue;
        };
        let wait = info.last_wait;
        let waits = wait.map_or_else(String::new, |w| format!(", in {} at {}", w.what, w.at));
        eprintln!(
            "bingfa: runtime '{runtime}': coroutine {} did not end within the shutdown \
             timeout{waits}; its thread is left behind",
            info.describe()
        );
    }
}

static GLOBAL: OnceLock<Runtime> = OnceLock::new();
static BUILDING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// Sets up a runtime of one's own.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    /// The global runtime, started on the first call.
    ///
    /// # Errors
    /// As [`RuntimeBuilder::build`].
    pub(crate) fn global() -> io::Result<&'static Runtime> {
        if let Some(runtime) = GLOBAL.get() {
            return Ok(runtime);
        }
        let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        if GLOBAL.get().is_none() {
            let runtime = Self::builder().build()?;
            let _ = GLOBAL.set(runtime);
        }
        Ok(GLOBAL.get().expect("just set"))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// What this runtime runs on.
    pub fn info(&self) -> RuntimeInfo {
        self.inner.shared.info()
    }

    /// Cancels and unwinds all its coroutines and ends its workers.
    ///
    /// Coroutines that have not started are dropped unrun; their joiners get
    /// [`Cancelled`](crate::coroutine::Cancelled). Those that do not end within the
    /// shutdown timeout are named on standard error and left behind with their
    /// thread; nothing that they borrow is freed.
    pub fn shutdown(self) {
        self.inner.shut_down();
    }

    /// Runs `f` as a coroutine on the calling thread and gives back its result.
    ///
    /// The thread becomes a worker for as long as that takes. It runs `f` and what is
    /// spawned with [`spawn_local`](crate::coroutine::spawn_local) inside;
    /// [`spawn`](crate::coroutine::spawn) inside `f` goes to this runtime's workers.
    /// When `f` has returned, local coroutines that still run are cancelled and waited
    /// for. Inside a coroutine this simply calls `f`.
    ///
    /// # Panics
    /// If `f` panics, or no ring, epoll or stack could be had.
    ///
    /// # Cancellation
    /// On a plain thread nobody can cancel `f`; a [`time::timeout`](crate::time::timeout) around
    /// the call counts inside as well. In a coroutine `f` is a part of it, and unwinds with it.
    #[track_caller]
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        crate::sched::guest::run(
            &self.inner.shared,
            crate::sched::shells::DEFAULT_CLASS,
            true,
            f,
        )
    }
}

/// The runtime of the calling carrier, else the global one.
///
/// # Errors
/// As [`RuntimeBuilder::build`], if the global runtime has to be started.
#[inline]
pub(crate) fn with_current<R>(f: impl FnOnce(&Arc<Shared>) -> R) -> io::Result<R> {
    match worker::current() {
        Some(worker) => Ok(f(&worker.shared)),
        None => Ok(f(Runtime::global()?.shared())),
    }
}
