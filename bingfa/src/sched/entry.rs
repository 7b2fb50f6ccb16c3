//! The front doors: `run` and `runtime_info`.

use super::info::RuntimeInfo;
use super::runtime::{self, Runtime, RuntimeBuilder};
use crate::park::check;

/// Runs `f` as a coroutine on the calling thread; see [`Runtime::run`]. Starts the global
/// runtime if there is none yet.
///
/// # Panics
/// If `f` panics, or the runtime cannot be started.
///
/// # Examples
/// ```
/// use bingfa::coroutine;
///
/// let total: u64 = bingfa::run(|| {
///     let parts: Vec<_> = (0..4).map(|i| coroutine::spawn(move || i * 10)).collect();
///     parts.into_iter().map(|part| part.join().unwrap()).sum()
/// });
/// assert_eq!(total, 60);
/// ```
#[track_caller]
pub fn run<T>(f: impl FnOnce() -> T) -> T {
    match runtime::with_current(|shared| shared.clone()) {
        Ok(shared) => super::guest::run(&shared, super::shells::DEFAULT_CLASS, true, f),
        Err(error) => panic!("bingfa: could not start the global runtime: {error}"),
    }
}

/// What `#[bingfa::main]` calls: starts the global runtime as `builder` says, then `run` with
/// a stack as large as a main thread's.
#[track_caller]
pub fn run_main<T>(builder: RuntimeBuilder, f: impl FnOnce() -> T) -> T {
    let started = builder.build_global().and_then(|()| Runtime::global());
    let shared = match started {
        Ok(runtime) => runtime.shared().clone(),
        Err(error) => {
            eprintln!("bingfa: could not start the runtime: {error}");
            std::process::exit(1);
        }
    };
    super::guest::run(&shared, super::shells::class_of(8 << 20), false, f)
}

/// What `#[bingfa::test]` calls for its test on a coroutine: `run` with the check on.
#[track_caller]
pub fn test_on_coroutine<T>(f: impl FnOnce() -> T) -> T {
    check::always();
    run(f)
}

/// The same for its test on a thread: coroutines that `f` spawns are checked.
#[track_caller]
pub fn test_on_thread<T>(f: impl FnOnce() -> T) -> T {
    check::always();
    f()
}

/// What the calling carrier's runtime (else the global one) runs on, and why.
///
/// # Panics
/// If the global runtime has to be started and cannot be.
///
/// # Examples
/// ```
/// println!("{}", bingfa::runtime_info());
/// ```
pub fn runtime_info() -> RuntimeInfo {
    match runtime::with_current(|shared| shared.info()) {
        Ok(info) => info,
        Err(error) => panic!("bingfa: could not start the global runtime: {error}"),
    }
}
