//! One conformance suite for all drivers, and what is particular to each.
//!
//! # Invariants
//! 1. A [`Call`] that is in flight is leaked, never freed, so a failing test does not
//!    leave the kernel a pointer to freed memory.
#![allow(unsafe_code)]

mod close;
mod conformance;
mod process;
mod readiness;
mod wake;

use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Driver, Kind, Op, OpKind, Sleeper, Source, open};
use crate::sys::uring::{self, Abilities, Setup};

/// Far more than any test needs.
const WATCHDOG: Duration = Duration::from_secs(60);

/// All drivers that this machine can run, older kernels' included.
fn kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::Epoll];
    match uring::probe() {
        Ok(found) => {
            for (setup, futex) in [
                (Setup::Defer, true),
                (Setup::Defer, false),
                (Setup::Coop, true),
                (Setup::Plain, false),
            ] {
                if futex <= found.futex && Worker::can_open(Kind::Uring(Abilities { setup, futex }))
                {
                    kinds.push(Kind::Uring(Abilities { setup, futex }));
                }
            }
        }
        Err(missing) => eprintln!("tested on epoll only: {missing:?}"),
    }
    kinds
}

/// Runs `test` with a fresh worker of each kind.
fn on_each(test: impl Fn(&mut Worker)) {
    for kind in kinds() {
        eprintln!("on {kind:?}");
        let mut worker = Worker::new(kind);
        test(&mut worker);
        assert_eq!(
            worker.driver.in_flight(),
            0,
            "the test left operations behind"
        );
    }
}

/// A driver, used as the scheduler would.
struct Worker {
    driver: Box<dyn Driver>,
    sleeper: Arc<Sleeper>,
    done: Vec<NonNull<Op>>,
    is_epoll: bool,
}

impl Worker {
    fn new(kind: Kind) -> Worker {
        let sleeper = Arc::new(Sleeper::new());
        let driver = open(kind, &sleeper).unwrap();
        Worker {
            driver,
            sleeper,
            done: Vec::new(),
            is_epoll: kind == Kind::Epoll,
        }
    }

    fn can_open(kind: Kind) -> bool {
        open(kind, &Arc::new(Sleeper::new())).is_ok()
    }

    /// Attempts the call, and submits it if it has to wait.
    fn start(&mut self, call: &Call) {
        match self.driver.attempt(call) {
            Some(result) => call.result.set(Some(result)),
            None => self.submit(call),
        }
    }

    fn submit(&mut self, call: &Call) {
        // SAFETY: the operation is boxed and leaked while in flight (invariant 1).
        unsafe { self.driver.submit(NonNull::from(&**call), &mut self.done) };
    }

    fn cancel(&mut self, call: &Call) {
        // SAFETY: `call` was submitted here and is alive.
        unsafe { self.driver.cancel(NonNull::from(&**call), &mut self.done) };
    }

    fn flush(&mut self) {
        self.driver.flush(&mut self.done);
    }

    /// Sleeps until something happens.
    fn wait(&mut self) {
        self.sleeper.prepare();
        self.driver.wait(Some(WATCHDOG), &mut self.done);
        self.sleeper.awake();
    }

    /// Waits until `call` has completed.
    fn finish(&mut self, call: &Call) -> i32 {
        self.until(|| call.result.get().is_some());
        call.result.get().unwrap()
    }

    fn until(&mut self, mut over: impl FnMut() -> bool) {
        let start = Instant::now();
        while !over() {
            assert!(start.elapsed() < WATCHDOG, "nothing happens any more");
            self.wait();
        }
    }

    /// Gives what was started the chance to complete wrongly.
    fn assert_pending(&mut self, call: &Call) {
        self.flush();
        self.flush();
        assert_eq!(call.result.get(), None);
    }
}

/// An operation with its buffer.
struct Call {
    op: ManuallyDrop<Box<Op>>,
    buf: ManuallyDrop<Box<[u8]>>,
}

impl Call {
    fn new(
        fd: RawFd,
        source: Option<&Source>,
        mut buf: Box<[u8]>,
        kind: impl FnOnce(*mut u8, usize) -> OpKind,
    ) -> Call {
        let kind = kind(buf.as_mut_ptr(), buf.len());
        let op = Box::new(Op::new(kind, fd, source.map(NonNull::from), ptr::null()));
        Call {
            op: ManuallyDrop::new(op),
            buf: ManuallyDrop::new(buf),
        }
    }

    /// The bytes received.
    fn bytes(&self) -> &[u8] {
        let len = self.result.get().expect("the call has completed");
        &self.buf[..usize::try_from(len).expect("the call has succeeded")]
    }
}

impl Deref for Call {
    type Target = Op;

    fn deref(&self) -> &Op {
        &self.op
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // `next` is set while a driver has the operation.
        if self.result.get().is_some() || self.link.next.get().is_null() {
            // SAFETY: dropped once, here; no driver has it.
            unsafe {
                ManuallyDrop::drop(&mut self.op);
                ManuallyDrop::drop(&mut self.buf);
            }
        }
    }
}

/// A socket as our own types have it: with a source, released before it is closed.
struct Socket<S: AsRawFd> {
    io: S,
    source: Source,
}

impl<S: AsRawFd> Socket<S> {
    fn new(io: S, stream: bool) -> Socket<S> {
        Socket {
            io,
            source: Source::new(stream, &()),
        }
    }

    fn fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }

    fn recv(&self, len: usize) -> Call {
        self.recv_with(len, 0)
    }

    fn recv_with(&self, len: usize, flags: i32) -> Call {
        let buf = vec![0; len].into_boxed_slice();
        Call::new(self.fd(), Some(&self.source), buf, |buf, len| {
            OpKind::Recv { buf, len, flags }
        })
    }

    fn send(&self, bytes: &[u8]) -> Call {
        Call::new(self.fd(), Some(&self.source), bytes.into(), |buf, len| {
            OpKind::Send { buf, len, flags: 0 }
        })
    }

    fn poll(&self, events: i16) -> Call {
        Call::new(self.fd(), Some(&self.source), Box::default(), |_, _| {
            OpKind::Poll { events }
        })
    }
}

impl<S: AsRawFd> Drop for Socket<S> {
    fn drop(&mut self) {
        self.source.release(self.io.as_raw_fd());
    }
}

/// A wait for a descriptor that is not ours.
fn foreign(fd: RawFd, events: i16) -> Call {
    Call::new(fd, None, Box::default(), |_, _| OpKind::Poll { events })
}

fn unix() -> (Socket<UnixStream>, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    (Socket::new(ours, true), peer)
}

fn tcp() -> (Socket<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    ours.set_nodelay(true).unwrap();
    (Socket::new(ours, true), peer)
}

/// Registers the socket (epoll), and leaves it empty and known to be so.
fn settle<S: AsRawFd>(worker: &mut Worker, ours: &Socket<S>, peer: &mut (impl Read + Write)) {
    let first = ours.recv(100);
    worker.start(&first);
    worker.assert_pending(&first);
    peer.write_all(b"hello").unwrap();
    assert_eq!(worker.finish(&first), 5);
    assert_eq!(first.bytes(), b"hello");
}
