//! Twin of [`std::net::UdpSocket`].

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::addr::{ToSocketAddrs, each_addr, internet};
use crate::io::connect;
use crate::io::handle::descriptor_conversions;
use crate::io::socket::{Kind, Lent, Socket};

/// A UDP socket.
///
/// The twin of [`std::net::UdpSocket`]. All its methods take `&self`, so one carrier can
/// receive while others send.
///
/// # Cancellation
/// A cancelled receive has taken no datagram, a cancelled send has sent none; a datagram
/// that was transferred at that very moment is reported normally.
///
/// # Examples
/// ```
/// use bingfa::net::UdpSocket;
///
/// let a = UdpSocket::bind("127.0.0.1:0")?;
/// let b = UdpSocket::bind("127.0.0.1:0")?;
/// a.send_to(b"hello", b.local_addr()?)?;
///
/// let mut buf = [0; 16];
/// let (n, from) = b.recv_from(&mut buf)?;
/// assert_eq!((&buf[..n], from), (&b"hello"[..], a.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UdpSocket(Socket);

descriptor_conversions!(UdpSocket, std::net::UdpSocket, Kind::Datagram);

impl UdpSocket {
    /// Makes a socket that is bound to `addr`.
    ///
    /// Port 0 asks the system for a free port. If `addr` yields several addresses, each
    /// is tried until one can be bound.
    ///
    /// # Errors
    /// That of the last attempt; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is
    /// no address.
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        each_addr(addr, |addr| connect::bind(addr, Kind::Datagram)).map(UdpSocket)
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
        self.recv_from_with(buf, 0)
    }

    /// Waits for a datagram like [`recv_from`](Self::recv_from), but leaves it in the queue.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`; [`WouldBlock`](io::ErrorKind::WouldBlock) after the read
    /// timeout.
    #[track_caller]
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_with(buf, libc::MSG_PEEK)
    }

    #[track_caller]
    fn recv_from_with(&self, buf: &mut [u8], flags: i32) -> io::Result<(usize, SocketAddr)> {
        let (n, from) = self.0.recv_from(buf, flags)?;
        Ok((n, internet(&from)?))
    }

    /// Sends a datagram to `addr`; returns its length.
    ///
    /// Only the first address that `addr` yields is used.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no
    /// address.
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(addr) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses to send data to",
            ));
        };
        self.0.send_to(buf, &addr.into(), self.0.write_patience())
    }

    /// Connects to `addr`: [`send`](Self::send) goes there, and only datagrams from there
    /// are received.
    ///
    /// # Errors
    /// That of the last address tried; [`InvalidInput`](io::ErrorKind::InvalidInput) if
    /// there is none.
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        each_addr(addr, |addr| socket2::SockRef::from(&self.0).connect(addr))
    }

    /// Sends a datagram to the connected address; returns its length.
    ///
    /// # Errors
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if an earlier datagram
    /// found nobody there.
    #[inline]
    #[track_caller]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.send(buf)
    }

    /// Waits for a datagram from the connected address; returns its length.
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

    /// Waits for a datagram like [`recv`](Self::recv), but leaves it in the queue.
    ///
    /// # Errors
    /// Those of `recv(2)`; [`WouldBlock`](io::ErrorKind::WouldBlock) after the read timeout.
    #[inline]
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf, libc::MSG_PEEK)
    }

    /// Returns the address that this socket is connected to.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// Returns the address that this socket is bound to.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// Makes a second handle of the same socket.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        self.0.try_clone().map(UdpSocket)
    }

    /// Sets how long a receive may wait; `None` is for ever.
    ///
    /// A receive that waits longer fails with [`WouldBlock`](io::ErrorKind::WouldBlock),
    /// on every carrier.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the timeout is zero.
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(dur)
    }

    /// Sets how long a send may wait; `None` is for ever.
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

    /// Sets `SO_BROADCAST`: whether datagrams may go to a broadcast address.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.std().set_broadcast(broadcast)
    }

    /// Returns `SO_BROADCAST`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.std().broadcast()
    }

    /// Sets `IP_MULTICAST_LOOP`: whether multicasts come back to this host.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_multicast_loop_v4(&self, multicast_loop_v4: bool) -> io::Result<()> {
        self.std().set_multicast_loop_v4(multicast_loop_v4)
    }

    /// Returns `IP_MULTICAST_LOOP`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.std().multicast_loop_v4()
    }

    /// Sets `IP_MULTICAST_TTL`: how many hops a multicast may travel.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_multicast_ttl_v4(&self, multicast_ttl_v4: u32) -> io::Result<()> {
        self.std().set_multicast_ttl_v4(multicast_ttl_v4)
    }

    /// Returns `IP_MULTICAST_TTL`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.std().multicast_ttl_v4()
    }

    /// Sets `IPV6_MULTICAST_LOOP`: whether multicasts come back to this host.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_multicast_loop_v6(&self, multicast_loop_v6: bool) -> io::Result<()> {
        self.std().set_multicast_loop_v6(multicast_loop_v6)
    }

    /// Returns `IPV6_MULTICAST_LOOP`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.std().multicast_loop_v6()
    }

    /// Sets `IP_TTL`: the time to live of every packet sent.
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

    /// Joins the multicast group `multiaddr`, by the interface with that address (`0.0.0.0`: any).
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.std().join_multicast_v4(multiaddr, interface)
    }

    /// Joins the multicast group `multiaddr`, by the interface with that index (0: any).
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.std().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves the multicast group `multiaddr`, by the interface with that address (`0.0.0.0`: any).
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.std().leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves the multicast group `multiaddr`, by the interface with that index (0: any).
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.std().leave_multicast_v6(multiaddr, interface)
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

    fn std(&self) -> Lent<'_, std::net::UdpSocket> {
        self.0.lent()
    }
}
