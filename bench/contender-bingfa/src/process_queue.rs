//! `process-queue`: numbers and bytes through queues between processes.

use bingfa::process::{self, Queue};
use harness::{Args, Item, QueueShape, monotonic_ns};
use serde_bytes::ByteBuf;
use std::time::Duration;

pub(crate) fn run(args: &Args) {
    let shape = QueueShape::of(args);
    match (shape.size, shape.round_trip) {
        (8, false) => shape.measure(|each| one_way::<u64>(shape, each)),
        (8, true) => shape.measure(|each| round_trips::<u64>(shape, each)),
        (_, false) => shape.measure(|each| one_way::<ByteBuf>(shape, each)),
        (_, true) => shape.measure(|each| round_trips::<ByteBuf>(shape, each)),
    }
}

fn one_way<T: Item>(shape: QueueShape, each: u64) -> (Duration, u64) {
    let queue = Queue::<T>::bounded(shape.capacity()).expect("a queue");
    let consumers: Vec<_> = (0..shape.consumers)
        .map(|_| process::spawn(queue.clone(), consume::<T>))
        .collect();
    let producers: Vec<_> = (0..shape.producers)
        .map(|_| process::spawn((queue.clone(), each, shape.size), produce::<T>))
        .collect();
    let begins = producers
        .into_iter()
        .map(|producer| producer.join().expect("a producer"));
    let begin = begins.min().expect("a producer");
    queue.close();
    let (mut sum, mut end) = (0, 0);
    for consumer in consumers {
        let (part, last) = consumer.join().expect("a consumer");
        sum += part;
        end = end.max(last);
    }
    (Duration::from_nanos(end - begin), sum)
}

/// When it has begun.
fn produce<T: Item>((queue, each, size): (Queue<T>, u64, usize)) -> u64 {
    let begin = monotonic_ns();
    for n in 0..each {
        queue.put(T::of(n, size)).expect("consumers are there");
    }
    begin
}

/// The sum of what has come, and when the last came.
fn consume<T: Item>(queue: Queue<T>) -> (u64, u64) {
    let (mut sum, mut last) = (0, 0);
    while let Ok(item) = queue.get() {
        sum += item.number();
        last = monotonic_ns();
    }
    (sum, last)
}

fn round_trips<T: Item>(shape: QueueShape, each: u64) -> (Duration, u64) {
    let there = Queue::<T>::bounded(shape.capacity()).expect("a queue");
    let back = Queue::<T>::bounded(shape.capacity()).expect("a queue");
    let echo = process::spawn((there.clone(), back.clone()), |(there, back)| {
        let (there, back): (Queue<T>, Queue<T>) = (there, back);
        while let Ok(item) = there.get() {
            back.put(item).expect("the other process is there");
        }
    });
    let mut sum = 0;
    let mut begin = 0;
    // The first is the warm-up: the other process has to begin.
    for n in (0..1).chain(0..each) {
        there.put(T::of(n, shape.size)).expect("the echo is there");
        let number = back.get().expect("the echo is there").number();
        match begin {
            0 => begin = monotonic_ns(),
            _ => sum += number,
        }
    }
    let taken = Duration::from_nanos(monotonic_ns() - begin);
    there.close();
    echo.join().expect("the echo ends");
    (taken, sum)
}
