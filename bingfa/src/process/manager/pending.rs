//! Operations that may have to wait, and what a client has to have received before it counts
//! as the client's.

use std::io;
use std::rc::Rc;

use super::link::Outgoing;
use super::protocol::{Bytes, Reply};
use super::state::{Next, Object, Session, copies};
use super::store::{Failure, Until};
use crate::process::wire::Encoded;

/// What was handed out and has not been acknowledged.
pub(super) enum Lease {
    /// Of a queue.
    Item(Rc<Object>, Encoded),
    Lock(Rc<Object>),
}

/// An operation that has to wait.
pub(super) enum Pending {
    Put(Rc<Object>, Encoded),
    Get(Rc<Object>),
    Join(Rc<Object>),
    Acquire(Rc<Object>),
    Wait(Rc<Object>),
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
            if let Object::Lock(latch) = &**object {
                latch.acquire(until)?;
                session.lease.replace(Some(Lease::Lock(object.clone())));
            }
        }
        Pending::Wait(object) => {
            if let Object::Event(flag) = &**object {
                flag.wait(until)?;
            }
        }
    }
    out.fill(&Reply::Done, Vec::new()).map_err(failed)?;
    Ok(Next::Answer)
}
