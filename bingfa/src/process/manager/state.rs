//! What a manager keeps, and what it does when it is asked.
//!
//! All of it belongs to one worker, whose coroutines serve the clients.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Client;
use super::call::{Changed, Handler, Trusted};
use super::containers::{Entries, hand_over, kept};
use super::flag::Flag;
use super::latch::Latch;
use super::link::Outgoing;
use super::meeting::Meeting;
use super::pending::{Lease, Pending, Present, settle};
use super::permits::Permits;
use super::protocol::{Call, Hello, Kind, Patience, Refusal, Reply, Request};
use super::signal::Signal;
use super::store::{Failure, Store, Until};
use crate::process::wire::Encoded;
use crate::sync::{Mutex, MutexGuard};

/// Everything.
pub(super) struct State {
    objects: RefCell<HashMap<u64, Rc<Object>>>,
    names: RefCell<HashMap<String, u64>>,
    last_id: Cell<u64>,
    clients: RefCell<HashMap<u64, Presence>>,
    /// The manager as a client of itself, for proxies in its own contents.
    home: Client,
}

/// What is known of a client.
#[derive(Default)]
struct Presence {
    connections: usize,
    /// It has said that it needs nothing any more.
    has_parted: bool,
}

pub(super) enum Object {
    Dict(Mutex<Entries>),
    List(Mutex<Vec<Encoded>>),
    Queue(Store),
    /// Also those that their owner can lock again, which is the client's own affair.
    Lock(Kind, Latch),
    Event(Flag),
    Semaphore(Permits),
    Condvar(Signal),
    Barrier(Meeting),
    Custom(Mutex<Box<dyn Handler>>),
}

impl Object {
    fn kind(&self) -> Kind {
        match self {
            Object::Dict(_) => Kind::Dict,
            Object::List(_) => Kind::List,
            Object::Queue(_) => Kind::Queue,
            Object::Lock(kind, _) => *kind,
            Object::Event(_) => Kind::Event,
            Object::Semaphore(permits) if permits.bound().is_some() => Kind::BoundedSemaphore,
            Object::Semaphore(_) => Kind::Semaphore,
            Object::Condvar(_) => Kind::Condvar,
            Object::Barrier(_) => Kind::Barrier,
            Object::Custom(_) => Kind::Custom,
        }
    }
}

/// One connection.
pub(super) struct Session {
    /// The client in words.
    pub(super) who: String,
    pub(super) client: u64,
    /// That it may name functions of the program to be called.
    trusted: Option<Trusted>,
    /// What was handed out and has not been acknowledged.
    pub(super) lease: RefCell<Option<Lease>>,
    pub(super) held: RefCell<Option<Held>>,
    /// The condition variable by which it was notified, until it has its lock again.
    call: RefCell<Option<Rc<Object>>>,
    /// Its last arrival at a barrier.
    pub(super) present: RefCell<Weak<Present>>,
}

/// What a connection holds.
pub(super) enum Held {
    Lock(Rc<Object>),
    Permits(Rc<Object>, u64),
}

impl Session {
    /// `place`: where a client comes from that was not handed its connection.
    pub(super) fn new(hello: &Hello, place: Option<&str>) -> Session {
        let from = place
            .map(|place| format!(" at {place}"))
            .unwrap_or_default();
        Session {
            who: format!("process {}{from}", hello.pid),
            client: hello.instance,
            trusted: Trusted::of(hello, place.is_none()),
            lease: RefCell::default(),
            held: RefCell::default(),
            call: RefCell::default(),
            present: RefCell::default(),
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.held.borrow().is_some()
    }

    /// Its client has gone. What waits for it is ended by and by, but until then others that come
    /// to a barrier must not meet it.
    pub(super) fn hangs_up(&self) {
        if let Some(present) = self.present.take().upgrade() {
            present.leave();
        }
    }

    /// False: it did not hold this lock.
    pub(super) fn lets_go_of(&self, lock: &Rc<Object>) -> bool {
        let is_it = |held: &mut Held| matches!(held, Held::Lock(held) if Rc::ptr_eq(held, lock));
        self.held.borrow_mut().take_if(is_it).is_some()
    }

    /// How many permits of this semaphore it held; it does not any more. `None`: none.
    pub(super) fn gives_up_permits(&self, semaphore: &Rc<Object>) -> Option<u64> {
        let is_it =
            |held: &mut Held| matches!(held, Held::Permits(held, _) if Rc::ptr_eq(held, semaphore));
        match self.held.borrow_mut().take_if(is_it)? {
            Held::Permits(_, count) => Some(count),
            Held::Lock(_) => None,
        }
    }
}

/// What becomes of a request.
pub(super) enum Next {
    /// There is an answer to be sent.
    Answer,
    Wait(Pending, Until),
    /// There is none.
    Silence,
}

/// Why a request is refused.
pub(super) struct Refused(pub(super) Refusal, pub(super) String);

impl From<String> for Refused {
    fn from(why: String) -> Refused {
        Refused(Refusal::Failed, why)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused(Refusal::Failed, error.to_string())
    }
}

pub(super) type Done = Result<Next, Refused>;

pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // users' panics are caught before
}

fn until(patience: Patience) -> Until {
    match patience {
        Some(0) => Until::Now,
        Some(nanos) => {
            let end = Instant::now().checked_add(Duration::from_nanos(nanos));
            end.map_or(Until::Forever, Until::Then)
        }
        None => Until::Forever,
    }
}

pub(super) fn say(out: &mut Outgoing, reply: &Reply<'_>) -> Done {
    out.fill(reply, Vec::new())?;
    Ok(Next::Answer)
}

impl State {
    pub(super) fn new(home: Client) -> State {
        State {
            objects: RefCell::default(),
            names: RefCell::default(),
            last_id: Cell::new(0),
            clients: RefCell::default(),
            home,
        }
    }

    fn add(&self, object: Object) -> u64 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        self.objects.borrow_mut().insert(id, Rc::new(object));
        id
    }

    pub(super) fn object(&self, id: u64) -> Result<Rc<Object>, Refused> {
        let object = self.objects.borrow().get(&id).cloned();
        let gone = || {
            Refused(
                Refusal::NotFound,
                format!("the object {id} has been removed"),
            )
        };
        object.ok_or_else(gone)
    }

    /// A connection begins.
    pub(super) fn enter(&self, session: &Session) {
        let mut clients = self.clients.borrow_mut();
        clients.entry(session.client).or_default().connections += 1;
    }

    /// A connection has ended: what its client did not finish is put right.
    pub(super) fn leave(&self, session: &Session) {
        match session.lease.take() {
            Some(Lease::Item(queue, item)) => {
                if let Object::Queue(store) = &*queue {
                    store.give_back(session.client, item);
                }
            }
            Some(Lease::Lock(lock)) => release(&lock, None),
            Some(Lease::Permits(semaphore, count)) => give_back(&semaphore, count),
            Some(Lease::Call(condvar)) => drop(session.call.replace(Some(condvar))),
            None => {}
        }
        // Somebody else is notified in its place.
        if let Some(Object::Condvar(signal)) = session.call.take().as_deref() {
            signal.notify_one();
        }
        match session.held.take() {
            Some(Held::Lock(lock)) => {
                let why = format!("{} has ended while it held the lock", session.who);
                release(&lock, Some(why));
            }
            Some(Held::Permits(semaphore, count)) => give_back(&semaphore, count),
            None => {}
        }
        let mut clients = self.clients.borrow_mut();
        let presence = clients.entry(session.client).or_default();
        presence.connections -= 1;
        if presence.connections > 0 {
            return;
        }
        let has_parted = presence.has_parted;
        clients.remove(&session.client);
        drop(clients);
        let objects: Vec<_> = self.objects.borrow().values().cloned().collect();
        for object in objects {
            match &*object {
                Object::Queue(store) => store.leave(session.client, &session.who),
                Object::Barrier(meeting) if has_parted => meeting.part(session.client),
                Object::Barrier(meeting) => meeting.bury(session.client, &session.who),
                _ => {}
            }
        }
    }

    /// Does what a client asks, and fills in the answer.
    pub(super) fn perform(
        &self,
        session: &Session,
        request: Request<'_>,
        fds: Vec<OwnedFd>,
        out: &mut Outgoing,
    ) -> io::Result<Next> {
        // What was handed out has arrived if the client goes on.
        match session.lease.take() {
            Some(Lease::Lock(lock)) => {
                session.held.replace(Some(Held::Lock(lock)));
                session.call.take();
            }
            Some(Lease::Permits(semaphore, count)) => {
                session.held.replace(Some(Held::Permits(semaphore, count)));
            }
            Some(Lease::Call(condvar)) => drop(session.call.replace(Some(condvar))),
            Some(Lease::Item(..)) | None => {}
        }
        self.act(session, request, fds, out)
            .or_else(|Refused(refusal, why)| {
                out.fill(&Reply::Refused(refusal, &why), Vec::new())?;
                Ok(Next::Answer)
            })
    }

    fn act(
        &self,
        session: &Session,
        request: Request<'_>,
        fds: Vec<OwnedFd>,
        out: &mut Outgoing,
    ) -> Done {
        match request {
            Request::Ack => Ok(Next::Silence),
            Request::Part => {
                let mut clients = self.clients.borrow_mut();
                clients.entry(session.client).or_default().has_parted = true;
                Ok(Next::Silence)
            }
            Request::Create(kind) => {
                let object = match kind {
                    Kind::Dict => Object::Dict(Mutex::default()),
                    Kind::List => Object::List(Mutex::default()),
                    Kind::Queue => Object::Queue(Store::new(None)),
                    Kind::Lock | Kind::ReentrantLock => Object::Lock(kind, Latch::new()),
                    Kind::Event => Object::Event(Flag::default()),
                    Kind::Condvar => Object::Condvar(Signal::default()),
                    Kind::Semaphore | Kind::BoundedSemaphore | Kind::Barrier => {
                        let why = "an object of this kind needs a number".into();
                        return Err(Refused(Refusal::Invalid, why));
                    }
                    Kind::Custom => {
                        let why = "an object of this kind is made by a function".into();
                        return Err(Refused(Refusal::Invalid, why));
                    }
                };
                say(out, &Reply::Number(self.add(object)))
            }
            Request::CreateQueue(Some(0)) => {
                let why = "a queue needs room for at least one item".into();
                Err(Refused(Refusal::Invalid, why))
            }
            Request::CreateQueue(capacity) => {
                let queue = Object::Queue(Store::new(capacity));
                say(out, &Reply::Number(self.add(queue)))
            }
            Request::CreateSemaphore(permits, bounded) => {
                let Some(permits) = Permits::new(permits, bounded) else {
                    let why = format!("a semaphore of {permits} permits is too large");
                    return Err(Refused(Refusal::Invalid, why));
                };
                say(out, &Reply::Number(self.add(Object::Semaphore(permits))))
            }
            Request::CreateBarrier(parties) => {
                let barrier = Object::Barrier(Meeting::new(parties));
                say(out, &Reply::Number(self.add(barrier)))
            }
            Request::CreateCustom(make, args) => {
                let object = self.make(session, make, kept(args, fds))?;
                let object = Object::Custom(Mutex::new(object));
                say(out, &Reply::Number(self.add(object)))
            }
            Request::Remove(id) => {
                self.remove(id)?;
                say(out, &Reply::Done)
            }
            Request::Publish(name, id) => {
                self.object(id)?;
                self.names.borrow_mut().insert(name.to_owned(), id);
                say(out, &Reply::Done)
            }
            Request::Open(name, kind) => {
                let id = self.names.borrow().get(name).copied();
                let unknown = || Refused(Refusal::NotFound, format!("there is no {name:?}"));
                let id = id.ok_or_else(unknown)?;
                let found = self.object(id)?.kind();
                if found != kind {
                    let why = format!("{name:?} is a {found:?}, not a {kind:?}");
                    return Err(Refused(Refusal::Invalid, why));
                }
                say(out, &Reply::Number(id))
            }
            Request::Dict(id, op) => match &*self.object(id)? {
                Object::Dict(entries) => self.dict(session, entries, op, fds, out),
                other => Err(wrong(id, other)),
            },
            Request::List(id, op) => match &*self.object(id)? {
                Object::List(items) => self.list(session, items, op, fds, out),
                other => Err(wrong(id, other)),
            },
            Request::Queue(id, op) => self.queue(session, self.object(id)?, id, op, fds, out),
            Request::Lock(id, op) => self.latch(session, self.object(id)?, id, op, out),
            Request::Event(id, op) => self.event(session, self.object(id)?, id, op, out),
            Request::Semaphore(id, op) => self.semaphore(session, self.object(id)?, id, op, out),
            Request::Condvar(id, op) => self.condvar(session, self.object(id)?, id, op, out),
            Request::Barrier(id, op) => self.barrier(session, self.object(id)?, id, op, out),
            Request::Custom(id, request) => match &*self.object(id)? {
                Object::Custom(object) => {
                    let reply = lock(object).handle(kept(request, fds), &self.home)?;
                    hand_over(out, Some(reply))
                }
                other => Err(wrong(id, other)),
            },
        }
    }

    fn remove(&self, id: u64) -> Result<(), Refused> {
        let object = self.object(id)?;
        self.objects.borrow_mut().remove(&id);
        self.names.borrow_mut().retain(|_, named| *named != id);
        match &*object {
            Object::Queue(store) => store.remove(),
            Object::Lock(_, latch) => latch.remove(),
            Object::Event(flag) => flag.remove(),
            Object::Semaphore(permits) => permits.remove(),
            Object::Condvar(signal) => signal.remove(),
            Object::Barrier(meeting) => meeting.remove(),
            Object::Dict(_) | Object::List(_) | Object::Custom(_) => {}
        }
        Ok(())
    }

    /// Does it if it needs no wait.
    pub(super) fn attempt(
        &self,
        session: &Session,
        mut pending: Pending,
        patience: Patience,
        out: &mut Outgoing,
    ) -> Done {
        let until = until(patience);
        match (settle(session, &mut pending, Until::Now, out), until) {
            (Err(Failure::TooLate), Until::Now) => say(out, &Reply::TooLate),
            (Err(Failure::TooLate), until) => Ok(Next::Wait(pending, until)),
            (done, _) => done.or_else(|failure| fail(out, failure)),
        }
    }

    /// Waits for it, and fills in the answer.
    pub(super) fn finish(
        &self,
        session: &Session,
        mut pending: Pending,
        until: Until,
        out: &mut Outgoing,
    ) -> io::Result<()> {
        let done = settle(session, &mut pending, until, out);
        match done.or_else(|failure| fail(out, failure)) {
            Ok(_) => Ok(()),
            Err(Refused(refusal, why)) => out.fill(&Reply::Refused(refusal, &why), Vec::new()),
        }
    }

    pub(super) fn update(
        &self,
        session: &Session,
        call: Call,
        contents: Vec<Encoded>,
        args: Encoded,
    ) -> Result<Changed, Refused> {
        let trusted = session.trusted()?;
        Ok(trusted.update(call, contents, args, &self.home)?)
    }

    fn make(
        &self,
        session: &Session,
        make: Call,
        args: Encoded,
    ) -> Result<Box<dyn Handler>, Refused> {
        let trusted = session.trusted()?;
        Ok(trusted.create(make, args, &self.home)?)
    }
}

impl Session {
    fn trusted(&self) -> Result<&Trusted, Refused> {
        let why = "functions are called only for processes that were handed this manager by its \
                   own program; who has connected by an address can use compare_exchange, and \
                   objects of a Managed type";
        let forbidden = || Refused(Refusal::Forbidden, why.into());
        self.trusted.as_ref().ok_or_else(forbidden)
    }
}

fn release(object: &Object, why: Option<String>) {
    if let Object::Lock(_, latch) = object {
        latch.release(why);
    }
}

fn give_back(object: &Object, count: u64) {
    if let Object::Semaphore(permits) = object {
        permits.give_back(count);
    }
}

pub(super) fn wrong(id: u64, object: &Object) -> Refused {
    let why = format!("the object {id} is a {:?}", object.kind());
    Refused(Refusal::Invalid, why)
}

pub(super) fn fail(out: &mut Outgoing, failure: Failure) -> Done {
    match failure {
        Failure::TooLate => say(out, &Reply::TooLate),
        Failure::Gone => {
            let why = "the object has been removed".into();
            Err(Refused(Refusal::NotFound, why))
        }
        Failure::Abandoned(why) => Err(Refused(Refusal::Abandoned, why)),
    }
}
