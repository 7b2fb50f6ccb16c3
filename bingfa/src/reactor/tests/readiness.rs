//! What epoll has to know about readiness, seen from outside by counting calls.

use std::io::{Read, Write};

use super::*;
use crate::sys::socket::{MSG_PEEK, POLLIN};

fn epoll() -> Worker {
    Worker::new(Kind::Epoll)
}

const POLLRDHUP: i16 = 0x2000;

/// Reads behind the driver's back.
fn steal(ours: &Socket<TcpStream>, len: usize) {
    (&ours.io).read_exact(&mut vec![0; len]).unwrap();
}

#[test]
fn no_read_after_a_short_read_until_the_next_edge() {
    let mut worker = epoll();
    let (ours, mut peer) = tcp();
    settle(&mut worker, &ours, &mut peer);
    // The socket has data, but no edge was collected, so it is not tried.
    peer.write_all(b"abc").unwrap();
    let call = ours.recv(100);
    assert_eq!(worker.driver.attempt(&call), None);
    worker.submit(&call);
    assert_eq!(call.result.get(), None, "submit makes no call either");
    assert_eq!(worker.finish(&call), 3);
}

#[test]
fn a_read_that_filled_its_buffer_is_followed_by_another() {
    let mut worker = epoll();
    let (ours, mut peer) = tcp();
    settle(&mut worker, &ours, &mut peer);
    let call = ours.recv(3);
    worker.start(&call);
    peer.write_all(b"abcdef").unwrap();
    assert_eq!(worker.finish(&call), 3);
    let next = ours.recv(3);
    assert_eq!(worker.driver.attempt(&next), Some(3));
}

#[test]
fn empty_buffers_and_looks_prove_nothing() {
    let mut worker = epoll();
    let (ours, mut peer) = tcp();
    settle(&mut worker, &ours, &mut peer);
    let look = ours.recv_with(100, MSG_PEEK);
    worker.start(&look);
    peer.write_all(b"abc").unwrap();
    assert_eq!(worker.finish(&look), 3);
    assert_eq!(worker.driver.attempt(&ours.recv(0)), Some(0));
    assert_eq!(worker.driver.attempt(&ours.recv(100)), Some(3));
}

#[test]
fn a_hang_up_keeps_the_socket_readable() {
    let mut worker = epoll();
    let (ours, mut peer) = tcp();
    settle(&mut worker, &ours, &mut peer);
    let call = ours.recv(100);
    worker.start(&call);
    peer.write_all(b"last").unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(worker.finish(&call), 4);
    let end = ours.poll(POLLRDHUP);
    worker.start(&end);
    worker.finish(&end);
    assert_eq!(worker.driver.attempt(&ours.recv(100)), Some(0));
    assert_eq!(worker.driver.attempt(&ours.recv(100)), Some(0));
}

#[test]
fn readers_are_served_in_order_of_arrival() {
    let mut worker = epoll();
    let (ours, mut peer) = tcp();
    settle(&mut worker, &ours, &mut peer);
    let (first, second) = (ours.recv(2), ours.recv(2));
    worker.start(&first);
    worker.start(&second);
    peer.write_all(b"1122").unwrap();
    worker.until(|| second.result.get().is_some());
    assert_eq!(first.bytes(), b"11");
    assert_eq!(second.bytes(), b"22");

    // A late one does not overtake those who wait.
    let waits = ours.recv(1);
    worker.start(&waits);
    peer.write_all(b"3").unwrap();
    let poll = ours.poll(POLLIN);
    assert_eq!(worker.driver.attempt(&poll), Some(i32::from(POLLIN)));
    let late = ours.recv(1);
    assert_eq!(worker.driver.attempt(&late), None);
    assert_eq!(worker.finish(&waits), 1);
}

#[test]
fn an_edge_without_data_is_no_result() {
    let mut worker = epoll();
    let (ours, mut peer) = tcp();
    settle(&mut worker, &ours, &mut peer);
    let call = ours.recv(10);
    worker.start(&call);
    peer.write_all(b"abc").unwrap();
    steal(&ours, 3);
    worker.assert_pending(&call);
    peer.write_all(b"de").unwrap();
    assert_eq!(worker.finish(&call), 2);
}
