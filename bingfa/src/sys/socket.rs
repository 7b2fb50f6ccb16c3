//! Socket calls, as the raw results that a completion carries: a value of 0 or more,
//! or a negated `errno`.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::errno;

pub(crate) use libc::{
    MSG_DONTWAIT, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_OOB, MSG_PEEK, POLLERR, POLLHUP, POLLIN,
    POLLNVAL, POLLOUT, POLLRDNORM, POLLWRNORM, msghdr,
};

/// What one transfer moves at most in Linux, whole pages below `i32::MAX`.
pub(crate) const MAX_TRANSFER: usize = 0x7fff_f000;

fn outcome(returned: isize) -> i32 {
    if returned < 0 {
        -errno::last()
    } else {
        returned as i32
    }
}

// recv and send as bare calls: in a process with threads libc's own are bracketed by what
// pthread_cancel needs, which was 4 % of an echo server's time.

/// `recv(2)`.
///
/// # Safety
/// `buf` is valid for writes of `len` bytes.
pub(crate) unsafe fn recv(fd: RawFd, buf: *mut u8, len: usize, flags: i32) -> i32 {
    let len = len.min(MAX_TRANSFER);
    let none = std::ptr::null::<u8>();
    // SAFETY: by the caller's contract.
    let done = unsafe { libc::syscall(libc::SYS_recvfrom, fd, buf, len, flags, none, none) };
    outcome(done as isize)
}

/// `send(2)`, without SIGPIPE.
///
/// # Safety
/// `buf` is valid for reads of `len` bytes.
pub(crate) unsafe fn send(fd: RawFd, buf: *const u8, len: usize, flags: i32) -> i32 {
    let len = len.min(MAX_TRANSFER);
    let (flags, none) = (flags | MSG_NOSIGNAL, std::ptr::null::<u8>());
    // SAFETY: by the caller's contract.
    let done = unsafe { libc::syscall(libc::SYS_sendto, fd, buf, len, flags, none, 0usize) };
    outcome(done as isize)
}

/// Sends what there is room for, without waiting; an error is not looked at.
pub(crate) fn send_now(fd: BorrowedFd<'_>, bytes: &[u8]) {
    // SAFETY: the bytes are borrowed.
    unsafe { send(fd.as_raw_fd(), bytes.as_ptr(), bytes.len(), MSG_DONTWAIT) };
}

/// `recvmsg(2)`.
///
/// # Safety
/// `msg` and all that it points to are valid for writes.
pub(crate) unsafe fn recvmsg(fd: RawFd, msg: *mut msghdr, flags: i32) -> i32 {
    // SAFETY: by the caller's contract.
    outcome(unsafe { libc::recvmsg(fd, msg, flags) })
}

/// `sendmsg(2)`, without SIGPIPE.
///
/// # Safety
/// `msg` and all that it points to are valid for reads.
pub(crate) unsafe fn sendmsg(fd: RawFd, msg: *const msghdr, flags: i32) -> i32 {
    // SAFETY: by the caller's contract.
    outcome(unsafe { libc::sendmsg(fd, msg, flags | MSG_NOSIGNAL) })
}

/// The bytes that the buffers of `msg` hold together.
///
/// # Safety
/// `msg` and its vector are valid for reads.
pub(crate) unsafe fn msg_len(msg: *const msghdr) -> usize {
    // SAFETY: by the caller's contract; an empty vector may be null, so it is not
    // made a slice.
    unsafe {
        (0..(*msg).msg_iovlen)
            .map(|i| (*(*msg).msg_iov.add(i)).iov_len)
            .fold(0, usize::saturating_add)
    }
}

/// Waits for at most `timeout_ms` (-1: for ever) until some of `events` (or error or
/// hang-up) hold for `fd`, and says which; 0 if none.
pub(crate) fn poll(fd: RawFd, events: i16, timeout_ms: i32) -> i32 {
    let mut wanted = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one `pollfd` is passed, as the count says.
    let found = unsafe { libc::poll(&raw mut wanted, 1, timeout_ms) };
    if found < 0 {
        return -errno::last();
    }
    if wanted.revents & POLLNVAL != 0 {
        return -errno::EBADF;
    }
    i32::from(wanted.revents)
}

/// Whether `fd` is a TCP socket.
pub(crate) fn is_tcp(fd: RawFd) -> bool {
    let mut protocol: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `protocol` is as large as `len` says.
    let answer = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PROTOCOL,
            (&raw mut protocol).cast(),
            &raw mut len,
        )
    };
    answer == 0 && protocol == libc::IPPROTO_TCP
}
