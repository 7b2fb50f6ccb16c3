//! What holds for every driver.

use std::fs::File;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::sys::errno::{EAGAIN, EBADF, ECANCELED};
use crate::sys::socket::{MSG_DONTWAIT, MSG_PEEK, POLLHUP, POLLIN, POLLOUT, msghdr};

const ECONNRESET: i32 = 104;
const EPIPE: i32 = 32;

#[test]
fn receives_what_comes_later_and_what_was_there() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        let later = ours.recv(100);
        worker.start(&later);
        worker.assert_pending(&later);
        peer.write_all(b"abc").unwrap();
        assert_eq!(worker.finish(&later), 3);
        assert_eq!(later.bytes(), b"abc");

        peer.write_all(b"defg").unwrap();
        let there = ours.recv(100);
        worker.submit(&there); // without an attempt
        assert_eq!(worker.finish(&there), 4);
        assert_eq!(there.bytes(), b"defg");
    });
}

#[test]
fn sends() {
    on_each(|worker| {
        for submit_only in [false, true] {
            let (ours, mut peer) = unix();
            let call = ours.send(b"some bytes");
            if submit_only {
                worker.submit(&call)
            } else {
                worker.start(&call)
            }
            assert_eq!(worker.finish(&call), 10);
            let mut got = [0; 10];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"some bytes");
        }
    });
}

#[test]
fn messages_go_both_ways() {
    on_each(|worker| {
        let (ours, peer) = unix();
        let peer = Socket::new(peer, true);
        let mut parts = [*b"one", *b"two"];
        let mut vectors = parts
            .each_mut()
            .map(|part| std::io::IoSliceMut::new(part.as_mut_slice()));
        // SAFETY: `msghdr` is plain data, for which zero is a value.
        let mut header: msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = vectors.as_mut_ptr().cast();
        header.msg_iovlen = 2;
        let send = Call::new(peer.fd(), Some(&peer.source), Box::default(), |_, _| {
            OpKind::SendMsg {
                msg: &raw const header,
                flags: 0,
            }
        });
        worker.start(&send);
        assert_eq!(worker.finish(&send), 6);

        let mut place = [0; 20];
        let mut vector = std::io::IoSliceMut::new(&mut place);
        // SAFETY: as above.
        let mut header: msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = (&raw mut vector).cast();
        header.msg_iovlen = 1;
        let recv = Call::new(ours.fd(), Some(&ours.source), Box::default(), |_, _| {
            OpKind::RecvMsg {
                msg: &raw mut header,
                flags: 0,
            }
        });
        worker.start(&recv);
        assert_eq!(worker.finish(&recv), 6);
        assert_eq!(&place[..6], b"onetwo");
    });
}

#[test]
fn a_cancelled_receive_takes_nothing() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        let first = ours.recv(10);
        worker.start(&first);
        worker.assert_pending(&first);
        worker.cancel(&first);
        assert_eq!(worker.finish(&first), -ECANCELED);
        worker.cancel(&first); // of what has been reported: nothing
        assert_eq!(worker.done.len(), 1);

        peer.write_all(b"x").unwrap();
        let second = ours.recv(10);
        worker.start(&second);
        assert_eq!(worker.finish(&second), 1);
    });
}

#[test]
fn a_cancel_before_anything_was_flushed() {
    on_each(|worker| {
        let (ours, _peer) = unix();
        let call = ours.recv(10);
        worker.submit(&call);
        worker.cancel(&call);
        worker.cancel(&call);
        assert_eq!(worker.finish(&call), -ECANCELED);
        worker.flush();
        assert_eq!(worker.done.len(), 1, "reported exactly once");
    });
}

/// A cancel that loses the race returns the data; one that wins leaves it for the next.
#[test]
fn cancels_race_with_data() {
    const ROUNDS: usize = 10_000;
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        let (go, gone) = mpsc::channel();
        let sender = thread::spawn(move || {
            for byte in gone {
                peer.write_all(&[byte]).unwrap();
            }
            peer
        });
        let (mut received, mut cancelled) = (Vec::new(), 0);
        for round in 0..ROUNDS {
            let call = ours.recv(16);
            worker.start(&call);
            if call.result.get().is_none() {
                go.send(round as u8).unwrap();
                if round % 2 == 0 {
                    worker.flush();
                }
                for _ in 0..round % 64 {
                    std::hint::spin_loop();
                }
                worker.cancel(&call);
            } else {
                go.send(round as u8).unwrap();
            }
            match worker.finish(&call) {
                e if e == -ECANCELED => cancelled += 1,
                _ => received.extend_from_slice(call.bytes()),
            }
        }
        while received.len() < ROUNDS {
            let call = ours.recv(1000);
            worker.start(&call);
            assert!(worker.finish(&call) > 0);
            received.extend_from_slice(call.bytes());
        }
        drop(go);
        sender.join().unwrap();
        assert!(
            received
                .iter()
                .enumerate()
                .all(|(i, &byte)| byte == i as u8)
        );
        assert_eq!(received.len(), ROUNDS);
        assert!(cancelled > 0, "no cancel ever won");
    });
}

#[test]
fn data_and_end_come_together() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        settle(worker, &ours, &mut peer);
        let data = ours.recv(100);
        worker.start(&data);
        peer.write_all(b"last").unwrap();
        drop(peer);
        assert_eq!(worker.finish(&data), 4);
        for _ in 0..2 {
            let end = ours.recv(100);
            worker.start(&end);
            assert_eq!(worker.finish(&end), 0);
        }
    });
}

#[test]
fn a_reset_ends_the_wait() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        settle(worker, &ours, &mut peer);
        let sent = ours.send(b"never read");
        worker.start(&sent);
        assert_eq!(worker.finish(&sent), 10);
        let call = ours.recv(100);
        worker.start(&call);
        worker.flush();
        // Wait for the data to be there: closing with unread data is a reset.
        peer.peek(&mut [0]).unwrap();
        drop(peer);
        assert_eq!(worker.finish(&call), -ECONNRESET);
        let call = ours.send(b"x");
        worker.start(&call);
        assert_eq!(worker.finish(&call), -EPIPE, "and no SIGPIPE");
    });
}

#[test]
fn a_full_buffer_makes_senders_wait() {
    on_each(|worker| {
        for _ in 0..3 {
            let (ours, mut peer) = tcp();
            let chunk = vec![7; 1 << 20];
            let mut sent = 0;
            let blocked = loop {
                let call = ours.send(&chunk);
                worker.start(&call);
                worker.flush();
                worker.flush();
                match call.result.get() {
                    Some(n) => sent += usize::try_from(n).unwrap(),
                    None => break call,
                }
            };
            let mut place = vec![0; 1 << 20];
            let mut read = 0;
            while blocked.result.get().is_none() {
                read += peer.read(&mut place).unwrap();
                worker.flush();
            }
            sent += usize::try_from(worker.finish(&blocked)).unwrap();
            while read < sent {
                read += peer.read(&mut place).unwrap();
            }
            assert_eq!(read, sent);
        }
    });
}

#[test]
fn much_data_goes_through_in_order() {
    const TOTAL: usize = 64 << 20;
    on_each(|worker| {
        let (ours, peer) = unix();
        let peer = Socket::new(peer, true);
        // The period is odd, so no chunk size hides a repetition.
        let pattern: Vec<u8> = (0..(1 << 18) + 251).map(|i| (i % 251) as u8).collect();
        let (mut sent, mut received) = (0, 0);
        let chunk = |sent: usize| &pattern[sent % 251..][..(1 << 18).min(TOTAL - sent)];
        let mut send = Some(ours.send(chunk(0)));
        worker.start(send.as_ref().unwrap());
        let mut recv = peer.recv(100_000);
        worker.start(&recv);
        while received < TOTAL {
            worker.until(|| {
                let sent_some = send
                    .as_ref()
                    .is_some_and(|send| send.result.get().is_some());
                sent_some || recv.result.get().is_some()
            });
            if let Some(result) = send.as_ref().and_then(|send| send.result.get()) {
                sent += usize::try_from(result).unwrap();
                send = (sent < TOTAL).then(|| ours.send(chunk(sent)));
                if let Some(send) = &send {
                    worker.start(send);
                }
            }
            if recv.result.get().is_some() {
                let bytes = recv.bytes();
                assert!(!bytes.is_empty());
                assert!(*bytes == pattern[received % 251..][..bytes.len()]);
                received += bytes.len();
                if received < TOTAL {
                    recv = peer.recv(100_000);
                    worker.start(&recv);
                }
            }
            worker.done.clear();
        }
        assert_eq!((sent, received), (TOTAL, TOTAL));
    });
}

#[test]
fn two_readers_share_a_socket() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        let (first, second) = (ours.recv(4), ours.recv(4));
        worker.start(&first);
        worker.start(&second);
        worker.assert_pending(&first);
        peer.write_all(b"1234").unwrap();
        worker.until(|| first.result.get().is_some() || second.result.get().is_some());
        peer.write_all(b"5678").unwrap();
        assert_eq!(worker.finish(&first), 4);
        assert_eq!(worker.finish(&second), 4);
        let mut got = [first.bytes(), second.bytes()];
        got.sort_unstable();
        assert_eq!(got, [b"1234", b"5678"]);
    });
}

#[test]
fn a_reader_and_a_writer_do_not_block_each_other() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        let read = ours.recv(10);
        worker.start(&read);
        let write = ours.send(b"out");
        worker.start(&write);
        assert_eq!(worker.finish(&write), 3);
        worker.assert_pending(&read);
        peer.write_all(b"in").unwrap();
        assert_eq!(worker.finish(&read), 2);
    });
}

#[test]
fn datagrams_that_share_an_edge_are_all_received() {
    on_each(|worker| {
        let ours = Socket::new(UdpSocket::bind("127.0.0.1:0").unwrap(), false);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.connect(ours.io.local_addr().unwrap()).unwrap();
        for round in 0..3 {
            let mut call = ours.recv(100);
            worker.start(&call);
            worker.assert_pending(&call);
            for i in 0..5 {
                peer.send(&[round, i]).unwrap();
            }
            for i in 0..5 {
                assert_eq!(worker.finish(&call), 2);
                assert_eq!(call.bytes(), [round, i]);
                if i < 4 {
                    call = ours.recv(100);
                    worker.start(&call);
                }
            }
        }
    });
}

#[test]
fn a_call_that_must_not_wait_does_not() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        for _ in 0..2 {
            let call = ours.recv_with(10, MSG_DONTWAIT);
            worker.start(&call);
            assert_eq!(worker.finish(&call), -EAGAIN);
            settle(worker, &ours, &mut peer);
            // Data of which no event has told yet is found.
            peer.write_all(b"now").unwrap();
            let call = ours.recv_with(10, MSG_DONTWAIT);
            worker.start(&call);
            assert_eq!(worker.finish(&call), 3);
        }
    });
}

#[test]
fn looking_and_empty_buffers_take_nothing() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        settle(worker, &ours, &mut peer);
        let peek = ours.recv_with(100, MSG_PEEK);
        worker.start(&peek);
        peer.write_all(b"abc").unwrap();
        assert_eq!(worker.finish(&peek), 3);
        let empty = ours.recv(0);
        worker.start(&empty);
        assert_eq!(worker.finish(&empty), 0);
        let empty = ours.send(b"");
        worker.start(&empty);
        assert_eq!(worker.finish(&empty), 0);
        let call = ours.recv(100);
        worker.start(&call);
        assert_eq!(worker.finish(&call), 3);
    });
}

#[test]
fn polls_sockets_of_ours() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        let write = ours.poll(POLLOUT);
        worker.start(&write);
        assert_eq!(worker.finish(&write), i32::from(POLLOUT));
        for _ in 0..2 {
            let read = ours.poll(POLLIN);
            worker.start(&read);
            worker.assert_pending(&read);
            peer.write_all(b"x").unwrap();
            assert_eq!(worker.finish(&read), i32::from(POLLIN));
            // By level: still so, for any number of waiters.
            let again = ours.poll(POLLIN);
            worker.submit(&again);
            assert_eq!(worker.finish(&again), i32::from(POLLIN));
            let call = ours.recv(10);
            worker.start(&call);
            assert_eq!(worker.finish(&call), 1);
        }
    });
}

#[test]
fn polls_foreign_pipes() {
    on_each(|worker| {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        for _ in 0..3 {
            let call = foreign(reader.as_raw_fd(), POLLIN);
            worker.start(&call);
            worker.assert_pending(&call);
            writer.write_all(b"x").unwrap();
            assert_eq!(worker.finish(&call), i32::from(POLLIN));
            reader.read_exact(&mut [0]).unwrap();
        }
        let writable = foreign(writer.as_raw_fd(), POLLOUT);
        worker.start(&writable);
        assert_eq!(worker.finish(&writable), i32::from(POLLOUT));
        let hangup = foreign(reader.as_raw_fd(), POLLIN);
        worker.start(&hangup);
        worker.assert_pending(&hangup);
        drop(writer);
        assert_eq!(worker.finish(&hangup), i32::from(POLLHUP));
    });
}

#[test]
fn a_foreign_descriptor_is_polled_for_two_things_at_once() {
    on_each(|worker| {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        while (&ours).write(&[0; 1 << 16]).is_ok() {}
        let read = foreign(ours.as_raw_fd(), POLLIN);
        let write = foreign(ours.as_raw_fd(), POLLOUT);
        let other = foreign(ours.as_raw_fd(), POLLIN);
        for call in [&read, &write, &other] {
            worker.start(call);
        }
        worker.assert_pending(&read);
        worker.assert_pending(&write);
        worker.cancel(&other);
        assert_eq!(worker.finish(&other), -ECANCELED);

        peer.write_all(b"x").unwrap();
        assert_eq!(worker.finish(&read), i32::from(POLLIN));
        worker.assert_pending(&write);
        peer.set_nonblocking(true).unwrap();
        while peer.read(&mut [0; 1 << 16]).is_ok() {}
        assert_eq!(worker.finish(&write), i32::from(POLLOUT));
    });
}

#[test]
fn a_descriptor_may_be_foreign_and_ours_at_once() {
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        settle(worker, &ours, &mut peer);
        let call = ours.recv(10);
        let poll = foreign(ours.fd(), POLLIN);
        worker.start(&poll);
        worker.start(&call);
        worker.assert_pending(&poll);
        peer.write_all(b"x").unwrap();
        assert_eq!(worker.finish(&call), 1);
        peer.write_all(b"y").unwrap();
        assert_eq!(worker.finish(&poll), i32::from(POLLIN));
    });
}

#[test]
fn files_are_ready_and_bad_descriptors_are_errors() {
    on_each(|worker| {
        let file = File::open("/proc/self/exe").unwrap();
        let call = foreign(file.as_raw_fd(), POLLIN);
        worker.start(&call);
        assert_eq!(worker.finish(&call), i32::from(POLLIN));
        for bad in [-1, i32::MAX / 2048] {
            let call = foreign(bad, POLLIN);
            worker.submit(&call);
            assert_eq!(worker.finish(&call), -EBADF);
        }
    });
}

#[test]
fn ten_thousand_operations_are_in_flight_at_once() {
    const COUNT: usize = 10_000;
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        let calls: Vec<Call> = (0..COUNT).map(|_| ours.recv(1)).collect();
        for call in &calls {
            worker.submit(call);
        }
        worker.flush();
        assert_eq!(worker.driver.in_flight(), COUNT);
        let bytes: Vec<u8> = (0..COUNT).map(|i| i as u8).collect();
        peer.write_all(&bytes).unwrap();
        worker.until(|| calls.iter().all(|call| call.result.get().is_some()));
        let mut got: Vec<u8> = calls
            .iter()
            .flat_map(|call| call.bytes())
            .copied()
            .collect();
        let mut expected = bytes;
        got.sort_unstable();
        expected.sort_unstable();
        assert!(got == expected);
        assert_eq!(worker.done.len(), COUNT, "each is reported once");
    });
}

#[test]
fn many_cancels_at_once() {
    on_each(|worker| {
        let (ours, _peer) = unix();
        let calls: Vec<Call> = (0..5_000).map(|_| ours.recv(1)).collect();
        for call in &calls {
            worker.start(call);
        }
        worker.flush();
        for call in &calls {
            worker.cancel(call);
        }
        worker.until(|| {
            calls
                .iter()
                .all(|call| call.result.get() == Some(-ECANCELED))
        });
    });
}

#[test]
fn a_wait_ends_with_its_timeout() {
    on_each(|worker| {
        let (ours, _peer) = unix();
        let call = ours.recv(10);
        worker.start(&call);
        let limit = Duration::from_millis(3);
        let start = Instant::now();
        while start.elapsed() < limit {
            worker.sleeper.prepare();
            worker
                .driver
                .wait(Some(limit - start.elapsed().min(limit)), &mut worker.done);
            worker.sleeper.awake();
        }
        worker.sleeper.prepare();
        worker.driver.wait(Some(Duration::ZERO), &mut worker.done);
        worker.sleeper.awake();
        assert_eq!(call.result.get(), None);
        worker.cancel(&call);
        assert_eq!(worker.finish(&call), -ECANCELED);
    });
}

/// Whatever is in flight when a driver goes is over by then.
#[test]
fn a_dropped_driver_leaves_no_operation_to_the_kernel() {
    for kind in kinds() {
        let mut worker = Worker::new(kind);
        let (ours, mut peer) = unix();
        let call = ours.recv(10);
        worker.start(&call);
        worker.flush();
        drop(worker);
        peer.write_all(b"data").unwrap();
        let mut still_there = [0; 4];
        (&ours.io).read_exact(&mut still_there).unwrap();
        assert_eq!(&still_there, b"data");
        assert_eq!(&call.buf[..4], [0; 4]);
    }
}
