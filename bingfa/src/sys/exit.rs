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
