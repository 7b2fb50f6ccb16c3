//! What a manager keeps, and what it does when it is asked.
//!
//! All of it belongs to one worker, whose coroutines serve the clients.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Client;
use super::call::{Changed, Handler, Trusted};
use super::link::Outgoing;
use super::pending::{Lease, Pending, settle};
use super::protocol::{
    Bytes, Call, DictOp, EventOp, Hello, Item, Kind, ListOp, LockOp, Patience, QueueOp, Refusal,
    Reply, Request,
};
use super::store::{Failure, Flag, Latch, Store, Until};
use crate::process::wire::Encoded;
use crate::sync::{Mutex, MutexGuard};

/// Everything.
pub(super) struct State {
    objects: RefCell<HashMap<u64, Rc<Object>>>,
    names: RefCell<HashMap<String, u64>>,
    last_id: Cell<u64>,
    /// How many connections each client has.
    clients: RefCell<HashMap<u64, usize>>,
    /// The manager as a client of itself, for proxies in its own contents.
    home: Client,
}

type Entries = HashMap<Vec<u8>, Encoded>;

pub(super) enum Object {
    Dict(Mutex<Entries>),
    List(Mutex<Vec<Encoded>>),
    Queue(Store),
    Lock(Latch),
    Event(Flag),
    Custom(Mutex<Box<dyn Handler>>),
}

impl Object {
    fn kind(&self) -> Kind {
        match self {
            Object::Dict(_) => Kind::Dict,
            Object::List(_) => Kind::List,
            Object::Queue(_) => Kind::Queue,
            Object::Lock(_) => Kind::Lock,
            Object::Event(_) => Kind::Event,
            Object::Custom(_) => Kind::Custom,
        }
    }
}

/// One connection.
pub(super) struct Session {
    /// The client in words.
    who: String,
    pub(super) client: u64,
    /// That it may name functions of the program to be called.
    trusted: Option<Trusted>,
    /// What was handed out and has not been acknowledged.
    pub(super) lease: RefCell<Option<Lease>>,
    /// The lock that it holds.
    held: RefCell<Option<Rc<Object>>>,
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
struct Refused(Refusal, String);

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

type Done = Result<Next, Refused>;

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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

/// Descriptors for one more message with this value.
pub(super) fn copies(value: &Encoded) -> io::Result<Vec<OwnedFd>> {
    value.fds.iter().map(OwnedFd::try_clone).collect()
}

fn copy(value: &Encoded) -> io::Result<Encoded> {
    Ok(Encoded {
        bytes: value.bytes.clone(),
        fds: copies(value)?,
        ..Encoded::default()
    })
}

fn kept(bytes: Bytes<'_>, fds: Vec<OwnedFd>) -> Encoded {
    Encoded {
        bytes: bytes.0.to_vec(),
        fds,
        ..Encoded::default()
    }
}

fn say(out: &mut Outgoing, reply: &Reply<'_>) -> Done {
    out.fill(reply, Vec::new())?;
    Ok(Next::Answer)
}

/// Answers with a value that stays, or with none.
fn show(out: &mut Outgoing, value: Option<&Encoded>) -> Done {
    let Some(value) = value else {
        return say(out, &Reply::Absent);
    };
    out.fill(&Reply::Value(Bytes(&value.bytes)), copies(value)?)?;
    Ok(Next::Answer)
}

/// Answers with a value that is given away, or with none.
fn hand_over(out: &mut Outgoing, value: Option<Encoded>) -> Done {
    let Some(Encoded { bytes, fds, .. }) = value else {
        return say(out, &Reply::Absent);
    };
    out.fill(&Reply::Value(Bytes(&bytes)), fds)?;
    Ok(Next::Answer)
}

/// Answers with several values that stay.
fn show_all<'a>(out: &mut Outgoing, values: impl Iterator<Item = (&'a [u8], &'a Encoded)>) -> Done {
    let mut fds = Vec::new();
    let mut items = Vec::new();
    for (key, value) in values {
        fds.append(&mut copies(value)?);
        items.push(Item {
            key: Bytes(key),
            value: Bytes(&value.bytes),
            fds: value.fds.len() as u16,
        });
    }
    out.fill(&Reply::Items(items), fds)?;
    Ok(Next::Answer)
}

/// The items of a message, each with its own of the message's descriptors.
fn several(items: Vec<Item<'_>>, fds: Vec<OwnedFd>) -> impl Iterator<Item = (Vec<u8>, Encoded)> {
    let mut fds = fds.into_iter();
    items.into_iter().map(move |item| {
        let own = fds.by_ref().take(usize::from(item.fds)).collect();
        (item.key.0.to_vec(), kept(item.value, own))
    })
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

    fn object(&self, id: u64) -> Result<Rc<Object>, Refused> {
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
        *self.clients.borrow_mut().entry(session.client).or_default() += 1;
    }

    /// A connection has ended: what its client did not finish is put right.
    pub(super) fn leave(&self, session: &Session) {
        match session.lease.take() {
            Some(Lease::Item(queue, item)) => {
                if let Object::Queue(store) = &*queue {
                    store.give_back(session.client, item);
                }
            }
            Some(Lease::Lock(latch)) => release(&latch, None),
            None => {}
        }
        if let Some(latch) = session.held.take() {
            let why = format!("{} has ended while it held the lock", session.who);
            release(&latch, Some(why));
        }
        let mut clients = self.clients.borrow_mut();
        if let Some(connections) = clients.get_mut(&session.client) {
            *connections -= 1;
            if *connections > 0 {
                return;
            }
        }
        clients.remove(&session.client);
        drop(clients);
        let objects: Vec<_> = self.objects.borrow().values().cloned().collect();
        for object in objects {
            if let Object::Queue(store) = &*object {
                store.leave(session.client, &session.who);
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
        if let Some(Lease::Lock(latch)) = session.lease.take() {
            session.held.replace(Some(latch));
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
            Request::Create(kind) => {
                let object = match kind {
                    Kind::Dict => Object::Dict(Mutex::default()),
                    Kind::List => Object::List(Mutex::default()),
                    Kind::Queue => Object::Queue(Store::new(None)),
                    Kind::Lock => Object::Lock(Latch::new()),
                    Kind::Event => Object::Event(Flag::default()),
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
            Object::Lock(latch) => latch.remove(),
            Object::Event(flag) => flag.remove(),
            Object::Dict(_) | Object::List(_) | Object::Custom(_) => {}
        }
        Ok(())
    }

    fn dict(
        &self,
        session: &Session,
        entries: &Mutex<Entries>,
        op: DictOp<'_>,
        fds: Vec<OwnedFd>,
        out: &mut Outgoing,
    ) -> Done {
        let mut entries = lock(entries);
        match op {
            DictOp::Get(key) => show(out, entries.get(key.0)),
            DictOp::Insert(key, value) => {
                put(&mut entries, key, kept(value, fds));
                say(out, &Reply::Done)
            }
            DictOp::Extend(items) => {
                entries.extend(several(items, fds));
                say(out, &Reply::Done)
            }
            DictOp::Remove(key) => hand_over(out, entries.remove(key.0)),
            DictOp::Contains(key) => say(out, &Reply::Flag(entries.contains_key(key.0))),
            DictOp::Len => say(out, &Reply::Number(entries.len() as u64)),
            DictOp::Items => show_all(out, entries.iter().map(|(key, value)| (&key[..], value))),
            DictOp::Clear => {
                entries.clear();
                say(out, &Reply::Done)
            }
            DictOp::Exchange(key, current, new) => {
                let found = entries.get(key.0);
                if found.map(|found| &found.bytes[..]) != current.map(|current| current.0) {
                    return show(out, found);
                }
                match new {
                    Some(new) => put(&mut entries, key, kept(new, fds)),
                    None => drop(entries.remove(key.0)),
                }
                say(out, &Reply::Done)
            }
            DictOp::Update(call, key, args) => {
                let found = entries.get(key.0).map(copy).transpose()?;
                let contents = found.into_iter().collect();
                let (mut new, result) = self.update(session, call, contents, kept(args, fds))?;
                match new.pop() {
                    Some(value) => put(&mut entries, key, value),
                    None => drop(entries.remove(key.0)),
                }
                hand_over(out, Some(result))
            }
        }
    }

    fn list(
        &self,
        session: &Session,
        items: &Mutex<Vec<Encoded>>,
        op: ListOp<'_>,
        fds: Vec<OwnedFd>,
        out: &mut Outgoing,
    ) -> Done {
        let mut items = lock(items);
        let len = items.len();
        // The place, if there is one; also the one behind the last, if that is `open`.
        let place = |index: u64, open: bool| {
            let found = usize::try_from(index).ok();
            let found = found.filter(|&at| at < len || open && at == len);
            let none = || format!("there is no place {index} in a list of {len}");
            found.ok_or_else(|| Refused(Refusal::NotFound, none()))
        };
        match op {
            ListOp::Extend(more) => items.extend(several(more, fds).map(|(_, item)| item)),
            ListOp::Push(item) => items.push(kept(item, fds)),
            ListOp::Pop => return hand_over(out, items.pop()),
            ListOp::Get(index) => {
                let found = place(index, false).ok().map(|at| &items[at]);
                return show(out, found);
            }
            ListOp::Set(index, item) => items[place(index, false)?] = kept(item, fds),
            ListOp::Insert(index, item) => items.insert(place(index, true)?, kept(item, fds)),
            ListOp::Remove(index) => {
                let found = place(index, false).ok().map(|at| items.remove(at));
                return hand_over(out, found);
            }
            ListOp::Len => return say(out, &Reply::Number(len as u64)),
            ListOp::Items => return show_all(out, items.iter().map(|item| (&b""[..], item))),
            ListOp::Reverse => items.reverse(),
            ListOp::Clear => items.clear(),
            ListOp::Update(call, args) => {
                let contents = items.iter().map(copy).collect::<io::Result<_>>()?;
                let (new, result) = self.update(session, call, contents, kept(args, fds))?;
                *items = new;
                return hand_over(out, Some(result));
            }
        }
        say(out, &Reply::Done)
    }

    fn queue(
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

    fn latch(
        &self,
        session: &Session,
        object: Rc<Object>,
        id: u64,
        op: LockOp,
        out: &mut Outgoing,
    ) -> Done {
        let Object::Lock(latch) = &*object else {
            return Err(wrong(id, &object));
        };
        match op {
            LockOp::Acquire(_) if session.held.borrow().is_some() => {
                let why = "this connection holds a lock".into();
                Err(Refused(Refusal::Invalid, why))
            }
            LockOp::Acquire(patience) => {
                self.attempt(session, Pending::Acquire(object), patience, out)
            }
            LockOp::Release(why) => {
                let mut held = session.held.borrow_mut();
                let held = held.take_if(|held| Rc::ptr_eq(held, &object));
                if held.is_none() {
                    let why = "this connection does not hold the lock".into();
                    return Err(Refused(Refusal::Invalid, why));
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

    fn event(
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
            EventOp::Set => flag.set(true),
            EventOp::Clear => flag.set(false),
            EventOp::IsSet => return say(out, &Reply::Flag(flag.is_set())),
            EventOp::Wait(patience) => {
                return self.attempt(session, Pending::Wait(object), patience, out);
            }
        }
        say(out, &Reply::Done)
    }

    /// Does it if it needs no wait.
    fn attempt(
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

    fn update(
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

fn put(entries: &mut Entries, key: Bytes<'_>, value: Encoded) {
    match entries.get_mut(key.0) {
        Some(entry) => *entry = value,
        None => drop(entries.insert(key.0.to_vec(), value)),
    }
}

fn release(object: &Object, why: Option<String>) {
    if let Object::Lock(latch) = object {
        latch.release(why);
    }
}

fn wrong(id: u64, object: &Object) -> Refused {
    let why = format!("the object {id} is a {:?}", object.kind());
    Refused(Refusal::Invalid, why)
}

fn fail(out: &mut Outgoing, failure: Failure) -> Done {
    match failure {
        Failure::TooLate => say(out, &Reply::TooLate),
        Failure::Gone => {
            let why = "the object has been removed".into();
            Err(Refused(Refusal::NotFound, why))
        }
        Failure::Abandoned(why) => Err(Refused(Refusal::Abandoned, why)),
    }
}
