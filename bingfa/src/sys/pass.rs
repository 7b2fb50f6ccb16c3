//! Descriptors that travel over a Unix socket (`SCM_RIGHTS`, `unix(7)`).
//!
//! # Invariants
//! 1. The control buffer is as long and as aligned as its `msg_controllen` and `cmsghdr` ask.
//! 2. A descriptor that the kernel reports in a control message is new and nobody else's.
//! 3. What a `msghdr` points to lives in the frame of the function that lends it to a closure.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, Read};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::errno;
use super::socket::msghdr;

/// The most descriptors that the kernel lets one message carry (`SCM_MAX_FD`).
pub(crate) const MOST: usize = 253;

/// Room for one control message with [`MOST`] descriptors.
#[repr(C, align(8))]
struct Control([u8; 1032]);

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

/// Lends `f` a message of `parts` with `fds`, at most [`MOST`].
pub(crate) fn with_outgoing<R>(
    parts: &[IoSlice<'_>],
    fds: &[RawFd],
    f: impl FnOnce(*const msghdr) -> R,
) -> R {
    assert!(fds.len() <= MOST, "at most {MOST} descriptors a message");
    // SAFETY: all zeros is a valid `msghdr`.
    let mut message: msghdr = unsafe { mem::zeroed() };
    // `IoSlice` has the layout of `iovec`; a send only reads.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len();
    if fds.is_empty() {
        return f(&raw const message);
    }
    let mut control = Control([0; _]);
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
    f(&raw const message)
}

/// Lends `f` a message to be received into `bytes`, and gives back its length and its
/// descriptors. `f` asks for them close-on-exec ([`CLOEXEC`]).
pub(crate) fn with_incoming(
    bytes: &mut [MaybeUninit<u8>],
    f: impl FnOnce(*mut msghdr) -> io::Result<usize>,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    // The kernel says how much of it it has filled in.
    let mut control = MaybeUninit::<Control>::uninit();
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeros is a valid `msghdr`.
    let mut message: msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of::<Control>();
    let received = f(&raw mut message)?;
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

/// The flag with which received descriptors are close-on-exec.
pub(crate) const CLOEXEC: i32 = libc::MSG_CMSG_CLOEXEC;

/// Sends `bytes`, or as many of the first as the socket takes, and with the first of them
/// `fds`; waits for room unless the socket is non-blocking.
pub(crate) fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    with_outgoing(&[IoSlice::new(bytes)], fds, |message| {
        loop {
            // SAFETY: the message and what it points to are valid for reads (invariant 3).
            let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), message, libc::MSG_NOSIGNAL) };
            match usize::try_from(sent) {
                Ok(sent) => return Ok(sent),
                Err(_) if errno::last() == errno::EINTR => {}
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
    })
}

/// Sends one small message with `fds`, waiting for room.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    match send_some(socket, bytes, fds)? {
        sent if sent == bytes.len() => Ok(()),
        // Only a stream could do this.
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Waits for one message, or for some bytes of a stream: their length (0 is the end) and the
/// descriptors, close-on-exec.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    // SAFETY: the kernel writes bytes, never anything uninitialised.
    let bytes = unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) };
    with_incoming(bytes, |message| {
        loop {
            // SAFETY: the message and what it points to are valid for writes (invariant 3).
            let received = unsafe { libc::recvmsg(socket.as_raw_fd(), message, CLOEXEC) };
            match usize::try_from(received) {
                Ok(received) => return Ok(received),
                Err(_) if errno::last() == errno::EINTR => {}
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
    })
}

/// Reads a stream socket and keeps the descriptors that come along.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    socket: BorrowedFd<'a>,
    /// Those that have come.
    pub(crate) fds: Vec<OwnedFd>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(socket: BorrowedFd<'a>) -> Reader<'a> {
        Reader {
            socket,
            fds: Vec::new(),
        }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (len, mut fds) = receive(self.socket, buf)?;
        self.fds.append(&mut fds);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
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
