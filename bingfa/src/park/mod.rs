//! The one way to wait: current carrier, the switch, wake-ups, deadlines.
//!
//! A wait writes what it wants into its carrier's control block and switches to
//! the worker, which acts on it; nothing here calls upwards. Five parts are
//! protocols between threads, each in a file of its own with a `loom` model: the
//! wake word, the inbox, the completion, the parking lot, where locks queue waiters, and the
//! look for deadlocks among them.

pub(crate) mod atomic;
pub(crate) mod carrier;
pub(crate) mod completion;
pub(crate) mod deadlock;
pub(crate) mod inbox;
pub(crate) mod lot;
pub(crate) mod order;
pub(crate) mod select;
mod waits;
pub(crate) mod word;

/// For the rooms that wait by this one alone.
pub(crate) use crate::sys::pause::Pause;

#[cfg(not(loom))]
mod runtime_side {
    use std::sync::OnceLock;

    /// Spinning helps only if the one we wait for can run meanwhile.
    pub(crate) fn more_than_one_cpu() -> bool {
        static MORE: OnceLock<bool> = OnceLock::new();
        *MORE.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1))
    }

    /// Whether the process ends without waiting for the calling carrier.
    pub(crate) fn is_daemon() -> bool {
        match super::local::frame() {
            Some(frame) => frame.task().entry().daemon,
            None => super::thread::is_daemon(),
        }
    }
}
#[cfg(not(loom))]
pub(crate) use runtime_side::{is_daemon, more_than_one_cpu};

#[cfg(not(loom))]
pub(crate) mod cancel;
#[cfg(not(loom))]
pub(crate) mod check;
#[cfg(not(loom))]
pub(crate) mod frame;
#[cfg(not(loom))]
pub(crate) mod home;
#[cfg(not(loom))]
pub(crate) mod local;
#[cfg(not(loom))]
pub(crate) mod locals;
#[cfg(not(loom))]
pub(crate) mod looks;
#[cfg(not(loom))]
pub(crate) mod outside;
#[cfg(not(loom))]
pub(crate) mod packet;
#[cfg(not(loom))]
pub(crate) mod sleep;
#[cfg(not(loom))]
pub(crate) mod task;
#[cfg(not(loom))]
pub(crate) mod thread;
#[cfg(not(loom))]
pub(crate) mod timers;
#[cfg(not(loom))]
pub(crate) mod wait;

#[cfg(loom)]
pub(crate) mod model;
#[cfg(loom)]
pub(crate) use model as wait;
#[cfg(all(test, loom))]
mod models;
