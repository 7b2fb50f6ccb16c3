//! How a thread or coroutine waits for a word that processes share ([`Word`]).
//!
//! A thread waits by futex. A coroutine leaves that to its worker's ring, so that its
//! neighbours run; where the driver cannot wait for a futex (epoll, kernels before 6.7), it
//! parks, and a thread that waits for the process's doorbell looks whose word has changed.
#![allow(unsafe_code)] // calls an unsafe method of park's; no block of its own needs invariants

use std::cell::Cell;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::park::cancel::{self, sooner};
use crate::park::frame::Frame;
use crate::park::wait::{self as park, Outcome, Unparker, sleep_until, yield_if_slice_over};
use crate::park::{local, more_than_one_cpu, thread};
use crate::reactor::{self, Op, OpKind};
use crate::registry::State;
use crate::sched::op::{self as sched_op, OpEnd};
use crate::sched::worker::{self, Worker};
use crate::shm::family::Family;
use crate::shm::tally::Attempt;
use crate::shm::word::{self, Word};
use crate::sys::{errno, futex, launch};

/// For how long a thread looks again before it sleeps: as a rule, and if its last sleep was so
/// short that it was woken before, or soon after, it had really gone to sleep.
const BRIEF: Duration = Duration::from_micros(4);
const WORTHWHILE: Duration = Duration::from_micros(50);
/// The most turns of `spin_loop` between two looks: each look takes a cache line away from those
/// who are to end the wait.
const MOST_TURNS: u32 = 64;

thread_local! {
    /// Whether the last sleep of this thread was short.
    static SLEPT_BRIEFLY: Cell<bool> = const { Cell::new(false) };
}

/// What a look at shared memory has shown.
#[derive(Debug)]
pub(super) enum Look<R> {
    Done(R),
    /// Wait for the word.
    NotYet,
    /// Somebody is in the way who should not be for long, and says nothing when he goes.
    Busy,
}

impl<R> From<Option<R>> for Look<R> {
    fn from(done: Option<R>) -> Self {
        done.map_or(Look::NotYet, Look::Done)
    }
}

impl From<Attempt> for Look<()> {
    fn from(attempt: Attempt) -> Self {
        match attempt {
            Attempt::Made => Look::Done(()),
            Attempt::NotYet => Look::NotYet,
            Attempt::Busy => Look::Busy,
        }
    }
}

/// How somebody waits who has found nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// For how long a thread lets others go on before it looks again.
    pub(super) pause: Duration,
    /// Whether it lets others go on for a moment before they wake it ([`Word::wake_if`]).
    pub(super) patient: bool,
}

/// How long to wait before another look if somebody is in the way, or for how long to be patient.
const NAP: Duration = Duration::from_millis(1);

/// Waits until `attempt` is done; `None` if `deadline` came first. It is told whether
/// the caller sleeps next, so that what is costly to find out is found out only then.
///
/// Whoever makes an attempt succeed calls the word's `wake` afterwards. A cancel or an
/// expired timeout unwinds, from outside of `attempt`.
#[track_caller]
#[inline]
pub(super) fn wait_for<R>(
    family: &Family,
    word: &Word,
    what: &'static &'static str,
    deadline: Option<Instant>,
    attempt: impl FnMut(bool) -> Look<R>,
) -> Option<R> {
    wait_at_a_pace_for(family, word, what, deadline, Pace::default, attempt)
}

/// As [`wait_for`], at a pace that is asked for if there is need to wait.
#[track_caller]
#[inline]
pub(super) fn wait_at_a_pace_for<R>(
    family: &Family,
    word: &Word,
    what: &'static &'static str,
    deadline: Option<Instant>,
    pace: impl FnOnce() -> Pace,
    mut attempt: impl FnMut(bool) -> Look<R>,
) -> Option<R> {
    yield_if_slice_over();
    match attempt(false) {
        Look::Done(done) => Some(done),
        first => wait_longer(family, word, what, deadline, pace(), attempt, first),
    }
}

/// The same after a first attempt.
#[track_caller]
#[cold]
#[inline(never)]
fn wait_longer<R>(
    family: &Family,
    word: &Word,
    what: &'static &'static str,
    deadline: Option<Instant>,
    pace: Pace,
    mut attempt: impl FnMut(bool) -> Look<R>,
    first: Look<R>,
) -> Option<R> {
    let here = Carrier::current(family);
    let begin = Instant::now();
    if matches!(first, Look::NotYet)
        && matches!(here, Carrier::Thread)
        && let Some(done) = spin(begin, pace.pause, &mut attempt)
    {
        return Some(done);
    }
    let at = Location::caller();
    let mut patient = pace.patient;
    loop {
        let seen = word.prepare(here.flag(family, patient));
        let nap = Instant::now() + NAP;
        let until = match deadline {
            Some(deadline) if !patient || deadline < nap => Some(deadline),
            _ => patient.then_some(nap),
        };
        match (attempt(true), here) {
            (Look::Done(done), _) => {
                SLEPT_BRIEFLY.set(begin.elapsed() < WORTHWHILE);
                return Some(done);
            }
            (Look::Busy, _) => {
                sleep_until(deadline.map_or(nap, |deadline| deadline.min(nap)));
            }
            (Look::NotYet, Carrier::Thread) => on_thread(word, seen, what, until, at),
            (Look::NotYet, Carrier::Ring(worker, frame)) => {
                in_ring(worker, frame, family, word, seen, what, until, at);
            }
            (Look::NotYet, Carrier::Parked) => by_doorbell(family, word, seen, what, deadline),
        }
        // It may be that nobody wakes who is patient. Nothing has happened for long.
        patient = patient && word.has_changed(seen);
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return match attempt(false) {
                Look::Done(done) => Some(done),
                Look::NotYet | Look::Busy => None,
            };
        }
    }
}

/// Lets a moment pass, as somebody is in the way. False: it is too late.
#[track_caller]
pub(super) fn nap(deadline: Option<Instant>) -> bool {
    let now = Instant::now();
    if deadline.is_some_and(|deadline| deadline <= now) {
        return false;
    }
    let nap = now + NAP;
    sleep_until(deadline.map_or(nap, |deadline| deadline.min(nap)));
    true
}

/// Looks again and again for a moment, after a pause.
fn spin<R>(begin: Instant, pause: Duration, mut attempt: impl FnMut(bool) -> Look<R>) -> Option<R> {
    if !more_than_one_cpu() {
        return None;
    }
    while begin.elapsed() < pause {
        std::hint::spin_loop();
    }
    let limit = if SLEPT_BRIEFLY.get() {
        WORTHWHILE
    } else {
        BRIEF
    };
    // Who was in no hurry before is in none now.
    let mut turns = if pause.is_zero() { 1 } else { MOST_TURNS };
    loop {
        match attempt(false) {
            Look::Done(done) => return Some(done),
            Look::NotYet if begin.elapsed() < pause + limit => {}
            // Busy: that has taken milliseconds, and so would the next.
            Look::NotYet | Look::Busy => return None,
        }
        for _ in 0..turns {
            std::hint::spin_loop();
        }
        turns = (turns * 2).min(MOST_TURNS);
    }
}

/// Who waits, and how.
#[derive(Clone, Copy)]
enum Carrier<'a> {
    Thread,
    Ring(&'a Worker, &'a Frame),
    Parked,
}

impl Carrier<'_> {
    fn current(family: &Family) -> Self {
        let Some(frame) = local::frame() else {
            return Carrier::Thread;
        };
        let worker = worker::current().expect("a coroutine runs on a worker");
        if worker.waits_for_futexes() {
            return Carrier::Ring(worker, frame);
        }
        start_listener(family);
        Carrier::Parked
    }

    fn flag(self, family: &Family, patient: bool) -> u32 {
        match self {
            Carrier::Thread | Carrier::Ring(..) if patient => word::PATIENT,
            Carrier::Thread | Carrier::Ring(..) => word::FUTEX,
            Carrier::Parked => word::bell(family.me().slot()),
        }
    }
}

/// Blocks the thread.
fn on_thread(
    word: &Word,
    seen: u32,
    what: &'static &'static str,
    deadline: Option<Instant>,
    at: &'static Location<'static>,
) {
    cancel::raise();
    let record = thread::current();
    record.live.waits(what, at);
    // As for other waits of threads: those in destructors are not cut short.
    let ambient = if std::thread::panicking() {
        None
    } else {
        cancel::ambient_deadline()
    };
    let now = Instant::now();
    let left = sooner(deadline, ambient).map(|at| at.saturating_duration_since(now));
    if left != Some(Duration::ZERO) {
        futex::wait_shared(word.event(), seen, left);
    }
    record.live.set(State::Running);
    cancel::raise();
}

/// Suspends the coroutine; its worker's ring waits.
#[expect(clippy::too_many_arguments, reason = "all that a wait is")]
fn in_ring(
    worker: &Worker,
    frame: &Frame,
    family: &Family,
    word: &Word,
    seen: u32,
    what: &'static &'static str,
    deadline: Option<Instant>,
    at: &'static Location<'static>,
) {
    let kind = OpKind::Futex {
        word: word.event().as_ptr(),
        value: seen,
    };
    let mut op = Op::new(kind, reactor::NONE, None, ptr::null());
    match sched_op::run(worker, frame, &mut op, deadline, what, at) {
        // The grace of a destructor is over. A lock must be had all the same.
        OpEnd::Done(result) if result == -errno::ECANCELED => {
            start_listener(family);
            word.prepare(word::bell(family.me().slot()));
            by_doorbell(family, word, seen, what, deadline);
        }
        // Woken, or the word has changed already, or too late.
        OpEnd::Done(_) | OpEnd::TimedOut => {}
    }
}

/// One that waits by the doorbell: a coroutine, or somebody who polls.
#[derive(Debug)]
struct Waiter {
    /// Different for each.
    id: u64,
    word: NonNull<Word>,
    seen: u32,
    unparker: Unparker,
}

// SAFETY: the word lies in the arena, which stays mapped for as long as the process lives; and it
// is made of atomics.
unsafe impl Send for Waiter {}

static WAITERS: Mutex<(u64, Vec<Waiter>)> = Mutex::new((0, Vec::new()));

fn waiters() -> MutexGuard<'static, (u64, Vec<Waiter>)> {
    WAITERS.lock().unwrap_or_else(PoisonError::into_inner) // each step leaves it whole
}

/// Takes a waiter off the list.
#[derive(Debug)]
struct Leave(u64);

impl Leave {
    /// Puts a waiter on the list.
    fn later(word: &Word, seen: u32, unparker: Unparker) -> Leave {
        let (last, list) = &mut *waiters();
        *last += 1;
        list.push(Waiter {
            id: *last,
            word: NonNull::from(word),
            seen,
            unparker,
        });
        Leave(*last)
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let gone = {
            let list = &mut waiters().1;
            let place = list.iter().position(|waiter| waiter.id == self.0);
            place.map(|place| list.swap_remove(place))
        };
        drop(gone); // with the list unlocked: wakers are other people's code
    }
}

/// The place of somebody who polls among those who wait by the doorbell: of a future, or of an
/// arm of a select.
#[derive(Debug, Default)]
pub(super) struct Place(Option<Leave>);

impl Place {
    /// Announces the waiter, who looks once more before it [enters](Self::enter).
    pub(super) fn prepare(&mut self, family: &Family, word: &Word) -> u32 {
        self.leave();
        start_listener(family);
        word.prepare(word::bell(family.me().slot()))
    }

    /// From now on the waiter is woken when something happens. False: something has since it
    /// was announced.
    pub(super) fn enter(&mut self, word: &Word, seen: u32, unparker: Unparker) -> bool {
        self.0 = Some(Leave::later(word, seen, unparker));
        // A change from before we were in the list has not been told to us.
        if word.has_changed(seen) {
            self.leave();
        }
        self.0.is_some()
    }

    pub(super) fn leave(&mut self) {
        self.0 = None;
    }
}

/// Parks the coroutine until the listener finds its word changed.
#[track_caller]
fn by_doorbell(
    family: &Family,
    word: &Word,
    seen: u32,
    what: &'static &'static str,
    deadline: Option<Instant>,
) {
    debug_assert!(!family.arena().forked());
    let _leave = Leave::later(word, seen, Unparker::current());
    // A change from before we were in the list has not been told to us.
    while !word.has_changed(seen) {
        match park::wait(what, deadline) {
            Outcome::Woken => {}
            Outcome::TimedOut => return,
            Outcome::Interrupted => cancel::raise(),
        }
    }
}

/// Starts the thread that waits for this process's doorbell.
fn start_listener(family: &Family) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let family = crate::shm::family::joined()
            .filter(|joined| joined.me() == family.me())
            .expect("a process has one family");
        std::thread::Builder::new()
            .name("bingfa-doorbell".into())
            .spawn(|| {
                launch::block_signals();
                listen(family)
            })
            .expect("bingfa: no thread to wait for shared memory");
    });
}

fn listen(family: &Family) {
    let bell = family.arena().doorbell(family.me());
    loop {
        // Read before the look: what comes later rings again.
        let heard = bell.load(std::sync::atomic::Ordering::Acquire);
        let mut wakers = Vec::new();
        for waiter in &waiters().1 {
            // SAFETY: in the arena, which stays mapped; and its waiter is in the list, and borrows
            // it, or was forgotten: then it may be something else's word, or no word any more.
            if unsafe { waiter.word.as_ref() }.has_changed(waiter.seen) {
                match &waiter.unparker {
                    // With the list unlocked: wakers are other people's code.
                    Unparker::Async(waker) => wakers.push(waker.clone()),
                    carrier => carrier.unpark(),
                }
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        futex::wait_shared(bell, heard, None);
    }
}
