//! Making connections: bind, accept and connect, for both address families.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, SockAddr, SockRef, Type};

use super::op::{self, Backoff, Wait};
use super::socket::{Kind, Socket};
use crate::park::wait;

/// The kernel lowers this to its own limit, `net.core.somaxconn`.
const LARGEST_BACKLOG: i32 = i32::MAX;

/// A socket that is not bound. Only a listener is non-blocking.
pub(crate) fn open(domain: Domain, kind: Kind) -> io::Result<Socket> {
    let ty = match kind {
        Kind::Stream => Type::STREAM,
        Kind::Datagram => Type::DGRAM,
        Kind::Listener => Type::STREAM.nonblocking(),
    };
    let os = socket2::Socket::new(domain, ty, None)?;
    Ok(Socket::new(OwnedFd::from(os), kind))
}

/// Two connected Unix sockets.
pub(crate) fn pair(kind: Kind) -> io::Result<(Socket, Socket)> {
    let ty = match kind {
        Kind::Datagram => Type::DGRAM,
        Kind::Stream | Kind::Listener => Type::STREAM,
    };
    let (a, b) = socket2::Socket::pair(Domain::UNIX, ty, None)?;
    Ok((Socket::new(a.into(), kind), Socket::new(b.into(), kind)))
}

/// A socket bound to `addr`; a listener also listens.
pub(crate) fn bind(addr: &SockAddr, kind: Kind) -> io::Result<Socket> {
    let socket = open(addr.domain(), kind)?;
    let os = SockRef::from(&socket);
    if kind == Kind::Listener && addr.domain() != Domain::UNIX {
        os.set_reuse_address(true)?;
    }
    os.bind(addr)?;
    if kind == Kind::Listener {
        os.listen(LARGEST_BACKLOG)?;
    }
    Ok(socket)
}

/// Takes the next connection of a listener.
#[track_caller]
pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
    if listener.may_block_in_accept() {
        // Nearly closes the gap: only a connection that somebody else takes between
        // these two calls still holds the thread.
        wait_for_connection(listener)?;
    }
    loop {
        match SockRef::from(listener).accept() {
            Ok((os, peer)) => {
                wait::yield_if_slice_over();
                return Ok((Socket::new(OwnedFd::from(os), Kind::Stream), peer));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                wait_for_connection(listener)?;
            }
            Err(e) => {
                // Out of descriptors, say: a loop over `accept` must let those run
                // that will close some.
                wait::yield_if_slice_over();
                return Err(e);
            }
        }
    }
}

#[track_caller]
fn wait_for_connection(listener: &Socket) -> io::Result<()> {
    let source = Some(listener.source());
    op::wait_for(listener.as_fd(), source, libc::POLLIN, listener.patience())?;
    Ok(())
}

/// Connects a new stream socket to `addr`, an internet address.
#[track_caller]
pub(crate) fn connect_internet(addr: &SockAddr, wait: Wait) -> io::Result<Socket> {
    let (socket, started) = start_connecting(addr)?;
    match started {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {
            let source = Some(socket.source());
            let seen = op::wait_for(socket.as_fd(), source, libc::POLLOUT, wait)?;
            if let Some(e) = SockRef::from(&socket).take_error()? {
                return Err(e);
            }
            if seen & (libc::POLLERR | libc::POLLHUP) != 0 {
                return Err(io::Error::other("the connection failed without a reason"));
            }
        }
        Err(e) => return Err(e),
    }
    socket.make_nonblocking(false)?;
    Ok(socket)
}

/// Connects a new stream socket to `addr`, a Unix address.
///
/// While the listener's backlog is full, a non-blocking `connect(2)` gives `EAGAIN`,
/// and nothing tells when there is room again: unless the kernel may do the waiting,
/// the call is repeated.
#[track_caller]
pub(crate) fn connect_unix(addr: &SockAddr) -> io::Result<Socket> {
    let (socket, mut result) = start_connecting(addr)?;
    let os = SockRef::from(&socket);
    let mut backoff = Backoff::new(Wait::Forever);
    while let Err(e) = result {
        if e.raw_os_error() != Some(libc::EAGAIN) {
            return Err(e);
        }
        if op::kernel_may_block() {
            socket.make_nonblocking(false)?;
        } else {
            backoff.pause()?;
        }
        result = os.connect(addr);
    }
    socket.make_nonblocking(false)?;
    Ok(socket)
}

/// A new non-blocking stream socket, and what its first `connect(2)` said.
fn start_connecting(addr: &SockAddr) -> io::Result<(Socket, io::Result<()>)> {
    let os = socket2::Socket::new(addr.domain(), Type::STREAM.nonblocking(), None)?;
    let started = os.connect(addr);
    Ok((Socket::new(OwnedFd::from(os), Kind::Stream), started))
}

/// Sends a datagram to a Unix address that the socket is not connected to.
///
/// The kernel tells nobody when the queue of such a receiver has room again: unless it
/// may do the waiting itself, the call is repeated.
#[track_caller]
pub(crate) fn send_to_unix(socket: &Socket, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
    let patience = socket.write_patience();
    if patience == Wait::No || op::kernel_may_block() {
        return socket.send_to(buf, addr, patience);
    }
    let mut backoff = Backoff::new(patience);
    loop {
        match socket.send_to(buf, addr, Wait::No) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => backoff.pause()?,
            sent => return sent,
        }
    }
}
