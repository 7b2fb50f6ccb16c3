//! **bingfa** (并发, *concurrency*): plain blocking code, run by a thread or by one of a
//! million coroutines.
//!
//! Write what you would write with `std`: `read`, `accept`, `sleep`, `join`. Replace `std::`
//! by `bingfa::`, and the same function runs on a thread, where its calls block the thread,
//! or as a coroutine, where they suspend just that coroutine while its thread serves
//! others, through io_uring or epoll. There is no `async` and no second set of types.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use bingfa::{coroutine, net::TcpListener};
//!
//! #[bingfa::main]
//! fn main() -> std::io::Result<()> {
//!     for client in TcpListener::bind("127.0.0.1:7777")?.incoming() {
//!         let mut client = client?;
//!         coroutine::spawn(move || -> std::io::Result<()> {
//!             let mut buffer = [0; 4096];
//!             loop {
//!                 match client.read(&mut buffer)? {
//!                     0 => return Ok(()),
//!                     n => client.write_all(&buffer[..n])?,
//!                 }
//!             }
//!         });
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # What runs the code
//!
//! | carrier | started by | runs | waits | costs |
//! |---|---|---|---|---|
//! | thread | [`thread::spawn`], [`thread::scope`] | anywhere, preempted by the kernel | blocks itself | a kernel thread |
//! | coroutine | [`coroutine::spawn`], [`coroutine::scope`] | on one worker thread, until it waits | gives its worker to others | a page or two of memory |
//! | `main` | [`#[bingfa::main]`](macro@main), [`run`] | as a coroutine on the thread that called | as a coroutine | a worker on that thread |
//!
//! Every blocking call of this crate works on each of them, and objects such as sockets may
//! be shared between them. A coroutine stays on the thread on which it started, so it may
//! hold `Rc`s and other values that are not `Send`. Nothing interrupts one that computes:
//! long computations call [`coroutine::checkpoint`], or belong on a thread.
//!
//! # What must not wait
//!
//! Coroutines share their thread, but not the last-in-first-out order of its frames. Two
//! things must therefore never wait in a coroutine:
//!
//! 1. The initialiser of a lazy `std::thread_local!`: a neighbour that uses the same
//!    thread-local meanwhile would initialise it a second time. [`bingfa::thread_local!`](thread_local!)
//!    is the twin whose initialiser may wait.
//! 2. Code that restores a thread-local pointer when it returns (`scoped_tls` and its like):
//!    neighbours would see the wrong pointer. [`coroutine_local!`] gives each its own.
//!
//! `BINGFA_CHECK=1` looks at the frames whenever a coroutine is about to wait and panics at
//! such a one, naming it. It is on by default with debug assertions, and always in
//! [`#[bingfa::test]`](macro@test). It reads symbols: in release builds set
//! `debug = "line-tables-only"`, so that it sees inlined functions too.
//!
//! # Ending early
//!
//! [`JoinHandle::cancel`](coroutine::JoinHandle::cancel) and [`time::timeout`] make the
//! current or next wait unwind, so that destructors run as after a `?`. Only a call that
//! really waits can be cut short; one whose data arrived first returns it. A cancelled
//! coroutine's `join` gives [`Cancelled`](coroutine::Cancelled). A `std` lock that it holds is
//! poisoned, as by any unwind. [`coroutine::shield`] protects a section, and a
//! [`scope`](coroutine::scope) always waits for its children. Threads cannot be cancelled,
//! but a timeout around their waits works. All of it needs `panic = "unwind"`.
//!
//! # Where to find what
//!
//! - [`coroutine`], [`thread`]: spawn, join, scope, names, snapshots of all that exist.
//! - [`net`], [`os`], [`io`]: twins of std's sockets; waiting for any descriptor; standard
//!   input.
//! - [`fs`]: files and directories.
//! - [`process`]: functions in processes of their own, and std's commands.
//! - [`queue`]: queues between carriers of every kind, and [`select!`].
//! - [`time`]: timeouts and intervals.
//! - [`observe`]: a snapshot of all that runs and waits; what is done about deadlocks.
//! - [`Runtime`]: how many workers, which run-queue [`Policy`], which [`IoBackend`];
//!   [`runtime_info`] says what was chosen and why. Most programs need none of it.
//!
//! # Features
//!
//! - `macros` (default): [`#[bingfa::main]`](macro@main) and [`#[bingfa::test]`](macro@test).
//! - `process` (default): [`process`].

#![deny(unsafe_code)]

#[cfg(not(loom))]
pub mod coroutine;
#[cfg(not(loom))]
pub mod fs;
#[cfg(not(loom))]
pub mod io;
#[cfg(not(loom))]
pub mod net;
#[cfg(not(loom))]
pub mod observe;
#[cfg(not(loom))]
pub mod os;
mod park;
#[cfg(all(feature = "process", not(loom)))]
pub mod process;
#[cfg(not(loom))]
pub mod queue;
#[cfg(not(loom))]
mod reactor;
#[cfg(not(loom))]
mod registry;
#[cfg(not(loom))]
mod sched;
#[cfg(feature = "process")]
mod shm;
#[cfg(not(loom))]
mod stack;
#[cfg_attr(loom, allow(unreachable_pub, dead_code, unused_imports))]
pub mod sync;
mod sys;
#[cfg(not(loom))]
pub mod thread;
#[cfg(not(loom))]
pub mod time;

#[cfg(not(loom))]
pub use sched::{
    entry::{run, runtime_info},
    info::RuntimeInfo,
    queue::Policy,
    runtime::{Runtime, RuntimeBuilder},
};
#[cfg(not(loom))]
pub use {reactor::IoBackend, stack::GuardPages};

#[cfg(all(feature = "macros", not(loom)))]
pub use bingfa_macros::{main, test};

/// What the code that the macros make calls. Not for people.
#[doc(hidden)]
#[cfg(not(loom))]
pub mod __private {
    #[cfg(feature = "process")]
    pub use crate::process::init as process_init;
    pub use crate::sched::entry::{run_main, test_on_coroutine, test_on_thread};

    /// There are no children to be.
    #[cfg(not(feature = "process"))]
    pub const fn process_init() {}
}
