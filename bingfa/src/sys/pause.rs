//! For how long somebody who has found nothing lets the others go on before it looks again.
//!
//! Two that pass each item on as it comes fight for the same cache lines, and each item takes
//! both of them twice as long as one of many at once. But an answer that somebody waits for
//! should not lie there. So the pause grows while much comes, and goes while items come one by
//! one.
//!
//! All that is in it are hints, hence Relaxed; whatever is in it, a pause is short.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// In nanoseconds; about as long as somebody looks again before it sleeps.
const LONGEST: u64 = 4000;
const SHORTEST: u64 = 32;
/// A pause is worth while if there is an item for each so many nanoseconds of it: then it is
/// short beside the time that the items take.
const PER_ITEM: u64 = 64;
/// Or, for longer ones, for as long as it takes to move its bytes. With less, pauses came and
/// went while items of 1 KiB streamed, and half the rate with them.
const BYTES_PER_NANO: u64 = 4;

/// Zeroed memory is one that begins without a pause.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Pause {
    nanos: AtomicU64,
    /// How many items had passed at the last one.
    passed: AtomicU64,
}

impl Pause {
    /// The next one, if so many items have passed by now.
    pub(crate) fn next(&self, passed: u64) -> Duration {
        self.next_for(passed, 0)
    }

    /// The same for items that are copied, and are about so long.
    pub(crate) fn next_for(&self, passed: u64, len: u64) -> Duration {
        let per_item = PER_ITEM.max(len / BYTES_PER_NANO);
        let since = passed.saturating_sub(self.passed.load(Relaxed));
        let last = self.nanos.load(Relaxed).min(LONGEST);
        let next = if since > 1 && since.saturating_mul(per_item) > last {
            (2 * last).clamp(SHORTEST, LONGEST)
        } else if last > SHORTEST {
            last / 2
        } else {
            0
        };
        self.passed.store(passed, Relaxed);
        self.nanos.store(next, Relaxed);
        Duration::from_nanos(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_much_comes_and_goes_while_items_come_one_by_one() {
        let pause = Pause::default();
        let mut passed = 0;
        let mut next = |items| {
            passed += items;
            pause.next(passed).as_nanos() as u64
        };
        assert_eq!(next(1), 0);
        assert_eq!([next(50), next(50), next(50)], [32, 64, 128]);
        assert_eq!(next(2), 64, "few for so long a pause");
        for _ in 0..20 {
            next(1000);
        }
        assert_eq!(next(1000), LONGEST);
        let fall: Vec<_> = (0..20).map(|_| next(1)).collect();
        assert!(fall.is_sorted_by(|a, b| a >= b) && fall[8] == 0, "{fall:?}");
    }

    #[test]
    fn long_items_are_worth_a_longer_one() {
        let after_20 = |len| {
            let pause = Pause::default();
            (1..=10).fold(0, |_, n| pause.next_for(20 * n, len).as_nanos())
        };
        assert!(after_20(1032) > 2 * after_20(8));
    }

    #[test]
    fn whatever_lies_in_memory_it_is_short() {
        let pause = Pause {
            nanos: AtomicU64::new(u64::MAX),
            passed: AtomicU64::new(u64::MAX),
        };
        for passed in [0, 5, u64::MAX, 3] {
            assert!(pause.next_for(passed, u64::MAX) <= Duration::from_nanos(LONGEST));
        }
    }
}
