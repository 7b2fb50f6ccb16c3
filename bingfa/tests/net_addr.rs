//! Addresses: what std takes is taken, on whichever carrier the tests run.

use std::io::ErrorKind;

use bingfa::net::{SocketAddr, ToSocketAddrs};

#[bingfa::test]
fn addresses_come_from_whatever_std_takes() {
    let expected = SocketAddr::from(([127, 0, 0, 1], 80));
    let SocketAddr::V4(v4) = expected else {
        unreachable!("written as IPv4")
    };
    fn first(addr: impl ToSocketAddrs) -> SocketAddr {
        addr.to_socket_addrs().unwrap().next().unwrap()
    }
    assert_eq!(first(expected), expected);
    assert_eq!(first(v4), expected);
    assert_eq!(first((expected.ip(), 80)), expected);
    assert_eq!(first((*v4.ip(), 80)), expected);
    assert_eq!(first(("127.0.0.1", 80)), expected);
    assert_eq!(first(("127.0.0.1".to_owned(), 80)), expected);
    assert_eq!(first("127.0.0.1:80"), expected);
    assert_eq!(first("127.0.0.1:80".to_owned()), expected);
    assert_eq!(first(&[expected][..]), expected);
    assert_eq!(first(&[expected, expected][..]), expected);
    let v6 = SocketAddr::from(([0_u16, 0, 0, 0, 0, 0, 0, 1], 80));
    let SocketAddr::V6(only_v6) = v6 else {
        unreachable!("written as IPv6")
    };
    assert_eq!(first("[::1]:80"), v6);
    assert_eq!(first(only_v6), v6);
    assert_eq!(first((*only_v6.ip(), 80)), v6);
    for bad in ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "host"] {
        let refused = bad.to_socket_addrs().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{bad}");
    }
}

#[bingfa::test]
fn host_names_are_resolved() {
    for addr in ("localhost", 80).to_socket_addrs().unwrap() {
        assert!(addr.ip().is_loopback());
        assert_eq!(addr.port(), 80);
    }
    "no-such-host.invalid:80".to_socket_addrs().unwrap_err();
}
