//! The work that contenders are given: the same for all of them.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes of the buffer that each echo connection reads into, in every server.
pub const ECHO_BUFFER: usize = 4096;

/// Tasks alive at a time in the waves of `spawn`.
pub const SPAWN_WAVE: usize = 10_000;

/// One step of computing: a chain of dependent multiplications, so that every compiler makes the same of it.
pub fn compute_step(seed: u64, iterations: u64) -> u64 {
    let mut x = seed | 1;
    for _ in 0..iterations {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        x ^= x >> 29;
    }
    black_box(x)
}

/// How many iterations of [`compute_step`] take `length` on this core.
pub fn iterations_of(length: Duration) -> u64 {
    const TRIAL: u64 = 2_000_000;
    let best = (0..5)
        .map(|seed| {
            let start = Instant::now();
            compute_step(seed, TRIAL);
            start.elapsed()
        })
        .min()
        .expect("five trials");
    (TRIAL as f64 * length.as_secs_f64() / best.as_secs_f64()) as u64
}

/// Lengths of `count` sleeps, random from 0 to 2 s, the same in every process.
pub fn sleep_lengths(count: usize) -> impl Iterator<Item = Duration> {
    let mut x: u64 = 0x9E37_79B9_7F4A_7C15;
    (0..count).map(move |_| {
        // xorshift64
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        Duration::from_micros(x % 2_000_000)
    })
}

/// Finds how often `run` has to switch to take `seconds`, and returns the nanoseconds per switch of that run.
/// `run` gets a number of switches and says how long they took; shorter runs before it are the warm-up.
pub fn switch_rounds(seconds: f64, run: impl FnMut(u64) -> Duration) -> f64 {
    rounds_from(100_000, seconds, run)
}

/// The same for work of which `first` is a small amount.
pub(crate) fn rounds_from(first: u64, seconds: f64, mut run: impl FnMut(u64) -> Duration) -> f64 {
    let mut amount = first;
    loop {
        let taken = run(amount).as_secs_f64();
        if taken >= seconds * 0.8 {
            return taken * 1e9 / amount as f64;
        }
        let factor = (seconds / taken.max(1e-6)).clamp(1.5, 20.0);
        amount = (amount as f64 * factor) as u64;
    }
}

/// The median of the microseconds that `total` calls of `work` take, after a warm-up. It gets a number that differs from
/// call to call.
pub fn median_us(total: usize, mut work: impl FnMut(u64)) -> f64 {
    (0..10).for_each(&mut work);
    let mut taken: Vec<f64> = (0..total as u64)
        .map(|n| {
            let start = Instant::now();
            work(n);
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}
