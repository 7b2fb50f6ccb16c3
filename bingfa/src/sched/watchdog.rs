//! One thread that ticks while coroutines run: it ends slices, names coroutines that
//! hold their worker, and wakes a sleeping worker that missed a push.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::runtime::Shared;
use crate::park::home::Home;
use crate::registry;
use crate::sys::task;

/// How long a coroutine may run before the next call that looks gives way.
const SLICE: Duration = Duration::from_millis(2);
/// After so many ticks without a busy worker the watchdog goes to sleep.
const QUIET_TICKS: u32 = 50;

struct Watched {
    home: &'static Home,
    shared: Arc<Shared>,
    resumed: u64,
    since: Instant,
    /// The worker's thread, and its CPU time at the first tick without progress.
    tid: i32,
    cpu: Option<Duration>,
    named: bool,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
static WAKE: Condvar = Condvar::new();
/// No tick comes until somebody calls `rouse`.
static ASLEEP: AtomicBool = AtomicBool::new(true);

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker begins.
pub(super) fn watch(home: &'static Home, shared: &Arc<Shared>) {
    static START: std::sync::Once = std::sync::Once::new();
    watched().push(Watched {
        home,
        shared: shared.clone(),
        resumed: home.resumed.load(Relaxed),
        since: Instant::now(),
        tid: task::tid(),
        cpu: None,
        named: false,
    });
    START.call_once(|| {
        let started = std::thread::Builder::new()
            .name("bingfa-watchdog".into())
            .spawn(tick);
        if let Err(error) = started {
            // Everything works without it, only less fairly.
            eprintln!("bingfa: no watchdog thread: {error}");
        }
    });
    rouse();
}

/// A worker has ended.
pub(super) fn unwatch(home: &'static Home) {
    watched().retain(|watched| !std::ptr::eq(watched.home, home));
}

/// Calls `each` with every worker's home.
pub(super) fn for_each_home(mut each: impl FnMut(&'static Home)) {
    for watched in watched().iter() {
        each(watched.home);
    }
}

/// A worker has something to do.
#[inline]
pub(super) fn rouse() {
    // SeqCst, as the stores in `tick`: either we see that it sleeps, or it sees, in its
    // last look, that our worker is awake.
    fence(SeqCst);
    if ASLEEP.load(SeqCst) {
        wake_up();
    }
}

#[cold]
fn wake_up() {
    if ASLEEP.swap(false, SeqCst) {
        let _list = watched();
        WAKE.notify_one();
    }
}

fn tick() {
    let mut quiet = 0;
    loop {
        std::thread::sleep(SLICE);
        let mut list = watched();
        let mut busy = false;
        for watched in list.iter_mut() {
            busy |= look_at(watched);
        }
        quiet = if busy { 0 } else { quiet + 1 };
        if quiet > QUIET_TICKS {
            ASLEEP.store(true, SeqCst);
            fence(SeqCst); // pairs with `rouse`
            if list.iter_mut().any(look_at) {
                ASLEEP.store(false, SeqCst);
            }
            while ASLEEP.load(SeqCst) {
                list = WAKE.wait(list).unwrap_or_else(PoisonError::into_inner);
            }
            quiet = 0;
        }
    }
}

/// One tick for one worker; true if it is running coroutines.
fn look_at(watched: &mut Watched) -> bool {
    let home = watched.home;
    watched.shared.wake_if_work_waits();
    let resumed = home.resumed.load(Relaxed);
    if home.sleeper.is_sleeping() {
        watched.resumed = resumed;
        watched.since = Instant::now();
        return false;
    }
    home.tick();
    if resumed != watched.resumed || home.is_excused() {
        watched.resumed = resumed;
        watched.since = Instant::now();
        watched.cpu = None;
        watched.named = false;
        return true;
    }
    let limit = watched.shared.config.hog_threshold;
    let held = watched.since.elapsed();
    if watched.named || limit.is_zero() || held < limit / 2 {
        return true;
    }
    let cpu = task::cpu_time(watched.tid).unwrap_or_default();
    let used = cpu.saturating_sub(*watched.cpu.get_or_insert(cpu));
    // A thread that has no core to run on is not its coroutine's fault.
    if held >= limit && (used >= limit / 2 || task::is_blocked(watched.tid)) {
        watched.named = true;
        name_hog(home, held);
    }
    true
}

fn name_hog(home: &Home, held: Duration) {
    let Some(hog) = registry::running_on(home.address()) else {
        return; // it ended just now
    };
    let last = match hog.last_wait {
        Some(wait) => format!("last wait: {} at {}", wait.what, wait.at),
        None => "it has not waited yet".into(),
    };
    eprintln!(
        "bingfa: coroutine {} has held its worker for {} ms; {last}. Others there cannot run: \
         call coroutine::checkpoint() in long computations, or use a thread",
        hog.describe(),
        held.as_millis()
    );
}
