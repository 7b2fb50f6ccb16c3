//! The runtimes that need a set-up, each with a way to run something inside: a worker runs it, not the thread that waits.

use harness::Args;
use may::coroutine::JoinHandle;
use smol::Executor;
use tokio::runtime::{Builder, Runtime};

/// `tokio` is its multi_thread runtime, `tokio-current` its current_thread runtime.
pub(crate) fn tokio(args: &Args) -> Runtime {
    let mut builder = match args.contender.as_str() {
        "tokio-current" => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if matches!(args.contender.as_str(), "tokio" | "tokio-mutex") {
        builder.worker_threads(args.number("workers"));
    }
    builder.enable_all().build().expect("a tokio runtime")
}

/// Runs `future` as a task of `runtime`.
pub(crate) fn in_tokio<T: Send + 'static>(
    runtime: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async { tokio::spawn(future).await.expect("the main task ends well") })
}

/// smol's executor: one, run by as many threads as there are to be workers.
pub(crate) static SMOL: Executor<'static> = Executor::new();

/// Starts the workers beside the thread that will call [`in_smol`].
pub(crate) fn smol(args: &Args) {
    for _ in 1..args.number("workers") {
        std::thread::spawn(|| smol::block_on(SMOL.run(smol::future::pending::<()>())));
    }
}

/// Runs `future` as a task; this thread is a worker meanwhile.
pub(crate) fn in_smol<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    smol::block_on(SMOL.run(SMOL.spawn(future)))
}

/// may with so many workers.
pub(crate) fn may(args: &Args) {
    may::config().set_workers(args.number("workers"));
}

/// A coroutine of may.
pub(crate) fn may_spawn<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    // SAFETY: what runs here uses no thread-local storage across a switch, and no frame comes near may's stack of
    // 32 KiB: the two reasons why may calls its spawn unsafe.
    unsafe { may::coroutine::spawn(f) }
}

/// Runs `f` as a coroutine of may and waits for it.
pub(crate) fn in_may<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    may_spawn(f).join().expect("the main coroutine ends well")
}

/// The stack of an OS thread: small, so that thousands fit; std's own default is 2 MiB, which costs address space only.
pub(crate) const THREAD_STACK: usize = 64 * 1024;
