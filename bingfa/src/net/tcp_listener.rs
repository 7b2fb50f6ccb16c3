//! Twin of [`std::net::TcpListener`].

use std::io;
use std::iter::FusedIterator;
use std::net::SocketAddr;

use super::TcpStream;
use super::addr::{ToSocketAddrs, each_addr, internet};
use crate::io::connect;
use crate::io::handle::descriptor_conversions;
use crate::io::socket::{Kind, Lent, Socket};

/// A TCP socket server that listens for connections.
///
/// The twin of [`std::net::TcpListener`]. Several carriers may accept from one listener,
/// or from its clones; each connection goes to one of them.
///
/// # Examples
/// ```
/// use bingfa::io::{Read, Write};
/// use bingfa::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let client = std::thread::spawn(move || TcpStream::connect(addr)?.write_all(b"hello"));
///
/// let (mut stream, _peer) = listener.accept()?;
/// let mut text = String::new();
/// stream.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// client.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener(Socket);

descriptor_conversions!(TcpListener, std::net::TcpListener, Kind::Listener);

impl TcpListener {
    /// Makes a listener that is bound to `addr`.
    ///
    /// Port 0 asks the system for a free port, which [`local_addr`](Self::local_addr)
    /// tells. `SO_REUSEADDR` is set, as std does, and the backlog is the kernel's
    /// largest. If `addr` yields several addresses, each is tried until one can be bound.
    ///
    /// # Errors
    /// That of the last attempt: [`AddrInUse`](io::ErrorKind::AddrInUse) if another
    /// socket listens there, [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no
    /// address.
    ///
    /// # Examples
    /// ```
    /// use bingfa::net::TcpListener;
    ///
    /// let first = TcpListener::bind("127.0.0.1:0")?;
    /// let taken = TcpListener::bind(first.local_addr()?);
    /// assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        each_addr(addr, |addr| connect::bind(addr, Kind::Listener)).map(TcpListener)
    }

    /// Returns the address that this listener is bound to.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// Makes a second handle of the same listener.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        self.0.try_clone().map(TcpListener)
    }

    /// Waits for a connection and accepts it.
    ///
    /// # Errors
    /// Those of `accept(2)`, which concern one connection or the limits of the process:
    /// a server logs them and goes on. After `EMFILE` (no descriptor is left), the
    /// connection stays in the backlog until one is closed.
    ///
    /// # Cancellation
    /// A cancelled waiter has accepted nothing; the next connection stays in the backlog.
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = connect::accept(&self.0)?;
        Ok((TcpStream::from_socket(socket), internet(&peer)?))
    }

    /// Iterates over the connections, for ever.
    ///
    /// Each item is what [`accept`](Self::accept) returns, without the address.
    ///
    /// # Examples
    /// ```no_run
    /// use bingfa::net::TcpListener;
    ///
    /// for stream in TcpListener::bind("127.0.0.1:8080")?.incoming() {
    ///     match stream {
    ///         Ok(stream) => drop(stream), // serve it
    ///         Err(e) => eprintln!("accept: {e}"),
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
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

    /// Sets `IPV6_V6ONLY`, which has no effect on a socket that is bound.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    #[allow(deprecated)]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        self.std().set_only_v6(only_v6)
    }

    /// Returns `IPV6_V6ONLY`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    #[allow(deprecated)]
    pub fn only_v6(&self) -> io::Result<bool> {
        self.std().only_v6()
    }

    /// Takes the pending error of this socket, `SO_ERROR`, and clears it.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.std().take_error()
    }

    /// Makes an [`accept`](Self::accept) that would wait fail with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) instead, on every carrier and for every
    /// clone; or undoes that.
    ///
    /// # Errors
    /// None today; the signature is std's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// What the user asked for by [`set_nonblocking`](Self::set_nonblocking).
    #[cfg(feature = "process")]
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.0.is_nonblocking()
    }

    fn std(&self) -> Lent<'_, std::net::TcpListener> {
        self.0.lent()
    }
}

/// An endless iterator over the connections of a [`TcpListener`].
///
/// Made by [`TcpListener::incoming`].
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}
