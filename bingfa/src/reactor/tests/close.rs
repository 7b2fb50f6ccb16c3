//! Closed descriptors, and numbers that come back.

use std::io::Write;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use super::*;
use crate::reactor::{closing, epoll};
use crate::sys::errno::{EBADF, ECANCELED};
use crate::sys::socket::POLLIN;
use crate::sys::testing;

#[test]
fn a_close_wakes_who_waits() {
    on_each(|worker| {
        let (ours, _peer) = tcp();
        let fd = ours.fd();
        let (first, second, poll) = (ours.recv(10), ours.recv(10), foreign(fd, POLLIN));
        for call in [&first, &second, &poll] {
            worker.start(call);
        }
        worker.assert_pending(&first);
        let epoch = closing(fd).expect("three wait");

        // Submitted after the close, so on another descriptor with this number.
        let late = ours.recv(10);
        worker.start(&late);
        worker.driver.closed(fd, epoch, &mut worker.done);
        for call in [&first, &second, &poll] {
            assert_eq!(worker.finish(call), -EBADF);
        }
        worker.assert_pending(&late);
        worker.cancel(&late);
        assert_eq!(worker.finish(&late), -ECANCELED);
        assert_eq!(closing(fd), None, "nobody waits any more");
        worker.driver.closed(fd, epoch, &mut worker.done);
        worker.driver.closed(-1, epoch, &mut worker.done);
    });
}

#[test]
fn closes_of_more_operations_than_the_queue_holds() {
    on_each(|worker| {
        let (ours, _peer) = unix();
        let calls: Vec<Call> = (0..3_000).map(|_| ours.recv(1)).collect();
        for call in &calls {
            worker.start(call);
        }
        worker.flush();
        let epoch = closing(ours.fd()).unwrap();
        worker.driver.closed(ours.fd(), epoch, &mut worker.done);
        worker.until(|| calls.iter().all(|call| call.result.get() == Some(-EBADF)));
        assert_eq!(worker.done.len(), calls.len());
    });
}

/// The file of a closed number lives on in a duplicate, and so does a registration that
/// nobody released: its events must not reach the number's next file.
#[test]
fn a_number_that_comes_back_is_another_descriptor() {
    on_each(|worker| {
        for released in [true, false] {
            let (old, mut old_peer) = tcp();
            settle(worker, &old, &mut old_peer);
            let _keeps_the_file = old.io.try_clone().unwrap();
            if released {
                old.source.release(old.fd());
            }
            let (new, mut new_peer) = tcp();
            let new = take_over(old, &new.io);
            let call = new.recv(10);
            worker.start(&call);
            old_peer.write_all(b"not for you").unwrap();
            worker.assert_pending(&call);
            new_peer.write_all(b"yes").unwrap();
            assert_eq!(worker.finish(&call), 3);
            assert_eq!(call.bytes(), b"yes");
        }
    });
}

/// The same file under the same number, but another source: the kernel still has the
/// registration.
#[test]
fn a_number_that_comes_back_with_its_file_is_registered_anew() {
    on_each(|worker| {
        let (old, mut peer) = tcp();
        settle(worker, &old, &mut peer);
        let duplicate = old.io.try_clone().unwrap();
        let new = take_over(old, &duplicate);
        let call = new.recv(10);
        worker.start(&call);
        worker.assert_pending(&call);
        peer.write_all(b"yes").unwrap();
        assert_eq!(worker.finish(&call), 3);
    });
}

/// Closes `old` and puts the file of `new` under its number, in one step.
fn take_over(old: Socket<TcpStream>, new: &TcpStream) -> Socket<TcpStream> {
    let old = ManuallyDrop::new(old);
    testing::duplicate_to(new, old.fd());
    // SAFETY: the number is the new file's now, and nobody else uses it: `old` is not
    // dropped.
    let io = unsafe { TcpStream::from_raw_fd(old.fd()) };
    Socket::new(io, true)
}

#[test]
fn a_descriptor_given_away_is_in_no_epoll() {
    // More than there are bits for.
    let sleeper = Arc::new(Sleeper::new());
    let mut drivers: Vec<epoll::Epoll> = (0..70)
        .map(|_| epoll::Epoll::open(&sleeper).unwrap())
        .collect();
    let (ours, mut peer) = tcp();
    let mut done = Vec::new();
    let calls: Vec<Call> = [0, 1, 62, 63, 64, 69].map(|_| ours.recv(1)).into();
    for (&index, call) in [0, 1, 62, 63, 64, 69].iter().zip(&calls) {
        let driver = &mut drivers[index];
        // SAFETY: the operation is boxed, and leaked if it stays in flight.
        unsafe { driver.submit(NonNull::from(&**call), &mut done) };
        assert!(driver.knows(ours.fd()));
        // SAFETY: submitted above.
        unsafe { driver.cancel(NonNull::from(&**call), &mut done) };
    }
    ours.source.release(ours.fd());
    assert!(drivers.iter().all(|driver| !driver.knows(ours.fd())));
    peer.write_all(b"x").unwrap();

    // A driver that is gone is not asked, and its seat is taken again.
    drop(drivers);
    let mut worker = Worker::new(Kind::Epoll);
    let (ours, mut peer) = tcp();
    settle(&mut worker, &ours, &mut peer);
    let fd = ours.fd();
    ours.source.release(fd);
    let mut ours = ManuallyDrop::new(ours);
    // SAFETY: `ours` is neither used nor dropped any more.
    let given_away = unsafe { ptr::read(&raw mut ours.io) }.into_raw_fd();
    // SAFETY: `into_raw_fd` has just given it.
    drop(unsafe { OwnedFd::from_raw_fd(given_away) });
}
