//! Addresses from what a user has: parsed in place, or resolved off the worker.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::{iter, option, slice, vec};

use socket2::SockAddr;

use crate::sched;

/// What can be converted to, or resolved to, socket addresses.
///
/// The twin of [`std::net::ToSocketAddrs`], for the same types. Literal addresses are
/// parsed in place. A host name is looked up by the system's resolver; a coroutine
/// waits for that without holding its thread.
///
/// # Examples
/// ```
/// use bingfa::net::{SocketAddr, ToSocketAddrs};
///
/// let mut all = "127.0.0.1:443".to_socket_addrs()?;
/// assert_eq!(all.next(), Some(SocketAddr::from(([127, 0, 0, 1], 443))));
///
/// let no_port = "127.0.0.1".to_socket_addrs();
/// assert_eq!(no_port.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs {
    /// The iterator over the addresses.
    type Iter: Iterator<Item = SocketAddr>;

    /// Converts to an iterator over addresses, which may be empty.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for text that is no `host:port`;
    /// the resolver's error for a host name that it does not find.
    ///
    /// # Cancellation
    /// A cancelled lookup is abandoned; its answer is dropped when it comes.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

/// Asks the system's resolver, where it may block.
#[track_caller]
fn resolve(host: String, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    sched::blocking::run(&"resolve", move || {
        std::net::ToSocketAddrs::to_socket_addrs(&(host, port))
    })
}

/// Tries `attempt`, which does not wait, with each address until one succeeds; the last
/// error otherwise.
#[track_caller]
pub(super) fn each_addr<A: ToSocketAddrs, T>(
    addr: A,
    mut attempt: impl FnMut(&SockAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in addr.to_socket_addrs()? {
        match attempt(&addr.into()) {
            Ok(done) => return Ok(done),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

/// The error of a call that was given no address to try.
pub(super) fn no_address() -> io::Error {
    invalid("could not resolve to any addresses")
}

/// The internet address that the kernel reported.
pub(super) fn internet(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket()
        .ok_or_else(|| invalid("the descriptor is not an internet socket"))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

impl ToSocketAddrs for SocketAddr {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(Some(*self).into_iter())
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::V4(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::V6(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (IpAddr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;
    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::new(ip, port)].into_iter()),
            Err(_) => resolve(host.to_owned(), port),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;
    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.0.as_str(), self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;
    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        if let Ok(addr) = self.parse() {
            return Ok(vec![addr].into_iter());
        }
        let (host, port) = self
            .rsplit_once(':')
            .ok_or_else(|| invalid("invalid socket address: write it as host:port"))?;
        let port = port.parse().map_err(|_| invalid("invalid port value"))?;
        resolve(host.to_owned(), port)
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;
    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.as_str().to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Cloned<slice::Iter<'a, SocketAddr>>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().cloned())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;
    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<T::Iter> {
        (**self).to_socket_addrs()
    }
}
