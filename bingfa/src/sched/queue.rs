//! Which ready coroutine runs next: the run-queue policies.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::park::frame::{Frame, prefetch_block, prefetch_page, prefetch_stack};

/// How a worker orders its ready coroutines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// First come, first served.
    #[default]
    Fifo,
    /// Strictly by [`coroutine::Builder::priority`](crate::coroutine::Builder::priority),
    /// first come first served among equals. Lower ones starve while higher ones are ready.
    Priority,
    /// Multi-level feedback queue (Corbató et al., 1962; Arpaci-Dusseau, *Operating
    /// Systems: Three Easy Pieces*, ch. 8): whoever uses up its run time sinks a level,
    /// whoever waits rises one, and from a level that has not been served for a while
    /// one is lifted to the top, so that none starves. Short requests overtake long
    /// computations.
    Mlfq,
}

/// Why a coroutine comes (back) to the run queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// What it waited for has come.
    Woken,
    /// It gave way of its own accord.
    Yielded,
}

/// The highest priority; 0 is the lowest.
pub(crate) const TOP_PRIORITY: u8 = 7;
const PRIORITIES: usize = TOP_PRIORITY as usize + 1;

/// How many pages are looked up in the page table at a time. Each coroutine has one to itself,
/// and a fetch from it holds the processor up until that has been found; but it looks for
/// several at once.
const WALKS: usize = 4;

const LEVELS: usize = 4;
/// Run time on a level before a coroutine sinks to the next; it doubles twice per level.
const QUANTUM: Duration = Duration::from_micros(500);
/// A level that has not been served for so long is starving.
const STARVING: Duration = Duration::from_millis(100);

type Line = VecDeque<NonNull<Frame>>;

#[derive(Debug)]
pub(super) enum RunQueue {
    Fifo(Line),
    Priority([Line; PRIORITIES]),
    Mlfq(Mlfq),
}

#[derive(Debug)]
pub(super) struct Mlfq {
    levels: [Line; LEVELS],
    /// Levels from which one has been taken since the last `tick`.
    served: [bool; LEVELS],
    /// When the last tick found it served, or empty.
    content: [Instant; LEVELS],
}

/// The coroutine behind a queued pointer.
fn block(frame: &NonNull<Frame>) -> &Frame {
    super::alive(frame)
}

impl RunQueue {
    pub(super) fn new(policy: Policy) -> Self {
        match policy {
            Policy::Fifo => RunQueue::Fifo(Line::new()),
            Policy::Priority => RunQueue::Priority(std::array::from_fn(|_| Line::new())),
            Policy::Mlfq => RunQueue::Mlfq(Mlfq {
                levels: std::array::from_fn(|_| Line::new()),
                served: [false; LEVELS],
                content: [Instant::now(); LEVELS],
            }),
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, frame: NonNull<Frame>, reason: Reason) {
        match self {
            RunQueue::Fifo(line) => line.push_back(frame),
            RunQueue::Priority(lines) => {
                let priority = super::priority_of(block(&frame));
                lines[usize::from(priority.min(TOP_PRIORITY))].push_back(frame);
            }
            RunQueue::Mlfq(mlfq) => mlfq.push(frame, reason),
        }
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<NonNull<Frame>> {
        match self {
            RunQueue::Fifo(line) => line.pop_front(),
            RunQueue::Priority(lines) => lines.iter_mut().rev().find_map(VecDeque::pop_front),
            RunQueue::Mlfq(mlfq) => mlfq.pop(),
        }
    }

    /// Whoever was popped, as the `turn`th in a row, is about to run: gets those behind it into
    /// the cache.
    #[inline(always)]
    pub(super) fn prefetch(&self, turn: usize) {
        if let RunQueue::Fifo(line) = self {
            if turn.is_multiple_of(WALKS) {
                line.iter()
                    .skip(2)
                    .take(WALKS)
                    .for_each(|later| prefetch_page(*later));
            }
            if let Some(next) = line.front() {
                prefetch_stack(block(next));
            }
            if let Some(after) = line.get(1) {
                prefetch_block(*after);
            }
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        match self {
            RunQueue::Fifo(line) => line.is_empty(),
            RunQueue::Priority(lines) => lines.iter().all(VecDeque::is_empty),
            RunQueue::Mlfq(mlfq) => mlfq.levels.iter().all(VecDeque::is_empty),
        }
    }

    /// Whether `ran` wants to be told run times.
    #[inline(always)]
    pub(super) fn is_timed(&self) -> bool {
        matches!(self, RunQueue::Mlfq(_))
    }

    /// The worker looked at the clock: time for housekeeping.
    pub(super) fn tick(&mut self, now: Instant) {
        if let RunQueue::Mlfq(mlfq) = self {
            mlfq.feed_the_starving(now);
        }
    }
}

/// Charges a coroutine for the time it has run.
pub(super) fn charge(frame: &Frame, ran: Duration) {
    let nanos = frame.ran_nanos.get().saturating_add(ran.as_nanos() as u64);
    let level = frame.level.get();
    let quantum = QUANTUM.as_nanos() as u64 * (1 << (2 * level));
    if nanos < quantum {
        frame.ran_nanos.set(nanos);
    } else {
        frame.ran_nanos.set(0);
        frame.level.set((level + 1).min(LEVELS as u8 - 1));
    }
}

impl Mlfq {
    fn push(&mut self, frame: NonNull<Frame>, reason: Reason) {
        let block = block(&frame);
        if reason == Reason::Woken {
            block.level.set(block.level.get().saturating_sub(1));
        }
        self.levels[usize::from(block.level.get())].push_back(frame);
    }

    fn pop(&mut self) -> Option<NonNull<Frame>> {
        let level = self.levels.iter().position(|line| !line.is_empty())?;
        self.served[level] = true;
        self.levels[level].pop_front()
    }

    /// Lifts one coroutine of each starving level to the top. One at a time: a whole level
    /// of long computations would hold up everybody else.
    fn feed_the_starving(&mut self, now: Instant) {
        for level in 0..LEVELS {
            let served = std::mem::take(&mut self.served[level]);
            if served || self.levels[level].is_empty() {
                self.content[level] = now;
            } else if now.duration_since(self.content[level]) >= STARVING {
                self.content[level] = now;
                if let Some(frame) = self.levels[level].pop_front() {
                    block(&frame).level.set(0);
                    block(&frame).ran_nanos.set(0);
                    self.levels[0].push_back(frame);
                }
            }
        }
    }
}
