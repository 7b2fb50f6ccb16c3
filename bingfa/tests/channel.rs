//! Channels: `bingfa::queue`'s and the twin of `std::sync::mpsc`.

mod common;

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bingfa::coroutine;
use bingfa::queue::{self, SendTimeoutError};
use bingfa::select;
use bingfa::sync::mpsc::{
    self, RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError,
};
use common::{Drops, LONG, SHORT, cancel_and_join, on_both, until_in};

#[bingfa::test]
fn messages_arrive_in_order_until_the_last_sender_is_gone() {
    for (sender, receiver) in [queue::bounded(1), queue::unbounded(), queue::rendezvous()] {
        let second = sender.clone();
        let (first, second) = (
            coroutine::spawn(move || (0..100).for_each(|n| sender.send(n).unwrap())),
            coroutine::spawn(move || (100..200).for_each(|n| second.send(n).unwrap())),
        );
        let (mut low, mut high) = (0, 100);
        for n in &receiver {
            if n < 100 {
                assert_eq!(n, low);
                low += 1;
            } else {
                assert_eq!(n, high);
                high += 1;
            }
        }
        assert_eq!((low, high), (100, 200));
        assert_eq!(receiver.recv(), Err(RecvError));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert!(receiver.is_disconnected());
        first.join().unwrap();
        second.join().unwrap();
    }
}

#[bingfa::test]
fn without_receivers_sends_fail_and_what_is_left_is_dropped() {
    let drops = Drops::new();
    let (sender, receiver) = queue::unbounded();
    let second = receiver.clone();
    sender.send(drops.droplet()).unwrap();
    drop(receiver);
    assert_eq!(drops.count(), 0);
    drop(second);
    assert_eq!(drops.count(), 1);
    let SendError(back) = sender.send(drops.droplet()).unwrap_err();
    assert_eq!(drops.count(), 1);
    assert!(matches!(
        sender.try_send(back),
        Err(TrySendError::Disconnected(_))
    ));
}

#[bingfa::test]
fn limits_of_time_and_room() {
    let (sender, receiver) = queue::bounded(1);
    assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert_eq!(
        receiver.recv_deadline(Instant::now()),
        Err(RecvTimeoutError::Timeout)
    );
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.send(1).unwrap();
    assert!(sender.is_full() && receiver.len() == 1);
    assert_eq!(sender.capacity(), Some(1));
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    let error = sender.send_timeout(2, SHORT).unwrap_err();
    assert_eq!(error, SendTimeoutError::Timeout(2));
    assert_eq!(error.to_string(), "timed out waiting for room in a channel");
    assert_eq!(error.into_inner(), 2);
    assert_eq!(
        sender.send_deadline(2, Instant::now()),
        Err(SendTimeoutError::Timeout(2))
    );
    drop(sender);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1]);
    assert_eq!(
        receiver.recv_timeout(LONG),
        Err(RecvTimeoutError::Disconnected)
    );
}

#[bingfa::test]
fn a_weak_sender_does_not_keep_a_channel_connected() {
    let (sender, receiver) = queue::unbounded();
    let weak = sender.downgrade();
    let again = weak.clone().upgrade().unwrap();
    assert!(again.same_channel(&sender));
    again.send(1).unwrap();
    drop(sender);
    drop(again);
    assert!(weak.upgrade().is_none());
    assert_eq!(receiver.into_iter().collect::<Vec<_>>(), [1]);
    assert!(weak.upgrade().is_none());
}

#[test]
fn the_end_of_the_other_side_ends_waits() {
    on_both(|| {
        let (sender, receiver) = queue::bounded::<u8>(0);
        let waits = coroutine::spawn(move || receiver.recv());
        until_in(&waits, "recv");
        drop(sender);
        assert_eq!(waits.join().unwrap(), Err(RecvError));

        let (sender, receiver) = queue::bounded(0);
        let waits = coroutine::spawn(move || sender.send(5));
        until_in(&waits, "send");
        drop(receiver);
        assert_eq!(waits.join().unwrap(), Err(SendError(5)));
    });
}

#[test]
fn a_cancelled_sender_or_receiver_leaves_no_trace() {
    on_both(|| {
        let drops = Drops::new();
        let (sender, receiver) = queue::rendezvous();
        let (other, droplet) = (sender.clone(), drops.droplet());
        let sends = coroutine::spawn(move || drop(other.send(droplet)));
        until_in(&sends, "send");
        cancel_and_join(sends);
        assert_eq!(drops.count(), 1);
        assert!(receiver.try_recv().is_err());
        let other = receiver.clone();
        let receives = coroutine::spawn(move || drop(other.recv()));
        until_in(&receives, "recv");
        cancel_and_join(receives);
        assert!(sender.try_send(drops.droplet()).is_err());
    });
}

#[bingfa::test]
fn channels_are_arms() {
    let (numbers, number) = queue::unbounded();
    let (words, word) = queue::bounded(1);
    words.send("full").unwrap();
    numbers.send(1).unwrap();
    select! {
        send(words, "more") -> _ => unreachable!(),
        recv(number) -> n => assert_eq!(n, Ok(1)),
    }
    assert_eq!(word.recv(), Ok("full"));
    select! {
        recv(number) -> _ => unreachable!(),
        send(words, "more") -> sent => sent.unwrap(),
    }
    drop(numbers);
    select! { recv(number) -> n => assert_eq!(n, Err(TryRecvError::Disconnected)) }
}

/// Channels through channels, as Go's prime sieve.
#[bingfa::test]
fn prime_sieve() {
    let (sender, mut receiver) = queue::rendezvous();
    let mut filters = vec![coroutine::spawn(move || {
        for n in 2.. {
            if sender.send(n).is_err() {
                return;
            }
        }
    })];
    let mut primes = Vec::new();
    while primes.len() < 30 {
        let prime: u32 = receiver.recv().unwrap();
        primes.push(prime);
        let (sender, next) = queue::rendezvous();
        let numbers = std::mem::replace(&mut receiver, next);
        filters.push(coroutine::spawn(move || {
            for n in numbers.iter().filter(|n| n % prime != 0) {
                if sender.send(n).is_err() {
                    return;
                }
            }
        }));
    }
    drop(receiver);
    coroutine::join_all(filters).unwrap();
    assert_eq!(primes[..10], [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    assert_eq!(primes[29], 113);
}

// -- sync::mpsc --------------------------------------------------------------------

#[bingfa::test]
fn mpsc_is_as_in_std() {
    let (sender, receiver) = mpsc::channel();
    let clones: Vec<_> = (0..4)
        .map(|n| {
            let sender = sender.clone();
            coroutine::spawn(move || sender.send(n).unwrap())
        })
        .collect();
    drop(sender);
    assert_eq!(receiver.iter().sum::<i32>(), 6);
    coroutine::join_all(clones).unwrap();
    assert_eq!(receiver.recv(), Err(RecvError));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));

    let (sender, receiver) = mpsc::sync_channel(1);
    sender.send(1).unwrap();
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1]);
    assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert_eq!(
        receiver.recv_deadline(Instant::now()),
        Err(RecvTimeoutError::Timeout)
    );
    drop(receiver);
    assert_eq!(sender.send(3), Err(SendError(3)));
    assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));

    let (sender, receiver) = mpsc::sync_channel(0);
    let sends = coroutine::spawn(move || sender.send("met"));
    assert_eq!(receiver.into_iter().collect::<Vec<_>>(), ["met"]);
    assert_eq!(sends.join().unwrap(), Ok(()));
}

#[test]
fn error_types_are_std_s() {
    fn same<T>(_: T, _: T) {}
    same(
        mpsc::channel::<u8>().1.try_recv(),
        std_mpsc::channel::<u8>().1.try_recv(),
    );
    same(mpsc::channel().0.send(1), std_mpsc::channel().0.send(1));
    same(
        mpsc::sync_channel(1).0.try_send(1),
        std_mpsc::sync_channel(1).0.try_send(1),
    );
    same(
        mpsc::channel::<u8>().1.recv_timeout(Duration::ZERO),
        std_mpsc::channel::<u8>().1.recv_timeout(Duration::ZERO),
    );
}

#[test]
fn mpsc_ends_may_travel_as_in_std() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<mpsc::Sender<u8>>();
    sync::<mpsc::Sender<u8>>();
    send::<mpsc::SyncSender<u8>>();
    sync::<mpsc::SyncSender<u8>>();
    send::<mpsc::Receiver<u8>>();
    send::<queue::Receiver<u8>>();
    sync::<queue::Receiver<u8>>();
}

#[test]
fn mpsc_async_forms() {
    let (sender, receiver) = mpsc::sync_channel(0);
    let (here, there) = (Arc::new(()), Arc::new(()));
    thread::scope(|s| {
        s.spawn(|| common::block_on(sender.send_async(there)).unwrap());
        assert_eq!(common::block_on(receiver.recv_async()), Ok(here));
    });
    drop(sender);
    assert_eq!(common::block_on(receiver.recv_async()), Err(RecvError));
}
