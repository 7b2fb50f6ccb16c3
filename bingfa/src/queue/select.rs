//! Waiting for the first of several things: what is beneath [`select!`](crate::select).

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use crate::park::cancel;
pub use crate::park::select::Selectable;
use crate::park::select::{Claim, Ticket};
use crate::park::wait::{Outcome, Unparker, about_to_wait, wait, yield_if_slice_over};

/// Waits for the first of several things, its *arms*, and does exactly one of them.
///
/// Arms are the `_async` forms of gets, puts, receives, sends and joins, before anybody has polled them, and the
/// join handles of threads and coroutines. They are borrowed: afterwards
/// the one that won has the result, and the others have done nothing, so that they may be
/// selected again.
///
/// Among several that are ready, a random one is taken. For `async` code there is
/// [`Selecting`](super::Selecting).
///
/// # Cancellation
/// A cancelled select has done nothing: no item is lost, and the arms still hold the items
/// that they were to put. If an arm was served at that same moment it has won, and a
/// later wait raises the cancel.
///
/// # Examples
/// ```
/// use bingfa::queue::{Queue, Select};
///
/// let (numbers, words) = (Queue::unbounded(), Queue::bounded(1));
/// words.put("one").unwrap();
///
/// let mut number = numbers.get_async();
/// let mut word = words.put_async("two"); // there is no room for it
/// let waits = Select::new().arm(&mut number).arm(&mut word).try_now();
/// assert_eq!(waits, None);
///
/// numbers.put(1).unwrap();
/// let first = Select::new().arm(&mut number).arm(&mut word).wait();
/// assert_eq!(first, 0);
/// assert_eq!(number.take(), Ok(1));
/// assert_eq!(word.into_item(), Some("two"));
/// ```
#[doc(alias = "FIRST_COMPLETED")]
#[derive(Default)]
pub struct Select<'a> {
    arms: Vec<&'a mut dyn Selectable>,
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Select({} arms)", self.arms.len())
    }
}

/// How one stay in the lines has ended.
enum Stay {
    Won(usize),
    /// After a wait.
    Over(Outcome),
    /// Without one, as an arm looks ready.
    Ready,
}

/// A place to begin, another one each time: 0 to `arms - 1`.
pub(super) fn somewhere(arms: usize) -> usize {
    thread_local! {
        static SEED: Cell<u64> = const { Cell::new(0x9E37_79B9_7F4A_7C15) };
    }
    let mut x = SEED.get(); // xorshift64 (Marsaglia, 2003)
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    SEED.set(x);
    (x >> 32) as usize % arms.max(1)
}

/// Arms in the line; takes them out again, whatever happens.
struct InLine<'s, 'a> {
    arms: &'s mut [&'a mut dyn Selectable],
    enlisted: usize,
}

impl InLine<'_, '_> {
    /// Gets in line with all arms; false if one of them is ready by now.
    fn enlist(&mut self, claim: &Claim, unparker: &Unparker) -> bool {
        for (index, arm) in self.arms.iter_mut().enumerate() {
            let ticket = Ticket {
                claim,
                arm: index as u32,
                unparker,
            };
            if !arm.enlist(&ticket) {
                return false;
            }
            self.enlisted = index + 1;
        }
        true
    }

    /// Leaves the lines; gives the arm that was served there.
    fn delist(&mut self, claim: &Claim) -> Option<usize> {
        claim.give_up();
        let mut won = None;
        for index in 0..std::mem::take(&mut self.enlisted) {
            if self.arms[index].delist() {
                won = Some(index);
            }
        }
        won
    }
}

impl Drop for InLine<'_, '_> {
    fn drop(&mut self) {
        for arm in &mut self.arms[..self.enlisted] {
            arm.delist();
        }
    }
}

impl<'a> Select<'a> {
    /// Without arms: to wait for it would be to wait for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an arm. Arms are numbered from 0 in the order in which they are added.
    #[must_use]
    pub fn arm(mut self, arm: &'a mut dyn Selectable) -> Self {
        self.arms.push(arm);
        self
    }

    /// Waits until one of the arms can be done, does it, and gives its number.
    ///
    /// # Cancellation
    /// See [`Select`].
    #[track_caller]
    pub fn wait(mut self) -> usize {
        loop {
            if let Some(arm) = self.wait_until(None) {
                return arm;
            }
        }
    }

    /// As [`wait`](Self::wait), but for at most `limit`; `None`: nothing was done.
    ///
    /// # Cancellation
    /// See [`Select`].
    #[track_caller]
    pub fn wait_timeout(mut self, limit: Duration) -> Option<usize> {
        self.wait_until(Instant::now().checked_add(limit))
    }

    /// As [`wait`](Self::wait), but at most until `deadline`; `None`: nothing was done.
    ///
    /// # Cancellation
    /// See [`Select`].
    #[track_caller]
    pub fn wait_deadline(mut self, deadline: Instant) -> Option<usize> {
        self.wait_until(Some(deadline))
    }

    /// Does one of the arms if that needs no wait, and gives its number; `None`: nothing was done.
    #[doc(alias = "default")]
    pub fn try_now(mut self) -> Option<usize> {
        self.attempt()
    }

    fn attempt(&mut self) -> Option<usize> {
        let count = self.arms.len();
        let start = somewhere(count);
        (start..count)
            .chain(0..start)
            .find(|&index| self.arms[index].attempt())
    }

    #[track_caller]
    fn wait_until(&mut self, deadline: Option<Instant>) -> Option<usize> {
        yield_if_slice_over();
        let mut unparker = None;
        loop {
            if let Some(arm) = self.attempt() {
                return Some(arm);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            about_to_wait();
            let unparker = unparker.get_or_insert_with(Unparker::current);
            match self.stay(unparker, deadline) {
                Stay::Won(arm) => return Some(arm),
                Stay::Over(Outcome::Interrupted) => cancel::raise(),
                // Attempted once more, also when it is late.
                Stay::Over(Outcome::Woken | Outcome::TimedOut) => {}
                // If it is not, time after time, somebody may be stopped with what it needs.
                Stay::Ready => {
                    cancel::checkpoint();
                    yield_if_slice_over();
                }
            }
        }
    }

    #[track_caller]
    fn stay(&mut self, unparker: &Unparker, deadline: Option<Instant>) -> Stay {
        let claim = Claim::new();
        let mut line = InLine {
            arms: &mut self.arms,
            enlisted: 0,
        };
        let stay = if line.enlist(&claim, unparker) {
            Stay::Over(wait(&"select", deadline))
        } else {
            Stay::Ready
        };
        line.delist(&claim).map_or(stay, Stay::Won)
    }
}
