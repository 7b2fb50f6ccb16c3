//! Unix addresses between std's type and the kernel's.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

/// The kernel's form of a path.
pub(super) fn from_path(path: &Path) -> io::Result<SockAddr> {
    // std refuses what is too long or has a zero byte inside.
    to_kernel(&SocketAddr::from_pathname(path)?)
}

/// The kernel's form of `addr`.
pub(super) fn to_kernel(addr: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = addr.as_pathname() {
        return SockAddr::unix(path);
    }
    match addr.as_abstract_name() {
        Some(name) => {
            let with_mark = [&b"\0"[..], name].concat();
            SockAddr::unix(OsStr::from_bytes(&with_mark))
        }
        None => SockAddr::unix(""),
    }
}

/// std's form of the address that came with a connection or a datagram.
pub(super) fn from_kernel(addr: &SockAddr) -> SocketAddr {
    // A path that fills `sun_path` to the last byte cannot be said in std's type; the
    // connection or datagram matters more than where it came from.
    known(addr).unwrap_or_else(|| {
        SocketAddr::from_pathname("").expect("the empty path is the unnamed address")
    })
}

fn known(addr: &SockAddr) -> Option<SocketAddr> {
    if let Some(name) = addr.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name).ok();
    }
    SocketAddr::from_pathname(addr.as_pathname()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_both_ways() {
        let path = SocketAddr::from_pathname("/tmp/some.sock").unwrap();
        let back = from_kernel(&to_kernel(&path).unwrap());
        assert_eq!(back.as_pathname(), Some(Path::new("/tmp/some.sock")));

        for name in [&b""[..], b"name", b"with\0zero\0"] {
            let abstract_name = SocketAddr::from_abstract_name(name).unwrap();
            let back = from_kernel(&to_kernel(&abstract_name).unwrap());
            assert_eq!(back.as_abstract_name(), Some(name));
        }

        let unnamed = SocketAddr::from_pathname("").unwrap();
        assert!(unnamed.is_unnamed());
        assert!(from_kernel(&to_kernel(&unnamed).unwrap()).is_unnamed());
    }

    #[test]
    fn bad_paths_are_refused() {
        for bad in ["x".repeat(108), "a\0b".to_owned()] {
            let refused = from_path(Path::new(&bad)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
