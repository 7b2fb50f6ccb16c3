//! What runs of `process-queue` and `process-wake` are to do, and how they are measured and checked.

use crate::work::rounds_from;
use crate::{Args, Figures};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use std::thread;
use std::time::Duration;

/// Room in a queue: for so many items, and no more than so many bytes.
const ROOM: usize = 1024;
const ROOM_BYTES: usize = 64 << 20;

/// What travels: a number, or bytes that begin with one.
pub trait Item: Serialize + DeserializeOwned + 'static {
    /// The item with this number, so many bytes long.
    fn of(number: u64, size: usize) -> Self;
    /// The number of an item.
    fn number(&self) -> u64;
}

impl Item for u64 {
    fn of(number: u64, _: usize) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

impl Item for ByteBuf {
    fn of(number: u64, size: usize) -> Self {
        let mut bytes = vec![0; size];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self::from(bytes)
    }

    fn number(&self) -> u64 {
        u64::from_le_bytes(self[..8].try_into().expect("eight bytes"))
    }
}

/// Processes and items of a run of `process-queue`.
#[derive(Clone, Copy, Debug)]
pub struct QueueShape {
    /// How many processes put.
    pub producers: usize,
    /// How many get.
    pub consumers: usize,
    /// Bytes of an item; 8 means a number.
    pub size: usize,
    /// Every item is sent back before the next is sent.
    pub round_trip: bool,
    seconds: f64,
}

impl QueueShape {
    /// From `producers=`, `consumers=`, `size=`, `seconds=` and perhaps `round_trip=yes`.
    pub fn of(args: &Args) -> Self {
        Self {
            producers: args.number("producers"),
            consumers: args.number("consumers"),
            size: args.number("size"),
            round_trip: args.text("round_trip").is_some(),
            seconds: args.number("seconds"),
        }
    }

    /// The room that a bounded queue is given.
    pub fn capacity(self) -> usize {
        (ROOM_BYTES / self.size).clamp(2, ROOM)
    }

    /// Measures `run`, which has each producer send the items `0..each` and gives the time from the first of them to
    /// the last, and the sum of all numbers that arrived.
    ///
    /// # Panics
    /// If the sum is wrong.
    pub fn measure(self, mut run: impl FnMut(u64) -> (Duration, u64)) {
        let producers = self.producers as u64;
        let first = (ROOM_BYTES / self.size).clamp(16, 20_000) as u64;
        let ns = rounds_from(first, self.seconds, |items| {
            let each = items.div_ceil(producers);
            let (taken, sum) = run(each);
            assert_eq!(sum, producers * (each * (each - 1) / 2), "lost or doubled");
            taken.mul_f64(items as f64 / (each * producers) as f64)
        });
        let figures = if self.round_trip {
            Figures::new().with("us_per_round_trip", ns / 1e3)
        } else {
            Figures::new()
                .with("msgs_per_s", 1e9 / ns)
                .with("us_per_msg", ns / 1e3)
                .with("mb_per_s", self.size as f64 * 1e3 / ns)
        };
        figures.print();
    }
}

/// A moment, by the clock that all processes share, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Calls `send` so often with the moment of the call, with a pause before each, in which whoever receives falls asleep.
pub fn send_moments(total: u64, mut send: impl FnMut(u64, u64)) {
    for n in 0..total {
        thread::sleep(Duration::from_micros(500));
        send(n, monotonic_ns());
    }
}

/// Median and 99th percentile of how long after their moment messages came, in nanoseconds.
pub fn latency_figures(mut nanos: Vec<u64>) -> Figures {
    nanos.sort_unstable();
    let at = |part: f64| nanos[(nanos.len() as f64 * part) as usize] as f64 / 1e3;
    Figures::new()
        .with("p50_us", at(0.5))
        .with("p99_us", at(0.99))
}
