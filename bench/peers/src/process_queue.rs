//! `process-queue`: ipc-channel, and a bare pipe as a floor; iceoryx2 has a file of its own.

use crate::forked::fork;
use crate::iceoryx;
use harness::{Args, Item, QueueShape, monotonic_ns};
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use serde_bytes::ByteBuf;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::time::Duration;

pub(crate) fn run(args: &Args) {
    let shape = QueueShape::of(args);
    match (args.contender.as_str(), shape.size, shape.round_trip) {
        ("ipc-channel", 8, false) => shape.measure(|each| one_way::<u64>(shape, each)),
        ("ipc-channel", 8, true) => shape.measure(|each| round_trips::<u64>(shape, each)),
        ("ipc-channel", _, false) => shape.measure(|each| one_way::<ByteBuf>(shape, each)),
        ("ipc-channel", _, true) => shape.measure(|each| round_trips::<ByteBuf>(shape, each)),
        ("iceoryx2", _, false) => shape.measure(|each| iceoryx::one_way(shape, each)),
        ("iceoryx2", _, true) => shape.measure(|each| iceoryx::round_trips(shape, each)),
        ("pipe", _, false) => shape.measure(|each| pipe_one_way(shape, each)),
        ("pipe", _, true) => shape.measure(|each| pipe_round_trips(shape, each)),
        _ => args.unknown(),
    }
}

fn one_way<T: Item>(shape: QueueShape, each: u64) -> (Duration, u64) {
    assert_eq!(shape.consumers, 1);
    let (sender, receiver) = ipc::channel::<T>().expect("a channel");
    let consumer = procspawn::spawn(receiver, |receiver: IpcReceiver<T>| {
        let (mut sum, mut last) = (0, 0);
        while let Ok(item) = receiver.recv() {
            sum += item.number();
            last = monotonic_ns();
        }
        (sum, last)
    });
    let producers: Vec<_> = (0..shape.producers)
        .map(|_| {
            let job = (sender.clone(), each, shape.size);
            procspawn::spawn(job, |(sender, each, size): (IpcSender<T>, u64, usize)| {
                let begin = monotonic_ns();
                for n in 0..each {
                    sender.send(T::of(n, size)).expect("the consumer is there");
                }
                begin
            })
        })
        .collect();
    drop(sender);
    let begins = producers
        .into_iter()
        .map(|producer| producer.join().expect("a producer"));
    let begin = begins.min().expect("a producer");
    let (sum, end) = consumer.join().expect("the consumer");
    (Duration::from_nanos(end - begin), sum)
}

fn round_trips<T: Item>(shape: QueueShape, each: u64) -> (Duration, u64) {
    let (there, at_echo) = ipc::channel::<T>().expect("a channel");
    let (from_echo, back) = ipc::channel::<T>().expect("a channel");
    let ends = (at_echo, from_echo);
    let echo = procspawn::spawn(ends, |(there, back): (IpcReceiver<T>, IpcSender<T>)| {
        while let Ok(item) = there.recv() {
            back.send(item).expect("the other process is there");
        }
    });
    let taken = timed_trips(each, |n| {
        there.send(T::of(n, shape.size)).expect("the echo is there");
        back.recv().expect("the echo is there").number()
    });
    drop(there);
    echo.join().expect("the echo ends");
    taken
}

/// So many trips after one to warm up: the other process has to begin.
fn timed_trips(each: u64, mut trip: impl FnMut(u64) -> u64) -> (Duration, u64) {
    trip(0);
    let begin = monotonic_ns();
    let sum = (0..each).map(trip).sum();
    (Duration::from_nanos(monotonic_ns() - begin), sum)
}

// Writes of up to PIPE_BUF are one piece, and since all are of one length that divides a page, so are the reads.

fn pipe_one_way(shape: QueueShape, each: u64) -> (Duration, u64) {
    let (reader, writer) = pipe().expect("a pipe");
    let (mut reader, mut writer) = (Some(reader), Some(writer));
    let consumers: Vec<_> = (0..shape.consumers)
        .map(|_| {
            fork(|| {
                drop(writer.take());
                let mut reader = reader.take().expect("in the copy");
                let mut bytes = vec![0; shape.size];
                let (mut sum, mut last) = (0, 0);
                while reader.read_exact(&mut bytes).is_ok() {
                    sum += number(&bytes);
                    last = monotonic_ns();
                }
                [sum, last]
            })
        })
        .collect();
    let producers: Vec<_> = (0..shape.producers)
        .map(|_| {
            fork(|| {
                drop(reader.take());
                let mut writer = writer.take().expect("in the copy");
                let begin = monotonic_ns();
                let mut bytes = vec![0; shape.size];
                for n in 0..each {
                    bytes[..8].copy_from_slice(&n.to_le_bytes());
                    writer.write_all(&bytes).expect("consumers are there");
                }
                [begin, 0]
            })
        })
        .collect();
    drop((reader, writer));
    let begins = producers.into_iter().map(|producer| producer.join()[0]);
    let begin = begins.min().expect("a producer");
    let (mut sum, mut end) = (0, 0);
    for consumer in consumers {
        let [part, last] = consumer.join();
        sum += part;
        end = end.max(last);
    }
    (Duration::from_nanos(end - begin), sum)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

fn pipe_round_trips(shape: QueueShape, each: u64) -> (Duration, u64) {
    let (at_echo, there) = pipe().expect("a pipe");
    let (back, from_echo) = pipe().expect("a pipe");
    let mut ours: Option<(PipeWriter, PipeReader)> = Some((there, back));
    let echo = fork(|| {
        drop(ours.take());
        let mut bytes = vec![0; shape.size];
        while (&at_echo).read_exact(&mut bytes).is_ok() {
            (&from_echo)
                .write_all(&bytes)
                .expect("the other process is there");
        }
        [0, 0]
    });
    let (mut there, mut back) = ours.expect("taken in the copy only");
    let mut bytes = vec![0; shape.size];
    let taken = timed_trips(each, |n| {
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        there.write_all(&bytes).expect("the echo is there");
        back.read_exact(&mut bytes).expect("the echo is there");
        number(&bytes)
    });
    drop((there, back));
    echo.join();
    taken
}
