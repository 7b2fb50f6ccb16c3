//! `atexit(3)`.

#![allow(unsafe_code)]

/// Has `f` called when the process exits normally.
pub(crate) fn at_exit(f: extern "C" fn()) {
    // SAFETY: `f` is a plain function that does not unwind; registering one has no
    // other preconditions.
    let failed = unsafe { libc::atexit(f) } != 0;
    assert!(
        !failed,
        "bingfa: atexit: no memory to register the wait for non-daemon carriers"
    );
}

/// Writes out what the streams of the C library hold, and ends the process without `atexit`'s
/// handlers and the destructors of libraries.
#[cfg(feature = "process")]
pub(crate) fn leave(status: i32) -> ! {
    flush_all();
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

/// Writes out what the streams of the C library hold.
#[cfg(feature = "process")]
pub(crate) fn flush_all() {
    // SAFETY: null means all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
