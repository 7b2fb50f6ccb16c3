//! Twin of [`std::os::unix::net`]: Unix-domain sockets for plain threads and coroutines.
//!
//! What [`bingfa::net`](crate::net) says about waiting, cancellation and differences from
//! std holds here as well. [`SocketAddr`] is std's own type, so std's
//! `SocketAddrExt` makes abstract addresses.
//!
//! While a Unix listener's backlog is full, or the queue of a receiver to which a
//! datagram is sent by address, the kernel does not tell when there is room again. A
//! coroutine, or a plain thread inside a timeout, then repeats the call at growing
//! intervals (1 to 32 ms).

mod addr;
mod datagram;
mod listener;
mod stream;

pub use std::os::unix::net::SocketAddr;

pub use self::datagram::UnixDatagram;
pub use self::listener::{Incoming, UnixListener};
pub use self::stream::UnixStream;
