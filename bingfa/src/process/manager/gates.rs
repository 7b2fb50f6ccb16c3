//! What a manager does with those objects for which clients wait: queues, locks, semaphores,
//! events, condition variables and barriers.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::containers::kept;
use super::link::Outgoing;
use super::pending::{Called, Pending, Present};
use super::protocol::{
    BarrierOp, CondvarOp, EventOp, LockOp, QueueOp, Refusal, Reply, SemaphoreOp,
};
use super::state::{Done, Object, Refused, Session, State, fail, say, wrong};

impl State {
    pub(super) fn queue(
        &self,
        session: &Session,
        object: Rc<Object>,
        id: u64,
        op: QueueOp<'_>,
        fds: Vec<OwnedFd>,
        out: &mut Outgoing,
    ) -> Done {
        let Object::Queue(store) = &*object else {
            return Err(wrong(id, &object));
        };
        match op {
            QueueOp::Put(item, patience) => {
                let pending = Pending::Put(object.clone(), kept(item, fds));
                self.attempt(session, pending, patience, out)
            }
            QueueOp::Get(patience) => self.attempt(session, Pending::Get(object), patience, out),
            QueueOp::Join(patience) => self.attempt(session, Pending::Join(object), patience, out),
            QueueOp::TaskDone if store.task_done(session.client) => say(out, &Reply::Done),
            QueueOp::TaskDone => {
                let why = "task_done was called more often than items were put".into();
                Err(Refused(Refusal::Invalid, why))
            }
            QueueOp::Len => say(out, &Reply::Number(store.len())),
            QueueOp::Unfinished => say(out, &Reply::Number(store.unfinished())),
        }
    }

    pub(super) fn latch(
        &self,
        session: &Session,
        object: Rc<Object>,
        id: u64,
        op: LockOp,
        out: &mut Outgoing,
    ) -> Done {
        let Object::Lock(_, latch) = &*object else {
            return Err(wrong(id, &object));
        };
        match op {
            LockOp::Acquire(_) if session.holds() => Err(busy()),
            LockOp::Acquire(patience) => {
                self.attempt(session, Pending::Acquire(object), patience, out)
            }
            LockOp::Release(why) => {
                if !session.lets_go_of(&object) {
                    return Err(not_held("lock"));
                }
                let poison = |why| format!("{} {why} while it held the lock", session.who);
                latch.release(why.map(poison));
                say(out, &Reply::Done)
            }
            LockOp::ClearPoison => {
                latch.clear_poison();
                say(out, &Reply::Done)
            }
        }
    }

    pub(super) fn event(
        &self,
        session: &Session,
        object: Rc<Object>,
        id: u64,
        op: EventOp,
        out: &mut Outgoing,
    ) -> Done {
        let Object::Event(flag) = &*object else {
            return Err(wrong(id, &object));
        };
        match op {
            EventOp::Set => flag.set(),
            EventOp::Clear => flag.clear(),
            EventOp::IsSet => return say(out, &Reply::Flag(flag.is_set())),
            EventOp::Wait(patience) => {
                return self.attempt(session, Pending::Wait(object), patience, out);
            }
        }
        say(out, &Reply::Done)
    }

    pub(super) fn semaphore(
        &self,
        session: &Session,
        object: Rc<Object>,
        id: u64,
        op: SemaphoreOp,
        out: &mut Outgoing,
    ) -> Done {
        let Object::Semaphore(permits) = &*object else {
            return Err(wrong(id, &object));
        };
        match op {
            SemaphoreOp::Acquire(..) if session.holds() => return Err(busy()),
            SemaphoreOp::Acquire(count, patience) => {
                if let Some(bound) = permits.bound().filter(|&bound| count > bound) {
                    let why = format!("{count} permits of a semaphore with {bound}");
                    return Err(Refused(Refusal::Invalid, why));
                }
                let pending = Pending::Permits(object, count);
                return self.attempt(session, pending, patience, out);
            }
            SemaphoreOp::Release => {
                let count = session.gives_up_permits(&object);
                permits.give_back(count.ok_or_else(|| not_held("permits"))?);
            }
            SemaphoreOp::Forget => {
                let count = session.gives_up_permits(&object);
                permits.forget(count.ok_or_else(|| not_held("permits"))?);
            }
            SemaphoreOp::Add(count) => {
                if !permits.add(count) {
                    let why = match permits.bound() {
                        Some(_) => "more permits than were forgotten".to_owned(),
                        None => format!("{count} more permits are too many"),
                    };
                    return Err(Refused(Refusal::Invalid, why));
                }
            }
            SemaphoreOp::Available => return say(out, &Reply::Number(permits.available())),
        }
        say(out, &Reply::Done)
    }

    pub(super) fn condvar(
        &self,
        session: &Session,
        object: Rc<Object>,
        id: u64,
        op: CondvarOp,
        out: &mut Outgoing,
    ) -> Done {
        let Object::Condvar(signal) = &*object else {
            return Err(wrong(id, &object));
        };
        match op {
            CondvarOp::NotifyOne => signal.notify_one(),
            CondvarOp::NotifyAll => signal.notify_all(),
            CondvarOp::Wait(lock, patience) => {
                let lock = self.object(lock)?;
                let Object::Lock(_, latch) = &*lock else {
                    return Err(not_held("lock"));
                };
                if !session.lets_go_of(&lock) {
                    return Err(not_held("lock"));
                }
                // Before the lock is free: whoever has it next notifies this one, too.
                let called = Called::new(object.clone(), signal.enter());
                latch.release(None);
                return self.attempt(session, Pending::Call(called), patience, out);
            }
        }
        say(out, &Reply::Done)
    }

    pub(super) fn barrier(
        &self,
        session: &Session,
        object: Rc<Object>,
        id: u64,
        op: BarrierOp,
        out: &mut Outgoing,
    ) -> Done {
        let Object::Barrier(meeting) = &*object else {
            return Err(wrong(id, &object));
        };
        match op {
            BarrierOp::Wait(patience) => match meeting.arrive(session.client) {
                Ok(None) => say(out, &Reply::Flag(true)),
                Ok(Some(arrival)) => {
                    let present = Rc::new(Present::new(object.clone(), arrival));
                    session.present.replace(Rc::downgrade(&present));
                    self.attempt(session, Pending::Meet(present), patience, out)
                }
                Err(failure) => fail(out, failure),
            },
            BarrierOp::IsBroken => say(out, &Reply::Flag(meeting.is_broken())),
            BarrierOp::Reset => {
                meeting.reset();
                say(out, &Reply::Done)
            }
        }
    }
}

/// A connection stands for one hold at a time.
fn busy() -> Refused {
    let why = "this connection holds a lock or permits".into();
    Refused(Refusal::Invalid, why)
}

fn not_held(what: &str) -> Refused {
    let why = format!("this connection does not hold the {what}");
    Refused(Refusal::Invalid, why)
}
