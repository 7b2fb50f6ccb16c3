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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::coroutine;
    use crate::park::select::Selectable;
    use crate::queue::{Select, Selecting};
    use crate::sched::runtime::Runtime;

    /// An arm that looks ready and cannot be done: somebody is stopped with its lock.
    struct Held {
        begun: Instant,
        is_free: Rc<Cell<bool>>,
    }

    impl Held {
        fn new(is_free: &Rc<Cell<bool>>) -> Held {
            Held {
                begun: Instant::now(),
                is_free: is_free.clone(),
            }
        }
    }

    impl Selectable for Held {
        fn attempt(&mut self) -> bool {
            assert!(self.begun.elapsed() < Duration::from_secs(30), "it hangs");
            self.is_free.get()
        }

        fn enlist(&mut self, _: &Ticket<'_>) -> bool {
            false
        }

        fn delist(&mut self) -> bool {
            false
        }
    }

    #[test]
    fn a_select_that_is_held_up_holds_up_nobody_and_can_be_cancelled() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        runtime.run(|| {
            let is_free = Rc::new(Cell::new(false));
            let select = || {
                let mut held = Held::new(&is_free);
                coroutine::spawn_local(move || Select::new().arm(&mut held).wait())
            };
            let [waits, ends] = [(); 2].map(|()| select());
            coroutine::yield_now(); // both have begun
            ends.cancel();
            assert!(ends.join().is_err());
            is_free.set(true);
            assert_eq!(waits.join().unwrap(), 0);
        });
    }

    #[test]
    fn an_async_select_that_is_held_up_lets_others_run() {
        let is_free = Rc::new(Cell::new(false));
        let mut held = pin!(Held::new(&is_free));
        let mut select = pin!(Selecting::new().arm(held.as_mut()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(select.as_mut().poll(&mut context).is_pending());
        is_free.set(true);
        assert_eq!(select.as_mut().poll(&mut context), Poll::Ready(0));
    }
}
