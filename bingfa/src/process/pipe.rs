//! Two connected ends that carry messages between processes.
//!
//! Each message is one packet of a `SOCK_SEQPACKET` pair, so it is sent and received as a
//! whole or not at all, whoever else sends or receives and whatever interrupts: `[kind: u8]
//! [pid of the sender: u32]` and the value's bytes. What does not fit into a packet goes as a
//! sealed memory file, with the writing end of an ordinary pipe as its *receipt*: that is
//! closed when the message has been read, or is lost. A sender waits for its last receipt
//! before it sends another such file, so that a slow reader is not buried in memory. One with
//! handles of shared objects takes along another receipt (`receipt.rs`).

use std::borrow::Borrow;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, PipeReader};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::carry::{self, Place, Setting};
use super::keeper;
use super::receipt::Receipt;
use super::wire::{self, Encoded};
use crate::io::op::{self, Wait};
use crate::io::packet;
use crate::io::socket::{Kind, Socket};
use crate::sys::sealed::{self, Sealed};
use crate::sys::{errno, pass, pidfd, socket};

/// Makes a pipe: two ends, each of which sends what the other receives.
///
/// Hand one end to another process, as an argument of [`spawn`](super::spawn()) or in a
/// message. The first type is what the first end sends, the second what it receives.
///
/// # Errors
/// When no more descriptors can be opened.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Connection};
///
/// let (ours, theirs) = process::pipe::<String, Vec<u32>>()?;
/// let child = process::spawn(theirs, |parent: Connection<Vec<u32>, String>| {
///     parent.send(vec![42, 7]).unwrap();
///     parent.recv().unwrap()
/// });
/// assert_eq!(ours.recv()?, [42, 7]);
/// ours.send("Hi".to_owned())?;
/// assert_eq!(child.join().unwrap(), "Hi");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "Pipe")]
#[doc(alias = "multiprocessing.Pipe")]
pub fn pipe<S, R>() -> io::Result<(Connection<S, R>, Connection<R, S>)> {
    let (a, b) = pass::pair(false)?;
    let end = |fd| Socket::new(fd, Kind::Datagram);
    Ok((Connection::new(end(a), 0), Connection::new(end(b), 0)))
}

/// One end of a [`pipe`], which sends `S` and receives `R`; an argument or a part of messages
/// for other processes.
///
/// What is sent is not typed on the way: both processes have to mean the same by it, as they do
/// when the ends come from one call of `pipe`. Beside values it carries raw bytes. A message
/// may have any length up to 4 GiB, and takes along what handles are in it: sockets,
/// [`Fd`](super::Fd)s, other ends, and those of shared objects, which cost a descriptor until the
/// message is read, and go with it if nobody reads it.
///
/// It is closed when it is dropped and no other process has it. That, or the death of the
/// process at the other end, is an error there at once, after what had been sent before. A
/// process that keeps the other end itself never sees it: hand it over, or drop it.
///
/// Several carriers and processes may share an end; each message goes to one of them.
///
/// # Cancellation
/// A cancelled send has sent nothing, a cancelled receive has taken nothing.
#[doc(alias = "multiprocessing.connection.Connection")]
#[doc(alias = "PipeConnection")]
pub struct Connection<S, R = S> {
    socket: Socket,
    /// Who sent the last message, by pid; 0: nobody yet.
    peer: AtomicU32,
    /// Of the last message that was sent as a file.
    receipt: Mutex<Option<Arc<PipeReader>>>,
    carries: PhantomData<fn(S) -> R>,
}

/// A packet with its head; what is longer goes as a file.
const LONGEST_PACKET: usize = 64 << 10;
/// The longest file that is taken.
const LONGEST: u64 = 4 << 30;
const HEAD: usize = 5;

const VALUE: u8 = 1;
const BYTES: u8 = 2;
/// Added to the kind: the bytes are in the first descriptor, the second is the receipt.
const AS_FILE: u8 = 0x80;
/// Added to the kind: the first of the other descriptors is the receipt for shared objects.
const SHARED: u8 = 0x40;

impl<S, R> Connection<S, R> {
    fn new(socket: Socket, peer: u32) -> Self {
        Connection {
            socket,
            peer: AtomicU32::new(peer),
            receipt: Mutex::new(None),
            carries: PhantomData,
        }
    }

    /// Sends a value, waiting for room.
    ///
    /// Suspends only the caller: a coroutine gives its thread back to the scheduler, a plain
    /// thread sleeps in the kernel.
    ///
    /// # Errors
    /// `InvalidInput` if the value cannot be encoded (it names the type);
    /// [`BrokenPipe`](ErrorKind::BrokenPipe) if the other end is closed, with the process that
    /// had it as far as it is known.
    ///
    /// # Cancellation
    /// A cancelled send has sent nothing.
    #[doc(alias = "Connection.send")]
    #[track_caller]
    pub fn send(&self, value: impl Borrow<S>) -> io::Result<()>
    where
        S: Serialize,
    {
        self.send_value(value.borrow(), Wait::Forever)
    }

    /// As [`send`](Self::send), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut) if there is no room by then; as for `send`.
    ///
    /// # Cancellation
    /// A cancelled send has sent nothing.
    #[track_caller]
    pub fn send_timeout(&self, value: impl Borrow<S>, limit: Duration) -> io::Result<()>
    where
        S: Serialize,
    {
        self.send_value(value.borrow(), until(limit))
    }

    /// As [`send`](Self::send), but does not wait.
    ///
    /// # Errors
    /// [`WouldBlock`](ErrorKind::WouldBlock) if there is no room; as for `send`.
    #[track_caller]
    pub fn try_send(&self, value: impl Borrow<S>) -> io::Result<()>
    where
        S: Serialize,
    {
        self.send_value(value.borrow(), Wait::No)
    }

    /// Sends raw bytes, to be received by [`recv_bytes`](Self::recv_bytes).
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// # Cancellation
    /// A cancelled send has sent nothing.
    ///
    /// # Examples
    /// ```
    /// let (a, b) = bingfa::process::pipe::<(), ()>()?;
    /// a.send_bytes(b"hello")?;
    /// assert_eq!(b.recv_bytes()?, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "Connection.send_bytes")]
    #[track_caller]
    pub fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_message(BYTES, bytes, &[], Wait::Forever)
    }

    /// Waits for a value.
    ///
    /// Suspends only the caller: a coroutine gives its thread back to the scheduler, a plain
    /// thread sleeps in the kernel.
    ///
    /// # Errors
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the other end is closed and all that it
    /// sent has been received; it names the process that had it, as far as it is known.
    /// [`InvalidData`](ErrorKind::InvalidData) if what comes is no `R`; the message is used up.
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    #[doc(alias = "Connection.recv")]
    #[doc(alias = "EOFError")]
    #[track_caller]
    pub fn recv(&self) -> io::Result<R>
    where
        R: DeserializeOwned,
    {
        self.recv_value(Wait::Forever)
    }

    /// As [`recv`](Self::recv), but waits for at most `limit`.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut) if nothing comes by then; as for `recv`.
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    #[track_caller]
    pub fn recv_timeout(&self, limit: Duration) -> io::Result<R>
    where
        R: DeserializeOwned,
    {
        self.recv_value(until(limit))
    }

    /// As [`recv`](Self::recv), but does not wait.
    ///
    /// # Errors
    /// [`WouldBlock`](ErrorKind::WouldBlock) if there is no message; as for `recv`.
    #[track_caller]
    pub fn try_recv(&self) -> io::Result<R>
    where
        R: DeserializeOwned,
    {
        self.recv_value(Wait::No)
    }

    /// Waits for raw bytes that were sent by [`send_bytes`](Self::send_bytes).
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    #[doc(alias = "Connection.recv_bytes")]
    #[track_caller]
    pub fn recv_bytes(&self) -> io::Result<Vec<u8>> {
        self.receive(BYTES, Wait::Forever, |bytes, _, _| Ok(bytes.to_vec()))
    }

    /// Waits for at most `limit`, and says whether there is a message, or the end of them, so
    /// that a receive would not wait.
    ///
    /// Another that shares this end may take the message first.
    /// [`wait`](super::wait()) waits for any of several ends.
    ///
    /// # Errors
    /// The operating system's, which a pipe does not give.
    ///
    /// # Cancellation
    /// A cancelled waiter has taken nothing.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (a, b) = bingfa::process::pipe::<u32, ()>()?;
    /// assert!(!b.poll(Duration::ZERO)?);
    /// a.send(1)?;
    /// assert!(b.poll(Duration::ZERO)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "Connection.poll")]
    #[track_caller]
    pub fn poll(&self, limit: Duration) -> io::Result<bool> {
        if op::seen_now(self.as_fd(), socket::POLLIN)? != 0 {
            return Ok(true);
        }
        let source = Some(self.socket.source());
        match op::wait_for(self.as_fd(), source, socket::POLLIN, until(limit)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The process that sent the last message that was received here; `None` before the first.
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        // Relaxed: the number itself is all that counts; so everywhere.
        Some(self.peer.load(Relaxed)).filter(|&pid| pid != 0)
    }

    /// Makes a second handle of this end.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Connection::new(socket, self.peer.load(Relaxed)))
    }

    #[track_caller]
    fn send_value(&self, value: &S, wait: Wait) -> io::Result<()>
    where
        S: Serialize,
    {
        let encoded = wire::encode(value)
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error.to_string()))?;
        let Encoded {
            bytes,
            mut fds,
            shared,
        } = encoded;
        if shared.is_empty() {
            return self.send_message(VALUE, &bytes, &fds, wait);
        }
        let (receipt, held) = io::pipe()?;
        fds.insert(0, held.into());
        self.send_message(VALUE | SHARED, &bytes, &fds, wait)?;
        keeper::await_receipt(receipt, shared);
        Ok(())
    }

    #[track_caller]
    fn send_message(&self, kind: u8, bytes: &[u8], fds: &[OwnedFd], wait: Wait) -> io::Result<()> {
        let mut raw: Vec<RawFd> = Vec::new();
        if bytes.len() <= LONGEST_PACKET - HEAD {
            raw.extend(fds.iter().map(AsRawFd::as_raw_fd));
            return self.send_packet(kind, bytes, &raw, wait);
        }
        if bytes.len() as u64 > LONGEST || fds.len() + 2 > pass::MOST {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "a message of {} bytes with {} descriptors; a pipe carries at most {LONGEST} \
                     bytes, and {} descriptors with a large message",
                    bytes.len(),
                    fds.len(),
                    pass::MOST - 2
                ),
            ));
        }
        let before = self.receipt().clone();
        if let Some(receipt) = before {
            op::wait_for(receipt.as_fd(), None, socket::POLLIN, wait)?;
        }
        let file = sealed::file_of(bytes)?;
        let (receipt, held) = io::pipe()?;
        raw.extend([file.as_raw_fd(), held.as_raw_fd()]);
        raw.extend(fds.iter().map(AsRawFd::as_raw_fd));
        self.send_packet(kind | AS_FILE, &[], &raw, wait)?;
        *self.receipt() = Some(Arc::new(receipt));
        Ok(())
    }

    fn receipt(&self) -> MutexGuard<'_, Option<Arc<PipeReader>>> {
        self.receipt.lock().unwrap_or_else(PoisonError::into_inner) // a value is put in, no more
    }

    #[track_caller]
    fn send_packet(&self, kind: u8, bytes: &[u8], fds: &[RawFd], wait: Wait) -> io::Result<()> {
        let mut head = [kind; HEAD];
        head[1..].copy_from_slice(&std::process::id().to_le_bytes());
        let parts = [IoSlice::new(&head), IoSlice::new(bytes)];
        let sent = packet::send(&self.socket, &parts, fds, wait);
        sent.map(drop).map_err(|error| match error.kind() {
            // Reset: it was closed with messages unread.
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                io::Error::new(ErrorKind::BrokenPipe, self.closed())
            }
            _ => error,
        })
    }

    #[track_caller]
    fn recv_value(&self, wait: Wait) -> io::Result<R>
    where
        R: DeserializeOwned,
    {
        self.receive(VALUE, wait, |bytes, fds, receipt| {
            let setting = Setting {
                receipt: receipt.map(Receipt::new),
                ..Setting::default()
            };
            wire::decode_in(setting, bytes, fds)
                .map_err(|error| invalid(self.peer(), &error.to_string()))
        })
    }

    /// Receives a message of this kind, and hands over its bytes.
    #[track_caller]
    fn receive<T>(
        &self,
        kind: u8,
        wait: Wait,
        read: impl FnOnce(&[u8], Vec<OwnedFd>, Option<OwnedFd>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut packet = Vec::with_capacity(LONGEST_PACKET);
        let mut fds = loop {
            match packet::receive(&self.socket, &mut packet, LONGEST_PACKET, wait) {
                // Said once, when the other end was closed with messages unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                received => break received?,
            }
        };
        if packet.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, self.closed()));
        }
        let Some((head, bytes)) = packet.split_at_checked(HEAD) else {
            return Err(invalid(None, "it has no head"));
        };
        let sender = u32::from_le_bytes(head[1..].try_into().expect("4 bytes"));
        self.peer.store(sender, Relaxed);
        if head[0] & !(AS_FILE | SHARED) != kind {
            let why = match head[0] & !(AS_FILE | SHARED) {
                VALUE => "it is a value, not raw bytes",
                BYTES => "it is raw bytes, not a value",
                _ => "it is of no known kind",
            };
            return Err(invalid(Some(sender), why));
        }
        let (is_file, has_shared) = (head[0] & AS_FILE != 0, head[0] & SHARED != 0);
        let own = if is_file { 2 } else { 0 } + usize::from(has_shared);
        if fds.len() < own {
            let why = "descriptors are missing; this process may have too many files open";
            return Err(invalid(Some(sender), why));
        }
        let rest = fds.split_off(own);
        let receipt = has_shared.then(|| fds.pop()).flatten();
        if !is_file {
            return read(bytes, rest, receipt);
        }
        let file = Sealed::map(fds[0].as_fd(), LONGEST)
            .map_err(|error| invalid(Some(sender), &error.to_string()))?;
        read(&file, rest, receipt) // and the file's own receipt is dropped
    }

    /// Why nothing can come or go any more.
    fn closed(&self) -> String {
        let who = match self.peer() {
            None => "nothing has come from it".into(),
            Some(pid) if is_gone(pid) => format!("process {pid}, which had it, has ended"),
            Some(pid) => format!("the last message came from process {pid}"),
        };
        format!("the other end of the pipe is closed ({who})")
    }
}

fn until(limit: Duration) -> Wait {
    let end = Instant::now().checked_add(limit);
    end.map_or(Wait::Forever, Wait::Until)
}

/// As far as this process can tell.
fn is_gone(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| match pidfd::open(pid) {
        Ok(process) => pidfd::has_ended(process.as_fd()),
        Err(error) => error.raw_os_error() == Some(errno::ESRCH),
    })
}

fn invalid(sender: Option<u32>, why: &str) -> io::Error {
    let from = sender.map_or(String::new(), |pid| format!(" from process {pid}"));
    let text = format!("a message{from} cannot be received: {why}");
    io::Error::new(ErrorKind::InvalidData, text)
}

impl<S, R> AsFd for Connection<S, R> {
    /// Readable when there is a message, or the end.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S, R> Serialize for Connection<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let place = carry::attach::<Self, Z::Error>(self.as_fd())?;
        (place, self.peer.load(Relaxed)).serialize(serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, peer) = <(Place, u32)>::deserialize(deserializer)?;
        let fd = carry::take::<Self, D::Error>(place)?;
        Ok(Connection::new(Socket::new(fd, Kind::Datagram), peer))
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("fd", &self.as_fd().as_raw_fd())
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
