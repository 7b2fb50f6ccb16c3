//! `BINGFA_CHECK`: finds suspensions where a coroutine must not suspend.
//!
//! Coroutines share their thread's thread-locals, but not the last-in-first-out
//! order of frames. A suspension inside the initialiser of a lazy
//! `std::thread_local!`, or under code that restores a thread-local pointer on
//! return (`scoped_tls` and its like), lets a neighbour see the half-done state.
//! With the check on, every suspension walks its own frames and panics on such a
//! one. Each return address is looked up once per thread.
//!
//! The check reads symbols. Where a function was inlined, only line tables know of
//! it, so release builds need `debug = "line-tables-only"` (or more) to be sure.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::{cancel, frame, local};

const UNDECIDED: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNDECIDED);

/// Whether coroutines that start from now on are checked: as `BINGFA_CHECK=1` or `0`
/// says, else if debug assertions are on, or after [`always`].
#[inline]
pub(crate) fn enabled() -> bool {
    // Relaxed: the flag stands for itself.
    match STATE.load(Relaxed) {
        ON => true,
        OFF => false,
        _ => decide(cfg!(debug_assertions)),
    }
}

/// Turns the check on for the whole process, unless `BINGFA_CHECK=0`.
pub(crate) fn always() {
    decide(true);
}

#[cold]
fn decide(by_default: bool) -> bool {
    let on = std::env::var_os("BINGFA_CHECK").map_or(by_default, |value| value != "0");
    STATE.store(if on { ON } else { OFF }, Relaxed);
    on
}

/// Runs `f` with the calling coroutine unchecked: for waits that may not panic, because
/// they are all that keeps something borrowed alive.
pub(crate) fn without<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(Option<bool>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let (Some(before), Some(frame)) = (self.0, local::frame()) {
                frame.check.set(before);
            }
        }
    }
    let _restore = Restore(local::frame().map(|frame| frame.check.replace(false)));
    f()
}

/// A function under which nothing may suspend.
struct Hazard {
    /// Parts of its symbol's name.
    name: &'static [&'static str],
    why: &'static str,
}

const HAZARDS: &[Hazard] = &[
    Hazard {
        name: &["thread_local::", "lazy::Storage", "get_or_init"],
        why: "the initialiser of a lazy std::thread_local! waits; a neighbour that uses the same \
              thread-local meanwhile would initialise it again. Use bingfa::thread_local!, or do \
              the waiting before",
    },
    Hazard {
        name: &["scoped_tls", "ScopedKey", "::set"],
        why: "a wait under scoped_tls's `set`, which restores a thread-local pointer on return; \
              neighbours would see the wrong one. Use bingfa::coroutine_local! instead",
    },
    Hazard {
        name: &["scoped_thread_local", "::set"],
        why: "a wait under a scoped thread-local's `set`, which restores a pointer on return; \
              neighbours would see the wrong one. Use bingfa::coroutine_local! instead",
    },
];

/// What a return address belongs to.
#[derive(Clone)]
enum Verdict {
    Harmless,
    /// The coroutine's outermost frame; what follows is its worker's.
    Shell,
    Hazard {
        symbol: String,
        why: &'static str,
    },
}

thread_local! {
    static KNOWN: RefCell<HashMap<usize, Verdict>> = RefCell::new(HashMap::new());
}

/// Looks at the frames of the calling coroutine.
///
/// # Panics
/// If one of them is a known hazard; the message names it.
#[cold]
#[inline(never)]
pub(super) fn suspension() {
    if cancel::is_unwinding() {
        return; // a second panic now would abort and hide the first
    }
    // The first look reads the symbols of the whole program, and others wait for that.
    let found = match local::home() {
        Some(home) => home.excused(find),
        None => find(),
    };
    if let Some((symbol, why)) = found {
        panic!("bingfa: suspended inside `{symbol}`: {why}");
    }
}

fn find() -> Option<(String, &'static str)> {
    let mut found = None;
    backtrace::trace(|frame| {
        let ip = frame.ip() as usize;
        let verdict = KNOWN.try_with(|known| {
            let mut known = known.borrow_mut();
            known.entry(ip).or_insert_with(|| judge(frame)).clone()
        });
        // A coroutine called `exit`, which has dropped this thread's thread-locals.
        match verdict.unwrap_or_else(|_| judge(frame)) {
            Verdict::Harmless => true,
            Verdict::Shell => false,
            Verdict::Hazard { symbol, why } => {
                found = Some((symbol, why));
                false
            }
        }
    });
    found
}

fn judge(frame: &backtrace::Frame) -> Verdict {
    if std::ptr::addr_eq(frame.symbol_address(), frame::run_tasks as *const ()) {
        return Verdict::Shell; // known by its address, so without symbols, too
    }
    let mut verdict = Verdict::Harmless;
    // Calls back once for the function and once for each that was inlined into it.
    backtrace::resolve_frame(frame, |symbol| {
        let Some(name) = symbol.name().map(|name| format!("{name:#}")) else {
            return;
        };
        let hazard = HAZARDS
            .iter()
            .find(|h| h.name.iter().all(|part| name.contains(part)));
        if let Some(hazard) = hazard {
            verdict = Verdict::Hazard {
                symbol: name,
                why: hazard.why,
            };
        }
    });
    verdict
}
