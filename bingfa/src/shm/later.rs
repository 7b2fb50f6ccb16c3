//! What cannot be done at once because somebody is stopped with a lock, and what nobody should
//! wait for: done later, by a thread that tries again and again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::sys::launch;

/// True once it is done; holds nothing up.
type Work = Box<dyn FnMut() -> bool + Send>;

#[derive(Default)]
struct Undertaker {
    list: Vec<Work>,
    /// Whether there is a thread that will look at the list.
    runs: bool,
}

static UNDERTAKER: Mutex<Undertaker> = Mutex::new(Undertaker {
    list: Vec::new(),
    runs: false,
});

/// How long to wait for what is in the way.
const PAUSE: Duration = Duration::from_millis(10);

fn undertaker() -> MutexGuard<'static, Undertaker> {
    UNDERTAKER.lock().unwrap_or_else(PoisonError::into_inner) // each step leaves it whole
}

/// Has `work` done until it says that it is. Pieces of work are done in any order.
pub(crate) fn until_done(work: impl FnMut() -> bool + Send + 'static) {
    let mut undertaker = undertaker();
    undertaker.list.push(Box::new(work));
    if !undertaker.runs {
        let thread = thread::Builder::new().name("bingfa-undertaker".into());
        // Without a thread it is done with the next piece of work, or by those who bury us.
        undertaker.runs = thread.spawn(run).is_ok();
    }
}

fn run() {
    launch::block_signals();
    let mut left = Vec::new();
    loop {
        {
            let mut undertaker = undertaker();
            left.append(&mut undertaker.list);
            if left.is_empty() {
                undertaker.runs = false;
                return;
            }
        }
        // With the list unlocked: there is more to come.
        left.retain_mut(|work| !work());
        if !left.is_empty() {
            thread::sleep(PAUSE);
        }
    }
}
