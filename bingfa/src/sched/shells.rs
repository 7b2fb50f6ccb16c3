//! Idle shells of one worker, by stack size: last used, first reused.
//!
//! # Invariants
//! 1. `all` holds every shell of this worker; an idle one is also in `idle`.
//! 2. Dropping this destroys the idle shells; the worker does so only when none is busy.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::park::frame::{self, Frame};
use crate::stack::{GuardPages, StackPool};

/// Idle shells that are kept however long nobody needs them.
const KEEP: usize = 512;
/// How far back the largest number in use is remembered.
const MEMORY: Duration = Duration::from_secs(10);
/// How many are given back at one go, so that trimming never delays a wake-up for long.
const TRIM_AT_ONCE: usize = 256;

#[derive(Debug)]
pub(super) struct Shells {
    stacks: StackPool,
    default_size: usize,
    idle: HashMap<u8, Vec<NonNull<Frame>>>,
    /// Idle shells of the default size, apart for speed.
    plain: Vec<NonNull<Frame>>,
    all: Vec<NonNull<Frame>>,
    idle_count: usize,
    busy_peak: usize,
    earlier_peak: usize,
    peak_since: Instant,
}

/// The class of a stack of at least `size` bytes: its binary logarithm.
pub(crate) fn class_of(size: usize) -> u8 {
    size.next_power_of_two().trailing_zeros() as u8
}

/// The class of tasks that take their runtime's default size.
pub(crate) const DEFAULT_CLASS: u8 = 0;

impl Shells {
    pub(super) fn new(guard: GuardPages, default_size: usize) -> io::Result<Self> {
        Ok(Self {
            stacks: StackPool::new(guard)?,
            default_size,
            idle: HashMap::new(),
            plain: Vec::new(),
            all: Vec::new(),
            idle_count: 0,
            busy_peak: 0,
            earlier_peak: 0,
            peak_since: Instant::now(),
        })
    }

    #[inline]
    pub(super) fn take(&mut self, class: u8) -> io::Result<NonNull<Frame>> {
        let idle = if class == DEFAULT_CLASS {
            self.plain.pop()
        } else {
            self.idle.get_mut(&class).and_then(Vec::pop)
        };
        let frame = match idle {
            Some(frame) => {
                self.idle_count -= 1;
                frame
            }
            None => self.make(class)?,
        };
        self.busy_peak = self.busy_peak.max(self.all.len() - self.idle_count);
        Ok(frame)
    }

    #[cold]
    fn make(&mut self, class: u8) -> io::Result<NonNull<Frame>> {
        let size = if class == DEFAULT_CLASS {
            self.default_size
        } else {
            1 << class
        };
        let frame = frame::create(self.stacks.take(size)?);
        super::alive(&frame).place.set(self.all.len());
        self.all.push(frame);
        Ok(frame)
    }

    #[inline]
    pub(super) fn give(&mut self, frame: NonNull<Frame>, class: u8) {
        self.idle_count += 1;
        if class == DEFAULT_CLASS {
            self.plain.push(frame);
        } else {
            self.idle.entry(class).or_default().push(frame);
        }
    }

    /// The shells that run a task.
    pub(super) fn busy(&self) -> impl Iterator<Item = NonNull<Frame>> {
        self.all
            .iter()
            .copied()
            .filter(|frame| super::alive(frame).is_busy())
    }

    /// Gives memory back to the system if far more is idle than was lately in use.
    pub(super) fn trim(&mut self, now: Instant) {
        if self.idle_count <= KEEP {
            return;
        }
        if now.duration_since(self.peak_since) >= MEMORY {
            self.earlier_peak = self.busy_peak;
            self.busy_peak = self.all.len() - self.idle_count;
            self.peak_since = now;
        }
        let wanted = KEEP.max(self.busy_peak).max(self.earlier_peak);
        let surplus = self
            .all
            .len()
            .saturating_sub(wanted)
            .min(self.idle_count)
            .min(TRIM_AT_ONCE);
        for _ in 0..surplus {
            let idle = self
                .plain
                .pop()
                .or_else(|| self.idle.values_mut().find_map(Vec::pop));
            let Some(frame) = idle else { break };
            self.idle_count -= 1;
            let place = super::alive(&frame).place.get();
            self.all.swap_remove(place);
            if let Some(moved) = self.all.get(place) {
                super::alive(moved).place.set(place);
            }
            // SAFETY: it was on an idle list, where nobody else knows it.
            self.stacks.give(unsafe { frame::destroy(frame) });
        }
        if surplus > 0 {
            self.stacks.trim(0);
        }
    }
}

impl Drop for Shells {
    fn drop(&mut self) {
        let idle = self
            .plain
            .drain(..)
            .chain(self.idle.drain().flat_map(|(_, frames)| frames));
        for frame in idle {
            // SAFETY: as in `trim`.
            self.stacks.give(unsafe { frame::destroy(frame) });
        }
    }
}
