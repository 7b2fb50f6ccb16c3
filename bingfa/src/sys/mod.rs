//! Raw operating-system calls; the only home of `libc`, `rustix` and `io-uring`.

#[cfg(not(loom))]
pub(crate) mod epoll;
pub(crate) mod errno;
pub(crate) mod eventfd;
pub(crate) mod exit;
#[cfg(not(loom))]
pub(crate) mod fd;
#[cfg(not(loom))]
pub(crate) mod fork;
pub(crate) mod futex;
#[cfg(not(loom))]
pub(crate) mod mem;
#[cfg(not(loom))]
pub(crate) mod signal;
#[cfg(not(loom))]
pub(crate) mod socket;
#[cfg(not(loom))]
pub(crate) mod task;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(not(loom))]
pub(crate) mod unwind;
#[cfg(not(loom))]
pub(crate) mod uring;
