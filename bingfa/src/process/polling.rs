//! Waits for what processes share that are polled: by async tasks, and as arms of a select.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::shared::Shared;
use super::waiting::{Look, Place};
use crate::park::select::Ticket;
use crate::park::wait::Unparker;
use crate::shm::word::Word;

/// Waits until `attempt` is done, as an async task; see [`wait_for`](super::waiting::wait_for).
///
/// # Panics
/// In a plain `fork()` of a process that has the object.
///
/// # Cancellation
/// Dropping the future leaves; it has done nothing.
pub(super) async fn done<R>(
    shared: &Shared,
    word: &Word,
    mut attempt: impl FnMut(bool) -> Look<R>,
) -> R {
    shared.arena(); // not in a fork
    if let Look::Done(done) = attempt(false) {
        return done;
    }
    let mut place = Place::default();
    poll_fn(|context| {
        loop {
            let seen = place.prepare(shared.family(), word);
            match attempt(true) {
                Look::Done(done) => return Poll::Ready(done),
                // That has taken milliseconds. Others may go first.
                Look::Busy => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Look::NotYet => {}
            }
            if place.enter(word, seen, asleep(context)) {
                return Poll::Pending;
            }
        }
    })
    .await
}

fn asleep(context: &Context<'_>) -> Unparker {
    Unparker::Async(context.waker().clone())
}

/// Something that can be done once others have done something.
pub(super) trait Pending {
    /// Does it, if that is possible now; true from then on.
    fn attempt(&mut self) -> bool;

    /// Whether an attempt may succeed.
    fn may_succeed(&self) -> bool;

    /// Of what, and the word on which one waits for it.
    fn waits_on(&self) -> (&Shared, &Word);
}

/// It, with its place among those who wait.
#[derive(Debug)]
pub(super) struct Arm<P> {
    pub(super) pending: P,
    place: Place,
}

impl<P: Pending> Arm<P> {
    pub(super) fn new(pending: P) -> Arm<P> {
        let place = Place::default();
        Arm { pending, place }
    }

    /// Whether it is done.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        loop {
            self.place.leave();
            if self.pending.attempt() {
                return Poll::Ready(());
            }
            if self.wait(asleep(context)) {
                return Poll::Pending;
            }
            if !self.pending.attempt() {
                // Somebody was faster, or is in the way.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Has `unparker` woken when an attempt may succeed; false: that may be now.
    fn wait(&mut self, unparker: Unparker) -> bool {
        let (shared, word) = self.pending.waits_on();
        let seen = self.place.prepare(shared.family(), word);
        !self.pending.may_succeed() && self.place.enter(word, seen, unparker)
    }

    pub(super) fn enlist(&mut self, ticket: &Ticket<'_>) -> bool {
        self.wait(ticket.unparker.clone())
    }

    pub(super) fn leave(&mut self) {
        self.place.leave();
    }
}

/// What wraps an [`Arm`] is an arm of a select by that.
macro_rules! is_an_arm {
    ($($name:ident $(<$item:ident: $($bound:ident)+>)?),*) => {$(
        impl<'a $(, $item: $($bound +)+)?> $crate::park::select::Selectable for $name<'a $(, $item)?> {
            fn attempt(&mut self) -> bool {
                $crate::process::polling::Pending::attempt(&mut self.0.pending)
            }

            fn enlist(&mut self, ticket: &$crate::park::select::Ticket<'_>) -> bool {
                self.0.enlist(ticket)
            }

            fn delist(&mut self) -> bool {
                self.0.leave();
                false // the next attempt sees it; another arm may have won
            }
        }

        impl $(<$item>)? std::fmt::Debug for $name<'_ $(, $item)?> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
pub(super) use is_an_arm;
