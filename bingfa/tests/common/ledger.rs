//! Items that are booked: each has exactly one fate, so that nobody can get what another has
//! got, or what was dropped. And what is done to futures at random.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bingfa::thread;

const OPEN: u8 = 0;
const GOT: u8 = 1;
const DROPPED: u8 = 2;

/// What became of each item.
pub struct Ledger {
    fates: Box<[AtomicU8]>,
    made: AtomicUsize,
    /// How many puts have said that they were done.
    sent: AtomicUsize,
}

impl Ledger {
    pub fn new(capacity: usize) -> Arc<Ledger> {
        Arc::new(Ledger {
            fates: (0..capacity).map(|_| AtomicU8::new(OPEN)).collect(),
            made: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
        })
    }

    /// A new item, larger than all before.
    pub fn item(self: &Arc<Self>, producer: usize) -> Item {
        let number = self.made.fetch_add(1, SeqCst);
        self.entry(number, number, producer)
    }

    /// A new item that compares by its key alone.
    pub fn keyed(self: &Arc<Self>, key: usize) -> Item {
        self.entry(self.made.fetch_add(1, SeqCst), key, 0)
    }

    fn entry(self: &Arc<Self>, number: usize, key: usize, producer: usize) -> Item {
        Item {
            number,
            key,
            producer,
            ledger: self.clone(),
            is_got: false,
        }
    }

    /// Notes the outcome of a put.
    pub fn note(&self, sent: bool) {
        self.sent.fetch_add(usize::from(sent), SeqCst);
    }

    pub fn sent(&self) -> usize {
        self.sent.load(SeqCst)
    }

    pub fn was_dropped(&self, number: usize) -> bool {
        self.fates[number].load(SeqCst) == DROPPED
    }

    /// At the end, when no item is left: as many were got as were put.
    #[track_caller]
    pub fn settle(&self) {
        let made = self.made.load(SeqCst);
        let of = |fate| {
            let fates = self.fates[..made].iter();
            fates.filter(|one| one.load(SeqCst) == fate).count()
        };
        assert_eq!(of(OPEN), 0, "items that are nowhere");
        assert_eq!(of(GOT), self.sent(), "got, and put, of {made}");
    }
}

/// An entry of a ledger.
pub struct Item {
    number: usize,
    key: usize,
    producer: usize,
    ledger: Arc<Ledger>,
    is_got: bool,
}

impl Item {
    fn end(&self, fate: u8) {
        let before = self.ledger.fates[self.number].swap(fate, SeqCst);
        assert_eq!(before, OPEN, "item {} ends twice", self.number);
    }

    pub fn number(&self) -> usize {
        self.number
    }

    /// Somebody has it. Gives its producer and number.
    pub fn got(mut self) -> (usize, usize) {
        self.end(GOT);
        self.is_got = true;
        (self.producer, self.number)
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        if !self.is_got {
            self.end(DROPPED);
        }
    }
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.number, self.producer)
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// Some numbers that are not alike.
pub struct Dice(u32);

impl Dice {
    pub fn new(seed: usize) -> Dice {
        Dice(seed as u32)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (self.0 >> 8) % limit
    }

    /// About as long as somebody else needs to serve a wait.
    pub fn moment(&mut self) -> Duration {
        Duration::from_nanos(u64::from(self.below(30_000)))
    }
}

/// Polls, lets some time pass, polls again perhaps, and drops it; what it said, if it did.
pub fn poll_and_drop<F: Future>(future: F, dice: &mut Dice) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1 + dice.below(2) {
        if let Poll::Ready(output) = Pin::as_mut(&mut future).poll(&mut context) {
            return Some(output);
        }
        match dice.below(3) {
            0 => thread::yield_now(),
            1 => thread::sleep(dice.moment()),
            _ => (0..dice.below(2_000)).for_each(|_| std::hint::spin_loop()),
        }
    }
    None
}
