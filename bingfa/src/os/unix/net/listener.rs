//! Twin of [`std::os::unix::net::UnixListener`].

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::{UnixStream, addr};
use crate::io::connect;
use crate::io::handle::descriptor_conversions;
use crate::io::socket::{Kind, Lent, Socket};

/// A Unix socket server that listens for connections.
///
/// The twin of [`std::os::unix::net::UnixListener`]. Dropping it does not remove the
/// file that it is bound to.
///
/// # Examples
/// ```
/// use bingfa::io::{Read, Write};
/// use bingfa::os::linux::net::SocketAddrExt;
/// use bingfa::os::unix::net::{SocketAddr, UnixListener, UnixStream};
///
/// let name = format!("bingfa-doc-{}", std::process::id());
/// let addr = SocketAddr::from_abstract_name(name)?;
/// let listener = UnixListener::bind_addr(&addr)?;
/// let mut client = UnixStream::connect_addr(&addr)?;
/// let (mut server, _) = listener.accept()?;
///
/// server.write_all(b"!")?;
/// client.read_exact(&mut [0])?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener(Socket);

descriptor_conversions!(
    UnixListener,
    std::os::unix::net::UnixListener,
    Kind::Listener
);

impl UnixListener {
    /// Makes a listener that is bound to `path`, which must not exist.
    ///
    /// The backlog is the kernel's largest.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if `path` exists,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is longer than 107 bytes.
    ///
    /// # Examples
    /// ```no_run
    /// let listener = bingfa::os::unix::net::UnixListener::bind("/tmp/sock")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        connect::bind(&addr::from_path(path.as_ref())?, Kind::Listener).map(UnixListener)
    }

    /// Makes a listener that is bound to an address, which may be an abstract one.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        connect::bind(&addr::to_kernel(socket_addr)?, Kind::Listener).map(UnixListener)
    }

    /// Waits for a connection and accepts it.
    ///
    /// # Errors
    /// Those of `accept(2)`, which concern one connection or the limits of the process:
    /// a server logs them and goes on.
    ///
    /// # Cancellation
    /// A cancelled waiter has accepted nothing; the next connection stays in the backlog.
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (socket, peer) = connect::accept(&self.0)?;
        Ok((UnixStream::from_socket(socket), addr::from_kernel(&peer)))
    }

    /// Makes a second handle of the same listener.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        self.0.try_clone().map(UnixListener)
    }

    /// Returns the address that this listener is bound to.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
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

    /// Takes the pending error of this socket, `SO_ERROR`, and clears it.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.std().take_error()
    }

    /// Iterates over the connections, for ever.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// What the user asked for by [`set_nonblocking`](Self::set_nonblocking).
    #[cfg(feature = "process")]
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.0.is_nonblocking()
    }

    fn std(&self) -> Lent<'_, std::os::unix::net::UnixListener> {
        self.0.lent()
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

/// An endless iterator over the connections of a [`UnixListener`].
///
/// Made by [`UnixListener::incoming`].
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}
