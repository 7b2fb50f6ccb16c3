//! `task_done` and `join`: waiting until what was put into a queue between processes is done, or
//! nobody is left to do it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::polling::{Arm, Pending, is_an_arm};
use super::queue::{Core, FOREVER, Queue, Wait};
use super::queue_error::{Abandoned, Last, Unjoined};
use super::shared::Shared;
use super::waiting::Look;
use crate::queue::TooManyDone;
use crate::shm::word::Word;

/// What a join is called in snapshots.
const JOIN: &&str = &"process queue join";

/// Somebody of this process waits for an item, who is one that may end a join.
#[derive(Debug)]
pub(super) struct Awaiting<'a>(Core<'a>);

impl<'a> Awaiting<'a> {
    pub(super) fn new(core: Core<'a>) -> Awaiting<'a> {
        core.0.handle().hold().awaits();
        Awaiting(core)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        if self.0.0.handle().hold().awaits_no_more() {
            // It has taken nothing: who joins may wait for nobody now.
            let arena = self.0.0.family().arena();
            self.0.join_word().wake(|flags| arena.ring(flags));
        }
    }
}

impl<'a> Core<'a> {
    /// How many abandoned items have been reported.
    fn told(self) -> u64 {
        self.ring().tasks().reported()
    }

    /// The word on which one waits for the last item to be done.
    fn join_word(self) -> &'a Word {
        &self.ring().tasks().joined
    }

    /// How many items are not done, as far as that can be found out.
    fn unfinished(self) -> u64 {
        let unfinished = self.0.handle().unfinished(self.ring());
        unfinished.unwrap_or_else(|| self.ring().about_unfinished())
    }

    /// Whether nobody is left who takes items: no other process, and nobody in this one. `None`
    /// as of [`is_alone`](Core::is_alone).
    fn is_forsaken(self) -> Option<bool> {
        if self.0.handle().hold().is_consumer() {
            return Some(false);
        }
        self.is_alone()
    }

    fn may_be_joined(self, told: u64) -> bool {
        let unfinished = || self.0.handle().unfinished(self.ring());
        self.ring().tasks().abandoned() > told
            || unfinished().is_none_or(|items| items == 0)
            || self.is_forsaken() != Some(false)
    }

    /// How a join has ended that began when so many had been reported, if it has.
    fn joined(self, told: u64, sleeps_next: bool) -> Look<Result<(), Unjoined>> {
        let ring = self.ring();
        // Asked first: what the last ones did before they went is found below.
        let forsaken = if sleeps_next {
            self.is_forsaken()
        } else {
            Some(false)
        };
        let unfinished = if sleeps_next || ring.may_be_done() {
            self.0.handle().unfinished(ring)
        } else {
            Some(u64::MAX) // some
        };
        // Asked last: what is abandoned counts as done.
        let abandoned = ring.tasks().abandoned();
        if abandoned > told {
            let pid = ring.tasks().report(abandoned);
            let items = abandoned - told;
            return Look::Done(Err(Unjoined::Abandoned(Abandoned::taken(pid, items))));
        }
        match (unfinished, forsaken) {
            (Some(0), _) => Look::Done(Ok(())),
            (Some(items), Some(true)) => {
                let last = Last::new(ring.last().expect("others had it"));
                Look::Done(Err(Unjoined::Abandoned(Abandoned::left(last, items))))
            }
            (Some(_), Some(false)) => Look::NotYet,
            (None, _) | (_, None) => Look::Busy,
        }
    }
}

/// A join under way: to be awaited, or to be an arm of a [`Select`](crate::queue::Select).
#[must_use = "a join does nothing until it is awaited or selected"]
pub struct Join<'a>(Arm<Joining<'a>>);

struct Joining<'a> {
    shared: &'a Shared,
    /// How many items were known to be abandoned when it began.
    told: u64,
    outcome: Option<Result<(), Unjoined>>,
}

impl<'a> Join<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Join(Arm::new(Joining {
            shared,
            told: Core(shared).told(),
            outcome: None,
        }))
    }

    /// How the join has ended, once a select says that this arm has won.
    ///
    /// # Errors
    /// As of [`Queue::join`]; [`Unjoined::Unfinished`] if it is not over.
    pub fn take(self) -> Result<(), Unjoined> {
        let Joining {
            shared, outcome, ..
        } = self.0.pending;
        outcome.unwrap_or_else(|| Err(Unjoined::Unfinished(Core(shared).unfinished())))
    }
}

impl Pending for Joining<'_> {
    fn attempt(&mut self) -> bool {
        if self.outcome.is_none() {
            self.outcome = match Core(self.shared).joined(self.told, true) {
                Look::Done(joined) => Some(joined),
                Look::NotYet | Look::Busy => None,
            };
        }
        self.outcome.is_some()
    }

    fn may_succeed(&self) -> bool {
        Core(self.shared).may_be_joined(self.told)
    }

    fn waits_on(&self) -> (&Shared, &Word) {
        (self.shared, Core(self.shared).join_word())
    }
}

impl Future for Join<'_> {
    type Output = Result<(), Abandoned>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let arm = &mut self.0;
        arm.poll(context)
            .map(|()| match arm.pending.outcome.take().expect("done") {
                Err(Unjoined::Abandoned(abandoned)) => Err(abandoned),
                Ok(()) | Err(Unjoined::Unfinished(_)) => Ok(()),
            })
    }
}

is_an_arm!(Join);

impl<T> Queue<T> {
    /// Says that an item that this process has taken is done, for those who
    /// [join](Self::join).
    ///
    /// # Errors
    /// [`TooManyDone`] if this process has no item that is not done.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        let core = self.core();
        let hold = core.0.handle().hold();
        if core.ring().task_done(core.arena(), hold) {
            Ok(())
        } else {
            Err(TooManyDone(()))
        }
    }

    /// Waits until all items that were put have been taken and reported done.
    ///
    /// # Errors
    /// [`Abandoned`], once, as soon as a process has ended, or has dropped its handles, with
    /// items in hand. Those count as done, so another `join` waits for the rest.
    ///
    /// [`Abandoned`] also if nobody is left to take the rest, which stays in the queue: no other
    /// process has the queue any more, though some had, and this one neither has taken items nor
    /// waits for some. (Other carriers of this process that have not begun to do so do not count:
    /// who relies on them joins again.)
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, Queue};
    ///
    /// let queue = Queue::unbounded()?;
    /// for n in 0..3 {
    ///     queue.put(n).unwrap();
    /// }
    /// let worker = process::spawn(queue.clone(), |queue: Queue<u32>| {
    ///     while let Ok(_) = queue.try_get() {
    ///         queue.task_done().unwrap();
    ///     }
    /// });
    /// queue.join().unwrap();
    /// assert!(queue.is_empty());
    /// worker.join().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn join(&self) -> Result<(), Abandoned> {
        match self.join_until(FOREVER) {
            Ok(()) => Ok(()),
            Err(Unjoined::Abandoned(abandoned)) => Err(abandoned),
            Err(Unjoined::Unfinished(_)) => unreachable!("it waits for ever"),
        }
    }

    /// As [`join`](Self::join), for at most `limit`.
    ///
    /// # Errors
    /// As [`join`](Self::join), and [`Unjoined::Unfinished`] if it was too late.
    ///
    /// # Cancellation
    /// A cancelled waiter unwinds.
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<(), Unjoined> {
        self.join_until(Wait::within(limit))
    }

    #[track_caller]
    fn join_until(&self, wait: Wait) -> Result<(), Unjoined> {
        let core = self.core();
        let told = core.told();
        let attempt = |sleeps_next: bool| core.joined(told, sleeps_next);
        core.wait_for(core.join_word(), JOIN, wait, attempt)
            .unwrap_or_else(|| Err(Unjoined::Unfinished(core.unfinished())))
    }

    /// Waits until all items that were put have been taken and reported done, as an async task
    /// or as an arm of a [`Select`](crate::queue::Select); see [`join`](Self::join).
    pub fn join_async(&self) -> Join<'_> {
        Join::new(self.core().0)
    }
}
