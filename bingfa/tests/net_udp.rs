//! UDP: what std promises, on whichever carrier the tests run.

use bingfa::thread::spawn;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bingfa::net::UdpSocket;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const SHORT: Duration = Duration::from_millis(20);

fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(LOCAL).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn connected() -> (UdpSocket, UdpSocket) {
    let ((a, a_addr), (b, b_addr)) = (bound(), bound());
    a.connect(b_addr).unwrap();
    b.connect(a_addr).unwrap();
    (a, b)
}

#[bingfa::test]
fn datagrams_say_where_they_came_from() {
    let ((a, a_addr), (b, b_addr)) = (bound(), bound());
    let echo = spawn(move || {
        let mut buf = [0; 64];
        for _ in 0..3 {
            let (n, from) = b.recv_from(&mut buf).unwrap();
            assert_eq!(from, a_addr);
            assert_eq!(b.send_to(&buf[..n], from).unwrap(), n);
        }
    });
    let mut buf = [0; 64];
    for text in [&b"one"[..], b"", b"three"] {
        assert_eq!(a.send_to(text, b_addr).unwrap(), text.len());
        let (n, from) = a.recv_from(&mut buf).unwrap();
        assert_eq!((&buf[..n], from), (text, b_addr));
    }
    echo.join().unwrap();
}

#[bingfa::test]
fn ipv6_works_too() {
    let a = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let b = UdpSocket::bind("[::1]:0").unwrap();
    a.send_to(b"six", b.local_addr().unwrap()).unwrap();
    let (n, from) = b.recv_from(&mut [0; 8]).unwrap();
    assert_eq!((n, from), (3, a.local_addr().unwrap()));
}

#[bingfa::test]
fn connected_sockets_exchange() {
    let (a, b) = connected();
    assert_eq!(a.peer_addr().unwrap(), b.local_addr().unwrap());
    assert_eq!(a.send(b"abc").unwrap(), 3);
    let mut buf = [0; 8];
    assert_eq!(b.peek(&mut buf).unwrap(), 3);
    assert_eq!(b.recv(&mut buf).unwrap(), 3);
    assert_eq!(&buf[..3], b"abc");

    // Others are not heard.
    let (stranger, _) = bound();
    stranger.send_to(b"x", b.local_addr().unwrap()).unwrap();
    b.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(b.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[bingfa::test]
fn peek_from_leaves_the_datagram() {
    let ((a, a_addr), (b, b_addr)) = (bound(), bound());
    a.send_to(b"abc", b_addr).unwrap();
    let mut buf = [0; 8];
    assert_eq!(b.peek_from(&mut buf).unwrap(), (3, a_addr));
    assert_eq!(b.recv_from(&mut buf).unwrap(), (3, a_addr));
}

#[bingfa::test]
fn what_does_not_fit_is_dropped() {
    let (a, b) = connected();
    a.send(b"long").unwrap();
    a.send(b"next").unwrap();
    let mut buf = [0; 2];
    assert_eq!(b.recv(&mut buf).unwrap(), 2);
    assert_eq!(&buf, b"lo");
    assert_eq!(b.recv(&mut [0; 8]).unwrap(), 4);
}

#[bingfa::test]
fn timeouts_and_nonblocking_are_would_block() {
    let (a, b) = connected();
    a.set_read_timeout(Some(SHORT)).unwrap();
    assert!(a.read_timeout().unwrap().is_some());
    assert_eq!(a.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(
        a.recv_from(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    a.set_read_timeout(None).unwrap();
    a.set_write_timeout(Some(SHORT)).unwrap();
    assert!(a.write_timeout().unwrap().is_some());

    let clone = a.try_clone().unwrap();
    clone.set_nonblocking(true).unwrap();
    assert_eq!(a.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    clone.set_nonblocking(false).unwrap();
    b.send(b"x").unwrap();
    assert_eq!(a.recv(&mut [0]).unwrap(), 1);

    let zero = a.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
}

#[bingfa::test]
fn one_receives_while_another_sends() {
    let (a, b) = connected();
    let (a, b) = (Arc::new(a), Arc::new(b));
    // One at a time, so that no queue overflows.
    let echo = {
        let b = Arc::clone(&b);
        spawn(move || {
            let mut buf = [0; 4];
            for _ in 0..1000 {
                b.recv(&mut buf).unwrap();
                b.send(&buf).unwrap();
            }
        })
    };
    for i in 0..1000_u32 {
        let mut buf = [0; 4];
        a.send(&i.to_ne_bytes()).unwrap();
        a.recv(&mut buf).unwrap();
        assert_eq!(u32::from_ne_bytes(buf), i);
    }
    echo.join().unwrap();
}

#[bingfa::test]
fn nobody_there_is_told_by_a_later_call() {
    let (a, a_addr) = bound();
    // Another address than that of all other sockets here: nobody takes the port.
    let gone = UdpSocket::bind("127.0.0.2:0").unwrap();
    let gone_addr = gone.local_addr().unwrap();
    drop(gone);
    a.connect(gone_addr).unwrap();
    a.send(b"x").unwrap();
    let refused = a.recv(&mut [0]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(a.local_addr().unwrap(), a_addr);
}

#[bingfa::test]
fn errors_are_stds() {
    let (a, addr) = bound();
    let taken = UdpSocket::bind(addr).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    let nowhere = a.send_to(b"x", &[][..]).unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::InvalidInput);
    assert_eq!(a.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    let too_long = a.send_to(&[0; 70_000], addr).unwrap_err();
    assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
}

#[bingfa::test]
fn options_are_stds() {
    let (a, _) = bound();
    a.set_broadcast(true).unwrap();
    assert!(a.broadcast().unwrap());
    a.set_ttl(42).unwrap();
    assert_eq!(a.ttl().unwrap(), 42);
    a.set_multicast_loop_v4(false).unwrap();
    assert!(!a.multicast_loop_v4().unwrap());
    a.set_multicast_ttl_v4(5).unwrap();
    assert_eq!(a.multicast_ttl_v4().unwrap(), 5);
    assert!(a.take_error().unwrap().is_none());
    let group = Ipv4Addr::new(224, 0, 0, 251);
    a.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
    a.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();

    let b = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    b.set_multicast_loop_v6(false).unwrap();
    assert!(!b.multicast_loop_v6().unwrap());
    let group = "ff02::fb".parse().unwrap();
    // Whether the host has an interface for it is not ours to say; that both halves
    // reach the kernel is.
    let joined = b.join_multicast_v6(&group, 0);
    let left = b.leave_multicast_v6(&group, 0);
    assert_eq!(joined.is_ok(), left.is_ok());
}

#[bingfa::test]
fn converts_to_std_and_back() {
    let (a, b) = connected();
    let ours = format!("{a:?}");
    let std = std::net::UdpSocket::from(a);
    assert_eq!(ours, format!("{std:?}"));
    std.send(b"x").unwrap();
    assert_eq!(b.recv(&mut [0; 8]).unwrap(), 1);
    std.set_nonblocking(true).unwrap();
    let a = UdpSocket::from(OwnedFd::from(UdpSocket::from(std)));
    assert_eq!(a.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    a.send(b"x").unwrap();
    assert_eq!(b.recv(&mut [0; 8]).unwrap(), 1);
}

#[bingfa::test]
fn sockets_may_be_sent_and_shared() {
    fn shareable<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    shareable::<UdpSocket>();
}
