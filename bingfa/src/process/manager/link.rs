//! Frames over a stream socket: `[length: u32][descriptors: u16]` and so many bytes. The
//! descriptors come with the first of them.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use serde::Serialize;
use socket2::{SockRef, TcpKeepalive};

use crate::io::op::Wait;
use crate::io::packet;
use crate::io::socket::Socket;
use crate::net::TcpStream;
use crate::sys::pass;
use crate::sys::socket::send_now;

const HEAD: usize = 6;

/// No frame is longer.
pub(super) const LONGEST: usize = 1 << 30;

/// For how long a connection over a network may be silent before the other side is asked whether
/// it is there, how long it is waited for each time, and how often.
const SILENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
/// For how long what was sent may stay unacknowledged.
const UNHEARD: Duration = Duration::from_secs(60);

/// Small frames go at once; and if the machine of the other side vanishes without a word, the
/// connection ends after a minute, also while nothing is sent.
pub(super) fn over_a_network(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(INTERVAL)
        .with_retries(PROBES);
    let options = SockRef::from(socket);
    options.set_tcp_keepalive(&keepalive)?;
    options.set_tcp_user_timeout(Some(UNHEARD))?;
    socket.set_nodelay(true)
}

/// What has come.
#[derive(Debug)]
pub(super) enum Received {
    /// A frame with these descriptors.
    Frame(Vec<OwnedFd>),
    /// The head of one that is longer than is taken, in words; it can be
    /// [skipped](Incoming::skip).
    TooLong(String),
    /// Nothing: the other side has closed the connection.
    Closed,
}

/// What one end has received and not yet looked at.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// How much of `bytes` the frame at hand takes.
    taken: usize,
}

impl Incoming {
    /// Waits for the next frame, whose bytes are then in [`body`](Self::body).
    ///
    /// # Errors
    /// [`InvalidData`](ErrorKind::InvalidData) if its descriptors did not come.
    pub(super) fn next(
        &mut self,
        socket: &Socket,
        longest: usize,
        wait: Wait,
    ) -> io::Result<Received> {
        if self.taken == self.bytes.len() && self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..self.taken);
        }
        self.taken = 0;
        loop {
            let have = self.bytes.len();
            let mut missing = 4096;
            if let Some((len, fds)) = self.head() {
                if len > longest {
                    let why = format!("a message of {len} bytes; at most {longest} are taken");
                    return Ok(Received::TooLong(why));
                }
                if have >= HEAD + len {
                    if fds > self.fds.len() {
                        let why = "descriptors are missing; this process may have too many open";
                        return Err(invalid(why));
                    }
                    self.taken = HEAD + len;
                    return Ok(Received::Frame(self.fds.drain(..fds).collect()));
                }
                // Room for no more than as much again as has come: a length alone costs nothing.
                missing = (HEAD + len - have).min(have.max(64 << 10));
            }
            if !self.receive(socket, missing, wait)? {
                return if have == 0 {
                    Ok(Received::Closed)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Throws away the frame that was too long, as it comes.
    pub(super) fn skip(&mut self, socket: &Socket, wait: Wait) -> io::Result<()> {
        let Some((len, fds)) = self.head() else {
            return Ok(());
        };
        let mut left = HEAD + len;
        loop {
            let here = left.min(self.bytes.len());
            self.bytes.drain(..here);
            left -= here;
            if left == 0 {
                break;
            }
            if !self.receive(socket, 64 << 10, wait)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.fds.drain(..fds.min(self.fds.len()));
        Ok(())
    }

    /// The lengths of the frame at hand, in bytes and descriptors.
    fn head(&self) -> Option<(usize, usize)> {
        let [a, b, c, d, low, high] = *self.bytes.first_chunk::<HEAD>()?;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        Some((len, usize::from(u16::from_le_bytes([low, high]))))
    }

    /// Waits for some bytes more, about as many as `room`. False: there are none any more.
    fn receive(&mut self, socket: &Socket, room: usize, wait: Wait) -> io::Result<bool> {
        let have = self.bytes.len();
        self.bytes.reserve(room);
        let mut fds = packet::receive(socket, &mut self.bytes, usize::MAX, wait)?;
        self.fds.append(&mut fds);
        if self.fds.len() > 2 * pass::MOST {
            return Err(invalid("descriptors that belong to no message"));
        }
        Ok(self.bytes.len() > have)
    }

    /// The bytes of the frame at hand.
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[HEAD.min(self.taken)..self.taken]
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// A frame to be sent, whose memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Outgoing {
    /// Makes it a frame of `content`, with `fds`.
    ///
    /// # Errors
    /// If that is too long.
    pub(super) fn fill<T: Serialize>(&mut self, content: &T, fds: Vec<OwnedFd>) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() > 1 << 20 {
            bytes = Vec::new();
        }
        bytes.clear();
        bytes.extend_from_slice(&[0; HEAD]);
        bytes = postcard::to_extend(content, bytes).map_err(io::Error::other)?;
        let len = bytes.len() - HEAD;
        if len > LONGEST || fds.len() > pass::MOST {
            let why = format!(
                "a message of {len} bytes with {} descriptors; a manager takes at most {LONGEST} \
                 bytes and {} descriptors",
                fds.len(),
                pass::MOST
            );
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
        bytes[4..HEAD].copy_from_slice(&(fds.len() as u16).to_le_bytes());
        self.bytes = bytes;
        self.fds = fds;
        Ok(())
    }

    /// What it says.
    #[cfg(test)]
    pub(super) fn content<'a, T: serde::Deserialize<'a>>(&'a self) -> T {
        postcard::from_bytes(&self.bytes[HEAD..]).expect("what was filled in")
    }

    /// Sends it if there is room, without waiting: a short one, without descriptors.
    pub(super) fn send_now(&self, socket: &Socket) {
        send_now(socket.as_fd(), &self.bytes);
    }

    /// Sends it.
    pub(super) fn send(&mut self, socket: &Socket, wait: Wait) -> io::Result<()> {
        let fds = std::mem::take(&mut self.fds);
        if fds.is_empty() {
            return send_all(socket, &self.bytes, &[], wait);
        }
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        send_all(socket, &self.bytes, &raw, wait)
    }
}

/// Sends bytes over a stream, with descriptors.
pub(super) fn send_all(
    socket: &Socket,
    mut bytes: &[u8],
    mut fds: &[RawFd],
    wait: Wait,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = if fds.is_empty() {
            socket.send_within(bytes, wait)
        } else {
            packet::send(socket, &[IoSlice::new(bytes)], fds, wait)
        };
        match sent {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        fds = &[];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::connect;
    use crate::io::socket::Kind;
    use proptest::prelude::*;

    const SOON: Wait = Wait::Forever;

    #[test]
    fn frames_arrive_in_any_pieces() {
        let (a, b) = connect::pair(Kind::Stream).unwrap();
        let mut out = Outgoing::default();
        let mut all = Vec::new();
        for len in [0usize, 1, 4096, 100_000] {
            out.fill(&vec![7u8; len], Vec::new()).unwrap();
            all.extend_from_slice(&out.bytes);
        }
        let sender = std::thread::spawn(move || {
            for piece in all.chunks(1000) {
                send_all(&a, piece, &[], SOON).unwrap();
            }
        });
        let mut incoming = Incoming::default();
        for len in [0usize, 1, 4096, 100_000] {
            let received = incoming.next(&b, LONGEST, SOON).unwrap();
            assert!(matches!(received, Received::Frame(_)));
            let bytes: Vec<u8> = postcard::from_bytes(incoming.body()).unwrap();
            assert_eq!(bytes, vec![7; len]);
        }
        sender.join().unwrap();
        let received = incoming.next(&b, LONGEST, SOON).unwrap();
        assert!(matches!(received, Received::Closed));
    }

    #[test]
    fn a_length_alone_costs_no_memory() {
        let (a, b) = connect::pair(Kind::Stream).unwrap();
        let head = [0, 0, 0, 0x3f, 0, 0]; // nearly a gibibyte
        send_all(&a, &head, &[], SOON).unwrap();
        drop(a);
        let mut incoming = Incoming::default();
        let error = incoming.next(&b, LONGEST, SOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(incoming.bytes.capacity() < 1 << 20);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (a, b) = connect::pair(Kind::Stream).unwrap();
            send_all(&a, &bytes, &[], SOON).unwrap();
            drop(a);
            let mut incoming = Incoming::default();
            loop {
                match incoming.next(&b, 1000, SOON) {
                    Ok(Received::Frame(_)) => prop_assert!(incoming.body().len() <= 1000),
                    Ok(Received::TooLong(_)) if incoming.skip(&b, SOON).is_ok() => {}
                    _ => break,
                }
            }
        }
    }
}
