//! Descriptors and sockets as arguments and results of processes.

mod common;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use bingfa::coroutine;
use bingfa::io::{self, Read, Write};
use bingfa::net::{TcpListener, TcpStream, UdpSocket};
use bingfa::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use bingfa::process::{self, Builder, Fd, StartMethod};
use common::usage::{self, Usage};
use common::{LONG, Watchdog, assert_well, in_child, on_one_thread};
use serde::{Deserialize, Serialize};

fn quiet(method: StartMethod) -> Builder {
    Builder::new()
        .start_method(method)
        .env("RUST_BACKTRACE", "0")
}

const METHODS: [StartMethod; 2] = [StartMethod::Zygote, StartMethod::Exec];

/// Answers one client with what it sent, twice.
fn serve(listener: TcpListener) {
    let (mut client, _) = listener.accept().unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    client.write_all(text.repeat(2).as_bytes()).unwrap();
}

#[bingfa::test]
fn a_listener_that_is_passed_serves_in_the_child() {
    let _dog = Watchdog::new("listener");
    for method in METHODS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let child = quiet(method).spawn(listener, serve).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"ab").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abab");
        child.join().unwrap();
    }
}

#[bingfa::test]
fn a_listener_can_be_used_on_both_sides_and_keeps_what_was_asked_of_it() {
    let _dog = Watchdog::new("both sides");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let child = process::spawn(listener.try_clone().unwrap(), serve);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"x").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    // Whoever takes it, the other one is left without.
    client.read_exact(&mut [0; 2]).unwrap();
    child.join().unwrap();

    listener.set_nonblocking(true).unwrap();
    let unix = std::os::unix::net::UnixListener::bind_addr(
        &<std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(
            format!("bingfa-fd-{}", std::process::id()),
        )
        .unwrap(),
    );
    let Ok(unix) = unix else { return }; // the other carriers' turn
    unix.set_nonblocking(true).unwrap();
    let child = process::spawn(
        (listener, UnixListener::from(unix)),
        |(tcp, unix): (TcpListener, UnixListener)| {
            let of = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
            of(tcp.accept().unwrap_err()) && of(unix.accept().unwrap_err())
        },
    );
    assert!(child.join().unwrap());
}

#[derive(Serialize, Deserialize)]
struct Everything {
    stream: TcpStream,
    udp: UdpSocket,
    unix: UnixStream,
    datagram: UnixDatagram,
    pipe: Fd,
}

#[bingfa::test]
fn all_sockets_travel_both_ways() {
    let _dog = Watchdog::new("all");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(other.local_addr().unwrap()).unwrap();
    let (unix, mut unix_peer) = UnixStream::pair().unwrap();
    let (datagram, datagram_peer) = UnixDatagram::pair().unwrap();
    let (mut out, inp) = std::io::pipe().unwrap();
    let sent = Everything {
        stream,
        udp,
        unix,
        datagram,
        pipe: OwnedFd::from(inp).into(),
    };
    let child = process::spawn(sent, |mut all: Everything| {
        all.stream.write_all(b"1").unwrap();
        all.udp.send(b"2").unwrap();
        all.unix.write_all(b"3").unwrap();
        all.datagram.send(b"4").unwrap();
        let mut file = File::from(OwnedFd::from(all.pipe));
        file.write_all(b"5").unwrap();
        all.pipe = OwnedFd::from(file).into();
        all
    });
    let mut all = child.join().unwrap();
    all.unix.write_all(b"6").unwrap();
    drop(all);

    let mut byte = [0; 1];
    tcp.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"1");
    other.recv(&mut byte).unwrap();
    assert_eq!(&byte, b"2");
    let mut text = String::new();
    unix_peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "36");
    datagram_peer.recv(&mut byte).unwrap();
    assert_eq!(&byte, b"4");
    text.clear();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "5");
}

#[bingfa::test]
fn what_is_not_passed_is_not_inherited() {
    let _dog = Watchdog::new("inherited");
    for method in METHODS {
        let (mut out, inp) = std::io::pipe().unwrap();
        let (mut kept, secret) = std::io::pipe().unwrap();
        let child = quiet(method)
            .spawn(Fd::from(OwnedFd::from(inp)), |fd: Fd| {
                std::thread::sleep(LONG);
                drop(fd);
            })
            .unwrap();
        drop(secret);
        let mut nothing = Vec::new();
        kept.read_to_end(&mut nothing).unwrap(); // nobody else has the other end
        child.kill().unwrap();
        assert!(child.join().is_err());
        out.read_to_end(&mut nothing).unwrap(); // this one had the child
        assert!(nothing.is_empty());
    }
}

fn pipes(count: usize) -> (Vec<std::io::PipeReader>, Vec<Fd>) {
    let pair = |_| {
        let (out, inp) = std::io::pipe().unwrap();
        (out, Fd::from(OwnedFd::from(inp)))
    };
    (0..count).map(pair).unzip()
}

#[bingfa::test]
fn as_many_as_the_kernel_lets_pass() {
    let _dog = Watchdog::new("many");
    let (outs, inps) = pipes(252);
    let child = process::spawn(inps, |inps: Vec<Fd>| {
        for (i, inp) in inps.iter().enumerate() {
            let mut inp = File::from(inp.as_fd().try_clone_to_owned().unwrap());
            inp.write_all(&[i as u8]).unwrap();
        }
        inps
    });
    let inps = child.join().unwrap();
    assert_eq!(inps.len(), 252);
    drop(inps);
    for (i, mut out) in outs.into_iter().enumerate() {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [i as u8]);
    }
    let (_outs, inps) = pipes(254);
    let error = Builder::new().spawn(inps, |_: Vec<Fd>| ()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`bingfa::process::fd::Fd`: a message takes at most 252"),
        "{text}"
    );
}

/// The same handle, many times.
struct Same(Rc<Fd>, Vec<u8>);

impl Serialize for Same {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (vec![&*self.0; 300], &self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Same {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut fds, bytes) = <(Vec<Fd>, Vec<u8>)>::deserialize(deserializer)?;
        assert_eq!(fds.len(), 300);
        Ok(Same(Rc::new(fds.pop().unwrap()), bytes))
    }
}

#[bingfa::test]
fn the_same_descriptor_goes_once_also_with_a_large_message() {
    let _dog = Watchdog::new("same");
    let (mut out, inp) = std::io::pipe().unwrap();
    let same = Same(Rc::new(OwnedFd::from(inp).into()), vec![9; 3 << 20]);
    let child = process::spawn(same, |same: Same| {
        assert_eq!(same.1, vec![9; 3 << 20]);
        let fd = same.0.as_fd().try_clone_to_owned().unwrap();
        File::from(fd).write_all(b"once").unwrap();
        same
    });
    assert_eq!(child.join().unwrap().1.len(), 3 << 20);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "once");
}

#[bingfa::test]
fn outside_a_message_it_is_an_error_that_names_the_type() {
    let (_out, inp) = std::io::pipe().unwrap();
    let fd = Fd::from(OwnedFd::from(inp));
    let error = serde_json::to_string(&fd).unwrap_err().to_string();
    assert!(
        error.contains("`bingfa::process::fd::Fd` is a handle"),
        "{error}"
    );
    let error = serde_json::from_str::<Fd>("0").unwrap_err().to_string();
    assert!(error.contains("can only be received by bingfa"), "{error}");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = serde_json::to_string(&udp).unwrap_err().to_string();
    assert!(error.contains("UdpSocket` is a handle"), "{error}");
}

/// Encoded as a number, decoded as a handle.
struct Lie;

impl Serialize for Lie {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        7u16.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Lie {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fd::deserialize(deserializer).map(|_| Lie)
    }
}

#[bingfa::test]
fn a_descriptor_that_did_not_come_is_an_error() {
    let _dog = Watchdog::new("lie");
    let child = quiet(StartMethod::Zygote).spawn(Lie, |_| ()).unwrap();
    let text = child.join().unwrap_err().to_string();
    let why = "its arguments: `process_fd::Lie` cannot be decoded: `bingfa::process::fd::Fd`: \
               its descriptor is not in the message";
    assert!(text.contains(why), "{text}");
}

#[bingfa::test]
fn a_receiver_with_a_full_table_gets_an_error() {
    let _dog = Watchdog::new("full");
    let child = process::spawn((), |()| {
        let (_outs, inps) = pipes(100);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = process::spawn((inps, theirs), |(inps, mut go): (Vec<Fd>, UnixStream)| {
            go.read_to_end(&mut Vec::new()).unwrap();
            inps
        });
        usage::limit_descriptors(50); // there are more already
        drop(ours);
        child.join().unwrap_err().to_string()
    });
    let text = child.join().unwrap();
    assert!(text.contains("`bingfa::process::fd::Fd`: "), "{text}");
}

/// Lets others run in the middle of being encoded.
struct Slow(Fd, Fd);

impl Serialize for Slow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Pause;
        impl Serialize for Pause {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                coroutine::yield_now();
                ().serialize(serializer)
            }
        }
        (&self.0, Pause, &self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (a, (), b) = <(Fd, (), Fd)>::deserialize(deserializer)?;
        Ok(Slow(a, b))
    }
}

#[test]
fn messages_that_are_encoded_at_the_same_time_keep_their_own() {
    on_one_thread(|| {
        coroutine::scope(|scope| {
            for n in 0..4u8 {
                scope.spawn_local(move || {
                    let (outs, inps) = pipes(2);
                    let [a, b] = <[Fd; 2]>::try_from(inps).unwrap();
                    let child = process::spawn((n, Slow(a, b)), |(n, Slow(a, b)): (u8, Slow)| {
                        File::from(OwnedFd::from(a)).write_all(&[n, 0]).unwrap();
                        File::from(OwnedFd::from(b)).write_all(&[n, 1]).unwrap();
                    });
                    child.join().unwrap();
                    for (place, mut out) in outs.into_iter().enumerate() {
                        let mut bytes = Vec::new();
                        out.read_to_end(&mut bytes).unwrap();
                        assert_eq!(bytes, [n, place as u8]);
                    }
                });
            }
        });
    });
}

#[test]
fn nothing_leaks() {
    let round = || {
        let (outs, inps) = pipes(8);
        let child = process::spawn(inps, |inps: Vec<Fd>| inps);
        drop((child.join().unwrap(), outs));
        let (_outs, inps) = pipes(2);
        let child = quiet(StartMethod::Zygote)
            .spawn(inps, |_: Vec<Fd>| panic!("as it happens"))
            .unwrap();
        let result: Result<(), _> = child.join();
        result.unwrap_err();
        let (_outs, inps) = pipes(2);
        drop(process::spawn(inps, |_: Vec<Fd>| ()));
    };
    // Alone, because other tests open and close theirs meanwhile.
    let output = in_child("nothing_leaks", &[], || {
        round();
        let before = Usage::settled();
        (0..20).for_each(|_| round());
        let after = Usage::settled();
        assert!(
            after.descriptors <= before.descriptors + 4,
            "{before:?} {after:?}"
        );
    });
    if let Some(output) = output {
        assert_well(&output);
    }
}
