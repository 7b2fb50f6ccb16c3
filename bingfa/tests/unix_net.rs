//! Unix sockets: what std promises, on whichever carrier the tests run.

use bingfa::thread::spawn;

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bingfa::io::{self, Read, Write};
use bingfa::net::Shutdown;
use bingfa::os::linux::net::SocketAddrExt;
use bingfa::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

const SHORT: Duration = Duration::from_millis(20);

/// A name that no other test of this run has.
fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("bingfa-test-{}-{n}", std::process::id())
}

fn abstract_addr() -> SocketAddr {
    SocketAddr::from_abstract_name(unique()).unwrap()
}

/// A path for a socket, removed when dropped.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new() -> SocketPath {
        SocketPath(std::env::temp_dir().join(unique()))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn is_nonblocking(fd: &impl AsFd) -> bool {
    SockRef::from(fd).nonblocking().unwrap()
}

#[bingfa::test]
fn a_listener_at_a_path_serves() {
    let path = SocketPath::new();
    let listener = UnixListener::bind(&path.0).unwrap();
    let client = {
        let path = path.0.clone();
        spawn(move || {
            let mut stream = UnixStream::connect(&path).unwrap();
            assert!(!is_nonblocking(&stream));
            assert_eq!(
                stream.peer_addr().unwrap().as_pathname(),
                Some(path.as_path())
            );
            stream.write_all(b"hello").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    };
    let (mut stream, peer) = listener.accept().unwrap();
    assert!(peer.is_unnamed());
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    stream.write_all(text.to_uppercase().as_bytes()).unwrap();
    drop(stream);
    assert_eq!(client.join().unwrap(), "HELLO");

    let taken = UnixListener::bind(&path.0).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    drop(listener);
    let refused = UnixStream::connect(&path.0).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let missing = UnixStream::connect("/no/such/socket").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[bingfa::test]
fn abstract_addresses_work() {
    let addr = abstract_addr();
    let listener = UnixListener::bind_addr(&addr).unwrap();
    assert_eq!(
        listener.local_addr().unwrap().as_abstract_name(),
        addr.as_abstract_name()
    );
    let client = {
        let addr = addr.clone();
        spawn(move || {
            for _ in 0..3 {
                UnixStream::connect_addr(&addr).unwrap();
            }
        })
    };
    for stream in (&listener).into_iter().take(3) {
        assert_eq!(stream.unwrap().read(&mut [0]).unwrap(), 0);
    }
    client.join().unwrap();
    assert_eq!(listener.incoming().size_hint(), (usize::MAX, None));
}

#[bingfa::test]
fn a_bound_client_is_named_to_the_server() {
    let (path, server) = (SocketPath::new(), abstract_addr());
    let listener = UnixListener::bind_addr(&server).unwrap();
    let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    client.bind(&SockAddr::unix(&path.0).unwrap()).unwrap();
    let name = [b"\0", server.as_abstract_name().unwrap()].concat();
    let name = std::str::from_utf8(&name).unwrap();
    client.connect(&SockAddr::unix(name).unwrap()).unwrap();
    let (_stream, peer) = listener.accept().unwrap();
    assert_eq!(peer.as_pathname(), Some(path.0.as_path()));
}

#[bingfa::test]
fn connecting_waits_for_room_in_the_backlog() {
    let addr = abstract_addr();
    let name = [b"\0", addr.as_abstract_name().unwrap()].concat();
    let name = std::str::from_utf8(&name).unwrap();
    let full = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    full.bind(&SockAddr::unix(name).unwrap()).unwrap();
    full.listen(0).unwrap();
    let listener = UnixListener::from(OwnedFd::from(full));
    let clients: Vec<_> = (0..8)
        .map(|i| {
            let addr = addr.clone();
            spawn(move || {
                let stream = UnixStream::connect_addr(&addr).unwrap();
                (&stream).write_all(&[i]).unwrap();
            })
        })
        .collect();
    let mut seen = Vec::new();
    for stream in listener.incoming().take(clients.len()) {
        stream.unwrap().read_to_end(&mut seen).unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
    for one in clients {
        one.join().unwrap();
    }
}

#[bingfa::test]
fn a_pair_transfers_in_parts_and_both_ways_at_once() {
    let (a, b) = UnixStream::pair().unwrap();
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b"cde")];
    assert_eq!((&a).write_vectored(&parts).unwrap(), 5);
    let (mut one, mut two) = ([0; 3], [0; 8]);
    let mut into = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!((&b).read_vectored(&mut into).unwrap(), 5);
    assert_eq!((&one, &two[..2]), (b"abc", &b"de"[..]));

    const LENGTH: u64 = 8 << 20;
    let (a, b) = (Arc::new(a), Arc::new(b));
    let all: Vec<_> = [&a, &b]
        .into_iter()
        .flat_map(|end| {
            let (writer, reader) = (Arc::clone(end), Arc::clone(end));
            let writing = spawn(move || {
                let sent = io::copy(&mut io::repeat(7).take(LENGTH), &mut &*writer);
                writer.shutdown(Shutdown::Write).unwrap();
                sent.unwrap()
            });
            let reading = spawn(move || io::copy(&mut &*reader, &mut io::sink()).unwrap());
            [writing, reading]
        })
        .collect();
    for one in all {
        assert_eq!(one.join().unwrap(), LENGTH);
    }
}

#[bingfa::test]
fn timeouts_clones_and_nonblocking_are_as_for_tcp() {
    let (mut a, b) = UnixStream::pair().unwrap();
    let mut clone = b.try_clone().unwrap();
    b.set_read_timeout(Some(SHORT)).unwrap();
    assert!(b.read_timeout().unwrap().is_some());
    let late = clone.read(&mut [0]).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::WouldBlock);

    clone.set_write_timeout(Some(SHORT)).unwrap();
    assert!(b.write_timeout().unwrap().is_some());
    let mut sent = 0;
    let full = loop {
        match (&b).write(&[0; 4096]) {
            Ok(n) => sent += n,
            Err(e) => break e,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    a.read_exact(&mut vec![0; sent]).unwrap();

    clone.set_nonblocking(true).unwrap();
    let not_yet = (&b).read(&mut [0]).unwrap_err();
    assert_eq!(not_yet.kind(), ErrorKind::WouldBlock);
    let zero = b.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    assert!(b.take_error().unwrap().is_none());
}

#[bingfa::test]
fn a_peer_that_is_gone_breaks_the_pipe() {
    let (mut a, b) = UnixStream::pair().unwrap();
    drop(b);
    assert_eq!(a.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    let parts = [IoSlice::new(b"x")];
    let gone = a.write_vectored(&parts).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    assert_eq!(a.read(&mut [0]).unwrap(), 0);
}

#[bingfa::test]
fn a_nonblocking_listener_never_waits() {
    let listener = UnixListener::bind_addr(&abstract_addr()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let clone = listener.try_clone().unwrap();
    assert_eq!(clone.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(clone.take_error().unwrap().is_none());
}

#[bingfa::test]
fn datagrams_go_to_a_path_and_an_address() {
    let (path, addr) = (SocketPath::new(), abstract_addr());
    let at_path = UnixDatagram::bind(&path.0).unwrap();
    let at_addr = UnixDatagram::bind_addr(&addr).unwrap();
    let nowhere = UnixDatagram::unbound().unwrap();
    assert!(nowhere.local_addr().unwrap().is_unnamed());

    let mut buf = [0; 16];
    assert_eq!(at_addr.send_to(b"one", &path.0).unwrap(), 3);
    let (n, from) = at_path.recv_from(&mut buf).unwrap();
    assert_eq!(&buf[..n], b"one");
    assert_eq!(from.as_abstract_name(), addr.as_abstract_name());

    assert_eq!(at_path.send_to_addr(b"three", &from).unwrap(), 5);
    let (n, from) = at_addr.recv_from(&mut buf).unwrap();
    assert_eq!(&buf[..n], b"three");
    assert_eq!(from.as_pathname(), Some(path.0.as_path()));

    nowhere.send_to_addr(b"", &addr).unwrap();
    let (n, from) = at_addr.recv_from(&mut buf).unwrap();
    assert_eq!(n, 0);
    assert!(from.is_unnamed());

    nowhere.connect(&path.0).unwrap();
    assert_eq!(
        nowhere.peer_addr().unwrap().as_pathname(),
        Some(path.0.as_path())
    );
    nowhere.send(b"x").unwrap();
    assert_eq!(at_path.recv(&mut buf).unwrap(), 1);
    nowhere.connect_addr(&addr).unwrap();
    nowhere.send(b"xy").unwrap();
    assert_eq!(at_addr.recv(&mut buf).unwrap(), 2);

    let missing = nowhere.send_to(b"x", "/no/such/socket").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[bingfa::test]
fn a_full_receiver_holds_datagrams_back() {
    let addr = abstract_addr();
    let receiver = UnixDatagram::bind_addr(&addr).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_write_timeout(Some(SHORT)).unwrap();
    let mut sent = 0;
    let full = loop {
        match sender.send_to_addr(b"x", &addr) {
            Ok(_) => sent += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    sender.set_write_timeout(None).unwrap();
    let more = spawn(move || {
        for _ in 0..100 {
            sender.send_to_addr(b"x", &addr).unwrap();
        }
    });
    for _ in 0..sent + 100 {
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1);
    }
    more.join().unwrap();
    receiver.set_nonblocking(true).unwrap();
    let empty = receiver.recv(&mut [0]).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::WouldBlock);
}

#[bingfa::test]
fn a_datagram_pair_keeps_boundaries() {
    let (a, b) = UnixDatagram::pair().unwrap();
    let clone = a.try_clone().unwrap();
    let sender = spawn(move || {
        for i in 0..1000_u32 {
            clone.send(&i.to_ne_bytes()).unwrap();
        }
    });
    for i in 0..1000_u32 {
        let mut buf = [0; 8];
        assert_eq!(b.recv(&mut buf).unwrap(), 4);
        assert_eq!(buf[..4], i.to_ne_bytes());
    }
    sender.join().unwrap();
    b.set_read_timeout(Some(SHORT)).unwrap();
    assert!(b.read_timeout().unwrap().is_some());
    let late = b.recv_from(&mut [0]).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::WouldBlock);
    b.shutdown(Shutdown::Read).unwrap();
    assert_eq!(a.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(a.take_error().unwrap().is_none());
    assert!(a.write_timeout().unwrap().is_none());
}

#[bingfa::test]
fn converts_to_std_and_back() {
    let (a, mut b) = UnixStream::pair().unwrap();
    let ours = format!("{a:?}");
    let mut std = std::os::unix::net::UnixStream::from(a);
    assert_eq!(ours, format!("{std:?}"));
    std.write_all(b"x").unwrap();
    b.read_exact(&mut [0]).unwrap();
    let mut a = UnixStream::from(OwnedFd::from(UnixStream::from(std)));
    a.write_all(b"x").unwrap();
    b.read_exact(&mut [0]).unwrap();

    let listener = UnixListener::bind_addr(&abstract_addr()).unwrap();
    let ours = format!("{listener:?}");
    let std = std::os::unix::net::UnixListener::from(listener);
    assert_eq!(ours, format!("{std:?}"));
    assert!(!is_nonblocking(&std));
    std.set_nonblocking(true).unwrap();
    let listener = UnixListener::from(std);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

    let (a, b) = UnixDatagram::pair().unwrap();
    let std = std::os::unix::net::UnixDatagram::from(a);
    std.send(b"x").unwrap();
    assert_eq!(b.recv(&mut [0; 8]).unwrap(), 1);
    let a = UnixDatagram::from(std);
    a.send(b"xy").unwrap();
    assert_eq!(b.recv(&mut [0; 8]).unwrap(), 2);
}

#[bingfa::test]
fn sockets_may_be_sent_and_shared() {
    fn shareable<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    shareable::<UnixStream>();
    shareable::<UnixListener>();
    shareable::<UnixDatagram>();
}
