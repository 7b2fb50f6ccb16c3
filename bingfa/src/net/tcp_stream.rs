//! Twin of [`std::net::TcpStream`].

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use super::addr::{ToSocketAddrs, no_address};
use crate::io::connect::connect_internet;
use crate::io::handle::{descriptor_conversions, stream_transfers};
use crate::io::op::Wait;
use crate::io::socket::{Kind, Lent, Socket};

/// A TCP stream between a local and a remote socket.
///
/// The twin of [`std::net::TcpStream`]. It is made by [`connect`](Self::connect) or by
/// [`TcpListener::accept`](super::TcpListener::accept), transfers by
/// [`Read`](io::Read) and [`Write`](io::Write), and is closed when dropped. Both traits
/// are also there for `&TcpStream`, so one carrier can read while another writes.
///
/// Writing to a peer that is gone is an error, never a `SIGPIPE`.
///
/// # Cancellation
/// A cancelled read has consumed nothing, a cancelled write has sent nothing; bytes that
/// were transferred at that very moment are reported normally.
///
/// # Examples
/// ```
/// use bingfa::io::{Read, Write};
/// use bingfa::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
///
/// client.write_all(b"ping")?;
/// let mut buf = [0; 4];
/// server.read_exact(&mut buf)?;
/// assert_eq!(&buf, b"ping");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpStream(Socket);

descriptor_conversions!(TcpStream, std::net::TcpStream, Kind::Stream);
stream_transfers!(TcpStream);

impl TcpStream {
    /// Opens a TCP connection to a remote host.
    ///
    /// If `addr` yields several addresses, each is tried until one accepts.
    ///
    /// # Errors
    /// That of the last attempt; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is
    /// no address.
    ///
    /// # Cancellation
    /// A cancelled attempt closes its socket.
    ///
    /// # Examples
    /// ```no_run
    /// use bingfa::net::TcpStream;
    ///
    /// let stream = TcpStream::connect("example.com:80")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        let mut last = None;
        for addr in addr.to_socket_addrs()? {
            match connect_internet(&addr.into(), Wait::Forever) {
                Ok(socket) => return Ok(TcpStream(socket)),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// Opens a TCP connection to a remote host within `timeout`.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if the connection is not made in time,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if `timeout` is zero.
    ///
    /// # Cancellation
    /// A cancelled attempt closes its socket.
    ///
    /// # Examples
    /// ```no_run
    /// use bingfa::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// let addr = "10.0.0.1:80".parse().unwrap();
    /// let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(3))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot set a 0 duration timeout",
            ));
        }
        // A timeout past the end of the clock is none.
        let end = Instant::now().checked_add(timeout);
        let wait = end.map_or(Wait::Forever, Wait::Until);
        connect_internet(&(*addr).into(), wait).map(TcpStream)
    }

    /// Returns the address of the remote peer.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// Returns the address of the local half of this connection.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// Shuts down the read half, the write half, or both.
    ///
    /// Reads that wait return `Ok(0)`, writes that wait fail with
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe); shutting down the write half is what
    /// tells the peer that no more will come.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.std().shutdown(how)
    }

    /// Makes a second handle of the same connection.
    ///
    /// Both read and write the same stream of data, and options, timeouts and
    /// `set_nonblocking` of one apply to the other.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        self.0.try_clone().map(TcpStream)
    }

    /// Sets how long a read may wait; `None` is for ever.
    ///
    /// A read that waits longer fails with [`WouldBlock`](io::ErrorKind::WouldBlock), on
    /// every carrier.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the timeout is zero.
    ///
    /// # Examples
    /// ```
    /// use bingfa::io::{ErrorKind, Read};
    /// use bingfa::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let silent = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(silent.local_addr()?)?;
    /// stream.set_read_timeout(Some(Duration::from_millis(5)))?;
    /// assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(dur)
    }

    /// Sets how long a write may wait; `None` is for ever.
    ///
    /// A write that waits longer fails with [`WouldBlock`](io::ErrorKind::WouldBlock), on
    /// every carrier.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the timeout is zero.
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(dur)
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

    /// Receives into `buf` without taking the data out of the queue.
    ///
    /// Waits until there is data; the next read or peek returns the same bytes.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    ///
    /// # Cancellation
    /// A peek takes nothing, so nothing can be lost.
    #[inline]
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf, libc::MSG_PEEK)
    }

    /// Sets `TCP_NODELAY`: whether small segments are sent at once.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.std().set_nodelay(nodelay)
    }

    /// Returns `TCP_NODELAY`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.std().nodelay()
    }

    /// Sets `IP_TTL`, the time to live of every packet sent.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.std().set_ttl(ttl)
    }

    /// Returns `IP_TTL`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.std().ttl()
    }

    /// Takes the pending error of this socket, `SO_ERROR`, and clears it.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.std().take_error()
    }

    /// Makes calls that would wait fail with [`WouldBlock`](io::ErrorKind::WouldBlock)
    /// instead, on every carrier and for every clone; or undoes that.
    ///
    /// # Errors
    /// Those of `ioctl(2)`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// A connection that was accepted.
    pub(super) fn from_socket(socket: Socket) -> TcpStream {
        TcpStream(socket)
    }

    fn std(&self) -> Lent<'_, std::net::TcpStream> {
        self.0.lent()
    }
}
