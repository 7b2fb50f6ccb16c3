//! Work in a copy of this process, and its result over a pipe: what the floors between processes are made of.

use std::io::{PipeReader, Read, Write, pipe};

/// A copy at work.
pub(crate) struct Forked {
    pid: libc::pid_t,
    result: PipeReader,
}

/// Has a copy of this process, which must have one thread, do `work`. What `work` changes, it changes in the copy.
pub(crate) fn fork(work: impl FnOnce() -> [u64; 2]) -> Forked {
    let (result, mut writer) = pipe().expect("a pipe");
    // SAFETY: one thread, so nothing is in the middle of a change.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        let [first, second] = work().map(u64::to_ne_bytes);
        let well = writer.write_all(&[first, second].concat()).is_ok();
        // SAFETY: ends the copy, whose buffers have nothing that is to be written.
        unsafe { libc::_exit(i32::from(!well)) }
    }
    Forked { pid, result }
}

impl Forked {
    /// Waits for its end.
    pub(crate) fn join(mut self) -> [u64; 2] {
        let mut bytes = [0; 16];
        self.result.read_exact(&mut bytes).expect("a result");
        let mut status = 0;
        // SAFETY: `status` is writable.
        let reaped = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!((reaped, status), (self.pid, 0));
        let (first, second) = bytes.split_at(8);
        [first, second].map(|half| u64::from_ne_bytes(half.try_into().expect("eight bytes")))
    }
}
