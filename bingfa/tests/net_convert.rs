//! TCP sockets that become std's, or come from elsewhere, on whichever carrier the tests run.

use bingfa::thread::spawn;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use bingfa::io::{Read, Write};
use bingfa::net::{SocketAddr, TcpListener, TcpStream};
use socket2::{Domain, SockRef, Socket, Type};

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
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
fn converts_to_std_and_back() {
    let (mut a, b) = connected();
    let std = std::net::TcpStream::from(b);
    assert!(!is_nonblocking(&std));
    std.set_read_timeout(Some(SHORT)).unwrap();
    let mut b = TcpStream::from(std);
    assert_eq!(b.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    b.set_read_timeout(None).unwrap();

    a.write_all(b"12").unwrap();
    let fd = OwnedFd::from(b);
    let mut b = TcpStream::from(fd);
    b.read_exact(&mut [0]).unwrap();
    let raw = b.into_raw_fd();
    // SAFETY: `into_raw_fd` gave the descriptor away.
    let mut b = unsafe { TcpStream::from_raw_fd(raw) };
    b.read_exact(&mut [0]).unwrap();

    b.set_nonblocking(true).unwrap();
    let std = std::net::TcpStream::from(b);
    assert!(is_nonblocking(&std));
    let mut b = TcpStream::from(std);
    assert_eq!(b.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[bingfa::test]
fn a_listener_converts_to_std_and_back() {
    for nonblocking in [false, true] {
        let listener = TcpListener::bind(LOCAL).unwrap();
        listener.set_nonblocking(nonblocking).unwrap();
        let std = std::net::TcpListener::from(listener);
        assert_eq!(is_nonblocking(&std), nonblocking);
        let listener = TcpListener::from(std);
        let addr = listener.local_addr().unwrap();
        if nonblocking {
            let nobody = listener.accept().unwrap_err();
            assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
            listener.set_nonblocking(false).unwrap();
        }
        let client = spawn(move || TcpStream::connect(addr).map(drop));
        listener.accept().unwrap();
        client.join().unwrap().unwrap();
    }
}

#[bingfa::test]
fn a_listener_goes_on_after_its_clone_became_stds() {
    let ours = TcpListener::bind(LOCAL).unwrap();
    let addr = ours.local_addr().unwrap();
    let std = std::net::TcpListener::from(ours.try_clone().unwrap());
    let client = spawn(move || {
        for _ in 0..2 {
            TcpStream::connect(addr).unwrap();
        }
    });
    ours.accept().unwrap();
    std.accept().unwrap();
    client.join().unwrap();
    ours.set_nonblocking(true).unwrap();
    assert_eq!(ours.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!is_nonblocking(&std));
}

#[bingfa::test]
fn a_socket_built_by_hand_serves() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from(LOCAL).into()).unwrap();
    socket.listen(16).unwrap();
    let listener = TcpListener::from(OwnedFd::from(socket));
    let addr = listener.local_addr().unwrap();
    let client = spawn(move || TcpStream::connect(addr).map(drop));
    listener.accept().unwrap();
    client.join().unwrap().unwrap();
}

#[bingfa::test]
fn prints_as_std_does() {
    let (a, _b) = connected();
    let ours = format!("{a:?}");
    let std = std::net::TcpStream::from(a);
    assert_eq!(ours, format!("{std:?}"));
    let listener = TcpListener::bind(LOCAL).unwrap();
    let ours = format!("{listener:?}");
    let std = std::net::TcpListener::from(listener);
    assert_eq!(ours, format!("{std:?}"));
}
