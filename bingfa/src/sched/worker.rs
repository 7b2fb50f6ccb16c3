//! A worker: one thread that starts and resumes coroutines.
//!
//! # Invariants
//! 1. A worker is used only on its own thread, through the thread-local set by
//!    [`Worker::attach`], and lives until `detach` (or for ever, if coroutines
//!    refused to end).
//! 2. Every frame in `frames` was made here; `live` of them run a task.
//! 3. No `RefCell` borrow is held across a switch or a call into user code.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_deque::{Steal, Worker as Deque};

use super::queue::{self, Reason, RunQueue};
use super::runtime::Shared;
use super::shells::Shells;
use super::watchdog;
use crate::park::cancel;
use crate::park::frame::{self, Frame, Request};
use crate::park::home::{Home, Target};
use crate::park::local;
use crate::park::looks::Looks;
use crate::park::task::{Discard, TaskRef};
use crate::park::timers::Timers;
use crate::reactor::{self, Driver, Op};
use crate::registry::State;
use crate::registry::cells::STACKS;

/// How long a worker runs coroutines before it looks at timers and I/O again.
const TURN: Duration = Duration::from_micros(250);
const MAX_TURN: u64 = 4096;
/// A turn of this length has a coroutine in it whose slices must be ended in time.
const LATE: Duration = Duration::from_millis(1);
/// How far apart an idle worker's firings are at least, where it waits for several timers.
const LEAST_TIMER_DISTANCE: Duration = Duration::from_micros(100);
/// How far apart an idle worker's firings are at most, where it waits for a crowd of timers.
const MOST_TIMER_DISTANCE: Duration = Duration::from_millis(1);
/// After so many operations in a row that did not have to wait, a coroutine gives way.
const STREAK: u32 = 128;
/// How many switches happen between two looks at the inbox, at most.
const BURST: usize = 32;

pub(crate) struct Worker {
    pub(super) home: &'static Home,
    pub(super) shared: Arc<Shared>,
    /// Its place among the runtime's workers; `None`: a thread inside `run`, which
    /// runs only what is its own.
    pub(super) index: Option<usize>,
    driver: RefCell<Box<dyn Driver>>,
    done: RefCell<Vec<NonNull<Op>>>,
    /// Spawned here and not yet started; others may steal from it.
    deque: Deque<TaskRef>,
    /// `spawn_local`: not to be stolen.
    own: RefCell<VecDeque<TaskRef>>,
    /// Touched by `queue` alone, on every switch.
    queue: UnsafeCell<RunQueue>,
    shells: RefCell<Shells>,
    live: Cell<usize>,
    /// The number of resumptions at which the next turn is due, and how many made up a
    /// turn lately.
    turn_due: Cell<u64>,
    turn_size: Cell<u64>,
    /// Operations that did not have to wait, and the resumption in which they were made.
    streak: Cell<(u64, u32)>,
    turned: Cell<Instant>,
    /// When timers were fired last.
    fired: Cell<Option<Instant>>,
    stopping: Cell<bool>,
    /// Looks for mail before a sleep. Those that timers and I/O end do not count.
    looks: Cell<Looks>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static WORKER: Cell<*const Worker> = const { Cell::new(std::ptr::null()) };
}

/// The worker of the calling thread.
#[inline(always)]
pub(crate) fn current<'a>() -> Option<&'a Worker> {
    // SAFETY: set from `attach` to `detach` (invariant 1); callers use the reference
    // inside one call on this thread.
    NonNull::new(WORKER.get().cast_mut()).map(|worker| unsafe { worker.as_ref() })
}

/// The worker of the calling thread.
///
/// # Panics
/// On other threads.
#[track_caller]
pub(crate) fn current_or_panic<'a>() -> &'a Worker {
    current().expect(
        "bingfa: spawn_local outside of a worker: call it in a coroutine or inside bingfa::run, or \
         use spawn",
    )
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        index: Option<usize>,
        deque: Deque<TaskRef>,
    ) -> std::io::Result<Self> {
        let home = Home::claim();
        let parts = Shells::new(shared.config.guard_pages, shared.config.stack_size)
            .and_then(|shells| Ok((shells, reactor::open(shared.config.io, &home.sleeper)?)));
        let (shells, driver) = parts.inspect_err(|_| home.give_back())?;
        Ok(Self {
            home,
            index,
            driver: RefCell::new(driver),
            done: RefCell::new(Vec::new()),
            deque,
            own: RefCell::new(VecDeque::new()),
            queue: UnsafeCell::new(RunQueue::new(shared.config.policy)),
            shells: RefCell::new(shells),
            live: Cell::new(0),
            turn_due: Cell::new(0),
            turn_size: Cell::new(64),
            streak: Cell::new((0, 0)),
            turned: Cell::new(Instant::now()),
            fired: Cell::new(None),
            stopping: Cell::new(false),
            looks: Cell::new(Looks::default()),
            shared,
        })
    }

    /// Makes this the worker of the calling thread; gives back what was there before.
    ///
    /// # Safety
    /// The worker stays where it is until `detach`.
    pub(super) unsafe fn attach(&self) -> *const Worker {
        local::set_home(Some(self.home));
        watchdog::watch(self.home, &self.shared);
        WORKER.replace(self)
    }

    /// Ends a worker that has nothing left to run.
    pub(super) fn retire(self: Box<Self>, before: *const Worker) {
        self.detach(before);
        let home = self.home;
        // The stacks are about to be unmapped, where snapshots look.
        let no_snapshot = STACKS.write().unwrap_or_else(PoisonError::into_inner);
        drop(self);
        drop(no_snapshot);
        home.give_back(); // only now: its sleeper was the driver's
    }

    /// Takes back what `attach` did.
    pub(super) fn detach(&self, before: *const Worker) {
        WORKER.set(before);
        watchdog::unwatch(self.home);
        local::set_home(None);
    }

    // -- spawning ------------------------------------------------------------

    /// Queues a task where any worker of the runtime may start it.
    #[inline]
    pub(super) fn push_stealable(&self, task: TaskRef) {
        let backlog = !self.deque.is_empty();
        self.deque.push(task);
        // One task alone is ours as soon as the current coroutine waits; if it does not,
        // the watchdog's tick wakes somebody for it.
        if backlog {
            self.shared.wake_idle_hint();
        }
    }

    /// Queues a task that only this worker starts.
    pub(crate) fn push_own(&self, task: TaskRef) {
        self.own.borrow_mut().push_back(task);
    }

    // -- the loop ------------------------------------------------------------

    /// Access to the run queue; `f` does not come back here.
    #[inline(always)]
    fn queue<R>(&self, f: impl FnOnce(&mut RunQueue) -> R) -> R {
        // SAFETY: on our own thread (invariant 1), and no closure passed here calls `queue`
        // again or switches.
        f(unsafe { &mut *self.queue.get() })
    }

    /// Runs coroutines until `finished` says so, which is asked about after each burst.
    pub(super) fn run_until(&self, finished: &dyn Fn() -> bool) {
        while !finished() {
            self.collect();
            self.burst();
            if self.queue(|queue| queue.is_empty()) {
                self.start_some();
            }
            if self.is_turn_due() {
                self.take_injected();
                self.start_some();
                self.turn();
            } else if self.has_nothing_to_run() && !finished() {
                self.idle();
            }
        }
    }

    fn has_nothing_to_run(&self) -> bool {
        self.queue(|queue| queue.is_empty()) && !self.has_ready_work()
    }

    fn has_ready_work(&self) -> bool {
        self.home.has_mail()
            || self.home.has_ready()
            || !self.own.borrow().is_empty()
            || !self.deque.is_empty()
            || !self.done.borrow().is_empty()
    }

    fn resumed(&self) -> u64 {
        self.home.resumed.load(Relaxed) // only we write it
    }

    /// Resumes a number of ready coroutines, within the turn.
    #[inline]
    fn burst(&self) {
        for turn in 0..BURST {
            let Some(frame) = self.queue(RunQueue::pop) else {
                break;
            };
            self.queue(|queue| queue.prefetch(turn));
            self.run(frame);
            if self.is_turn_due() {
                break;
            }
        }
        local::leave();
    }

    /// Resumes a coroutine and does what it asks for.
    #[inline(always)]
    fn run(&self, frame: NonNull<Frame>) {
        let block = super::alive(&frame);
        self.home.resumed.store(self.resumed() + 1, Relaxed); // the watchdog compares
        block.live.set(State::Running);
        let request = if self.queue(|queue| queue.is_timed()) {
            let started = Instant::now();
            // SAFETY: as in the other branch.
            let request = unsafe { frame::resume(frame) };
            queue::charge(block, started.elapsed());
            request
        } else {
            // SAFETY: it came from our run queue or was just assigned a task, so it is
            // suspended and made here, and we are in the worker's loop, not in a coroutine.
            unsafe { frame::resume(frame) }
        };
        if self.home.is_turn_due() {
            self.end_turn();
        }
        match request {
            Request::Yield => {
                self.take_ready();
                self.queue(|queue| queue.push(frame, Reason::Yielded));
            }
            Request::Wait => {
                self.take_ready();
            }
            Request::Finished => {
                self.take_ready();
                self.finished(frame);
            }
        }
    }

    #[inline(always)]
    fn take_ready(&self) {
        if self.home.has_ready() {
            self.home
                .take_ready(|frame| self.queue(|queue| queue.push(frame, Reason::Woken)));
        }
    }

    /// Counts an operation of the running coroutine that did not have to wait; true if
    /// there were so many in a row that it should give way.
    #[inline]
    pub(super) fn count_streak(&self) -> bool {
        let now = self.resumed();
        let (since, count) = self.streak.get();
        let count = if since == now { count + 1 } else { 1 };
        self.streak.set((now, count));
        count >= STREAK
    }

    fn finished(&self, frame: NonNull<Frame>) {
        let task = super::alive(&frame).release();
        task.word.finish();
        self.live.set(self.live.get() - 1);
        self.shells.borrow_mut().give(frame, task.stack_class);
    }

    /// Takes in what others have sent.
    fn collect(&self) {
        self.home.drain(|task| self.sort(task));
        if self.home.has_closed() {
            for (fd, epoch) in self.home.take_closed() {
                self.driver
                    .borrow_mut()
                    .closed(fd, epoch, &mut self.done.borrow_mut());
            }
        }
        self.take_ready();
        self.settle();
    }

    /// Deals with one coroutine from the inbox.
    fn sort(&self, task: TaskRef) {
        if task.word.is_finished() {
            return;
        }
        let frame = task
            .frame()
            .expect("started, or it could not have been posted");
        let block = super::alive(&frame);
        let popped = task.word.popped(|| cancel::frame_is_pending(block));
        if popped.ready {
            block.live.set(State::Ready);
            self.queue(|queue| queue.push(frame, Reason::Woken));
        } else if popped.interrupted {
            self.interrupt(task);
        }
    }

    /// The coroutine's cancel state has changed: ends its wait if that may unwind now.
    fn interrupt(&self, task: TaskRef) {
        if task.word.is_finished() {
            return;
        }
        let Some(frame) = task.frame() else { return };
        let block = super::alive(&frame);
        if cancel::frame_is_pending(block) {
            self.disturb(frame);
        }
    }

    /// Ends the current wait of a coroutine of ours, whatever it is.
    fn disturb(&self, frame: NonNull<Frame>) {
        let block = super::alive(&frame);
        if block.task().word.unpark_now() {
            block.live.set(State::Ready);
            self.queue(|queue| queue.push(frame, Reason::Woken));
        } else if let Some(op) = NonNull::new(block.op.get().cast_mut().cast::<Op>()) {
            let mut done = self.done.borrow_mut();
            // SAFETY: set while the operation is in flight on this worker's driver.
            unsafe { self.driver.borrow_mut().cancel(op, &mut done) };
        }
    }

    /// Takes its part of what other threads have spawned, which a worker that always has
    /// something to run would else never look at.
    fn take_injected(&self) {
        if self.index.is_some() && !self.shared.injector.is_empty() {
            // Retried in the next turn, if need be.
            let _ = self.shared.injector.steal_batch(&self.deque);
        }
    }

    /// Starts what was spawned, as far as the budget goes.
    fn start_some(&self) {
        let mut left = BURST;
        while left > 0 {
            left -= 1;
            let own = self.own.borrow_mut().pop_front();
            let Some(task) = own.or_else(|| self.deque.pop()) else {
                break;
            };
            self.start(task);
            if self.home.is_turn_due() {
                break;
            }
        }
    }

    fn start(&self, task: TaskRef) {
        if self.stopping.get() || task.word.is_cancelled() {
            super::discard(task, Discard::Cancelled);
            return;
        }
        let taken = self.shells.borrow_mut().take(task.stack_class);
        let frame = match taken {
            Ok(frame) => frame,
            Err(error) => {
                super::discard(task, Discard::NoStack(error));
                return;
            }
        };
        let block = super::alive(&frame);
        let class = task.stack_class;
        if !task.start(self.home, frame) {
            super::discard(task, Discard::Cancelled);
            self.shells.borrow_mut().give(frame, class);
            return;
        }
        // SAFETY: the frame outlives the task's listing, which ends in `run`'s epilogue.
        unsafe { task.entry().started(&block.live) };
        block.assign(task);
        block.live.belongs_to(self.home.address());
        self.live.set(self.live.get() + 1);
        self.run(frame);
        local::leave();
    }

    /// The turn has lasted long enough, however few switches there were.
    #[cold]
    fn end_turn(&self) {
        let began = self.turn_due.get().saturating_sub(self.turn_size.get());
        let now = self.resumed();
        self.turn_size.set(now.saturating_sub(began).max(1));
        self.turn_due.set(now);
    }

    #[inline(always)]
    fn is_turn_due(&self) -> bool {
        self.resumed() >= self.turn_due.get()
    }

    /// Looks at the clock: timers, I/O, housekeeping, and how long a turn was.
    fn turn(&self) {
        let now = Instant::now();
        let spent = now.duration_since(self.turned.get());
        self.turned.set(now);
        self.home.turned(spent > LATE);
        let size = self.turn_size.get();
        let scaled = u128::from(size) * TURN.as_nanos() / spent.as_nanos().max(1);
        // Grow slowly, shrink at once.
        let size = (scaled.min(u128::from(size) * 2) as u64).clamp(1, MAX_TURN);
        self.turn_size.set(size);
        self.turn_due.set(self.resumed() + size);
        self.queue(|queue| queue.tick(now));
        self.fire_timers(now);
        self.driver.borrow_mut().flush(&mut self.done.borrow_mut());
        self.settle();
    }

    /// Ends waits that have lasted long enough. Thousands may be due at once, and each has
    /// memory to itself: they are taken in batches, so that it is on its way when it is
    /// used, and not more than run while it is still in the caches; the rest comes next time.
    fn fire_timers(&self, now: Instant) {
        for _ in 0..16 {
            let mut due: [Option<Target>; 16] = [None; 16];
            self.home.timers(|timers| {
                for place in &mut due {
                    *place = timers.pop_due(now);
                    let Some(target) = place else { break };
                    frame::prefetch_block(target.frame);
                }
            });
            if due[0].is_some() {
                self.fired.set(Some(now));
            }
            for (i, target) in due.iter().enumerate() {
                let Some(target) = target else { return };
                if let Some(Some(next)) = due.get(i + 2) {
                    frame::prefetch_stack(super::alive(&next.frame));
                }
                self.fire(*target);
            }
        }
    }

    fn fire(&self, target: Target) {
        let block = super::alive(&target.frame);
        match target.scope {
            None => {
                block.timed_out.set(true);
                self.disturb(target.frame);
            }
            Some(scope) => {
                // SAFETY: a scope disarms its timer before it goes, and no coroutine has run
                // since this was taken out.
                unsafe { cancel::expire(block, scope) };
                self.interrupt(block.task_ref());
            }
        }
    }

    /// Makes ready whose operations have completed.
    fn settle(&self) {
        let mut done = self.done.borrow_mut();
        if done.is_empty() {
            return;
        }
        for op in done.iter() {
            // SAFETY: completed and not yet resumed, so its frame is still there.
            unsafe { op.as_ref() }.fetch_source();
        }
        for op in done.drain(..) {
            // SAFETY: as above.
            let op = unsafe { op.as_ref() };
            op.fetch_near();
            let frame = NonNull::new(op.owner.cast_mut().cast()).expect("every op has an owner");
            let block = super::alive(&frame);
            block.op.set(std::ptr::null());
            block.live.set(State::Ready);
            self.queue(|queue| queue.push(frame, Reason::Woken));
        }
    }

    // -- when there is nothing to run ------------------------------------------

    /// Finds work elsewhere, or sleeps until there is some.
    fn idle(&self) {
        let now = Instant::now();
        self.turned.set(now);
        self.home.turned(false);
        self.turn_due.set(self.resumed() + self.turn_size.get());
        self.queue(|queue| queue.tick(now));
        self.fire_timers(now);
        self.settle(); // operations that a timer has ended at once
        if !self.queue(|queue| queue.is_empty()) {
            return;
        }
        if let Some(task) = self.steal() {
            self.start(task);
            return;
        }
        if self.poll_a_while(now) {
            return;
        }
        if self.gets_mail() {
            return;
        }
        self.shells.borrow_mut().trim(now);
        self.sleep();
        if self.home.has_mail() {
            let mut looks = self.looks.get();
            looks.slept();
            self.looks.set(looks);
        }
    }

    /// Looks for mail for a moment, if that may be worth while: two workers whose coroutines
    /// take turns would else wake each other for each turn. Who sleeps for I/O and timers
    /// alone never looks.
    fn gets_mail(&self) -> bool {
        let mut looks = self.looks.get();
        let found = looks.find(|| {
            (0..16).any(|_| {
                std::hint::spin_loop();
                self.home.has_mail()
            })
        });
        self.looks.set(looks);
        found
    }

    /// Adaptive polling: looks for completions for a while before going to sleep.
    fn poll_a_while(&self, from: Instant) -> bool {
        let Some(limit) = self.shared.config.polling else {
            return false;
        };
        if self.driver.borrow().in_flight() == 0 && self.home.timers(|t| t.is_empty()) {
            return false;
        }
        loop {
            self.driver.borrow_mut().flush(&mut self.done.borrow_mut());
            self.settle();
            if !self.queue(|queue| queue.is_empty()) || self.has_ready_work() {
                return true;
            }
            if from.elapsed() >= limit {
                return false;
            }
            std::hint::spin_loop();
        }
    }

    fn sleep(&self) {
        self.home.sleeper.prepare();
        let listed = self.index.map(|index| self.shared.sleeps(index));
        // Whoever added work before that was not told to wake us: look again.
        let woken = self.home.has_mail() || self.shared.is_stopping() && !self.stopping.get();
        let more = self.index.is_some() && self.shared.has_stealable();
        if !woken && !more {
            let timeout = self.until_next_timers(Instant::now());
            self.driver
                .borrow_mut()
                .wait(timeout, &mut self.done.borrow_mut());
        }
        self.home.sleeper.awake();
        if let Some(index) = self.index.filter(|_| listed.is_some()) {
            self.shared.is_awake(index);
        }
        watchdog::rouse();
        self.settle();
    }

    /// How long to sleep if nothing else happens. A lone timer is exact, but firings keep a
    /// distance, of up to a millisecond if hundreds of thousands are armed:
    /// a crowd does not cost a sleep each.
    fn until_next_timers(&self, now: Instant) -> Option<Duration> {
        let timers = |timers: &mut Timers<Target>| (timers.next_due(now), timers.len());
        let (due, armed) = self.home.timers(timers);
        let distance = LEAST_TIMER_DISTANCE
            .max(MOST_TIMER_DISTANCE.min(Duration::from_nanos(2 * armed as u64)));
        let since = |fired| now.saturating_duration_since(fired);
        let rested = self.fired.get().map_or(distance, since);
        Some(due?.max(distance.saturating_sub(rested)))
    }

    /// Takes an unstarted task from the runtime or from another worker.
    fn steal(&self) -> Option<TaskRef> {
        let index = self.index?;
        loop {
            let mut retry = false;
            let found = std::iter::once(self.shared.injector.steal_batch_and_pop(&self.deque))
                .chain(
                    self.shared
                        .stealers_but(index)
                        .map(|s| s.steal_batch_and_pop(&self.deque)),
                )
                .find_map(|steal| match steal {
                    Steal::Success(task) => Some(task),
                    Steal::Retry => {
                        retry = true;
                        None
                    }
                    Steal::Empty => None,
                });
            if found.is_some() {
                // We may have taken a batch, and there may be more: one more helper, if any.
                if !self.deque.is_empty() {
                    self.shared.wake_idle_hint();
                }
                return found;
            }
            if !retry {
                return None;
            }
        }
    }

    // -- I/O, for the io room --------------------------------------------------

    /// Tries an operation without waiting; see `Driver::attempt`.
    #[inline]
    pub(crate) fn attempt(&self, op: &Op) -> Option<i32> {
        self.driver.borrow_mut().attempt(op)
    }

    /// Whether the driver takes operations on files.
    pub(crate) fn does_files(&self) -> bool {
        self.driver.borrow().does_files()
    }

    /// Whether the driver takes operations that wait for a futex.
    #[cfg(feature = "process")]
    pub(crate) fn waits_for_futexes(&self) -> bool {
        self.driver.borrow().waits_for_futexes()
    }

    /// Hands an operation of the running coroutine to the driver.
    ///
    /// # Safety
    /// The coroutine suspends until the operation's result is set.
    pub(crate) unsafe fn submit(&self, op: NonNull<Op>) {
        let mut done = self.done.borrow_mut();
        // SAFETY: the caller's duty.
        unsafe { self.driver.borrow_mut().submit(op, &mut done) };
    }

    // -- ending ----------------------------------------------------------------

    /// Cancels everything here and runs it to its end, for at most `limit`. Gives
    /// back how many refused.
    pub(super) fn shut_down(&self, limit: Duration) -> usize {
        self.stopping.set(true);
        let until = Instant::now() + limit;
        self.discard_unstarted();
        for frame in self.shells.borrow().busy() {
            super::alive(&frame).task_ref().cancel();
        }
        // A timer wakes us at the limit, as nothing else may.
        let over = || self.live.get() == 0 || Instant::now() >= until;
        while !over() {
            self.discard_unstarted();
            self.collect();
            self.burst();
            self.discard_unstarted();
            if self.is_turn_due() {
                self.turn();
            } else if self.live.get() > 0 && self.has_nothing_to_run() {
                self.wait_for_end(until.saturating_duration_since(Instant::now()));
            }
        }
        self.discard_unstarted();
        self.live.get()
    }

    fn wait_for_end(&self, left: Duration) {
        self.home.sleeper.prepare();
        let now = Instant::now();
        self.fire_timers(now);
        self.settle();
        if !self.home.has_mail() && self.queue(|queue| queue.is_empty()) {
            let due = self.home.timers(|timers| timers.next_due(now));
            let timeout = due.map_or(left, |due| due.min(left));
            self.driver
                .borrow_mut()
                .wait(Some(timeout), &mut self.done.borrow_mut());
        }
        self.home.sleeper.awake();
        self.settle();
    }

    fn discard_unstarted(&self) {
        loop {
            let own = self.own.borrow_mut().pop_front();
            let Some(task) = own.or_else(|| self.deque.pop()) else {
                return;
            };
            super::discard(task, Discard::Cancelled);
        }
    }

    /// The tasks that still run here.
    pub(super) fn survivors(&self) -> Vec<TaskRef> {
        self.shells
            .borrow()
            .busy()
            .map(|frame| super::alive(&frame).task_ref())
            .collect()
    }
}
