//! Twin of [`std::os::linux::net`].

use std::io;

pub use std::os::linux::net::SocketAddrExt;

use crate::net::TcpStream;

/// Linux's extensions of [`TcpStream`].
///
/// The twin of [`std::os::linux::net::TcpStreamExt`], which is sealed.
pub trait TcpStreamExt: sealed::Sealed {
    /// Sets `TCP_QUICKACK`: whether acknowledgements are sent at once.
    ///
    /// Linux may reset it later on.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    ///
    /// # Examples
    /// ```
    /// use bingfa::net::{TcpListener, TcpStream};
    /// use bingfa::os::linux::net::TcpStreamExt;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_quickack(true)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn set_quickack(&self, quickack: bool) -> io::Result<()>;

    /// Returns `TCP_QUICKACK`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    fn quickack(&self) -> io::Result<bool>;
}

impl TcpStreamExt for TcpStream {
    fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        socket2::SockRef::from(self).set_tcp_quickack(quickack)
    }

    fn quickack(&self) -> io::Result<bool> {
        socket2::SockRef::from(self).tcp_quickack()
    }
}

mod sealed {
    /// Keeps the trait free to follow std's.
    pub trait Sealed {}
    impl Sealed for crate::net::TcpStream {}
}
