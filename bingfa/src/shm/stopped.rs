//! Tests: what others do while a process is stopped with a lock.
#![allow(unsafe_code)] // makes objects of its own, with payloads that it knows

use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Barrier;
use std::thread;

use super::block::{LONGEST_INLINE, Message, Writer};
use super::family::Family;
use super::kind::Kind;
use super::object::{Destination, Handle};
use super::permits::Permits;
use super::ring::{Put, Received, Ring};
use super::tally::Attempt;

/// Runs `test` while another thread has what `lock` gives.
fn while_stopped<G>(lock: impl FnOnce() -> G + Send, test: impl FnOnce()) {
    let (stopped, go) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _lock = lock();
            stopped.wait();
            go.wait();
        });
        stopped.wait();
        test();
        go.wait();
    });
}

fn make<T>(family: &'static Family, kind: Kind, init: fn(*mut T) -> io::Result<()>) -> Handle {
    let len = size_of::<T>() as u64;
    Handle::create(family, kind, 5, len, |payload| {
        init(payload.as_ptr().cast())
    })
    .unwrap()
}

/// A queue.
fn queue(family: &'static Family) -> Handle {
    let handle = make::<Ring>(family, Kind::Queue, |at| {
        // SAFETY: the payload has room for it, and is nobody else's yet.
        unsafe { Ring::init(NonNull::new(at).unwrap(), 3) }
    });
    ring(&handle).open(family.arena()).unwrap();
    handle
}

fn ring(handle: &Handle) -> &Ring {
    // SAFETY: of `queue`.
    unsafe { handle.payload().cast().as_ref() }
}

#[test]
fn a_queue_is_closed_while_somebody_is_stopped_in_the_middle_of_a_put() {
    let [parent, child] = Family::of_two().unwrap();
    let ours = queue(parent);
    let token = ours.export(Destination::Peer(child.me())).unwrap();
    let theirs = Handle::import(child, token, None, Kind::Queue, 5).unwrap();
    let put = || {
        ring(&ours)
            .try_put(parent.arena(), Message::Short(b"item"))
            .unwrap()
    };
    assert_eq!(put(), Put::Done);
    let lock = || ring(&theirs).lock_tail_briefly();
    while_stopped(lock, || {
        ring(&ours).close(parent.arena());
        assert_eq!(put(), Put::Closed);
        // It may go on and put.
        assert_eq!(ring(&ours).has_no_source(), None);
        let mut buffer = [const { MaybeUninit::uninit() }; LONGEST_INLINE];
        let got = ring(&ours).try_get(parent.arena(), ours.hold(), &mut buffer);
        assert_eq!(got.unwrap(), Received::Short(4));
    });
    assert_eq!(ring(&ours).has_no_source(), Some(true));

    let killed = queue(parent);
    thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(ring(&killed).lock_tail_briefly()));
    });
    ring(&killed).close(parent.arena());
    assert_eq!(ring(&killed).has_no_source(), Some(true));
}

#[test]
fn nobody_waits_to_let_go_while_somebody_is_stopped_with_the_memory() {
    let [parent, child] = Family::of_two().unwrap();
    let ours = queue(parent);
    let token = ours.export(Destination::Peer(child.me())).unwrap();
    let theirs = Handle::import(child, token, None, Kind::Queue, 5).unwrap();
    let block = parent.arena().allocate(100_000).unwrap();
    while_stopped(
        || child.arena().lock().unwrap(),
        || {
            drop(theirs);
            assert_eq!(ours.unfinished(ring(&ours)), None);
            parent.arena().free(block, 100_000);
            let mut buffer = [const { MaybeUninit::uninit() }; LONGEST_INLINE];
            let mut writer = Writer::new(parent.arena(), ours.hold(), &mut buffer);
            assert!(!writer.extend(&[1; 2 * LONGEST_INLINE]));
            assert_eq!(writer.error().unwrap().kind(), io::ErrorKind::WouldBlock);
        },
    );
    while ours.has_others() != Some(false) {
        thread::yield_now();
    }
    assert_eq!(parent.arena().allocate(100_000).unwrap(), block);
}

#[test]
fn permits_are_given_back_later_if_somebody_is_stopped_with_their_number() {
    let [parent, child] = Family::of_two().unwrap();
    let ours = make::<Permits>(parent, Kind::Semaphore, |at| {
        // SAFETY: the payload has room for it, and is nobody else's yet.
        unsafe { Permits::init(at, 2) }
    });
    // SAFETY: made above.
    let permits: &Permits = unsafe { ours.payload().cast().as_ref() };
    let take = |count| permits.take(parent.arena(), ours.hold(), count, false);
    assert_eq!(take(1), Attempt::Made);
    while_stopped(
        || permits.stop(child.arena()),
        || {
            assert_eq!(take(1), Attempt::Busy);
            assert!(!permits.give_back(parent.arena(), ours.hold(), 1));
        },
    );
    assert_eq!(take(2), Attempt::NotYet);
    assert!(permits.give_back(parent.arena(), ours.hold(), 1));
    assert_eq!(take(2), Attempt::Made);
}
