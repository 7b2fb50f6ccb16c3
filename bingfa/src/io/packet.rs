//! Bytes with descriptors over a Unix socket, as whole messages (`SOCK_SEQPACKET`) or a stream.
//!
//! # Invariants
//! 1. What a `msghdr` points to is borrowed, or lies in a frame of [`pass`], until the
//!    operation that is given it has ended.

#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd, RawFd};

use super::op::{self, Wait};
use super::socket::Socket;
use crate::reactor::OpKind;
use crate::sys::pass;

/// Sends one message, or on a stream as many bytes as there is room for: `parts` in a row,
/// with `fds`.
#[track_caller]
pub(crate) fn send(
    socket: &Socket,
    parts: &[IoSlice<'_>],
    fds: &[RawFd],
    wait: Wait,
) -> io::Result<usize> {
    pass::with_outgoing(parts, fds, |msg| {
        loop {
            let kind = OpKind::SendMsg { msg, flags: 0 };
            // SAFETY: invariant 1.
            let sent = unsafe { op::run(socket.as_fd(), Some(socket.source()), kind, wait) };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    })
}

/// Receives one message, or what a stream has, into the free capacity of `bytes`, but at most
/// `most` bytes; what does not fit of a message is lost.
///
/// Gives back the descriptors. If no bytes come, that is the end.
#[track_caller]
pub(crate) fn receive(
    socket: &Socket,
    bytes: &mut Vec<u8>,
    most: usize,
    wait: Wait,
) -> io::Result<Vec<OwnedFd>> {
    let free = bytes.spare_capacity_mut();
    let most = most.min(free.len());
    let (len, fds) = pass::with_incoming(&mut free[..most], |msg| {
        loop {
            let flags = pass::CLOEXEC;
            let kind = OpKind::RecvMsg { msg, flags };
            // SAFETY: invariant 1.
            let received = unsafe { op::run(socket.as_fd(), Some(socket.source()), kind, wait) };
            match received {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    })?;
    // SAFETY: the kernel has filled in so many of the free bytes.
    unsafe { bytes.set_len(bytes.len() + len) };
    Ok(fds)
}
