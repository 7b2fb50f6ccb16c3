//! Locks that are taken in opposite orders, seen although nothing hangs.
//!
//! While orders are watched, each carrier's locks are listed. Whoever is about to wait for a lock
//! notes for each lock it holds that this one comes after that. If the notes lead from the wanted
//! lock back to the held one, then those who took these steps can end up waiting for each other.
//!
//! # Why it costs nothing when nobody watches
//! The fast path of a lock exchanges [`free_word`] for the owner's word: as a rule 0, the word of
//! a free lock. While orders are watched it is a word that no lock has, so all of them
//! take the slow path, which comes here. The word of a lock that came here is marked
//! [`WATCHED`] for good, so that its unlocks take the slow path as well.
//!
//! # What a lock is
//! An address. A lock without the mark is a new one, whatever was noted of its address. (The
//! place where it was made would be a class of many locks, but it had to be kept in the lock,
//! which is one word.)

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::atomic::{self, Ordering::Relaxed};
use super::carrier::{ANONYMOUS, WATCHED};
use super::deadlock::{from_environment, lock_kind, say};
use super::wait;

/// What is done about locks that are taken in opposite orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum LockOrder {
    /// Nothing: nobody looks. The default.
    Off,
    /// A report on standard error, once for each two places in the program.
    Report,
    /// The call that would wait for a lock in the opposite order panics instead, with the report
    /// as its message. (If it is unwinding already, there is a report.)
    Panic,
}

/// The setting, plus 1; 0: the environment was not asked yet.
static SETTING: AtomicU8 = AtomicU8::new(0);
static FREE: AtomicU64 = AtomicU64::new(NO_LOCK);
/// Held by who changes the two.
static CHANGES: Mutex<()> = Mutex::new(());

/// A word that no lock has: shared, and with an owner.
const NO_LOCK: u64 = u64::MAX;

/// The word of a free lock, as far as the fast paths know: 0, or a word that no lock has, with
/// all bits set.
#[inline(always)]
pub(crate) fn free_word() -> u64 {
    if cfg!(loom) {
        0
    } else {
        FREE.load(Relaxed) // read alone
    }
}

/// What is to be done from now on.
#[cfg(not(loom))]
pub(crate) fn set(setting: LockOrder) {
    let _change = locked(&CHANGES);
    put(setting);
}

fn put(setting: LockOrder) {
    let free = match setting {
        LockOrder::Off => 0,
        LockOrder::Report | LockOrder::Panic => NO_LOCK,
    };
    SETTING.store(setting as u8 + 1, Relaxed); // each is read alone
    FREE.store(free, Relaxed);
}

fn setting() -> LockOrder {
    match SETTING.load(Relaxed) {
        0 => first_setting(),
        1 => LockOrder::Off,
        2 => LockOrder::Report,
        _ => LockOrder::Panic,
    }
}

#[cold]
fn first_setting() -> LockOrder {
    let choices = [
        ("off", LockOrder::Off),
        ("report", LockOrder::Report),
        ("panic", LockOrder::Panic),
    ];
    let first = from_environment("BINGFA_LOCK_ORDER", choices);
    let change = locked(&CHANGES);
    if SETTING.load(Relaxed) == 0 {
        put(first);
    }
    drop(change);
    setting()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock that a carrier wants or holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Take {
    id: u64,
    key: usize,
    what: &'static str,
    at: &'static Location<'static>,
}

type Takes = SmallVec<[Take; 2]>;

thread_local! {
    /// What the carriers of this thread hold, by their ids: guards stay on their thread.
    static HELD: RefCell<HashMap<u64, Takes>> = RefCell::default();
}

/// At the very end of a thread nobody knows any more what it holds.
fn with_held<R: Default>(f: impl FnOnce(&mut HashMap<u64, Takes>) -> R) -> R {
    HELD.try_with(|held| f(&mut held.borrow_mut()))
        .unwrap_or_default()
}

impl Take {
    /// The caller, who is `id`, is about to take the lock of this word. `None`: nobody watches,
    /// or nobody knows who it is.
    #[inline]
    #[track_caller]
    pub(crate) fn watch(word: &atomic::AtomicU64, id: u64, what: &'static str) -> Option<Self> {
        if free_word() == 0 {
            None
        } else {
            Self::watched(word, id, what)
        }
    }

    #[cold]
    #[track_caller]
    fn watched(word: &atomic::AtomicU64, id: u64, what: &'static str) -> Option<Self> {
        if setting() == LockOrder::Off || id == ANONYMOUS {
            return None;
        }
        let key = std::ptr::from_ref(word).addr();
        // Relaxed: of those who come at once, one finds it new. The notes have their own lock.
        if word.fetch_or(WATCHED, Relaxed) & WATCHED == 0 {
            locked(&NOTES).forget(key);
        }
        let at = Location::caller();
        Some(Self { id, key, what, at })
    }

    /// The caller will wait for it as long as that takes. `Some`: it must not, but has to panic
    /// with this message, if it `may` do so.
    #[cold]
    pub(crate) fn wants(self, may_panic: bool) -> Option<String> {
        let held = with_held(|held| held.get(&self.id).cloned())?;
        let mut notes = locked(&NOTES);
        for had in held {
            // Who waits for itself is for `deadlock` to say, but readers may pass each other.
            if notes.has(had.key, self.key) || had.key == self.key && !had.reads_with(self) {
                continue;
            }
            let step = Step {
                who: caller(),
                had,
                wanted: self,
            };
            if let Some(back) = notes.way(self.key, had.key) {
                let report = describe(&step, &back);
                if setting() == LockOrder::Panic && may_panic && wait::may_panic() {
                    return Some(report);
                }
                if notes.reported.insert((had.at, self.at)) {
                    say(&report);
                }
            }
            notes.add(step);
        }
        None
    }

    /// The caller has it now.
    #[cold]
    pub(crate) fn has(self) {
        with_held(|held| held.entry(self.id).or_default().push(self));
    }

    fn reads_with(self, other: Self) -> bool {
        [self.what, other.what] == ["read lock"; 2]
    }
}

/// The carrier `id` unlocks what has the [`WATCHED`] word.
#[cold]
pub(crate) fn let_go(word: &atomic::AtomicU64, id: u64) {
    let key = std::ptr::from_ref(word).addr();
    with_held(|held| {
        // A guard may have been given to another coroutine of the thread.
        let who = match held.get(&id) {
            Some(takes) if takes.iter().any(|take| take.key == key) => Some(id),
            _ if id == ANONYMOUS => None,
            _ => held
                .iter()
                .find(|(_, takes)| takes.iter().any(|take| take.key == key))
                .map(|(who, _)| *who),
        };
        let Some(who) = who else {
            return; // taken when nobody watched
        };
        if let Some(takes) = held.get_mut(&who) {
            if let Some(last) = takes.iter().rposition(|take| take.key == key) {
                takes.remove(last);
            }
            if takes.is_empty() {
                held.remove(&who);
            }
        }
    });
}

/// Somebody who had one lock wanted another.
#[derive(Debug)]
struct Step {
    who: String,
    had: Take,
    wanted: Take,
}

/// Which locks were wanted by those who had which others.
#[derive(Debug, Default)]
struct Notes {
    locks: HashMap<usize, Lock>,
    /// Where the last steps of what was reported were taken.
    reported: HashSet<(&'static Location<'static>, &'static Location<'static>)>,
}

#[derive(Debug, Default)]
struct Lock {
    after: HashMap<usize, Step>,
    /// The locks that have this one in their `after`.
    before: HashSet<usize>,
}

static NOTES: LazyLock<Mutex<Notes>> = LazyLock::new(Mutex::default);

impl Notes {
    fn has(&self, had: usize, wanted: usize) -> bool {
        self.locks
            .get(&had)
            .is_some_and(|lock| lock.after.contains_key(&wanted))
    }

    fn add(&mut self, step: Step) {
        let (had, wanted) = (step.had.key, step.wanted.key);
        self.locks.entry(wanted).or_default().before.insert(had);
        self.locks
            .entry(had)
            .or_default()
            .after
            .insert(wanted, step);
    }

    /// There is another lock at this address now.
    fn forget(&mut self, key: usize) {
        let Some(lock) = self.locks.remove(&key) else {
            return;
        };
        for before in lock.before {
            if let Some(lock) = self.locks.get_mut(&before) {
                lock.after.remove(&key);
            }
        }
        for after in lock.after.keys() {
            if let Some(lock) = self.locks.get_mut(after) {
                lock.before.remove(&key);
            }
        }
    }

    /// The shortest row of steps from one lock to another.
    fn way(&self, from: usize, to: usize) -> Option<Vec<&Step>> {
        let mut came_by: HashMap<usize, Option<&Step>> = HashMap::from([(from, None)]);
        let mut row = VecDeque::from([from]);
        while let Some(key) = row.pop_front() {
            if key == to {
                let mut steps = Vec::new();
                let mut last = came_by[&to];
                while let Some(step) = last {
                    steps.push(step);
                    last = came_by[&step.had.key];
                }
                steps.reverse();
                return Some(steps);
            }
            for (after, step) in self
                .locks
                .get(&key)
                .into_iter()
                .flat_map(|lock| &lock.after)
            {
                came_by.entry(*after).or_insert_with(|| {
                    row.push_back(*after);
                    Some(step)
                });
            }
        }
        None
    }
}

/// The caller, for people.
#[cfg(not(loom))]
fn caller() -> String {
    match super::local::frame() {
        Some(frame) => format!("coroutine {}", frame.task().entry().describe()),
        None => format!("thread {}", super::thread::current().entry.describe()),
    }
}

#[cfg(loom)]
fn caller() -> String {
    String::new()
}

fn describe(last: &Step, back: &[&Step]) -> String {
    use std::fmt::Write;

    let mut report = String::from(match back.len() {
        0 => {
            "lock order: a lock is locked for reading again by its reader, who would wait for ever \
             for a writer that comes in between"
        }
        1 => "lock order: two locks are taken in opposite orders, which can end in a deadlock",
        _ => "lock order: locks are taken in a circle, which can end in a deadlock",
    });
    for step in back.iter().copied().chain([last]) {
        let Step { who, had, wanted } = step;
        let _ = write!(
            report,
            "\n  {who} had {} {:#x} ({} at {}) and took {} {:#x} ({} at {})",
            lock_kind(had.what),
            had.key,
            had.what,
            had.at,
            lock_kind(wanted.what),
            wanted.key,
            wanted.what,
            wanted.at,
        );
    }
    report
}
