//! Descriptors that travel over a Unix socket (`SCM_RIGHTS`, `unix(7)`).
//!
//! # Invariants
//! 1. The control buffer is as long and as aligned as its `msg_controllen` and `cmsghdr` ask.
//! 2. A descriptor that the kernel reports in a control message is new and nobody else's.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::errno;

/// The most descriptors that one message carries here.
pub(crate) const MOST: usize = 8;

/// Room for one control message with [`MOST`] descriptors.
#[repr(C, align(8))]
struct Control([u8; 64]);

const _: () = assert!(mem::size_of::<Control>() >= 16 + MOST * mem::size_of::<RawFd>());

/// A connected pair, close-on-exec: `stream` for bytes, else for whole messages
/// (`SOCK_SEQPACKET`).
pub(crate) fn pair(stream: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = if stream {
        libc::SOCK_STREAM
    } else {
        libc::SOCK_SEQPACKET
    };
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two.
    let made = unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            kind | libc::SOCK_CLOEXEC,
            0,
            fds.as_mut_ptr(),
        )
    };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both are new and ours.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Sends one message with `fds`, waiting for room.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    assert!(fds.len() <= MOST, "at most {MOST} descriptors a message");
    let mut control = Control([0; 64]);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeros is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let len = mem::size_of_val(fds) as u32;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: pure arithmetic; and the header lies in the buffer (invariant 1).
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(len) as usize;
            let header = &mut *libc::CMSG_FIRSTHDR(&raw const message);
            header.cmsg_level = libc::SOL_SOCKET;
            header.cmsg_type = libc::SCM_RIGHTS;
            header.cmsg_len = libc::CMSG_LEN(len) as usize;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            std::ptr::copy_nonoverlapping(fds.as_ptr(), data, fds.len());
        }
    }
    loop {
        // SAFETY: the message and what it points to are valid for reads.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        match usize::try_from(sent) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            // Only a stream could do this; the callers' messages are small.
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(_) if errno::last() == errno::EINTR => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
}

/// Waits for one message: its length (0 is the end) and its descriptors, close-on-exec.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeros is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = mem::size_of::<Control>();
    let received = loop {
        // SAFETY: the message and what it points to are valid for writes.
        let received =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(received) {
            Ok(received) => break received,
            Err(_) if errno::last() == errno::EINTR => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled in well-formed control messages (invariants 1, 2).
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(found) = header.as_ref() {
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
                let len = found.cmsg_len - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for i in 0..len / mem::size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok((received, fds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_arrive_with_their_message() {
        let (a, b) = pair(false).unwrap();
        let (mut out, inp) = io::pipe().unwrap();
        let fds = vec![inp.as_raw_fd(); MOST];
        send(a.as_fd(), b"one", &fds).unwrap();
        send(a.as_fd(), b"two", &[]).unwrap();
        drop((a, inp));

        let mut bytes = [0; 16];
        let (len, passed) = receive(b.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..len], passed.len()), (&b"one"[..], MOST));
        for fd in passed {
            File::from(fd).write_all(b"x").unwrap();
        }
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), MOST);

        let (len, passed) = receive(b.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..len], passed.len()), (&b"two"[..], 0));
        assert_eq!(receive(b.as_fd(), &mut bytes).unwrap().0, 0);
    }
}
