//! What the behaviour tests share: every carrier on every backend, a watchdog that names
//! what hangs, children, and waits for events instead of times.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "a module of tests, used in parts"
)]

pub mod crew;
pub mod ends;
pub mod family;
pub mod ledger;
pub mod net;
pub mod usage;
pub mod ways;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bingfa::coroutine::{self, Info, JoinHandle, State};
use bingfa::{IoBackend, Runtime};

/// Never over before the test is.
pub const LONG: Duration = Duration::from_secs(3600);
/// Over before anybody gets impatient; nothing depends on its length.
pub const SHORT: Duration = Duration::from_millis(5);

/// What a test may take before it counts as hung.
fn limit() -> Duration {
    let stress = std::env::var("BINGFA_STRESS_SECONDS");
    Duration::from_secs(60 + stress.map_or(0, |seconds| seconds.parse().unwrap_or(0)))
}

/// Both backends, as far as this kernel has them.
pub fn backends() -> Vec<IoBackend> {
    [IoBackend::Uring, IoBackend::Epoll]
        .into_iter()
        .filter(|io| Runtime::builder().workers(1).io(*io).build().is_ok())
        .collect()
}

/// A runtime with so many workers.
pub fn runtime(io: IoBackend, workers: usize) -> Runtime {
    Runtime::builder()
        .name(format!("test-{io:?}"))
        .io(io)
        .workers(workers)
        .build()
        .expect("a runtime")
}

/// Runs `test` on a plain thread, and as a coroutine on each backend.
pub fn on_both(test: impl Fn()) {
    labelled("on a plain thread", &test);
    for io in backends() {
        labelled(&format!("in a coroutine, {io:?}"), || {
            runtime(io, 2).run(&test);
        });
    }
}

/// Runs `test` as a coroutine that shares its only thread with all it spawns by
/// `spawn_local`, on each backend.
pub fn on_one_thread(test: impl Fn()) {
    for io in backends() {
        labelled(&format!("on one thread, {io:?}"), || {
            runtime(io, 1).run(&test);
        });
    }
}

/// Names `label` if `test` panics or hangs.
pub fn labelled<R>(label: &str, test: impl FnOnce() -> R) -> R {
    let _dog = Watchdog::new(label);
    catch_unwind(AssertUnwindSafe(test)).unwrap_or_else(|payload| {
        eprintln!("... {label}");
        resume_unwind(payload)
    })
}

/// Ends the process if it is not dropped in time, and says who waited for what.
pub struct Watchdog(#[expect(dead_code, reason = "its drop is the message")] mpsc::Sender<()>);

impl Watchdog {
    pub fn new(label: &str) -> Watchdog {
        Watchdog::with_limit(label, limit())
    }

    pub fn with_limit(label: &str, limit: Duration) -> Watchdog {
        let (alive, dead) = mpsc::channel();
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        let label = label.to_owned();
        std::thread::spawn(move || {
            if dead.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("test {test} hangs ({label}); coroutines:");
                for coroutine in coroutine::enumerate().iter().take(50) {
                    eprintln!("  {coroutine:?}");
                }
                std::process::abort();
            }
        });
        Watchdog(alive)
    }
}

/// Waits, on any carrier, until `condition` holds.
#[track_caller]
pub fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        if coroutine::is_coroutine() {
            coroutine::yield_now();
        } else {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Waits until the coroutine waits for `what`.
#[track_caller]
pub fn until_in<T>(handle: &JoinHandle<T>, what: &str) {
    let id = handle.id().as_u64();
    until(|| {
        assert!(!handle.is_finished(), "ended before it waited for {what}");
        coroutine::enumerate()
            .iter()
            .any(|info| info.id == id && waits_for(info, what))
    });
}

fn waits_for(info: &Info, what: &str) -> bool {
    info.state == State::Blocked && info.last_wait.is_some_and(|wait| wait.what == what)
}

/// True if the coroutine of `result` was cancelled.
pub fn was_cancelled<T>(result: &std::thread::Result<T>) -> bool {
    result
        .as_ref()
        .is_err_and(|payload| payload.is::<coroutine::Cancelled>())
}

/// Cancels and joins.
#[track_caller]
pub fn cancel_and_join<T>(handle: JoinHandle<T>) {
    handle.cancel();
    assert!(was_cancelled(&handle.join()), "not cancelled");
}

/// Something that can be waited for by any carrier: set once.
#[derive(Clone, Default)]
pub struct Flag(Arc<AtomicBool>);

impl Flag {
    pub fn new() -> Flag {
        Flag::default()
    }

    pub fn set(&self) {
        self.0.store(true, SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(SeqCst)
    }

    /// Waits by yielding, which is no cancellation point.
    pub fn wait(&self) {
        until(|| self.is_set());
    }
}

/// Counts how often its clones are dropped.
#[derive(Default)]
pub struct Drops(Arc<AtomicUsize>);

/// One thing to be dropped.
pub struct Droplet(Arc<AtomicUsize>);

impl Drops {
    pub fn new() -> Drops {
        Drops::default()
    }

    pub fn droplet(&self) -> Droplet {
        Droplet(self.0.clone())
    }

    pub fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Drop for Droplet {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Runs a closure when it is dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

const CHILD: &str = "BINGFA_TEST_CHILD";

/// Runs `body` in a child process made from the test `name`, which calls this. The child
/// gets `None`, having run `body`; the parent gets what the child wrote and how it ended.
#[track_caller]
pub fn in_child(name: &str, variables: &[(&str, &str)], body: impl FnOnce()) -> Option<Output> {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        let _dog = Watchdog::new(name);
        body();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .env_remove("RUST_BACKTRACE");
    for (variable, value) in variables {
        command.env(variable, value);
    }
    let output = command.output().expect("the test binary starts");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("running 1 test"), "no test {name}: {out}");
    Some(output)
}

/// What a child wrote to standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The child ended well.
#[track_caller]
pub fn assert_well(output: &Output) {
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        stderr(output)
    );
}

/// The simplest executor: a thread or coroutine that parks.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(bingfa::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(bingfa::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        let mut context = std::task::Context::from_waker(&waker);
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => bingfa::thread::park(),
        }
    }
}
