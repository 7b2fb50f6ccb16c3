//! Twin of [`std::os::unix::net::UnixStream`].

use std::io;
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::addr;
use crate::io::connect;
use crate::io::handle::{descriptor_conversions, stream_transfers};
use crate::io::socket::{Kind, Lent, Socket};

/// A Unix stream socket.
///
/// The twin of [`std::os::unix::net::UnixStream`]. [`Read`](io::Read) and
/// [`Write`](io::Write) are also there for `&UnixStream`, so one carrier can read while
/// another writes. Writing to a peer that is gone is an error, never a `SIGPIPE`.
///
/// # Cancellation
/// A cancelled read has consumed nothing, a cancelled write has sent nothing; bytes that
/// were transferred at that very moment are reported normally.
///
/// # Examples
/// ```
/// use bingfa::io::{Read, Write};
/// use bingfa::os::unix::net::UnixStream;
///
/// let (mut a, mut b) = UnixStream::pair()?;
/// a.write_all(b"hello")?;
/// drop(a);
/// let mut text = String::new();
/// b.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixStream(Socket);

descriptor_conversions!(UnixStream, std::os::unix::net::UnixStream, Kind::Stream);
stream_transfers!(UnixStream);

impl UnixStream {
    /// Connects to the listener at `path`.
    ///
    /// Waits while the listener's backlog is full.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such file,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if nobody listens there.
    ///
    /// # Cancellation
    /// A cancelled attempt closes its socket.
    ///
    /// # Examples
    /// ```no_run
    /// let socket = bingfa::os::unix::net::UnixStream::connect("/tmp/sock")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        connect::connect_unix(&addr::from_path(path.as_ref())?).map(UnixStream)
    }

    /// Connects to the listener at an address, which may be an abstract one.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    ///
    /// # Cancellation
    /// A cancelled attempt closes its socket.
    #[track_caller]
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        connect::connect_unix(&addr::to_kernel(socket_addr)?).map(UnixStream)
    }

    /// Makes two sockets that are connected to each other.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = connect::pair(Kind::Stream)?;
        Ok((UnixStream(a), UnixStream(b)))
    }

    /// Makes a second handle of the same socket.
    ///
    /// Both read and write the same stream of data, and timeouts and `set_nonblocking`
    /// of one apply to the other.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        self.0.try_clone().map(UnixStream)
    }

    /// Returns the address of the local half of this connection.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// Returns the address of the remote half of this connection.
    ///
    /// # Errors
    /// Those of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// Sets how long a read may wait; `None` is for ever.
    ///
    /// A read that waits longer fails with [`WouldBlock`](io::ErrorKind::WouldBlock), on
    /// every carrier.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the timeout is zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    /// Sets how long a write may wait; `None` is for ever.
    ///
    /// A write that waits longer fails with [`WouldBlock`](io::ErrorKind::WouldBlock), on
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

    /// A connection that was accepted.
    pub(super) fn from_socket(socket: Socket) -> UnixStream {
        UnixStream(socket)
    }

    fn std(&self) -> Lent<'_, std::os::unix::net::UnixStream> {
        self.0.lent()
    }
}
