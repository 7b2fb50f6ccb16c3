//! What a process has from its parent: limits, CPUs, privileges, family.
#![allow(unsafe_code)]

use std::io;
use std::mem;

use super::errno;

pub(crate) use libc::{RLIMIT_AS, RLIMIT_CPU};

/// The soft and hard limits on every resource, by number (`getrlimit(2)`).
pub(crate) type Limits = [(u64, u64); 16];

/// The limits of this process.
pub(crate) fn limits() -> Limits {
    std::array::from_fn(|resource| {
        let mut limit = libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: `limit` is writable. A resource that the kernel does not know has no limit.
        unsafe { libc::getrlimit(resource as _, &raw mut limit) };
        (limit.rlim_cur, limit.rlim_max)
    })
}

/// Limits one resource of this process.
pub(crate) fn set_limit(resource: u32, (soft, hard): (u64, u64)) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` is readable.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// A set of CPUs, as a bit mask by number.
pub(crate) type Cpus = [u64; 16];

/// The CPUs that the calling thread may use.
pub(crate) fn affinity() -> io::Result<Cpus> {
    let mut cpus: Cpus = [0; 16];
    // SAFETY: the mask is as long as it says.
    check(unsafe {
        libc::sched_getaffinity(0, mem::size_of_val(&cpus), cpus.as_mut_ptr().cast())
    })?;
    Ok(cpus)
}

/// Restricts the calling thread, and those that it will make.
pub(crate) fn set_affinity(cpus: &Cpus) -> io::Result<()> {
    // SAFETY: the mask is as long as it says.
    check(unsafe { libc::sched_setaffinity(0, mem::size_of_val(cpus), cpus.as_ptr().cast()) })
}

/// What a thread may do: its users and groups, which libc keeps the same for all threads, and
/// whether system calls are filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Privileges {
    users: [u32; 3],
    groups: [u32; 3],
    supplementary: Vec<u32>,
    /// The mode of `seccomp(2)`, 0 for none.
    pub(crate) seccomp: i32,
}

/// The privileges of the calling thread.
pub(crate) fn privileges() -> Privileges {
    let (mut u, mut g) = ([0; 3], [0; 3]);
    // SAFETY: all pointers are to writable numbers; `prctl` takes none here.
    unsafe {
        libc::getresuid(&raw mut u[0], &raw mut u[1], &raw mut u[2]);
        libc::getresgid(&raw mut g[0], &raw mut g[1], &raw mut g[2]);
        let count = libc::getgroups(0, std::ptr::null_mut()).max(0);
        let mut supplementary = vec![0; count as usize];
        let filled = libc::getgroups(count, supplementary.as_mut_ptr()).max(0);
        supplementary.truncate(filled as usize);
        Privileges {
            users: u,
            groups: g,
            supplementary,
            seccomp: libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0),
        }
    }
}

/// Whether the calling thread has renounced new privileges for good (`PR_SET_NO_NEW_PRIVS`).
pub(crate) fn no_new_privileges() -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// Has the calling thread, and those that it will make, renounce new privileges.
pub(crate) fn renounce_new_privileges() {
    // SAFETY: takes no pointers. It cannot fail (`prctl(2)`).
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
}

/// Whether the kernel has raised the privileges of this program when it started it
/// (set-user-ID and the like): then nothing in the environment can be trusted.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The parent's process id.
pub(crate) fn parent_pid() -> i32 {
    // SAFETY: takes no pointers.
    unsafe { libc::getppid() }
}

/// Has the kernel kill this process when the thread that made it ends; `parent` is the
/// process that it should have. False: it is gone already.
pub(crate) fn die_with_parent(parent: i32) -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    // Asked afterwards: one that died before the call sends no signal.
    parent_pid() == parent
}

/// The calling process's group.
pub(crate) fn process_group() -> i32 {
    // SAFETY: takes no pointers.
    unsafe { libc::getpgrp() }
}

/// Moves the calling process into a group of its session.
pub(crate) fn join_process_group(group: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setpgid(0, group) })
}

/// The process that made the pair to which `socket` belongs.
pub(crate) fn maker_of(socket: std::os::fd::BorrowedFd<'_>) -> Option<i32> {
    let mut peer: libc::ucred = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` is as large as `len` says.
    let answer = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    (answer == 0).then_some(peer.pid)
}

/// The name that `ps` shows for this process; at most 15 bytes of it.
pub(crate) fn set_title(name: &str) {
    let mut title = [0u8; 16];
    let len = name.len().min(15);
    title[..len].copy_from_slice(&name.as_bytes()[..len]);
    // SAFETY: a null-terminated string of at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, title.as_ptr()) };
}

fn check(answer: i32) -> io::Result<()> {
    if answer < 0 {
        Err(io::Error::from_raw_os_error(errno::last()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_can_be_set_as_it_was_read() {
        let cpus = affinity().unwrap();
        assert!(cpus.iter().any(|&word| word != 0));
        set_affinity(&cpus).unwrap();
        assert!(set_affinity(&[0; 16]).is_err());
    }

    #[test]
    fn limits_are_those_of_the_system() {
        let (soft, hard) = limits()[libc::RLIMIT_NOFILE as usize];
        assert!(soft >= 16 && soft <= hard);
        set_limit(libc::RLIMIT_NOFILE, (soft, hard)).unwrap();
        assert!(set_limit(libc::RLIMIT_NOFILE, (hard, soft.min(hard) - 1)).is_err());
    }

    #[test]
    fn privileges_do_not_change_by_themselves() {
        assert_eq!(privileges(), privileges());
        assert!(!is_privileged());
    }
}
