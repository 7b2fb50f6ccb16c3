//! The work of `manager`: set a key, get it back, check.

use std::time::Instant;

/// One client's work, on keys of its own.
#[derive(Debug)]
pub struct DictWork {
    first: u64,
    done: u64,
}

impl DictWork {
    /// How many keys a client uses, one after the other.
    const KEYS: u64 = 1000;

    /// The work of client `n`.
    pub fn new(n: u64) -> Self {
        let first = n * Self::KEYS;
        Self { first, done: 0 }
    }

    /// So many times, `step` sets a key to a value and checks that it gets it.
    pub fn steps(&mut self, count: u64, step: &mut impl FnMut(u64, u64)) {
        for _ in 0..count {
            step(self.first + self.done % Self::KEYS, self.done);
            self.done += 1;
        }
    }

    /// Does steps for so many seconds; operations (two a step) per second.
    pub fn rate(&mut self, seconds: f64, step: &mut impl FnMut(u64, u64)) -> f64 {
        let (begin, before) = (Instant::now(), self.done);
        loop {
            self.steps(100, step);
            let taken = begin.elapsed().as_secs_f64();
            if taken >= seconds {
                return (self.done - before) as f64 * 2.0 / taken;
            }
        }
    }
}
