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
/// After so many ticks without a long turn, the ticks come four times as slowly: where
/// coroutines only ever run for microseconds there are no slices to end, and a tick costs
/// the busy core two context switches. The first one that computes then has a longer slice.
const CALM_TICKS: u32 = 50;
const CALM_SLICE: Duration = Duration::from_millis(8);

/// What a tick finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Asleep,
    /// Its coroutines give way soon.
    Calm,
    /// One of its coroutines runs for long.
    Busy,
}

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
    let (mut quiet, mut calm) = (0, 0u32);
    loop {
        std::thread::sleep(if calm > CALM_TICKS { CALM_SLICE } else { SLICE });
        let mut list = watched();
        quiet += 1;
        calm = calm.saturating_add(1); // for months, perhaps
        for watched in list.iter_mut() {
            match look_at(watched) {
                Look::Asleep => {}
                Look::Calm => quiet = 0,
                Look::Busy => (quiet, calm) = (0, 0),
            }
        }
        if quiet > QUIET_TICKS {
            ASLEEP.store(true, SeqCst);
            fence(SeqCst); // pairs with `rouse`
            if list.iter_mut().any(|each| look_at(each) != Look::Asleep) {
                ASLEEP.store(false, SeqCst);
            }
            while ASLEEP.load(SeqCst) {
                list = WAKE.wait(list).unwrap_or_else(PoisonError::into_inner);
            }
            quiet = 0;
        }
    }
}

/// One tick for one worker.
fn look_at(watched: &mut Watched) -> Look {
    let home = watched.home;
    watched.shared.wake_if_work_waits();
    let resumed = home.resumed.load(Relaxed);
    if home.sleeper.is_sleeping() {
        watched.resumed = resumed;
        watched.since = Instant::now();
        return Look::Asleep;
    }
    home.tick();
    if resumed != watched.resumed || home.is_excused() {
        watched.resumed = resumed;
        watched.since = Instant::now();
        watched.cpu = None;
        watched.named = false;
        return if home.take_turned_late() {
            Look::Busy
        } else {
            Look::Calm
        };
    }
    let limit = watched.shared.config.hog_threshold;
    let held = watched.since.elapsed();
    if watched.named || limit.is_zero() || held < limit / 2 {
        return Look::Busy;
    }
    let cpu = task::cpu_time(watched.tid).unwrap_or_default();
    let used = cpu.saturating_sub(*watched.cpu.get_or_insert(cpu));
    // A thread that has no core to run on is not its coroutine's fault.
    if held >= limit && (used >= limit / 2 || task::is_blocked(watched.tid)) {
        watched.named = true;
        name_hog(home, held);
    }
    Look::Busy
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
