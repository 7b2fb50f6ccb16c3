//! Twin of [`std::os::unix::net::UnixDatagram`].

use std::io;
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef};

use super::addr;
use crate::io::connect;
use crate::io::handle::descriptor_conversions;
use crate::io::socket::{Kind, Lent, Socket};

/// A Unix datagram socket.
///
/// The twin of [`std::os::unix::net::UnixDatagram`]. Datagrams between Unix sockets are
/// never dropped: a send waits while the receiver's queue is full.
///
/// # Cancellation
/// A cancelled receive has taken no datagram, a cancelled send has sent none; a datagram
/// that was transferred at that very moment is reported normally.
///
/// # Examples
/// ```
/// use bingfa::os::unix::net::UnixDatagram;
///
/// let (a, b) = UnixDatagram::pair()?;
/// a.send(b"hello")?;
/// let mut buf = [0; 16];
/// let n = b.recv(&mut buf)?;
/// assert_eq!(&buf[..n], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixDatagram(Socket);

descriptor_conversions!(
    UnixDatagram,
    std::os::unix::net::UnixDatagram,
    Kind::Datagram
);

impl UnixDatagram {
    /// Makes a socket that is bound to `path`, which must not exist.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if `path` exists,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is longer than 107 bytes.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        connect::bind(&addr::from_path(path.as_ref())?, Kind::Datagram).map(UnixDatagram)
    }

    /// Makes a socket that is bound to an address, which may be an abstract one.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        connect::bind(&addr::to_kernel(socket_addr)?, Kind::Datagram).map(UnixDatagram)
    }

    /// Makes a socket that is not bound to any address.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn unbound() -> io::Result<UnixDatagram> {
        connect::open(Domain::UNIX, Kind::Datagram).map(UnixDatagram)
    }

    /// Makes two sockets that are connected to each other.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = connect::pair(Kind::Datagram)?;
        Ok((UnixDatagram(a), UnixDatagram(b)))
    }

    /// Connects to the socket at `path`: [`send`](Self::send) goes there, and only
    /// datagrams from there are received.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such file,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if nobody has it open.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        SockRef::from(&self.0).connect(&addr::from_path(path.as_ref())?)
    }

    /// Connects to an address, which may be an abstract one.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        SockRef::from(&self.0).connect(&addr::to_kernel(socket_addr)?)
    }

    /// Makes a second handle of the same socket.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<UnixDatagram> {
        self.0.try_clone().map(UnixDatagram)
    }

    /// Returns the address that this socket is bound to.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// Returns the address that this socket is connected to.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// Waits for a datagram; returns its length and where it came from.
    ///
    /// What does not fit into `buf` is dropped by the kernel.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`; [`WouldBlock`](io::ErrorKind::WouldBlock) after the read
    /// timeout.
    #[track_caller]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (n, from) = self.0.recv_from(buf, 0)?;
        Ok((n, addr::from_kernel(&from)))
    }

    /// Waits for a datagram; returns its length.
    ///
    /// What does not fit into `buf` is dropped by the kernel.
    ///
    /// # Errors
    /// Those of `recv(2)`; [`WouldBlock`](io::ErrorKind::WouldBlock) after the read timeout.
    #[inline]
    #[track_caller]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf, 0)
    }

    /// Sends a datagram to the socket at `path`; returns its length.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such file,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if nobody has it open;
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) after the write timeout.
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_kernel(buf, &addr::from_path(path.as_ref())?)
    }

    /// Sends a datagram to an address, which may be an abstract one; returns its length.
    ///
    /// # Errors
    /// As for [`send_to`](Self::send_to).
    #[track_caller]
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        self.send_to_kernel(buf, &addr::to_kernel(socket_addr)?)
    }

    #[track_caller]
    fn send_to_kernel(&self, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
        connect::send_to_unix(&self.0, buf, addr)
    }

    /// Sends a datagram to the connected socket; returns its length.
    ///
    /// # Errors
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if that socket is closed;
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) after the write timeout.
    #[inline]
    #[track_caller]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.send(buf)
    }

    /// Sets how long a receive may wait; `None` is for ever.
    ///
    /// A receive that waits longer fails with [`WouldBlock`](io::ErrorKind::WouldBlock),
    /// on every carrier.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the timeout is zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    /// Sets how long a send may wait; `None` is for ever.
    ///
    /// A send that waits longer fails with [`WouldBlock`](io::ErrorKind::WouldBlock), on
    /// every carrier.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the timeout is zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }

    /// Returns the read timeout, as the kernel rounded it.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.std().read_timeout()
    }

    /// Returns the write timeout, as the kernel rounded it.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.std().write_timeout()
    }

    /// Makes calls that would wait fail with [`WouldBlock`](io::ErrorKind::WouldBlock)
    /// instead, on every carrier and for every clone; or undoes that.
    ///
    /// # Errors
    /// Those of `ioctl(2)`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// Takes the pending error of this socket, `SO_ERROR`, and clears it.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.std().take_error()
    }

    /// Shuts down the read half, the write half, or both.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the socket is not connected.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.std().shutdown(how)
    }

    fn std(&self) -> Lent<'_, std::os::unix::net::UnixDatagram> {
        self.0.lent()
    }
}
