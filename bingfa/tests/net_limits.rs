//! A listener when the process has run out of descriptors.
//!
//! Alone in its file, because the limit is the whole process's.

mod common;

use std::fs::File;
use std::net::Ipv4Addr;

use bingfa::net::{TcpListener, TcpStream};

#[test]
fn accept_recovers_when_descriptors_are_free_again() {
    // One after the other: what one closes, the next may not take for its own.
    common::on_both(accept_recovers);
}

fn accept_recovers() {
    let limit = libc::rlimit {
        rlim_cur: 128,
        rlim_max: 128,
    };
    // SAFETY: `limit` is a valid `rlimit`.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let client = TcpStream::connect(addr).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    for _ in 0..3 {
        let refused = listener.accept().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EMFILE));
    }
    hoard.pop();
    let (_stream, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}
