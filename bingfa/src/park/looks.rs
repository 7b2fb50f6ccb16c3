//! Whether to look again for a moment before falling asleep.
//!
//! Two who answer each other on different cores lose most of their time by waking each
//! other; who waits for something rare only burns its core. So whoever has looked in vain
//! sleeps at once the next time, then twice, four times and so on, until a look finds something.

use std::time::{Duration, Instant};

use super::more_than_one_cpu;

/// How long to look: about as long as it takes to wake somebody on another core.
const A_MOMENT: Duration = Duration::from_micros(50);
/// The most sleeps that pass before the next look.
const MOST_PASSED: u32 = 64;

/// What became of the last looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Looks {
    /// So many sleeps without a look are left.
    pass: u32,
    /// So many were let pass after the last look in vain.
    last: u32,
}

impl Looks {
    /// Before a sleep: asks `found` for a moment, if that may be worth while. True if there is
    /// no need to sleep.
    pub(crate) fn find(&mut self, mut found: impl FnMut() -> bool) -> bool {
        if self.pass > 0 || !more_than_one_cpu() {
            return false;
        }
        let begun = Instant::now();
        loop {
            if found() {
                *self = Looks::default();
                return true;
            }
            if begun.elapsed() >= A_MOMENT {
                self.last = (2 * self.last).clamp(1, MOST_PASSED);
                self.pass = self.last;
                return false;
            }
        }
    }

    /// A sleep has ended by what was looked for.
    pub(crate) fn slept(&mut self) {
        self.pass = self.pass.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(looks: &mut Looks, there: bool) -> Option<bool> {
        let mut asked = false;
        let found = looks.find(|| {
            asked = true;
            there
        });
        asked.then_some(found)
    }

    #[test]
    fn looks_in_vain_become_rare_and_one_that_finds_makes_them_frequent() {
        if !more_than_one_cpu() {
            return;
        }
        let mut looks = Looks::default();
        for passed in [1, 2, 4, 8] {
            assert_eq!(find(&mut looks, false), Some(false));
            for _ in 0..passed {
                assert_eq!(find(&mut looks, true), None);
                looks.slept();
            }
        }
        assert_eq!(find(&mut looks, true), Some(true));
        assert_eq!(find(&mut looks, true), Some(true));
    }
}
