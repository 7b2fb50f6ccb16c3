//! Processes by descriptor (`pidfd_open(2)`): no number is ever reused under one's hands.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::{errno, socket};

pub(crate) use libc::{SIGKILL, SIGTERM};

/// A descriptor of the process `pid`, which must be a child that nobody has reaped (or the
/// caller itself, or its parent): else the number may be somebody else's by now.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, ours, and close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// When the process `pid` started, in ticks since the system did (`proc(5)`); `None` if there
/// is none, or the kernel does not tell.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the 22nd field is the 20th behind it.
    let rest = text.rsplit(')').next()?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Whether [`open`] has failed because there is no such process.
pub(crate) fn is_no_such_process(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// Sends a signal; a process that has ended already is no error.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null `siginfo` asks for that of `kill(2)`.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if sent == 0 || errno::last() == libc::ESRCH {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether the process has ended, reaped or not.
pub(crate) fn has_ended(process: BorrowedFd<'_>) -> bool {
    socket::poll(process.as_raw_fd(), socket::POLLIN, 0) > 0
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// It runs.
    NotYet,
    /// It has ended, and is gone from the process table.
    Ended(ExitStatus),
    /// It has ended, and somebody else has reaped it: `waitpid(-1)`, or SIGCHLD is ignored.
    ByOthers,
}

/// Reaps the child if it has ended.
pub(crate) fn reap(child: BorrowedFd<'_>) -> Reaped {
    // SAFETY: all zeros is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is writable.
        let answer = unsafe {
            libc::waitid(
                libc::P_PIDFD,
                child.as_raw_fd() as libc::id_t,
                &raw mut info,
                libc::WEXITED | libc::WNOHANG | libc::__WALL,
            )
        };
        if answer == 0 {
            // SAFETY: `waitid` has filled in the fields of SIGCHLD, or left zeros.
            let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
            if pid == 0 {
                return Reaped::NotYet;
            }
            // The encoding of wait(2), as `ExitStatus` takes it.
            let raw = match info.si_code {
                libc::CLD_EXITED => (status & 0xff) << 8,
                libc::CLD_DUMPED => status | 0x80,
                _ => status,
            };
            return Reaped::Ended(ExitStatus::from_raw(raw));
        }
        match errno::last() {
            errno::EINTR => {}
            _ if has_ended(child) => return Reaped::ByOthers,
            _ => return Reaped::NotYet,
        }
    }
}

/// Ends the child `pid`, which nobody has reaped, and reaps it: for want of a descriptor.
pub(crate) fn kill_unseen(pid: i32) {
    // SAFETY: take no pointers, or null. The number is the child's until it is reaped.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        while libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) < 0
            && errno::last() == errno::EINTR
        {}
    }
}

/// Waits until the process has ended, without reaping it.
pub(crate) fn wait(process: BorrowedFd<'_>) {
    while !has_ended(process) {
        socket::poll(process.as_raw_fd(), socket::POLLIN, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::process::Command;

    fn ended(command: &mut Command) -> Reaped {
        #[expect(clippy::zombie_processes, reason = "reaped by its pidfd")]
        let child = command.spawn().unwrap();
        let process = open(child.id() as i32).unwrap();
        loop {
            match reap(process.as_fd()) {
                Reaped::NotYet => std::thread::yield_now(),
                end => {
                    assert!(has_ended(process.as_fd()));
                    send_signal(process.as_fd(), SIGKILL).unwrap();
                    assert_eq!(reap(process.as_fd()), Reaped::ByOthers);
                    return end;
                }
            }
        }
    }

    #[test]
    fn the_status_is_that_of_wait() {
        let seven = Command::new("sh").args(["-c", "exit 7"]).status().unwrap();
        let end = ended(Command::new("sh").args(["-c", "exit 7"]));
        assert_eq!(end, Reaped::Ended(seven));
        let killed = ended(Command::new("sh").args(["-c", "kill -9 $$"]));
        let Reaped::Ended(status) = killed else {
            panic!("{killed:?}");
        };
        assert_eq!(status.signal(), Some(9));
        assert!(!status.core_dumped());
    }
}
