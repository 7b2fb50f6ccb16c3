//! What a runtime runs on.

use std::fmt;

use super::queue::Policy;
use super::runtime::Config;
use crate::reactor::Kind;
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
