//! What only tests ask of the system.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{self, AssertUnwindSafe};

/// Makes `io_uring_setup` fail with EPERM on the calling thread from now on, as
/// Docker's default profile does.
pub(crate) fn deny_io_uring() -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = [
        // The system call's number is the first word.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_io_uring_setup as u32,
        },
        statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program is valid for the call, which copies it.
    let denied = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    };
    if denied {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether `work` panics in a fork of this process.
pub(crate) fn panics_in_fork(work: impl FnOnce()) -> bool {
    // SAFETY: the child calls nothing that another thread's locks could block for ever
    // but `malloc`, which glibc makes usable after a fork, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", io::Error::last_os_error());
    if child == 0 {
        // SAFETY: takes no pointers; a child that hangs is killed.
        unsafe { libc::alarm(20) };
        panic::set_hook(Box::new(|_| {}));
        let panicked = panic::catch_unwind(AssertUnwindSafe(work)).is_err();
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(if panicked { 42 } else { 0 }) }
    }
    let mut status = 0;
    // SAFETY: `status` is writable.
    let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(reaped, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 42
}

/// Closes `number`, and makes it a duplicate of `file`.
pub(crate) fn duplicate_to(file: &impl AsRawFd, number: RawFd) {
    // SAFETY: takes no pointers. Tests use it on numbers that they own.
    let got = unsafe { libc::dup3(file.as_raw_fd(), number, libc::O_CLOEXEC) };
    assert_eq!(got, number, "dup3: {}", io::Error::last_os_error());
}
