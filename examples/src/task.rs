//! The same function, on a thread or on a coroutine.

use std::fmt;
use std::io;
use std::time::Duration;

use bingfa::{coroutine, thread};

use crate::blocked_at;

/// What runs a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Carrier {
    /// A thread of the operating system
    Thread,
    /// A coroutine
    Coroutine,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Carrier::Thread => "thread",
            Carrier::Coroutine => "coroutine",
        })
    }
}

impl Carrier {
    /// Runs `f` on a carrier of its own, called `name`.
    ///
    /// # Errors
    /// If the operating system makes no more threads.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        name: String,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Task<T>> {
        Ok(match self {
            // As much as a coroutine gets: 10,000 of them should fit, too.
            Carrier::Thread => {
                let builder = thread::Builder::new().name(name).stack_size(256 << 10);
                Task::Thread(builder.spawn(f)?)
            }
            Carrier::Coroutine => Task::Coroutine(coroutine::Builder::new().name(name).spawn(f)?),
        })
    }
}

/// The right to the result of what a [`Carrier`] runs; dropping it lets it run on.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Task<T> {
    Thread(thread::JoinHandle<T>),
    Coroutine(coroutine::JoinHandle<T>),
}

impl<T> Task<T> {
    /// Waits until it waits for `what` for ever, and says where; see [`blocked_at`]. `None` if it
    /// has ended instead.
    pub fn until_blocked(&self, what: &str, helpless: impl Fn() -> bool) -> Option<String> {
        let id = match self {
            Task::Thread(handle) => handle.thread().id().as_u64(),
            Task::Coroutine(handle) => handle.id().as_u64(),
        };
        while !self.is_finished() {
            let wait = blocked_at(id.get(), what, &helpless);
            if wait.is_some() {
                return wait;
            }
            thread::sleep(Duration::from_millis(1)); // it still works
        }
        None
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        match self {
            Task::Thread(handle) => handle.is_finished(),
            Task::Coroutine(handle) => handle.is_finished(),
        }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// The payload of its panic.
    pub fn join(self) -> thread::Result<T> {
        match self {
            Task::Thread(handle) => handle.join(),
            Task::Coroutine(handle) => handle.join(),
        }
    }
}

/// Waits for all of them.
///
/// # Errors
/// If one has panicked.
pub fn finish<T>(tasks: impl IntoIterator<Item = Task<T>>) -> io::Result<()> {
    let mut panicked = false;
    for task in tasks {
        // The others go on to their ends, too, or one would be in mid-print as the process ends.
        panicked |= task.join().is_err();
    }
    match panicked {
        true => Err(io::Error::other("a task has panicked")),
        false => Ok(()),
    }
}
