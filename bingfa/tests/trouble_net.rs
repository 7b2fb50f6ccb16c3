//! Networks in trouble: what peers and limits can do to a server.

mod common;

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bingfa::coroutine;
use bingfa::io::{Read, Write};
use bingfa::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use bingfa::os::unix::net::UnixStream;
use bingfa::time::timeout;
use common::net::{LOCAL, Server, ask, connected, shout};
use common::{
    Flag, SHORT, assert_well, backends, cancel_and_join, in_child, labelled, on_both,
    on_one_thread, runtime, until, until_in,
};
use socket2::SockRef;

// -- the server's own limits ---------------------------------------------------

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    on_both(|| {
        let first = TcpListener::bind(LOCAL).unwrap();
        let again = TcpListener::bind(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
        let udp = UdpSocket::bind(LOCAL).unwrap();
        let again = UdpSocket::bind(udp.local_addr().unwrap()).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
        // And free again once it is closed, whoever was connected.
        let addr = first.local_addr().unwrap();
        let client = TcpStream::connect(addr).unwrap();
        let server = first.accept().unwrap().0;
        drop((first, server, client));
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn at_the_descriptor_limit_a_server_goes_on_and_recovers() {
    let name = "at_the_descriptor_limit_a_server_goes_on_and_recovers";
    let output = in_child(name, &[], || {
        for io in backends() {
            for workers in [1, 2] {
                labelled(&format!("{io:?}, {workers} workers"), || {
                    let runtime = runtime(io, workers);
                    at_the_limit(&runtime);
                });
            }
        }
    });
    if let Some(output) = output {
        assert_well(&output);
    }
}

fn at_the_limit(runtime: &bingfa::Runtime) {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let addr = listener.local_addr().unwrap();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    let server = runtime.spawn(move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => drop(coroutine::spawn(move || shout(&stream))),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                    count.fetch_add(1, SeqCst); // and tries again at once
                }
            }
        }
    });
    let early = TcpStream::connect(addr).unwrap();
    ask(&early, "before");
    // Sockets for the clients are made before the limit is reached, then all room but a
    // little is taken away.
    let clients: Vec<_> = (0..10)
        .map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap())
        .collect();
    let old = descriptor_limit(clients.last().unwrap().as_raw_fd() as u64 + 3);
    for client in &clients {
        client.connect(&addr.into()).unwrap(); // into the backlog
    }
    let clients: Vec<TcpStream> = clients
        .into_iter()
        .map(|client| TcpStream::from(std::os::fd::OwnedFd::from(client)))
        .collect();
    until(|| refused.load(SeqCst) > 10);
    ask(&early, "the others are served meanwhile");
    descriptor_limit(old);
    for client in &clients {
        ask(client, "afterwards everybody is");
    }
    ask(&early, "after");
    cancel_and_join(server);
}

/// Sets the soft limit; gives back the one before.
fn descriptor_limit(limit: u64) -> u64 {
    // SAFETY: the structure is valid for both calls.
    unsafe {
        let mut both = std::mem::zeroed::<libc::rlimit>();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut both), 0);
        let old = std::mem::replace(&mut both.rlim_cur, limit);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &both), 0);
        old
    }
}

#[test]
fn without_descriptors_a_runtime_is_an_error() {
    let name = "without_descriptors_a_runtime_is_an_error";
    let output = in_child(name, &[], || {
        for io in backends() {
            let error = {
                let probe = std::fs::File::open("/dev/null").unwrap();
                let old = descriptor_limit(probe.as_raw_fd() as u64);
                let error = bingfa::Runtime::builder()
                    .io(io)
                    .workers(2)
                    .build()
                    .unwrap_err();
                descriptor_limit(old);
                error
            };
            assert!(
                error
                    .to_string()
                    .to_lowercase()
                    .contains("too many open files"),
                "{error}"
            );
            assert_eq!(runtime(io, 2).run(|| 1), 1);
        }
    });
    if let Some(output) = output {
        assert_well(&output);
    }
}

// -- peers ---------------------------------------------------------------------

#[test]
fn resets_end_their_connection_only() {
    on_both(|| {
        let resets = Arc::new(AtomicUsize::new(0));
        let count = resets.clone();
        let server = Server::start(move |stream| {
            if let Err(error) = shout(&stream) {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                count.fetch_add(1, SeqCst);
            }
        });
        let good = server.connect();
        for i in 0..20 {
            let bad = server.connect();
            ask(&bad, "x");
            SockRef::from(&bad)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(bad);
            ask(&good, &format!("still {i}"));
        }
        until(|| resets.load(SeqCst) == 20);
        server.stop();
    });
}

#[test]
fn a_reset_wakes_reader_and_writer() {
    on_both(|| {
        let (ours, theirs) = connected();
        let ours = Arc::new(ours);
        let reading = ours.clone();
        let reader = coroutine::spawn(move || (&*reading).read(&mut [0]));
        let writing = ours.clone();
        let writer = coroutine::spawn(move || (&*writing).write_all(&vec![0; 64 << 20]));
        until_in(&reader, "recv");
        until_in(&writer, "send");
        SockRef::from(&theirs)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(theirs);
        // One of them learns of the reset, the other finds a connection that is gone.
        let errors = [reader.join().unwrap().map(drop), writer.join().unwrap()];
        assert!(
            errors.iter().any(|result| {
                result
                    .as_ref()
                    .is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
            }),
            "{errors:?}"
        );
        assert!(errors[1].is_err());
    });
}

#[test]
fn half_closed_both_ways() {
    on_both(|| {
        let server = Server::start(|stream| {
            shout(&stream).unwrap(); // until the client has finished
            (&stream).write_all(b"bye").unwrap();
        });
        let mut client = server.connect();
        ask(&client, "hello");
        client.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "bye");
        server.stop();
        // The other way: we stop reading, the peer's data is not in the way.
        let (ours, theirs) = connected();
        ours.shutdown(Shutdown::Read).unwrap();
        (&theirs).write_all(b"unheard").unwrap();
        (&ours).write_all(b"heard").unwrap();
        let mut word = [0; 5];
        (&theirs).read_exact(&mut word).unwrap();
    });
}

#[test]
fn shutdown_by_a_colleague_wakes_a_reader() {
    on_both(|| {
        let (ours, _theirs) = connected();
        let ours = Arc::new(ours);
        let shared = ours.clone();
        let reader = coroutine::spawn(move || (&*shared).read(&mut [0]));
        until_in(&reader, "recv");
        ours.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn data_and_end_in_one_edge_are_both_seen() {
    on_both(|| {
        for size in [1, 100, 4096, 100_000] {
            let (mut ours, theirs) = connected();
            let reader = coroutine::spawn(move || {
                let mut seen = 0;
                let mut buf = [0; 100];
                loop {
                    match ours.read(&mut buf).unwrap() {
                        0 => return seen,
                        n => seen += n,
                    }
                }
            });
            until_in(&reader, "recv");
            (&theirs).write_all(&vec![1; size]).unwrap();
            drop(theirs);
            assert_eq!(reader.join().unwrap(), size);
        }
    });
}

#[test]
fn a_client_that_says_nothing_is_timed_out() {
    on_both(|| {
        let (report, result) = mpsc::channel();
        let report = std::sync::Mutex::new(report);
        let server = Server::start(move |stream| {
            let by_scope = timeout(SHORT, || shout(&stream)).is_err();
            stream.set_read_timeout(Some(SHORT)).unwrap();
            let by_option = (&stream).read(&mut [0]).unwrap_err().kind();
            report.lock().unwrap().send((by_scope, by_option)).unwrap();
        });
        let mut silent = server.connect();
        // Closed by the server in the end.
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
        assert_eq!(result.recv().unwrap(), (true, ErrorKind::WouldBlock));
        server.stop();
    });
}

#[test]
fn a_peer_that_never_reads_stops_its_writer_and_no_other() {
    on_both(|| {
        let server = Server::start(|stream| {
            let _ = shout(&stream);
        });
        let greedy = server.connect();
        // Talks without listening until nothing fits any more.
        let talking = Arc::new(greedy);
        let talker = talking.clone();
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let talker = coroutine::spawn(move || {
            let block = [b'a'; 4096];
            loop {
                match (&*talker).write(&block) {
                    Ok(n) => count.fetch_add(n, SeqCst),
                    Err(_) => return,
                };
            }
        });
        // Full when nothing moves for a while; the kernel's buffers are the only memory.
        let mut last = usize::MAX;
        while last != sent.load(SeqCst) {
            last = sent.load(SeqCst);
            coroutine::sleep(Duration::from_millis(100));
        }
        assert!(last < 64 << 20, "{last} bytes were taken");
        let polite = server.connect();
        ask(&polite, "hello");
        // It reads at last: all comes back.
        let mut back = vec![0; last];
        (&*talking).read_exact(&mut back).unwrap();
        assert!(back.iter().all(|&b| b == b'A'));
        talker.cancel();
        let _ = talker.join();
        server.stop();
    });
}

#[test]
fn sixty_four_mebibytes_both_ways() {
    on_both(|| {
        const SIZE: usize = 64 << 20;
        let (a, b) = connected();
        let (a, b) = (Arc::new(a), Arc::new(b));
        let pattern = |seed: u8| move |i: usize| (i as u8).wrapping_mul(31).wrapping_add(seed);
        let send = |to: &Arc<TcpStream>, seed| {
            let to = to.clone();
            coroutine::spawn(move || {
                let message: Vec<u8> = (0..SIZE).map(pattern(seed)).collect();
                (&*to).write_all(&message).unwrap();
            })
        };
        let receive = |from: &Arc<TcpStream>, seed| {
            let from = from.clone();
            coroutine::spawn(move || {
                let mut message = vec![0; SIZE];
                (&*from).read_exact(&mut message).unwrap();
                assert!(message.into_iter().eq((0..SIZE).map(pattern(seed))));
            })
        };
        let all = [send(&a, 1), receive(&b, 1), send(&b, 2), receive(&a, 2)];
        coroutine::join_all(all).unwrap();
    });
}

#[test]
fn a_timeout_and_data_at_the_same_time() {
    on_one_thread(|| {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let mut sent = 0usize;
        let mut got = 0usize;
        for i in 0..300u64 {
            let writer = coroutine::spawn_local(move || {
                coroutine::sleep(Duration::from_micros(900 + i));
                theirs.write_all(b"x").unwrap();
                theirs
            });
            let mut buf = [0; 16];
            ours.set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            match ours.read(&mut buf) {
                Ok(n) => got += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            sent += 1;
            theirs = writer.join().unwrap();
        }
        drop(theirs);
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).unwrap();
        assert_eq!(got + rest.len(), sent);
    });
}

#[test]
fn five_thousand_connections() {
    let name = "five_thousand_connections";
    let output = in_child(name, &[], || {
        common::usage::allow_many_descriptors();
        for io in backends() {
            labelled(&format!("{io:?}"), || {
                runtime(io, 2).run(|| {
                    let server = Server::start(|stream| shout(&stream).unwrap());
                    let addr = server.addr;
                    let open = Arc::new(AtomicUsize::new(0));
                    let go = Flag::new();
                    let clients: Vec<_> = (0..5000)
                        .map(|i| {
                            let (open, go) = (open.clone(), go.clone());
                            coroutine::spawn(move || {
                                let stream = TcpStream::connect(addr).unwrap();
                                ask(&stream, "hello");
                                open.fetch_add(1, SeqCst);
                                while !go.is_set() {
                                    coroutine::park();
                                }
                                for round in 0..3 {
                                    ask(&stream, &format!("client {i} round {round}"));
                                }
                            })
                        })
                        .collect();
                    until(|| {
                        coroutine::sleep(Duration::from_millis(1));
                        open.load(SeqCst) == 5000
                    });
                    go.set();
                    clients.iter().for_each(|client| client.unpark());
                    coroutine::join_all(clients).unwrap();
                    server.stop();
                });
            });
        }
    });
    if let Some(output) = output {
        assert_well(&output);
    }
}
