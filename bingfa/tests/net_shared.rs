//! Sockets that several use, and colleagues that go wrong beside them.

mod common;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use bingfa::coroutine;
use bingfa::io::{self, Read, Write};
use bingfa::net::TcpStream;
use common::net::{Server, ask, connected};
use common::{assert_well, backends, in_child, labelled, on_both, runtime, stderr, until_in};

#[test]
fn a_panicking_handler_ends_its_connection_only() {
    let name = "a_panicking_handler_ends_its_connection_only";
    let output = in_child(name, &[], || {
        on_both(|| {
            let server = Server::start(|mut stream| {
                let mut byte = [0];
                while stream.read(&mut byte).unwrap() == 1 {
                    assert_ne!(&byte, b"!", "I was told to");
                    stream.write_all(&byte.to_ascii_uppercase()).unwrap();
                }
            });
            let good = server.connect();
            for _ in 0..5 {
                let mut bad = server.connect();
                ask(&bad, "ab");
                bad.write_all(b"!").unwrap();
                assert_eq!(bad.read(&mut [0]).unwrap(), 0);
                ask(&good, "fine");
            }
            server.stop();
        });
    });
    let Some(output) = output else { return };
    assert_well(&output);
    let text = stderr(&output);
    let lines = text
        .lines()
        .filter(|line| line.contains("panicked, and nobody joins it"));
    assert_eq!(lines.count(), 5 * (1 + backends().len()), "{text}");
}

#[test]
fn closing_a_socket_wakes_who_waits_for_its_descriptor() {
    on_both(|| {
        for write in [false, true] {
            let (ours, _theirs) = connected();
            if write {
                // Full, so that it is not writable.
                ours.set_nonblocking(true).unwrap();
                while (&ours).write(&[0; 65536]).is_ok() {}
            }
            let fd = ours.as_raw_fd();
            let waiter = coroutine::spawn(move || {
                // SAFETY: open for now; that it does not stay so is the test.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                if write {
                    io::writable(fd, None)
                } else {
                    io::readable(fd, None)
                }
            });
            until_in(&waiter, "poll");
            drop(ours);
            let error = waiter.join().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        }
    });
}

#[test]
fn a_number_that_is_used_again_is_a_new_descriptor() {
    on_both(|| {
        // Closed and reopened, over and over, under waiters on all workers.
        for round in 0..50 {
            let (ours, theirs) = connected();
            let fd = ours.as_raw_fd();
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    coroutine::spawn(move || {
                        // SAFETY: as above.
                        io::readable(unsafe { BorrowedFd::borrow_raw(fd) }, None)
                    })
                })
                .collect();
            if round % 2 == 0 {
                waiters.iter().for_each(|waiter| until_in(waiter, "poll"));
            }
            drop(ours);
            let (mut ours, mut theirs2) = connected(); // the same number, most likely
            theirs2.write_all(b"new").unwrap();
            let mut word = [0; 3];
            ours.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"new");
            drop((ours, theirs, theirs2));
            for waiter in waiters {
                // Who had not reached the kernel yet may have waited for the successor.
                if let Err(error) = waiter.join().unwrap() {
                    assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
                }
            }
        }
    });
}

#[test]
fn two_coroutines_use_one_socket() {
    on_both(|| {
        const MESSAGES: u32 = 2000;
        let (a, b) = connected();
        coroutine::scope(|s| {
            for (socket, other) in [(&a, 1u32), (&b, 2)] {
                s.spawn(move || {
                    let mut socket = socket;
                    for i in 0..MESSAGES {
                        socket.write_all(&(i * other).to_le_bytes()).unwrap();
                    }
                });
            }
            for (socket, other) in [(&a, 2u32), (&b, 1)] {
                s.spawn(move || {
                    let mut socket = socket;
                    let mut word = [0; 4];
                    for i in 0..MESSAGES {
                        socket.read_exact(&mut word).unwrap();
                        assert_eq!(u32::from_le_bytes(word), i * other);
                    }
                });
            }
        });
    });
}

#[test]
fn a_thread_and_a_coroutine_use_one_socket() {
    on_both(|| {
        const BYTES: usize = 1 << 20;
        let (a, b) = connected();
        let (a, b) = (Arc::new(a), Arc::new(b));
        let (reading, writing) = (a.clone(), a);
        let thread = thread::spawn(move || {
            let mut all = vec![0; BYTES];
            (&*reading).read_exact(&mut all).unwrap();
            all
        });
        let writer = coroutine::spawn(move || (&*writing).write_all(&[7; BYTES]).unwrap());
        let echo = coroutine::spawn(move || {
            let mut buf = vec![0; BYTES];
            (&*b).read_exact(&mut buf).unwrap();
            (&*b).write_all(&buf).unwrap();
        });
        writer.join().unwrap();
        echo.join().unwrap();
        assert!(thread.join().unwrap().iter().all(|&byte| byte == 7));
    });
}

#[test]
fn readers_on_two_carriers_share_what_comes() {
    on_both(|| {
        const BYTES: usize = 10_000;
        let (ours, mut theirs) = connected();
        let ours = Arc::new(ours);
        let seen = Arc::new(AtomicUsize::new(0));
        let read = |socket: Arc<TcpStream>, seen: Arc<AtomicUsize>| {
            let mut byte = [0; 7];
            while let Ok(n @ 1..) = (&*socket).read(&mut byte) {
                seen.fetch_add(n, SeqCst);
            }
        };
        let (socket, count) = (ours.clone(), seen.clone());
        let thread = thread::spawn(move || read(socket, count));
        let coroutines: Vec<_> = (0..3)
            .map(|_| {
                let (socket, count) = (ours.clone(), seen.clone());
                coroutine::spawn(move || read(socket, count))
            })
            .collect();
        for _ in 0..BYTES / 10 {
            theirs.write_all(&[0; 10]).unwrap();
            coroutine::yield_now();
        }
        drop(theirs);
        thread.join().unwrap();
        coroutine::join_all(coroutines).unwrap();
        assert_eq!(seen.load(SeqCst), BYTES);
    });
}

#[test]
fn sockets_move_between_backends_and_threads() {
    let all = backends();
    let runtimes: Vec<_> = all
        .iter()
        .flat_map(|&io| [runtime(io, 2), runtime(io, 1)])
        .collect();
    labelled("all runtimes", || {
        let (mut a, mut b) = connected();
        for round in 0..200usize {
            let (send, receive) = (
                &runtimes[round % runtimes.len()],
                &runtimes[(round / 3) % runtimes.len()],
            );
            let text = format!("round {round}");
            let expected = text.clone();
            let sender = send.spawn(move || {
                a.write_all(text.as_bytes()).unwrap();
                a
            });
            let receiver = receive.spawn(move || {
                let mut back = vec![0; expected.len()];
                b.read_exact(&mut back).unwrap();
                assert_eq!(back, expected.as_bytes());
                b
            });
            (a, b) = (sender.join().unwrap(), receiver.join().unwrap());
            if round % 7 == 0 {
                a.write_all(b"!").unwrap(); // and now and then a plain thread
                b.read_exact(&mut [0]).unwrap();
            }
            if round % 5 == 0 {
                std::mem::swap(&mut a, &mut b);
            }
        }
    });
}

#[test]
fn a_descriptor_may_be_waited_for_and_used_at_once() {
    on_both(|| {
        let (ours, mut theirs) = connected();
        let ours = Arc::new(ours);
        let shared = ours.clone();
        let watcher = coroutine::spawn(move || io::readable(shared.as_fd(), None).unwrap());
        let shared = ours.clone();
        let reader = coroutine::spawn(move || (&*shared).read(&mut [0]).unwrap());
        until_in(&watcher, "poll");
        until_in(&reader, "recv");
        theirs.write_all(b"12").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
        watcher.join().unwrap();
    });
}
