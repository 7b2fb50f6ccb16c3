//! Raw operating-system calls; the only home of `libc`, `rustix` and `io-uring`.

#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod attributes;
pub(crate) mod cache;
#[cfg(not(loom))]
pub(crate) mod epoll;
pub(crate) mod errno;
pub(crate) mod eventfd;
pub(crate) mod exit;
#[cfg(not(loom))]
pub(crate) mod fd;
#[cfg(not(loom))]
pub(crate) mod file;
#[cfg(not(loom))]
pub(crate) mod fork;
pub(crate) mod futex;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod image;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod kept;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod launch;
#[cfg(not(loom))]
pub(crate) mod mem;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod memfd;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod pass;
pub(crate) mod pause;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod pidfd;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod random;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod robust;
#[cfg(all(feature = "process", not(loom)))]
pub(crate) mod sealed;
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
