//! `channel`: messages from senders to receivers, as threads or as coroutines.

use crate::{inside, runtime};
use bingfa::queue::{self, Receiver, Sender};
use bingfa::{coroutine, thread};
use harness::{Args, ChannelShape};
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) {
    let shape = ChannelShape::of(args);
    if args.text("carrier") == Some("threads") {
        shape.measure(|each| on_threads(shape, each));
    } else {
        let runtime = runtime(args);
        shape.measure(|each| inside(&runtime, move || on_coroutines(shape, each)));
    }
}

fn ends(shape: ChannelShape) -> (Vec<Sender<u64>>, Vec<Receiver<u64>>) {
    let (sender, receiver) = match shape.capacity {
        Some(0) => queue::rendezvous(),
        Some(capacity) => queue::bounded(capacity),
        None => queue::unbounded(),
    };
    (vec![sender; shape.senders], vec![receiver; shape.receivers])
}

fn send(sender: &Sender<u64>, each: u64) {
    for n in 0..each {
        sender.send(n).expect("receivers are there");
    }
}

fn receive(receiver: &Receiver<u64>) -> u64 {
    let mut sum = 0;
    while let Ok(n) = receiver.recv() {
        sum += n;
    }
    sum
}

fn on_threads(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let (senders, receivers) = ends(shape);
    let start = Instant::now();
    let receivers: Vec<_> = receivers
        .into_iter()
        .map(|receiver| thread::spawn(move || receive(&receiver)))
        .collect();
    for sender in senders {
        thread::spawn(move || send(&sender, each));
    }
    let sum = receivers
        .into_iter()
        .map(|receiver| receiver.join().expect("no thread panics"))
        .sum();
    (start.elapsed(), sum)
}

fn on_coroutines(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let (senders, receivers) = ends(shape);
    let start = Instant::now();
    let receivers: Vec<_> = receivers
        .into_iter()
        .map(|receiver| coroutine::spawn(move || receive(&receiver)))
        .collect();
    for sender in senders {
        coroutine::spawn(move || send(&sender, each));
    }
    let sum = coroutine::join_all(receivers)
        .expect("no coroutine panics")
        .into_iter()
        .sum();
    (start.elapsed(), sum)
}
