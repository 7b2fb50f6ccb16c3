//! What a runtime runs on, and how coroutines are called in messages.

use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;

use super::queue::Policy;
use super::runtime::Config;
use crate::reactor::Kind;
use crate::registry::{Entry, Info};
use crate::stack::GuardPages;

/// What a runtime runs on, and why; see [`runtime_info`](crate::runtime_info).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeInfo {
    /// The runtime's name.
    pub name: String,
    /// Worker threads.
    pub workers: usize,
    /// `"io_uring"` or `"epoll"`.
    pub io_backend: &'static str,
    /// Why that one.
    pub io_reason: String,
    /// The order of ready coroutines.
    pub policy: Policy,
    /// Default stack size in bytes.
    pub stack_size: usize,
    /// How stacks are guarded; never `Auto`.
    pub guard_pages: GuardPages,
}

impl RuntimeInfo {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            name: config.name.clone(),
            workers: config.workers,
            io_backend: match config.io {
                Kind::Uring(_) => "io_uring",
                Kind::Epoll => "epoll",
            },
            io_reason: config.io_reason.clone(),
            policy: config.policy,
            stack_size: config.stack_size,
            guard_pages: config.guard_pages,
        }
    }
}

impl fmt::Display for RuntimeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "runtime '{}': {} worker{}, {} ({}), {:?} run queue, {} KiB stacks, {:?} guard pages",
            self.name,
            self.workers,
            if self.workers == 1 { "" } else { "s" },
            self.io_backend,
            self.io_reason,
            self.policy,
            self.stack_size >> 10,
            self.guard_pages,
        )
    }
}

/// A carrier's name for people: its own if it has one, and where it was spawned.
pub(crate) fn describe(carrier: &Info) -> String {
    words(carrier.id, carrier.name.as_deref(), carrier.spawned_at)
}

/// The same of one that may have ended.
pub(crate) fn describe_entry(entry: &Entry) -> String {
    words(entry.id, entry.name.as_deref(), entry.spawned_at)
}

fn words(id: NonZeroU64, name: Option<&str>, spawned_at: &Location<'_>) -> String {
    match name {
        Some(name) => format!("'{name}' (id {id}, spawned at {spawned_at})"),
        None => format!("{id} (spawned at {spawned_at})"),
    }
}
