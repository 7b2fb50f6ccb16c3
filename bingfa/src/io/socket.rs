//! The handle that every socket of ours is made of.
//!
//! A descriptor stays blocking, as std's do, so that one socket serves plain threads
//! and coroutines at once; only a listener is `O_NONBLOCK`, because `accept4(2)` has no
//! flag that says "do not wait". What the user asked for by `set_nonblocking` and by
//! the timeouts belongs to the open socket, not to the handle, so clones share it.
//!
//! # Invariants
//! 1. A `&mut [u8]` or `&[u8]` that is given to [`op::run`] is borrowed for that call.
//! 2. A [`Message`]'s pointers are those of the borrows and locals of the function that
//!    built it, which does not return before its operation has ended.
//! 3. `IoSlice` and `IoSliceMut` have the layout of `iovec` (std promises this on Unix).

#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use socket2::{SockAddr, SockAddrStorage, SockRef};

use super::op::{self, Wait};
use crate::reactor::{self, OpKind, Source};
use crate::sched;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stream,
    Datagram,
    Listener,
}

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket {
    // Declared before `fd`: the drivers let go of a descriptor before it is closed.
    registration: Registration,
    fd: OwnedFd,
    kind: Kind,
    shared: Arc<Shared>,
}

/// The descriptor's registration with the drivers, released when dropped.
#[derive(Debug)]
struct Registration {
    source: Source,
    fd: RawFd,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let waited_for = reactor::closing(self.fd);
        self.source.release(self.fd);
        if let Some(epoch) = waited_for {
            sched::closed(self.fd, epoch);
        }
    }
}

/// What all handles of one open socket share.
///
/// Every field stands alone and orders nothing else, so its accesses are relaxed.
#[derive(Debug, Default)]
struct Shared {
    /// What the user asked for; a listener is `O_NONBLOCK` in any case.
    nonblocking: AtomicBool,
    /// A listener of which a handle was given away: whoever has that one decides now
    /// whether the open socket is `O_NONBLOCK`.
    given_away: AtomicBool,
    /// Nanoseconds; 0 for none.
    read_timeout: AtomicU64,
    /// Nanoseconds; 0 for none.
    write_timeout: AtomicU64,
}

impl Socket {
    /// A socket that was just made: no timeouts, and blocking unless it is a listener.
    pub(crate) fn new(fd: OwnedFd, kind: Kind) -> Socket {
        Socket::with(fd, kind, Shared::default())
    }

    /// A socket that somebody else made, with the settings that it has.
    pub(crate) fn adopt(fd: OwnedFd, kind: Kind) -> Socket {
        // A descriptor that is no socket is refused by the first call that uses it.
        let os = SockRef::from(&fd);
        let shared = Shared {
            nonblocking: AtomicBool::new(os.nonblocking().unwrap_or(false)),
            given_away: AtomicBool::new(false),
            read_timeout: AtomicU64::new(nanos(os.read_timeout().unwrap_or(None))),
            write_timeout: AtomicU64::new(nanos(os.write_timeout().unwrap_or(None))),
        };
        if kind == Kind::Listener {
            // Fails only for what is no open descriptor.
            let _ = os.set_nonblocking(true);
        }
        Socket::with(fd, kind, shared)
    }

    fn with(fd: OwnedFd, kind: Kind, shared: Shared) -> Socket {
        Socket::handle(fd, kind, Arc::new(shared))
    }

    fn handle(fd: OwnedFd, kind: Kind, shared: Arc<Shared>) -> Socket {
        Socket {
            registration: Registration {
                source: Source::new(kind == Kind::Stream, &*shared),
                fd: fd.as_raw_fd(),
            },
            fd,
            kind,
            shared,
        }
    }

    /// Gives the descriptor away, in the state that std's types expect.
    pub(crate) fn into_fd(self) -> OwnedFd {
        let Socket {
            registration,
            fd,
            kind,
            shared,
        } = self;
        drop(registration);
        if kind == Kind::Listener {
            shared.given_away.store(true, Relaxed);
            // Fails only for what is no open descriptor.
            let _ = SockRef::from(&fd).set_nonblocking(shared.nonblocking.load(Relaxed));
        }
        fd
    }

    /// A second handle of the same open socket.
    pub(crate) fn try_clone(&self) -> io::Result<Socket> {
        let fd = self.fd.try_clone()?;
        Ok(Socket::handle(fd, self.kind, Arc::clone(&self.shared)))
    }

    pub(crate) fn source(&self) -> &Source {
        &self.registration.source
    }

    /// The same socket as `T`, one of std's types, for options and addresses.
    pub(crate) fn lent<T: FromRawFd>(&self) -> Lent<'_, T> {
        // SAFETY: `T` is never dropped, so the descriptor stays ours, and it is open for
        // as long as `Lent` borrows `self`.
        let std = unsafe { T::from_raw_fd(self.fd.as_raw_fd()) };
        Lent {
            std: ManuallyDrop::new(std),
            socket: PhantomData,
        }
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        if self.kind != Kind::Listener {
            self.make_nonblocking(nonblocking)?;
        }
        self.shared.nonblocking.store(nonblocking, Relaxed);
        Ok(())
    }

    /// What the user asked for, also of a listener.
    #[cfg(feature = "process")]
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.shared.nonblocking.load(Relaxed)
    }

    /// Sets or clears the descriptor's own `O_NONBLOCK`, whatever the user asked for.
    pub(crate) fn make_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        // std's does it by one `ioctl`.
        self.lent::<std::net::TcpStream>()
            .set_nonblocking(nonblocking)
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.lent::<std::net::TcpStream>()
            .set_read_timeout(timeout)?;
        self.shared.read_timeout.store(nanos(timeout), Relaxed);
        Ok(())
    }

    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.lent::<std::net::TcpStream>()
            .set_write_timeout(timeout)?;
        self.shared.write_timeout.store(nanos(timeout), Relaxed);
        Ok(())
    }

    /// Whether another owner of a listener may have made it blocking.
    pub(crate) fn may_block_in_accept(&self) -> bool {
        self.shared.given_away.load(Relaxed)
    }

    /// How long a call that no timeout covers may wait.
    #[inline]
    pub(crate) fn patience(&self) -> Wait {
        if self.shared.nonblocking.load(Relaxed) {
            Wait::No
        } else {
            Wait::Forever
        }
    }

    #[inline]
    fn patience_within(&self, timeout: &AtomicU64) -> Wait {
        match (self.patience(), timeout.load(Relaxed)) {
            (Wait::Forever, nanos @ 1..) => Wait::For(Duration::from_nanos(nanos)),
            (patience, _) => patience,
        }
    }

    #[inline]
    fn read_patience(&self) -> Wait {
        self.patience_within(&self.shared.read_timeout)
    }

    #[inline]
    pub(crate) fn write_patience(&self) -> Wait {
        self.patience_within(&self.shared.write_timeout)
    }

    #[inline(always)]
    #[track_caller]
    pub(crate) fn recv(&self, buf: &mut [u8], flags: i32) -> io::Result<usize> {
        let kind = OpKind::Recv {
            buf: buf.as_mut_ptr(),
            len: buf.len(),
            flags,
        };
        // SAFETY: invariant 1.
        unsafe {
            op::run(
                self.as_fd(),
                Some(self.source()),
                kind,
                self.read_patience(),
            )
        }
    }

    #[inline(always)]
    #[track_caller]
    pub(crate) fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.send_within(buf, self.write_patience())
    }

    /// Sends, waiting as `wait` says.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn send_within(&self, buf: &[u8], wait: Wait) -> io::Result<usize> {
        let kind = OpKind::Send {
            buf: buf.as_ptr(),
            len: buf.len(),
            flags: 0,
        };
        // SAFETY: invariant 1.
        unsafe { op::run(self.as_fd(), Some(self.source()), kind, wait) }
    }

    /// `Read::read_exact`, which would show a place inside std as the one that waits.
    #[track_caller]
    pub(crate) fn recv_exact(&self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.recv(buf, 0) {
                Ok(0) => {
                    let why = "failed to fill whole buffer";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
                Ok(n) => buf = &mut buf[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// `Write::write_all`, which would show a place inside std as the one that waits.
    #[track_caller]
    pub(crate) fn send_all(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.send(buf) {
                Ok(0) => {
                    let why = "failed to write whole buffer";
                    return Err(io::Error::new(io::ErrorKind::WriteZero, why));
                }
                Ok(n) => buf = &buf[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    #[inline]
    #[track_caller]
    pub(crate) fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut message = Message::new(bufs.as_mut_ptr().cast(), bufs.len());
        // SAFETY: invariants 2 and 3; the parts are borrowed mutably, so they may be filled.
        unsafe { self.recv_message(&mut message, 0) }
    }

    #[inline]
    #[track_caller]
    pub(crate) fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let message = Message::new(bufs.as_ptr().cast_mut().cast(), bufs.len());
        // SAFETY: invariants 2 and 3; a send only reads.
        unsafe { self.send_message(&message, self.write_patience()) }
    }

    #[inline]
    #[track_caller]
    pub(crate) fn recv_from(&self, buf: &mut [u8], flags: i32) -> io::Result<(usize, SockAddr)> {
        let mut storage = SockAddrStorage::zeroed();
        let mut part = IoSliceMut::new(buf);
        let mut message = Message::new((&raw mut part).cast(), 1);
        message.0.msg_name = (&raw mut storage).cast();
        message.0.msg_namelen = storage.size_of();
        // SAFETY: invariants 2 and 3; `storage` has the size that the message says.
        let n = unsafe { self.recv_message(&mut message, flags) }?;
        // SAFETY: the kernel wrote an address of this length into the zeroed storage.
        let addr = unsafe { SockAddr::new(storage, message.0.msg_namelen) };
        Ok((n, addr))
    }

    /// Sends to `addr`, waiting as `wait` says.
    #[inline]
    #[track_caller]
    pub(crate) fn send_to(&self, buf: &[u8], addr: &SockAddr, wait: Wait) -> io::Result<usize> {
        let part = IoSlice::new(buf);
        let mut message = Message::new((&raw const part).cast_mut().cast(), 1);
        message.0.msg_name = addr.as_ptr().cast_mut().cast();
        message.0.msg_namelen = addr.len();
        // SAFETY: invariants 2 and 3; a send only reads.
        unsafe { self.send_message(&message, wait) }
    }

    /// # Safety
    /// What `message` points to may be written until this returns or unwinds.
    #[inline]
    #[track_caller]
    unsafe fn recv_message(&self, message: &mut Message, flags: i32) -> io::Result<usize> {
        let kind = OpKind::RecvMsg {
            msg: &raw mut message.0,
            flags,
        };
        // SAFETY: by the caller's promise.
        unsafe {
            op::run(
                self.as_fd(),
                Some(self.source()),
                kind,
                self.read_patience(),
            )
        }
    }

    /// # Safety
    /// What `message` points to may be read until this returns or unwinds.
    #[inline]
    #[track_caller]
    unsafe fn send_message(&self, message: &Message, wait: Wait) -> io::Result<usize> {
        let kind = OpKind::SendMsg {
            msg: &raw const message.0,
            flags: 0,
        };
        // SAFETY: by the caller's promise.
        unsafe { op::run(self.as_fd(), Some(self.source()), kind, wait) }
    }
}

impl AsFd for Socket {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One of std's types on a borrowed descriptor.
#[derive(Debug)]
pub(crate) struct Lent<'a, T> {
    std: ManuallyDrop<T>,
    socket: PhantomData<&'a Socket>,
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.std
    }
}

/// A `msghdr` without control data.
struct Message(libc::msghdr);

impl Message {
    /// The most parts that one call takes (`UIO_MAXIOV`); std sends the first so many, too.
    const MOST_PARTS: usize = 1024;

    fn new(parts: *mut libc::iovec, count: usize) -> Message {
        // SAFETY: all zeros is a valid `msghdr`: no name, no parts, no control data.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = parts;
        header.msg_iovlen = count.min(Self::MOST_PARTS);
        Message(header)
    }
}

/// A timeout as [`Shared`] keeps it. No timeout is zero long: std refuses that.
fn nanos(timeout: Option<Duration>) -> u64 {
    timeout.map_or(0, |timeout| {
        u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_given_away_is_blocking_unless_the_user_said_otherwise() {
        for asked in [false, true] {
            let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = Socket::adopt(std.into(), Kind::Listener);
            assert!(SockRef::from(&socket).nonblocking().unwrap());
            assert_eq!(socket.patience(), Wait::Forever);
            socket.set_nonblocking(asked).unwrap();
            let other = socket.try_clone().unwrap();
            let fd = socket.into_fd();
            assert_eq!(SockRef::from(&fd).nonblocking().unwrap(), asked);
            assert!(other.may_block_in_accept());
        }
    }

    #[test]
    fn an_adopted_socket_keeps_its_settings() {
        let (std, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        std.set_nonblocking(true).unwrap();
        std.set_write_timeout(Some(Duration::from_secs(4))).unwrap();
        let socket = Socket::adopt(std.into(), Kind::Stream);
        assert_eq!(socket.read_patience(), Wait::No);
        socket.set_nonblocking(false).unwrap();
        let twin = socket.try_clone().unwrap();
        assert_eq!(twin.read_patience(), Wait::Forever);
        assert_eq!(twin.write_patience(), Wait::For(Duration::from_secs(4)));
        twin.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        assert_eq!(socket.read_patience(), Wait::For(Duration::from_secs(2)));
        socket.set_write_timeout(None).unwrap();
        assert_eq!(twin.write_patience(), Wait::Forever);
    }
}
