//! Deadlocks among owners, seen when they arise.
//!
//! A circle of carriers, each of which waits for what the next one owns, closes at the moment
//! when the last of them begins to wait. So whoever is listed in [`waits`] and has queued for
//! something that has an owner looks where the owners lead. As a rule the owner does
//! not wait, which is one look at its slot. Whoever holds such a lock unlocked does not come
//! here at all.
//!
//! # Why none is missed
//! What a waiting carrier owns stays its own while it waits. So in a deadlock the last to queue
//! finds all others listed and queued; a fence between queueing and looking makes somebody the
//! last. A wait at a condition variable turns into one for its mutex while its carrier
//! sleeps. Whoever moves it lists it, and then looks, after a fence as well and with both
//! buckets locked, whether the mutex's owner is listed: either it finds that one, and wakes the
//! waiter instead, so that it comes here itself; or the owner will find the waiter when it looks.
//!
//! # Why none is made up
//! The parts of a circle are seen one after the other. But if a second round finds the same
//! waits (by their numbers of arrival), then each lasted from the first round to
//! the second, and between the two all of them were there at once: a carrier that waits
//! neither gives away nor gets anything. Waits with a deadline, or inside a
//! [`time::timeout`](crate::time::timeout), are not listed, as they end.
//!
//! Locks between processes are part of this as far as their owners are carriers of this
//! process ([`outside`](super::outside)). Whoever waits for one is listed, and looks, when it
//! is about to sleep for the first time; if others have the lock in the meantime, it is they who
//! close a circle when they begin to wait.
//!
//! A carrier is part of one circle at most, as it waits for one thing with one owner. So a
//! circle with somebody who was reported has been reported.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::atomic::Mutex;
use super::waits::{self, Edge, Listing};
use super::{carrier, wait};

/// What is done about carriers that wait for each other's locks for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Deadlock {
    /// A report on standard error. They go on waiting. The default.
    Report,
    /// The last of them panics, with the report as its message, instead of waiting. (If it is
    /// unwinding already, there is a report.)
    Panic,
    /// Nothing: nobody looks.
    Off,
}

/// The setting, plus 1; 0: the environment was not asked yet.
static SETTING: AtomicU8 = AtomicU8::new(0);

#[cfg(not(loom))]
static REPORTING: Mutex<()> = Mutex::new(());
#[cfg(loom)]
loom::lazy_static! {
    static ref REPORTING: Mutex<()> = Mutex::new(());
}

/// What is to be done from now on.
#[cfg(not(loom))]
pub(crate) fn set(setting: Deadlock) {
    SETTING.store(setting as u8 + 1, Relaxed); // read alone
}

#[inline]
pub(crate) fn setting() -> Deadlock {
    match SETTING.load(Relaxed) {
        0 => first_setting(),
        1 => Deadlock::Report,
        2 => Deadlock::Panic,
        _ => Deadlock::Off,
    }
}

#[cfg(not(loom))]
#[cold]
fn first_setting() -> Deadlock {
    let choices = [
        ("report", Deadlock::Report),
        ("panic", Deadlock::Panic),
        ("off", Deadlock::Off),
    ];
    let setting = from_environment("BINGFA_DEADLOCK", choices);
    // Not over what somebody has set meanwhile.
    let _ = SETTING.compare_exchange(0, setting as u8 + 1, Relaxed, Relaxed);
    setting
}

/// What a variable of the environment says; the first of the choices if it says nothing.
pub(super) fn from_environment<T: Copy>(variable: &str, choices: [(&str, T); 3]) -> T {
    let value = std::env::var(variable).unwrap_or_default();
    let chosen = choices.iter().find(|(name, _)| *name == value);
    let [(default, otherwise), (second, _), (third, _)] = choices;
    if chosen.is_none() && !value.is_empty() {
        say(&format!(
            "{variable}={value} is unknown: it is {default}, {second} or {third}; {default} is taken"
        ));
    }
    chosen.map_or(otherwise, |(_, choice)| *choice)
}

#[cfg(loom)]
fn first_setting() -> Deadlock {
    Deadlock::Panic
}

/// Whether the owner that a lock's word names may be waiting itself. With the bucket locked
/// of somebody who is about to wait for that lock.
#[inline]
pub(crate) fn owner_may_wait(word: u64) -> bool {
    carrier::owner(word).is_some_and(waits::may_wait)
}

/// The carrier `id`, listed by `listing`, has queued for what this owner has. `Some`: this wait
/// is the last of a deadlock and has to end, with this message; it is not listed any more.
#[inline]
pub(super) fn look(id: u64, listing: &Listing, owner: u64) -> Option<String> {
    if owner == id || waits::may_wait(owner) {
        examine(id, listing)
    } else {
        None
    }
}

#[cold]
fn examine(id: u64, listing: &Listing) -> Option<String> {
    waits::circle(id)?;
    if wait::is_interrupted() {
        return None; // it is about to leave
    }
    let _one_by_one = REPORTING.lock().unwrap_or_else(PoisonError::into_inner);
    let circle = loop {
        let first = waits::circle(id)?;
        if waits::circle(id)? == first {
            break first;
        }
    };
    if circle.iter().any(|edge| edge.reported) {
        return None;
    }
    let report = describe(&circle);
    if setting() == Deadlock::Panic && wait::may_panic() {
        listing.leave();
        return Some(report);
    }
    listing.set_reported();
    say(&report);
    None
}

/// Unwinds a wait for a lock that was interrupted: by a deadlock, or as
/// [`cancel::raise`](super::cancel::raise) does.
#[cfg(not(loom))]
#[track_caller]
pub(crate) fn raise() {
    use super::{cancel, local};
    match local::interrupts(cancel::Interrupts::take_doom) {
        Some(report) => panic!("bingfa: {report}"),
        None => cancel::raise(),
    }
}

/// Tells people, if there is a standard error.
pub(super) fn say(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "bingfa: {what}");
}

#[cfg(loom)]
fn describe(_circle: &[Edge]) -> String {
    String::new()
}

#[cfg(not(loom))]
fn describe(circle: &[Edge]) -> String {
    use std::fmt::Write;

    let who = names(circle);
    let mut report = match circle {
        [_] => String::from("deadlock: a lock is waited for by its own holder"),
        _ => format!(
            "deadlock: {} threads or coroutines wait for each other's locks",
            circle.len()
        ),
    };
    for (index, edge) in circle.iter().enumerate() {
        let kind = lock_kind(edge.what);
        let before = circle[(index + circle.len() - 1) % circle.len()];
        let _ = write!(
            report,
            "\n  {} holds {} {:#x} and waits for {kind} {:#x} ({}) at {}",
            who[index],
            lock_kind(before.what),
            before.held.key,
            edge.held.key,
            edge.what,
            edge.at,
        );
    }
    report
}

/// The type of what is waited for in this way.
pub(super) fn lock_kind(what: &str) -> &'static str {
    match what {
        "read lock" | "write lock" => "RwLock",
        "process lock" => "process lock",
        "process rwlock (read)" | "process rwlock (write)" => "process::RwLock",
        "reentrant lock" => "ReentrantLock",
        "once" => "Once",
        _ => "Mutex",
    }
}

/// What the registry knows of each.
#[cfg(not(loom))]
fn names(circle: &[Edge]) -> Vec<String> {
    use crate::registry::{self, Kind};

    let mut names: Vec<String> = circle.iter().map(|edge| edge.id.to_string()).collect();
    registry::for_each(|entry| {
        for (edge, name) in circle.iter().zip(&mut names) {
            if entry.id.get() == edge.id {
                let kind = match entry.kind {
                    Kind::Thread => "thread",
                    Kind::Coroutine => "coroutine",
                };
                *name = format!("{kind} {}", entry.describe());
            }
        }
    });
    names
}
