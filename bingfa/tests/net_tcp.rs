//! TCP: what std promises, on whichever carrier the tests run.

use bingfa::thread::spawn;

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bingfa::io::{self, Read, Write};
use bingfa::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use bingfa::os::linux::net::TcpStreamExt;
use socket2::{Domain, SockRef, Socket, Type};

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Shorter than any wait for an event, longer than none.
const SHORT: Duration = Duration::from_millis(20);

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn is_nonblocking(fd: &impl AsFd) -> bool {
    SockRef::from(fd).nonblocking().unwrap()
}

#[bingfa::test]
fn echoes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), peer);
        let mut buf = [0; 64];
        loop {
            match stream.read(&mut buf).unwrap() {
                0 => break,
                n => stream.write_all(&buf[..n]).unwrap(),
            }
        }
    });
    let mut client = TcpStream::connect(addr).unwrap();
    assert_eq!(client.peer_addr().unwrap(), addr);
    for text in ["one", "two and more", "three"] {
        client.write_all(text.as_bytes()).unwrap();
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, text.as_bytes());
    }
    drop(client);
    server.join().unwrap();
}

#[bingfa::test]
fn peek_leaves_the_data() {
    let (mut a, mut b) = connected();
    a.write_all(b"abc").unwrap();
    let mut buf = [0; 2];
    for _ in 0..3 {
        assert_eq!(b.peek(&mut buf).unwrap(), 2);
        assert_eq!(&buf, b"ab");
    }
    let mut all = [0; 3];
    b.read_exact(&mut all).unwrap();
    assert_eq!(&all, b"abc");
}

#[bingfa::test]
fn clones_share_stream_and_settings() {
    let (mut a, b) = connected();
    let mut clone = b.try_clone().unwrap();
    assert_ne!(b.as_raw_fd(), clone.as_raw_fd());
    a.write_all(b"xy").unwrap();
    let mut buf = [0; 1];
    (&b).read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"x");
    clone.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"y");

    b.set_read_timeout(Some(SHORT)).unwrap();
    assert!(clone.read_timeout().unwrap().is_some());
    let late = clone.read(&mut buf).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::WouldBlock);

    clone.set_read_timeout(None).unwrap();
    clone.set_nonblocking(true).unwrap();
    let not_yet = (&b).read(&mut buf).unwrap_err();
    assert_eq!(not_yet.kind(), ErrorKind::WouldBlock);

    // The connection lives as long as one of the handles.
    drop(b);
    clone.write_all(b"z").unwrap();
    a.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"z");
}

#[bingfa::test]
fn a_half_closed_peer_still_gets_the_answer() {
    let (mut a, mut b) = connected();
    let server = spawn(move || {
        let mut question = String::new();
        b.read_to_string(&mut question).unwrap();
        b.write_all(question.to_uppercase().as_bytes()).unwrap();
    });
    a.write_all(b"question").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    let gone = a.write(b"x").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    let mut answer = String::new();
    a.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "QUESTION");
    server.join().unwrap();
}

#[bingfa::test]
fn shutdown_ends_a_read_that_waits() {
    let (a, _b) = connected();
    let a = Arc::new(a);
    let reader = {
        let a = Arc::clone(&a);
        spawn(move || (&*a).read(&mut [0]).unwrap())
    };
    a.shutdown(Shutdown::Both).unwrap();
    assert_eq!(reader.join().unwrap(), 0);
}

#[bingfa::test]
fn vectored_transfers_fill_part_after_part() {
    let (mut a, mut b) = connected();
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(a.write_vectored(&parts).unwrap(), 5);
    let (mut one, mut two) = ([0; 3], [0; 8]);
    let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    let mut n = b.read_vectored(&mut parts).unwrap();
    while n < 5 {
        n += b.read(&mut two[n - 3..]).unwrap();
    }
    assert_eq!((&one, &two[..2]), (b"abc", &b"de"[..]));
}

#[bingfa::test]
fn more_parts_than_one_call_takes_are_a_short_write() {
    let (mut a, b) = connected();
    let parts = vec![IoSlice::new(b"x"); 2000];
    let n = a.write_vectored(&parts).unwrap();
    assert!((1..=1024).contains(&n), "{n}");
    drop(a);
    let mut all = Vec::new();
    (&b).read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), n);
}

#[bingfa::test]
fn a_read_timeout_is_would_block_and_not_early() {
    let (mut a, mut b) = connected();
    b.set_read_timeout(Some(SHORT)).unwrap();
    let start = Instant::now();
    let late = b.read(&mut [0]).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::WouldBlock);
    // The kernel counts in jiffies, of up to 10 ms.
    assert!(start.elapsed() + Duration::from_millis(10) >= SHORT);
    let late = b.read_vectored(&mut [IoSliceMut::new(&mut [0])]);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(b.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);

    // It does not get in the way of data, and nothing was lost by it.
    a.write_all(b"x").unwrap();
    assert_eq!(b.read(&mut [0]).unwrap(), 1);

    b.set_read_timeout(None).unwrap();
    assert_eq!(b.read_timeout().unwrap(), None);
}

#[bingfa::test]
fn a_timeout_of_zero_is_refused() {
    let (a, _b) = connected();
    for result in [
        a.set_read_timeout(Some(Duration::ZERO)),
        a.set_write_timeout(Some(Duration::ZERO)),
        TcpStream::connect_timeout(&a.peer_addr().unwrap(), Duration::ZERO).map(drop),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[bingfa::test]
fn a_peer_that_never_reads_holds_the_writer_back() {
    let (mut a, mut b) = connected();
    a.set_write_timeout(Some(SHORT)).unwrap();
    let chunk = vec![7; 64 * 1024];
    let mut sent = 0;
    let full = loop {
        match a.write(&chunk) {
            Ok(n) => sent += n,
            Err(e) => break e,
        }
        assert!(sent < 256 << 20, "the kernel's buffers are not bounded");
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);

    // Every byte that was reported as sent arrives, and no other.
    drop(a);
    let received = io::copy(&mut b, &mut io::sink()).unwrap();
    assert_eq!(received, sent as u64);
}

#[bingfa::test]
fn nonblocking_never_waits() {
    let (mut a, mut b) = connected();
    b.set_nonblocking(true).unwrap();
    assert_eq!(b.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // It wins over a timeout.
    b.set_read_timeout(Some(Duration::from_secs(600))).unwrap();
    assert_eq!(b.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let full = loop {
        if let Err(e) = b.write(&[0; 64 * 1024]) {
            break e;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);

    b.set_nonblocking(false).unwrap();
    a.write_all(b"x").unwrap();
    assert_eq!(b.read(&mut [0]).unwrap(), 1);
}

#[bingfa::test]
fn a_nonblocking_listener_never_waits() {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let clone = listener.try_clone().unwrap();
    clone.set_nonblocking(true).unwrap();
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();

    // What it accepted waits all the same.
    let writer = spawn(move || client.write_all(b"x"));
    stream.read_exact(&mut [0]).unwrap();
    writer.join().unwrap().unwrap();
}

#[bingfa::test]
fn connecting_to_nobody_is_refused() {
    // Bound, so that nobody else takes the port, but not listening.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(LOCAL).into()).unwrap();
    let addr = bound.local_addr().unwrap().as_socket().unwrap();
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let refused = TcpStream::connect_timeout(&addr, Duration::from_secs(60)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    // Each address is tried.
    let listener = TcpListener::bind(LOCAL).unwrap();
    let second = listener.local_addr().unwrap();
    let stream = TcpStream::connect(&[addr, second][..]).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), second);
    let none = TcpStream::connect(&[][..]).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidInput);
}

#[bingfa::test]
fn a_connection_is_blocking_for_the_kernel() {
    let (a, b) = connected();
    assert!(!is_nonblocking(&a));
    assert!(!is_nonblocking(&b));
}

#[bingfa::test]
fn connect_timeout_gives_up_on_a_full_listener() {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(LOCAL).into()).unwrap();
    full.listen(0).unwrap();
    let addr = full.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    let late = loop {
        match TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
            Ok(stream) => queued.push(stream),
            Err(e) => break e,
        }
        assert!(queued.len() < 100, "a backlog of 0 takes any number");
    };
    assert_eq!(late.kind(), ErrorKind::TimedOut);
}

#[bingfa::test]
fn a_port_in_use_is_told() {
    let first = TcpListener::bind(LOCAL).unwrap();
    let taken = TcpListener::bind(first.local_addr().unwrap()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
}

#[bingfa::test]
fn the_backlog_is_larger_than_stds() {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let addr = listener.local_addr().unwrap();
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let expected = limit.trim().parse::<usize>().unwrap().min(500);
    let waiting: Vec<_> = (0..expected)
        .map(|_| TcpStream::connect_timeout(&addr, Duration::from_secs(60)).unwrap())
        .collect();
    assert_eq!(waiting.len(), expected);
}

#[bingfa::test]
fn incoming_yields_connections() {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let addr = listener.local_addr().unwrap();
    let client = spawn(move || {
        for i in 0..10 {
            TcpStream::connect(addr).unwrap().write_all(&[i]).unwrap();
        }
    });
    for (i, stream) in listener.incoming().take(10).enumerate() {
        let mut all = Vec::new();
        stream.unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, [i as u8]);
    }
    client.join().unwrap();
}

#[bingfa::test]
fn several_accept_from_one_listener() {
    let listener = Arc::new(TcpListener::bind(LOCAL).unwrap());
    let addr = listener.local_addr().unwrap();
    let servers: Vec<_> = (0..4)
        .map(|_| {
            let listener = Arc::clone(&listener);
            spawn(move || {
                let mut served = 0;
                loop {
                    let mut byte = [0];
                    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
                    if byte == [0] {
                        return served;
                    }
                    served += 1;
                }
            })
        })
        .collect();
    for byte in std::iter::repeat_n(1, 100).chain([0; 4]) {
        TcpStream::connect(addr)
            .unwrap()
            .write_all(&[byte])
            .unwrap();
    }
    let served: u32 = servers.into_iter().map(|s| s.join().unwrap()).sum();
    assert_eq!(served, 100);
}

#[bingfa::test]
fn an_end_in_the_middle_is_told() {
    let (mut a, mut b) = connected();
    a.write_all(b"ab").unwrap();
    drop(a);
    let mut buf = [0; 4];
    let short = b.read_exact(&mut buf).unwrap_err();
    assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(&buf[..2], b"ab");
    b.read_exact(&mut []).unwrap();
}

#[bingfa::test]
fn a_reset_is_an_error_once() {
    let (mut a, b) = connected();
    SockRef::from(&b).set_linger(Some(Duration::ZERO)).unwrap();
    drop(b);
    let reset = a.read(&mut [0]).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    assert_eq!(a.read(&mut [0]).unwrap(), 0);
    assert_eq!(a.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[bingfa::test]
fn data_and_end_in_one_go_are_both_seen() {
    let (mut a, mut b) = connected();
    a.write_all(b"last words").unwrap();
    drop(a);
    let mut text = String::new();
    b.read_to_string(&mut text).unwrap();
    assert_eq!(text, "last words");
    assert_eq!(b.read(&mut [0]).unwrap(), 0);
}

/// A sequence that a lost, doubled or misplaced byte spoils.
fn pattern(len: usize) -> Vec<u8> {
    let mut x = 1_u32;
    let next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[bingfa::test]
fn a_message_of_64_mib_arrives_whole_while_another_goes_back() {
    let (a, b) = connected();
    let (a, b) = (Arc::new(a), Arc::new(b));
    let message = Arc::new(pattern(64 << 20));
    let writers = [&a, &b].map(|end| {
        let (end, message) = (Arc::clone(end), Arc::clone(&message));
        spawn(move || {
            (&*end).write_all(&message).unwrap();
            end.shutdown(Shutdown::Write).unwrap();
        })
    });
    let readers = [&a, &b].map(|end| {
        let (end, message) = (Arc::clone(end), Arc::clone(&message));
        spawn(move || {
            let mut all = Vec::with_capacity(message.len());
            (&*end).read_to_end(&mut all).unwrap();
            assert!(all == *message, "{} bytes came", all.len());
        })
    });
    for one in writers.into_iter().chain(readers) {
        one.join().unwrap();
    }
}

#[bingfa::test]
fn descriptors_are_not_inherited() {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    let clone = a.try_clone().unwrap();
    for fd in [
        listener.as_raw_fd(),
        a.as_raw_fd(),
        b.as_raw_fd(),
        clone.as_raw_fd(),
    ] {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_ne!(flags & libc::O_CLOEXEC, 0);
    }
}

#[bingfa::test]
fn options_are_stds() {
    let (a, _b) = connected();
    a.set_nodelay(true).unwrap();
    assert!(a.nodelay().unwrap());
    a.set_ttl(42).unwrap();
    assert_eq!(a.ttl().unwrap(), 42);
    a.set_quickack(true).unwrap();
    a.quickack().unwrap();
    assert!(a.take_error().unwrap().is_none());
    let listener = TcpListener::bind(LOCAL).unwrap();
    listener.set_ttl(43).unwrap();
    assert_eq!(listener.ttl().unwrap(), 43);
    assert!(listener.take_error().unwrap().is_none());
}

#[bingfa::test]
fn sockets_may_be_sent_and_shared() {
    fn shareable<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    shareable::<TcpStream>();
    shareable::<TcpListener>();
}
