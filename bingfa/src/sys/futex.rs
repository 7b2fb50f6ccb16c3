//! Futexes of plain threads, and the wake side of those that a ring waits on: private ones,
//! and ones in memory that processes share.
//!
//! `futex(2)`; Drepper, *Futexes Are Tricky* (2011).
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Blocks the thread while `word` is `expected`, for at most `limit`. May return early.
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    wait_by(libc::FUTEX_PRIVATE_FLAG, word, expected, limit);
}

/// As [`wait`], on a word in memory that other processes have mapped, too.
#[cfg(feature = "process")]
pub(crate) fn wait_shared(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    wait_by(0, word, expected, limit);
}

fn wait_by(flag: i32, word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    let timespec = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let timeout = timespec
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the time outlive the call, which reads both and writes neither.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            std::ptr::from_ref(word),
            libc::FUTEX_WAIT | flag,
            expected,
            timeout,
        );
    }
}

/// Wakes at most `count` waiters on `word`.
///
/// `word` is only a name here: it is never read, so it need not point to live
/// memory, and a wake of a word that nobody waits on does nothing.
pub(crate) fn wake(word: *const u32, count: i32) {
    wake_by(libc::FUTEX_PRIVATE_FLAG, word, count);
}

/// Wakes all waiters, of any process, on a word in shared memory.
#[cfg(feature = "process")]
pub(crate) fn wake_shared(word: &AtomicU32) {
    wake_by(0, word.as_ptr(), i32::MAX);
}

fn wake_by(flag: i32, word: *const u32, count: i32) {
    // SAFETY: FUTEX_WAKE takes three arguments and dereferences none of them; the address
    // only selects a queue. (A shared one must be mapped, which a reference is.)
    unsafe {
        libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | flag, count);
    }
}
