//! The two ways to make a process: a new image, and a copy of a single-threaded one.
//!
//! A threaded process is never copied. [`exec`] shares its memory with the child only until
//! the child has become a new image (`CLONE_VM | CLONE_VFORK`, as `posix_spawn(3)` does), so
//! its price does not grow with the memory of the caller. [`copy_as_sibling`] is for a process
//! of one thread, and makes a child of the *caller's parent* (`CLONE_PARENT`).
//!
//! The C library's `fork` would make the caller the parent. The raw call leaves out what that
//! `fork` does for a single thread: the thread's number in libc's own record (mutexes and
//! signals to oneself use it) and the list of robust mutexes, without which nobody hears that
//! their owner died. [`Copier`] has the kernel and the child set both right.
//!
//! # Invariants
//! 1. Between `clone` and `execve` the child of [`exec`] makes system calls only. All signals
//!    are blocked meanwhile, and what it reads outlives it: the caller is suspended.
//! 2. [`Copier`] is made, and used, only while the process has one thread.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::errno;

/// The child of this process, or of its parent.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// A new image to be.
#[derive(Debug)]
pub(crate) struct Exec<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) arguments: &'a [CString],
    pub(crate) environment: &'a [CString],
    /// What becomes descriptor 0, 1, 2...; `None` is closed. All others are closed, too.
    pub(crate) descriptors: &'a [Option<RawFd>],
    /// Its working directory, root and umask are the caller's own, now and later (`CLONE_FS`).
    pub(crate) share_directories: bool,
}

/// What the child of [`exec`] reads, and its answer.
struct Plan {
    program: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    descriptors: Vec<Option<RawFd>>,
    /// 0, or why there is no new image.
    error: i32,
}

/// The most descriptors that [`Exec`] gives.
const MOST: usize = 4;
const STACK: usize = 64 << 10;

/// Makes a child that runs a new image, with all signals blocked.
///
/// # Errors
/// The first system call's that failed.
pub(crate) fn exec(what: &Exec<'_>) -> io::Result<Made> {
    assert!(what.descriptors.len() <= MOST);
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        let each = strings.iter().map(|string| string.as_ptr());
        each.chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(what.arguments), pointers(what.environment));
    let mut plan = Plan {
        program: what.program.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        descriptors: what.descriptors.to_vec(),
        error: 0,
    };
    let mut stack = vec![0u8; STACK];
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    if what.share_directories {
        flags |= libc::CLONE_FS;
    }
    let mut pidfd: RawFd = -1;
    let blocked = block_all_signals();
    // SAFETY: the stack's top is aligned and in bounds, the child calls `become_image` with a
    // valid plan, and this thread is suspended until it has become an image or ended.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK);
        let top = top.sub(top.addr() % 16);
        libc::clone(
            become_image,
            top.cast(),
            flags,
            (&raw mut plan).cast(),
            &raw mut pidfd,
        )
    };
    let failed = (pid < 0).then(io::Error::last_os_error);
    set_signals(&blocked);
    if let Some(error) = failed {
        return Err(error);
    }
    // SAFETY: the kernel has made this descriptor for us (`CLONE_PIDFD`).
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: as written by the child, which shares our memory and has ended that by now.
    let error = unsafe { (&raw const plan.error).read_volatile() };
    if error != 0 {
        super::pidfd::wait(pidfd.as_fd());
        super::pidfd::reap(pidfd.as_fd());
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok(Made { pid, pidfd })
}

/// The child of [`exec`], on its own stack in its parent's memory.
extern "C" fn become_image(plan: *mut c_void) -> c_int {
    // SAFETY: `exec` passes a valid plan and waits (invariant 1).
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    plan.error = match arrange(plan) {
        Ok(()) => {
            // SAFETY: null-terminated strings and arrays of them.
            unsafe { libc::execve(plan.program, plan.arguments, plan.environment) };
            errno::last()
        }
        Err(error) => error,
    };
    // SAFETY: ends this process without running anything of its parent's.
    unsafe { libc::_exit(127) }
}

/// Gives the descriptors their numbers.
fn arrange(plan: &Plan) -> Result<(), i32> {
    let count = plan.descriptors.len() as RawFd;
    // First out of each other's way, then each to its place.
    let mut safe = [-1; MOST];
    for (slot, wanted) in safe.iter_mut().zip(&plan.descriptors) {
        if let Some(fd) = *wanted {
            // SAFETY: takes no pointers.
            *slot = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, count) };
            if *slot < 0 {
                return Err(errno::last());
            }
        }
    }
    for (number, slot) in safe.iter().take(plan.descriptors.len()).enumerate() {
        let number = number as RawFd;
        // SAFETY: takes no pointers. Closing what is not open is no error that matters.
        let done = unsafe {
            match *slot {
                -1 => {
                    libc::close(number);
                    0
                }
                fd => libc::dup2(fd, number),
            }
        };
        if done < 0 {
            return Err(errno::last());
        }
    }
    close_on_exec_from(count)
}

fn close_on_exec_from(first: RawFd) -> Result<(), i32> {
    // SAFETY: takes no pointers. (By number: glibc has had a wrapper only since 2.34.)
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first as u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(errno::last())
    }
}

fn block_all_signals() -> libc::sigset_t {
    // SAFETY: both sets are plain data that the calls fill in.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

fn set_signals(mask: &libc::sigset_t) {
    // SAFETY: `mask` is a valid set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}

/// Keeps the calling thread out of the way of signals, which go to the others.
pub(crate) fn block_signals() {
    block_all_signals();
}

/// The mask of a process that was just started: signals arrive.
pub(crate) fn unblock_signals() {
    // SAFETY: an empty set is all zeros.
    set_signals(&unsafe { std::mem::zeroed() });
}

/// Writes to a pipe without a reader are errors, as in every Rust program; std sees to it
/// only before `main`.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: sets a disposition, no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Lets Ctrl-C pass: it is for the process that this one serves.
pub(crate) fn ignore_interrupts() {
    // SAFETY: sets a disposition, no handler.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// What it takes to copy this process properly.
#[derive(Debug)]
pub(crate) struct Copier {
    /// Where libc keeps its thread's number.
    tid: *mut i32,
    robust_list: *mut c_void,
    robust_len: usize,
}

fn elsewhere() -> io::Error {
    io::Error::other("the C library keeps its thread number elsewhere")
}

/// Which of the two it is, after [`Copier::copy_as_sibling`].
#[derive(Debug)]
pub(crate) enum Copied {
    Original(Made),
    Copy,
}

impl Copier {
    /// # Errors
    /// If the process has more than one thread, or libc's record is not found: this C library
    /// or kernel cannot do it.
    pub(crate) fn new() -> io::Result<Copier> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads != 1 {
            let why = format!("it has {threads} threads already before main");
            return Err(io::Error::other(why));
        }
        let mut tid: *mut i32 = ptr::null_mut();
        let (mut robust_list, mut robust_len) = (ptr::null_mut(), 0usize);
        // SAFETY: each call fills in what it is given the address of.
        let asked = unsafe {
            libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut tid) == 0
                && libc::syscall(
                    libc::SYS_get_robust_list,
                    0,
                    &raw mut robust_list,
                    &raw mut robust_len,
                ) == 0
        };
        if !asked {
            return Err(io::Error::last_os_error());
        }
        if tid.is_null() {
            return Err(elsewhere());
        }
        // SAFETY: the address that libc gave to the kernel when it started, which is writable
        // for an `i32`. (In musl it is another word, which does not hold the number.)
        let held = unsafe { tid.read() };
        if held != super::task::tid() {
            return Err(elsewhere());
        }
        Ok(Copier {
            tid,
            robust_list,
            robust_len,
        })
    }

    /// Copies this process; the copy is a child of this process's parent.
    ///
    /// # Safety
    /// The process has one thread, and holds no lock that the copy would miss the release of.
    pub(crate) unsafe fn copy_as_sibling(&self) -> io::Result<Copied> {
        let flags = libc::CLONE_PARENT
            | libc::CLONE_PIDFD
            | libc::CLONE_CHILD_SETTID
            | libc::CLONE_CHILD_CLEARTID;
        let mut pidfd: RawFd = -1;
        // SAFETY: like `fork`: no shared memory, no new stack. The kernel writes the pidfd
        // here, and the copy's number at `tid` in the copy. One thread only (caller).
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone,
                flags,
                0usize,
                &raw mut pidfd,
                self.tid,
                0usize,
            )
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            // SAFETY: the list of this thread, at the same address in the copy.
            unsafe {
                libc::syscall(libc::SYS_set_robust_list, self.robust_list, self.robust_len);
            }
            return Ok(Copied::Copy);
        }
        Ok(Copied::Original(Made {
            pid: pid as i32,
            // SAFETY: the kernel has made this descriptor for us.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }))
    }
}

/// In a copy: descriptors 0 to 2 become these (`None`: closed), `keep` becomes 3, close-on-exec,
/// and every other one is closed.
///
/// # Safety
/// Nobody in this process uses any descriptor afterwards but these four. All that are given
/// are above 3.
pub(crate) unsafe fn take_descriptors(
    standard: [Option<RawFd>; 3],
    keep: RawFd,
) -> io::Result<OwnedFd> {
    for (number, fd) in standard.into_iter().enumerate() {
        // SAFETY: takes no pointers.
        let done = unsafe {
            match fd {
                Some(fd) => libc::dup2(fd, number as RawFd),
                None => libc::close(number as RawFd).max(0),
            }
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: takes no pointers; what is closed is nobody's by the caller's word.
    unsafe {
        let kept = libc::dup3(keep, 3, libc::O_CLOEXEC);
        if kept < 0 || libc::syscall(libc::SYS_close_range, 4u32, u32::MAX, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(kept))
    }
}
