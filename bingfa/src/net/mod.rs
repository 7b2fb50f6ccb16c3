//! Twin of [`std::net`]: TCP and UDP for plain threads and coroutines alike.
//!
//! The types have std's names, signatures, error kinds and semantics; replacing
//! `std::net` by `bingfa::net` ports a program. A call that waits suspends only its
//! caller: a coroutine gives its thread back to the scheduler, a plain thread sleeps in
//! the kernel. One socket serves both at the same time, and `&TcpStream` reads and
//! writes, so one carrier can read while another writes.
//!
//! # Differences from std
//! - [`TcpListener::bind`] asks for the kernel's largest backlog (`net.core.somaxconn`,
//!   4,096 by default) where std asks for 128. For any other option, build the socket
//!   with the `socket2` crate and convert it: every type is `From` its twin in std and
//!   `From<OwnedFd>`.
//! - A listener is `O_NONBLOCK` for the kernel while it is one of ours, which only raw
//!   system calls on its descriptor can tell. Converted to std's type, it blocks again
//!   (unless `set_nonblocking(true)` was asked for). Two clones of a listener, one
//!   converted and one not, share that flag; prefer one kind for all.
//! - [`ToSocketAddrs`] is a trait of its own: host names are resolved off the worker.
//! - The unstable parts of std are absent.
//!
//! # Cancellation
//! A wait that is cancelled, or that an enclosing timeout ends, first cancels its
//! operation and awaits the completion, so no byte, datagram or connection is lost
//! between the kernel and the caller: either it was transferred and the call returns
//! normally, or it was not. `write_all` and `read_exact` are several such calls; when
//! one of them is cancelled, the earlier ones have happened.

mod addr;
mod tcp_listener;
mod tcp_stream;
mod udp;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};

pub use self::addr::ToSocketAddrs;
pub use self::tcp_listener::{Incoming, TcpListener};
pub use self::tcp_stream::TcpStream;
pub use self::udp::UdpSocket;
