//! Private futexes of plain threads, and the wake side of those that a ring waits on.
//!
//! `futex(2)`; Drepper, *Futexes Are Tricky* (2011).
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Blocks the thread while `word` is `expected`, for at most `limit`. May return early.
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
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
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
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
    // SAFETY: FUTEX_WAKE_PRIVATE takes three arguments and dereferences none of
    // them; the address only selects a queue of this process.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word,
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            count,
        );
    }
}
