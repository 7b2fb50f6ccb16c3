//! Descriptors and sockets as parts of messages.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::carry::{self, Place};
use crate::net::{TcpListener, TcpStream, UdpSocket};
use crate::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

/// A descriptor that can be sent to another process: as an argument or a result of
/// [`spawn`](super::spawn()), or in a message of a [`pipe`](super::pipe()).
///
/// The receiver gets a descriptor of its own for the same open file or socket; encoding does
/// not use up the sender's. Whatever can be made an [`OwnedFd`] can be made an `Fd`, and back.
/// `bingfa`'s own sockets need none: they can be sent as they are.
///
/// # Errors
/// Encoding it in any other way, with `serde_json` say, is an error that names this type. A
/// message takes at most 252 different descriptors along, which is the kernel's limit but for one that is
/// used for [shared memory](super::SharedMemory).
///
/// # Examples
/// ```
/// use std::fs::File;
/// use std::io::{Read, Write};
/// use std::os::fd::OwnedFd;
/// use bingfa::process::{self, Fd};
///
/// let (mut out, inp) = std::io::pipe()?;
/// let child = process::spawn(Fd::from(OwnedFd::from(inp)), |inp: Fd| {
///     File::from(OwnedFd::from(inp)).write_all(b"from afar").unwrap();
/// });
/// let mut text = String::new();
/// out.read_to_string(&mut text)?;
/// assert_eq!(text, "from afar");
/// child.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "DupFd")]
#[doc(alias = "send_handle")]
#[doc(alias = "SCM_RIGHTS")]
pub struct Fd(OwnedFd);

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Fd {
        Fd(fd)
    }
}

impl From<Fd> for OwnedFd {
    fn from(fd: Fd) -> OwnedFd {
        fd.0
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The whole of a handle is one descriptor, which says all about itself.
macro_rules! a_descriptor {
    ($($handle:ty),*) => {$(
        impl Serialize for $handle {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                carry::attach::<Self, S::Error>(self.as_fd())?.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $handle {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let place = Place::deserialize(deserializer)?;
                carry::take::<Self, D::Error>(place).map(Self::from)
            }
        }
    )*};
}

a_descriptor!(Fd, TcpStream, UdpSocket, UnixStream, UnixDatagram);

/// A listener's descriptor is non-blocking in any case, so what the user asked for
/// (`set_nonblocking`) goes beside it.
macro_rules! a_listener {
    ($($listener:ty),*) => {$(
        impl Serialize for $listener {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let place = carry::attach::<Self, S::Error>(self.as_fd())?;
                (place, self.is_nonblocking()).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $listener {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (place, nonblocking) = <(Place, bool)>::deserialize(deserializer)?;
                let fd = carry::take::<Self, D::Error>(place)?;
                let listener = Self::from(fd);
                listener
                    .set_nonblocking(nonblocking)
                    .map_err(serde::de::Error::custom)?;
                Ok(listener)
            }
        }
    )*};
}

a_listener!(TcpListener, UnixListener);
