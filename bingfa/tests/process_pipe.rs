//! `process::pipe`: messages between processes, on both carriers.

mod common;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use bingfa::io::{Read, Write};
use bingfa::process::{self, Builder, Connection, Fd, pipe};
use bingfa::{coroutine, thread};
use common::{LONG, SHORT, Watchdog, cancel_and_join, on_one_thread, until_in};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

type Echo = Connection<String, String>;

/// Sends back what comes, twice, until the other end is closed.
fn echo(end: Echo) -> usize {
    let mut count = 0;
    loop {
        match end.recv() {
            Ok(text) => end.send(text.repeat(2)).unwrap(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
                return count;
            }
        }
        count += 1;
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Item {
    Number(i64),
    Nothing,
    Text(String),
}

#[bingfa::test]
fn messages_go_both_ways_and_the_end_is_seen() {
    let _dog = Watchdog::new("both ways");
    let (ours, theirs) = pipe().unwrap();
    let child = process::spawn(theirs, echo);
    for n in 0..100 {
        ours.send(format!("{n} ")).unwrap();
        assert_eq!(ours.recv().unwrap(), format!("{n} {n} "));
    }
    assert_eq!(ours.peer(), Some(child.pid()));
    drop(ours);
    assert_eq!(child.join().unwrap(), 100);

    let (ours, theirs) = pipe::<String, Vec<Item>>().unwrap();
    let child = process::spawn(theirs, |end: Connection<Vec<Item>, String>| {
        let items = [Item::Number(42), Item::Nothing, Item::Text("hello".into())];
        end.send(items.to_vec()).unwrap();
        end.send_bytes(b"").unwrap();
        end.recv().unwrap()
    });
    let [number, nothing, text] = <[Item; 3]>::try_from(ours.recv().unwrap()).unwrap();
    assert_eq!((number, nothing), (Item::Number(42), Item::Nothing));
    assert_eq!(text, Item::Text("hello".into()));
    assert_eq!(ours.recv_bytes().unwrap(), b"");
    ours.send("Hi".to_owned()).unwrap();
    assert_eq!(child.join().unwrap(), "Hi");
}

#[bingfa::test]
fn what_was_sent_before_the_end_arrives() {
    let (a, b) = pipe::<u32, u32>().unwrap();
    b.send(1).unwrap(); // never read: a reset, which must not hide the rest
    for n in 0..10 {
        a.send(n).unwrap();
    }
    a.send_bytes(&vec![3; 1 << 20]).unwrap();
    drop(a);
    for n in 0..10 {
        assert_eq!(b.recv().unwrap(), n);
    }
    assert_eq!(b.recv_bytes().unwrap(), vec![3; 1 << 20]);
    let error = b.recv().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let own = format!("the last message came from process {}", std::process::id());
    assert!(error.to_string().contains(&own), "{error}");
    assert_eq!(b.send(5).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[bingfa::test]
fn a_killed_process_is_an_error_that_names_it() {
    let _dog = Watchdog::new("killed");
    let (ours, theirs) = pipe::<(), u32>().unwrap();
    let child = process::spawn(theirs, |end: Connection<u32, ()>| {
        end.send(5).unwrap();
        end.recv().unwrap();
    });
    assert_eq!(ours.recv().unwrap(), 5);
    let pid = child.pid();
    child.kill().unwrap();
    let error = ours.recv().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    child.join().unwrap_err();
    for error in [ours.recv().unwrap_err(), ours.send(()).unwrap_err()] {
        let text = error.to_string();
        let expected = format!("(process {pid}, which had it, has ended)");
        assert!(text.contains(&expected), "{text}");
    }

    let (ours, theirs) = pipe::<(), u32>().unwrap();
    drop(theirs);
    let text = ours.recv().unwrap_err().to_string();
    assert!(text.contains("nothing has come from it"), "{text}");
}

#[bingfa::test]
fn limits_of_time() {
    let (a, b) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
    assert_eq!(
        a.recv_timeout(SHORT).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    assert_eq!(a.try_recv().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!a.poll(SHORT).unwrap());
    assert!(!a.poll(Duration::ZERO).unwrap());
    b.send(vec![1]).unwrap();
    assert!(a.poll(LONG).unwrap());
    assert_eq!(a.recv_timeout(LONG).unwrap(), [1]);

    let some = vec![0; 30_000];
    while a.try_send(&some).is_ok() {}
    assert_eq!(a.try_send(&some).unwrap_err().kind(), ErrorKind::WouldBlock);
    let error = a.send_timeout(&some, SHORT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(b.recv().unwrap(), some);
    while b.poll(Duration::ZERO).unwrap() {
        assert_eq!(b.recv().unwrap(), some);
    }
    a.send_timeout(&some, LONG).unwrap();
    drop(a);
    assert!(b.poll(LONG).unwrap());
    assert_eq!(b.recv().unwrap(), some);
    assert!(b.poll(LONG).unwrap(), "the end is something, too");
}

#[test]
fn a_coroutine_that_waits_lets_others_run() {
    on_one_thread(|| {
        let (a, b) = pipe::<u32, u32>().unwrap();
        let other = b.try_clone().unwrap();
        let cancelled = coroutine::spawn_local(move || other.recv().unwrap());
        until_in(&cancelled, "recv");
        cancel_and_join(cancelled); // has taken nothing
        let waiter = coroutine::spawn_local(move || b.recv().unwrap());
        until_in(&waiter, "recv");
        a.send(7).unwrap();
        assert_eq!(waiter.join().unwrap(), 7);

        let (a, b) = pipe::<Vec<u8>, ()>().unwrap();
        let sender = coroutine::spawn_local(move || {
            loop {
                a.send(vec![0; 1000]).unwrap();
            }
        });
        until_in(&sender, "send");
        cancel_and_join(sender);
        drop(b);
    });
}

#[bingfa::test]
fn large_messages_arrive_one_at_a_time() {
    let _dog = Watchdog::new("large");
    for len in [65_530, 65_531, 65_532, 100_000, 10 << 20] {
        let (a, b) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                a.send(&bytes).unwrap();
                a.send_bytes(&bytes[1..]).unwrap();
            });
            assert!(b.recv().unwrap() == bytes);
            assert!(b.recv_bytes().unwrap() == bytes[1..]);
        });
    }
}

#[bingfa::test]
fn a_slow_reader_is_not_buried_in_memory() {
    let _dog = Watchdog::new("buried");
    let (a, b) = pipe::<Vec<u8>, ()>().unwrap();
    let large = vec![1; 1 << 20];
    a.send(&large).unwrap();
    let error = a.send_timeout(&large, SHORT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    a.send(vec![1]).unwrap(); // small ones go past
    assert_eq!(b.recv().unwrap(), large);
    a.send_timeout(&large, LONG).unwrap();
    let sender = thread::spawn(move || a.send(&large).unwrap_err().kind());
    drop(b); // with a message unread, whose receipt comes back all the same
    assert_eq!(sender.join().unwrap(), ErrorKind::BrokenPipe);
}

#[test]
fn a_message_of_a_gibibyte() {
    let (a, b) = pipe::<(), ()>().unwrap();
    let mut bytes = vec![0; 1 << 30];
    bytes[1 << 29] = 7;
    a.send_bytes(&bytes).unwrap();
    let received = b.recv_bytes().unwrap();
    assert_eq!(received.len(), 1 << 30);
    assert_eq!(received[1 << 29], 7);
}

#[bingfa::test]
fn ends_and_descriptors_travel_in_messages() {
    let _dog = Watchdog::new("ends");
    type Parcel = (Fd, Connection<u32, u32>, Vec<u8>);
    for len in [1, 1 << 20] {
        let (ours, theirs) = pipe::<Parcel, ()>().unwrap();
        let child = process::spawn(theirs, |end: Connection<(), Parcel>| {
            let (fd, numbers, bytes) = end.recv().unwrap();
            let mut file = std::fs::File::from(OwnedFd::from(fd));
            file.write_all(b"from the child").unwrap();
            let n = numbers.recv().unwrap();
            numbers.send(n * 2 + bytes.len() as u32).unwrap();
        });
        let (mut out, inp) = std::io::pipe().unwrap();
        let (numbers, far) = pipe().unwrap();
        let parcel = (Fd::from(OwnedFd::from(inp)), far, vec![0; len]);
        ours.send(parcel).unwrap();
        numbers.send(4).unwrap();
        assert_eq!(numbers.recv().unwrap(), 8 + len as u32);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from the child");
        child.join().unwrap();
    }
}

#[bingfa::test]
fn several_processes_share_an_end() {
    let _dog = Watchdog::new("share");
    let (ours, theirs) = pipe::<Option<u32>, u32>().unwrap();
    type Shared = Connection<u32, Option<u32>>;
    let children: Vec<_> = (0..3)
        .map(|_| {
            process::spawn(theirs.try_clone().unwrap(), |end: Shared| {
                while let Some(n) = end.recv().unwrap() {
                    end.send(n * n).unwrap();
                }
            })
        })
        .collect();
    drop(theirs);
    let squares = thread::scope(|scope| {
        scope.spawn(|| {
            (0..200).for_each(|n| ours.send(Some(n)).unwrap());
            (0..3).for_each(|_| ours.send(None).unwrap());
        });
        let squares: BTreeSet<u32> = (0..200).map(|_| ours.recv().unwrap()).collect();
        squares
    });
    assert!(squares.into_iter().eq((0..200).map(|n| n * n)));
    assert_eq!(ours.recv().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    for child in children {
        child.join().unwrap();
    }
}

#[bingfa::test]
fn waiting_for_any_of_several() {
    let _dog = Watchdog::new("any");
    let (a, far_a) = pipe::<(), u32>().unwrap();
    let (b, far_b) = pipe::<(), u32>().unwrap();
    let soon = Instant::now() + SHORT;
    let both = [a.as_fd(), b.as_fd()];
    assert!(process::wait(&both, soon).unwrap().is_empty());
    assert!(
        process::wait::<BorrowedFd<'_>>(&[], soon)
            .unwrap()
            .is_empty()
    );
    far_b.send(1).unwrap();
    assert_eq!(process::wait(&both, None).unwrap(), [1]);
    far_a.send(1).unwrap();
    assert_eq!(process::wait(&both, None).unwrap(), [0, 1]);
    assert_eq!(process::wait(&[&a, &a], None).unwrap(), [0, 1]);
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(
        process::wait(&[file.as_fd(), both[0]], None).unwrap(),
        [0, 1]
    );

    let (c, far_c) = pipe::<(), u32>().unwrap();
    let child = process::spawn(far_c, |end: Connection<u32, ()>| {
        let _ = end.recv();
    });
    let sentinel = child.process().sentinel().unwrap();
    let many = [sentinel.as_fd(), c.as_fd()];
    assert!(
        process::wait(&many, Instant::now() + SHORT)
            .unwrap()
            .is_empty()
    );
    c.send(()).unwrap();
    assert!(!process::wait(&many, None).unwrap().is_empty());
    child.join().unwrap();
}

#[bingfa::test]
fn the_wrong_kind_and_the_wrong_type_are_errors() {
    let (a, b) = pipe::<u8, u8>().unwrap();
    a.send(1).unwrap();
    let error = b.recv_bytes().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(
        error.to_string().contains("a value, not raw bytes"),
        "{error}"
    );
    a.send_bytes(b"x").unwrap();
    let error = b.recv().unwrap_err();
    assert!(
        error.to_string().contains("raw bytes, not a value"),
        "{error}"
    );
    a.send(7).unwrap();
    assert_eq!(b.recv().unwrap(), 7, "and then it works again");

    let error = serde_json::to_string(&a).unwrap_err().to_string();
    assert!(error.contains("Connection<u8>` is a handle"), "{error}");
}

/// Sends one packet of any bytes and descriptors.
fn raw_send(end: BorrowedFd<'_>, bytes: &[u8], with: Option<BorrowedFd<'_>>) {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    #[repr(align(8))]
    struct Control([u8; 24]);
    let mut control = Control([0; 24]);
    // SAFETY: the message points to locals, and its control buffer has room for two numbers.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if let Some(fd) = with {
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = 24;
            let header = &mut *libc::CMSG_FIRSTHDR(&raw const message);
            header.cmsg_level = libc::SOL_SOCKET;
            header.cmsg_type = libc::SCM_RIGHTS;
            header.cmsg_len = libc::CMSG_LEN(8) as usize;
            let data = libc::CMSG_DATA(header).cast::<i32>();
            data.write_unaligned(fd.as_raw_fd());
            data.add(1).write_unaligned(fd.as_raw_fd());
        }
        let sent = libc::sendmsg(end.as_raw_fd(), &raw const message, 0);
        assert_eq!(sent, bytes.len() as isize);
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_errors(
        kind in prop_oneof![Just(1u8), Just(0x41), Just(0x81), Just(0xc1), any::<u8>()],
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        with in 0..3,
    ) {
        type Odd = (Vec<String>, Option<Fd>, Connection<(), Item>, Vec<u64>);
        let (other, _) = pipe::<(), ()>().unwrap();
        let (victim, attacker) = pipe::<u8, Odd>().unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let with = match with {
            0 => None,
            1 => Some(file.as_fd()),
            _ => Some(other.as_fd()),
        };
        let packet = [&[kind][..], &bytes].concat();
        raw_send(attacker.as_fd(), &packet, with);
        let _ = victim.recv();
        attacker.send_bytes(b"alive").unwrap();
        prop_assert_eq!(victim.recv_bytes().unwrap(), b"alive");
    }
}

#[bingfa::test]
fn a_killed_reader_of_large_messages_is_an_error_at_once() {
    let _dog = Watchdog::new("large and killed");
    let (ours, theirs) = pipe::<Vec<u8>, ()>().unwrap();
    let child = Builder::new()
        .spawn(theirs, |end: Connection<(), Vec<u8>>| {
            end.recv().unwrap();
            std::thread::sleep(LONG);
        })
        .unwrap();
    let large = vec![1; 1 << 20];
    ours.send(&large).unwrap();
    ours.send(&large).unwrap(); // once the first has been read
    let waiting = thread::spawn(move || ours.send(&large).unwrap_err().kind());
    child.kill().unwrap();
    assert_eq!(waiting.join().unwrap(), ErrorKind::BrokenPipe);
    child.join().unwrap_err();
}
