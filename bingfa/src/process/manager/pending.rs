//! Operations that may have to wait, and what a client has to have received before it counts
//! as the client's.

use std::io;
use std::rc::Rc;

use super::containers::copies;
use super::link::Outgoing;
use super::meeting::Arrival;
use super::protocol::{Bytes, Reply};
use super::state::{Next, Object, Session};
use super::store::{Failure, Until};
use crate::process::wire::Encoded;
use crate::sync::Event;

/// What was handed out and has not been acknowledged.
pub(super) enum Lease {
    /// Of a queue.
    Item(Rc<Object>, Encoded),
    Lock(Rc<Object>),
    Permits(Rc<Object>, u64),
    /// A notification.
    Call(Rc<Object>),
}

/// An operation that has to wait.
pub(super) enum Pending {
    Put(Rc<Object>, Encoded),
    Get(Rc<Object>),
    Join(Rc<Object>),
    Acquire(Rc<Object>),
    Wait(Rc<Object>),
    Permits(Rc<Object>, u64),
    Call(Called),
    Meet(Rc<Present>),
}

/// A place in the line of a condition variable. If whoever has it ends unheard, a notification
/// that it was given goes to the next.
pub(super) struct Called {
    condvar: Rc<Object>,
    turn: Option<Rc<Event>>,
}

impl Called {
    pub(super) fn new(condvar: Rc<Object>, turn: Rc<Event>) -> Called {
        let turn = Some(turn);
        Called { condvar, turn }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        if let (Object::Condvar(signal), Some(turn)) = (&*self.condvar, self.turn.take())
            && signal.leave(&turn)
        {
            signal.notify_one();
        }
    }
}

/// An arrival at a barrier, which is taken back if whoever came ends before the others come.
pub(super) struct Present {
    barrier: Rc<Object>,
    arrival: Rc<Arrival>,
}

impl Present {
    pub(super) fn new(barrier: Rc<Object>, arrival: Rc<Arrival>) -> Present {
        Present { barrier, arrival }
    }

    pub(super) fn leave(&self) {
        if let Object::Barrier(meeting) = &*self.barrier {
            meeting.leave(&self.arrival);
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Does it, waiting for as long as it may. What the client has to have received before it
/// counts as the client's is noted in the session first.
pub(super) fn settle(
    session: &Session,
    pending: &mut Pending,
    until: Until,
    out: &mut Outgoing,
) -> Result<Next, Failure> {
    let failed = |error: io::Error| Failure::Abandoned(error.to_string());
    match pending {
        Pending::Put(object, item) => {
            if let Object::Queue(store) = &**object {
                let mut whole = Some(std::mem::take(item));
                let put = store.put(&mut whole, until);
                *item = whole.unwrap_or_default();
                put?;
            }
        }
        Pending::Get(object) => {
            if let Object::Queue(store) = &**object {
                let item = store.get(session.client, until)?;
                let reply = Reply::Value(Bytes(&item.bytes));
                let filled = copies(&item).and_then(|fds| out.fill(&reply, fds));
                if let Err(error) = filled {
                    store.give_back(session.client, item);
                    return Err(failed(error));
                }
                session
                    .lease
                    .replace(Some(Lease::Item(object.clone(), item)));
                return Ok(Next::Answer);
            }
        }
        Pending::Join(object) => {
            if let Object::Queue(store) = &**object {
                store.join(until)?;
            }
        }
        Pending::Acquire(object) => {
            if let Object::Lock(_, latch) = &**object {
                latch.acquire(until)?;
                session.lease.replace(Some(Lease::Lock(object.clone())));
            }
        }
        Pending::Wait(object) => {
            if let Object::Event(flag) = &**object {
                flag.wait(until)?;
            }
        }
        Pending::Permits(object, count) => {
            if let Object::Semaphore(permits) = &**object {
                permits.acquire(*count, until)?;
                let lease = Lease::Permits(object.clone(), *count);
                session.lease.replace(Some(lease));
            }
        }
        Pending::Call(called) => {
            if let (Object::Condvar(signal), Some(turn)) = (&*called.condvar, &called.turn) {
                signal.wait(turn, until)?;
                called.turn = None;
                session
                    .lease
                    .replace(Some(Lease::Call(called.condvar.clone())));
            }
        }
        Pending::Meet(present) => {
            if let Object::Barrier(meeting) = &*present.barrier {
                meeting.wait(&present.arrival, until)?;
                out.fill(&Reply::Flag(false), Vec::new()).map_err(failed)?;
                return Ok(Next::Answer);
            }
        }
    }
    out.fill(&Reply::Done, Vec::new()).map_err(failed)?;
    Ok(Next::Answer)
}
