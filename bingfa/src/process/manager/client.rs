//! A manager as its clients see it: connections, calls, and what is said when it is gone.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::auth::Key;
use super::link::{self, Incoming, LONGEST, Outgoing, Received};
use super::protocol::{Hello, Patience, Refusal, Reply, Request, Token, Welcome};
use super::reentrant_lock::Reentry;
use crate::io::op::{Wait, seen_now};
use crate::io::packet;
use crate::io::socket::{Kind as SocketKind, Socket};
use crate::net::{TcpStream, ToSocketAddrs};
use crate::os::unix::net::UnixStream;
use crate::park::looks::Looks;
use crate::park::{cancel, local};
use crate::process::carry::{self, Place, Setting};
use crate::process::wire::{self, Encoded};
use crate::sys::image::Image;
use crate::sys::socket::POLLIN;
use crate::sys::{pass, random};

/// The right to use a manager: makes objects in it, and finds those that have a name.
///
/// [`Manager`](super::Manager) is one by `Deref`. Clones share their connections; it may be an
/// argument of a process or a part of messages.
///
/// # Errors
/// What all calls of a manager's objects have in common: an error that names the manager if it
/// has ended, at once, also for those who wait at that moment.
///
/// # Cancellation
/// A cancelled call may have had its effect. Waits are an exception: who is cancelled in a
/// `get` has taken nothing, and in a `lock` holds nothing.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Inner>);

pub(super) struct Inner {
    route: Route,
    welcome: Welcome,
    /// Of this process's handle; its connections belong together.
    instance: u64,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<Link>>,
    /// The one that says that this client still lives, whatever becomes of the others.
    presence: OnceLock<Link>,
    /// Locks that carriers have which may lock them again: by lock and carrier.
    pub(super) reentries: Mutex<HashMap<(u64, u64), Reentry>>,
}

impl Drop for Inner {
    /// Says that nothing is to be expected of this client any more: else its end means that it
    /// has died. (After a panic it does.)
    fn drop(&mut self) {
        if let Some(link) = self.presence.get_mut()
            && !cancel::is_panicking()
        {
            // The manager sees the end in any case.
            let _ = link.outgoing.fill(&Request::Part, Vec::new());
            link.outgoing.send_now(&link.socket);
        }
    }
}

/// How a connection is made.
#[derive(Debug)]
pub(super) enum Route {
    /// One end of a pair is sent to the manager, over a socket that only those have who were
    /// given it.
    Handed(Socket),
    Path(PathBuf, Key),
    Internet(SocketAddr, Key),
}

/// A connection. It is used by one call at a time.
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    incoming: Incoming,
    outgoing: Outgoing,
    looks: Looks,
}

/// As many connections are kept for later calls.
const MOST_IDLE: usize = 16;
/// What a manager may take beyond the time that it was told to wait.
const GRACE: Duration = Duration::from_secs(2);

/// The clients of this process, so that two proxies of one manager share connections.
static CLIENTS: Mutex<Option<HashMap<Token, Weak<Inner>>>> = Mutex::new(None);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // what is done under them is one step
}

impl Client {
    /// Connects to a manager that listens at an internet address.
    ///
    /// Both sides prove that they know `key`. What is sent afterwards is neither encrypted nor
    /// protected against whoever can alter it on the way.
    ///
    /// # Errors
    /// `PermissionDenied` if one side does not know the other's key; else those of connecting.
    ///
    /// # Cancellation
    /// A cancelled attempt closes its socket.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::manager::{Client, Dict, Manager, Proxy};
    ///
    /// let manager = Manager::builder().bind("127.0.0.1:0").key(b"secret").start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// manager.publish("ages", &ages)?;
    ///
    /// // In another program, on another machine:
    /// let client = Client::connect(manager.local_addr().unwrap(), b"secret")?;
    /// let ages: Proxy<Dict<String, u32>> = client.open("ages")?;
    /// ages.insert("lqz".to_owned(), 19)?;
    /// # assert_eq!(ages.get("lqz")?, Some(19));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "BaseManager.connect")]
    #[doc(alias = "AuthenticationError")]
    pub fn connect(address: impl ToSocketAddrs, key: &[u8]) -> io::Result<Client> {
        let mut failed = io::Error::new(ErrorKind::InvalidInput, "the name has no address");
        for address in address.to_socket_addrs()? {
            match Client::by(Route::Internet(address, Key(key.into()))) {
                Ok(client) => return Ok(client),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Connects to a manager that listens at a path.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    ///
    /// # Cancellation
    /// A cancelled attempt closes its socket.
    pub fn connect_path(path: impl AsRef<Path>, key: &[u8]) -> io::Result<Client> {
        Client::by(Route::Path(path.as_ref().into(), Key(key.into())))
    }

    /// The name of the manager.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.welcome.name
    }

    /// The process id of the manager, on its machine.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.welcome.pid
    }

    /// Whether it is the same manager's.
    pub(super) fn is(&self, other: &Client) -> bool {
        self.0.welcome.token == other.0.welcome.token
    }

    /// Connects for the first time.
    pub(super) fn by(route: Route) -> io::Result<Client> {
        let instance = u64::from_le_bytes(random::bytes()?);
        let (link, welcome) = route.connect(instance, Wait::Forever)?;
        let client = Client::new(route, welcome, instance);
        client.give(link);
        Ok(client)
    }

    /// A client that connects when it has to.
    pub(super) fn new(route: Route, welcome: Welcome, instance: u64) -> Client {
        let token = welcome.token;
        let inner = Arc::new(Inner {
            route,
            welcome,
            instance,
            idle: Mutex::default(),
            presence: OnceLock::new(),
            reentries: Mutex::default(),
        });
        let mut clients = lock(&CLIENTS);
        let clients = clients.get_or_insert_default();
        clients.retain(|_, client| client.strong_count() > 0);
        clients.insert(token, Arc::downgrade(&inner));
        Client(inner)
    }

    /// The one that this process has already.
    fn known(token: &Token) -> Option<Client> {
        let clients = lock(&CLIENTS);
        let inner = clients.as_ref()?.get(token)?.upgrade()?;
        Some(Client(inner))
    }

    fn setting(&self) -> Setting {
        Setting {
            home: Some(self.clone()),
            network: matches!(self.0.route, Route::Internet(..)),
            ..Setting::default()
        }
    }

    /// Bytes for the manager to keep.
    pub(super) fn encode<T: Serialize + ?Sized>(&self, value: &T) -> io::Result<Encoded> {
        wire::encode_in(self.setting(), value)
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error.to_string()))
    }

    /// Bytes by which something is found: no handles are in them.
    pub(super) fn encode_key<T: Serialize + ?Sized>(&self, key: &T) -> io::Result<Vec<u8>> {
        let Encoded { bytes, fds, .. } = self.encode(key)?;
        if fds.is_empty() {
            return Ok(bytes);
        }
        let why = format!(
            "`{}` is no key: a handle is in it",
            std::any::type_name::<T>()
        );
        Err(io::Error::new(ErrorKind::InvalidInput, why))
    }

    pub(super) fn decode<T: DeserializeOwned>(
        &self,
        bytes: &[u8],
        fds: Vec<OwnedFd>,
    ) -> io::Result<T> {
        wire::decode_in(self.setting(), bytes, fds)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))
    }

    /// Asks, and waits for the answer; `patience`: how long the manager may let it wait.
    pub(super) fn ask(
        &self,
        request: &Request<'_>,
        fds: Vec<OwnedFd>,
        patience: Patience,
    ) -> io::Result<Answer<'_>> {
        self.ask_over(None, request, fds, patience)
    }

    /// As [`ask`](Self::ask), over a connection that the manager remembers, if there is one.
    pub(super) fn ask_over(
        &self,
        link: Option<Link>,
        request: &Request<'_>,
        fds: Vec<OwnedFd>,
        patience: Patience,
    ) -> io::Result<Answer<'_>> {
        let wait = within(patience);
        let is_remembered = link.is_some();
        let link = link.or_else(|| lock(&self.0.idle).pop());
        let mut link = match link {
            Some(link) => link,
            None => self.another_link(wait)?,
        };
        link.outgoing.fill(request, fds)?;
        // A cancel that comes while nothing is sent yet must not end what the connection holds as
        // if its holder had died.
        let sent = if is_remembered {
            cancel::shield(|| link.outgoing.send(&link.socket, wait))
        } else {
            link.outgoing.send(&link.socket, wait)
        };
        let received = sent.and_then(|()| link.receive(wait));
        let fds = received.map_err(|error| self.lost(error))?;
        Ok(Answer {
            client: self,
            link: Some(link),
            fds,
        })
    }

    fn another_link(&self, wait: Wait) -> io::Result<Link> {
        let connected = self.0.route.connect(self.0.instance, wait);
        Ok(connected.map_err(|error| self.lost(error))?.0)
    }

    /// Has the manager know that this client lives for as long as it does: who is to be
    /// responsible for something asks for it first. A call that ends early closes its
    /// connection, and may have had the only one.
    pub(super) fn stay(&self, patience: Patience) -> io::Result<()> {
        if self.0.presence.get().is_none() {
            let link = self.another_link(within(patience))?;
            let _ = self.0.presence.set(link); // another carrier may have been faster
        }
        Ok(())
    }

    fn give(&self, link: Link) {
        let mut idle = lock(&self.0.idle);
        if idle.len() < MOST_IDLE {
            idle.push(link);
        }
    }

    /// The error of a connection, with the name of the manager.
    fn lost(&self, error: io::Error) -> io::Error {
        let Welcome { name, pid, .. } = &self.0.welcome;
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::NotFound => io::Error::new(
                ErrorKind::BrokenPipe,
                format!("the manager {name} (pid {pid}) has ended"),
            ),
            ErrorKind::TimedOut => io::Error::new(
                ErrorKind::TimedOut,
                format!("the manager {name} (pid {pid}) does not answer"),
            ),
            kind => io::Error::new(kind, format!("the manager {name} (pid {pid}): {error}")),
        }
    }
}

impl Route {
    /// `wait`: for how long, once there is a connection (making one has limits of its own).
    fn connect(&self, instance: u64, wait: Wait) -> io::Result<(Link, Welcome)> {
        let socket = match self {
            Route::Handed(door) => {
                let (ours, theirs) = pass::pair(true)?;
                let message = [IoSlice::new(b"+")];
                packet::send(door, &message, &[theirs.as_raw_fd()], wait)?;
                Socket::new(ours, SocketKind::Stream)
            }
            Route::Path(path, key) => {
                let socket = OwnedFd::from(UnixStream::connect(path)?);
                let socket = Socket::new(socket, SocketKind::Stream);
                key.answer(&socket)?;
                socket
            }
            Route::Internet(address, key) => {
                let socket = TcpStream::connect(address)?;
                link::over_a_network(&socket)?;
                let socket = Socket::new(OwnedFd::from(socket), SocketKind::Stream);
                key.answer(&socket)?;
                socket
            }
        };
        let mut link = Link {
            socket,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            looks: Looks::default(),
        };
        let hello = Hello {
            pid: std::process::id(),
            instance,
            fingerprint: Image::here().fingerprint,
        };
        link.outgoing.fill(&hello, Vec::new())?;
        link.exchange(wait)?;
        let welcome = postcard::from_bytes(link.incoming.body()).map_err(unintelligible)?;
        Ok((link, welcome))
    }
}

fn unintelligible(error: postcard::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("unintelligible: {error}"))
}

impl Link {
    /// Sends what was filled in, and waits for a frame: its descriptors.
    fn exchange(&mut self, wait: Wait) -> io::Result<Vec<OwnedFd>> {
        self.outgoing.send(&self.socket, wait)?;
        self.receive(wait)
    }

    /// Waits for a frame: its descriptors.
    fn receive(&mut self, wait: Wait) -> io::Result<Vec<OwnedFd>> {
        if local::frame().is_none() {
            // Most answers come sooner than a thread falls asleep and is woken. A coroutine's
            // worker has other things to do.
            let socket = self.socket.as_fd();
            let answered = || seen_now(socket, POLLIN).map_or(true, |seen| seen != 0);
            if !self.looks.find(answered) {
                self.looks.slept();
            }
        }
        match self.incoming.next(&self.socket, LONGEST, wait)? {
            Received::Frame(fds) => Ok(fds),
            Received::TooLong(why) => Err(io::Error::new(ErrorKind::InvalidData, why)),
            Received::Closed => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What a manager has answered. Dropped, its connection is free for the next call.
pub(super) struct Answer<'a> {
    client: &'a Client,
    link: Option<Link>,
    fds: Vec<OwnedFd>,
}

impl<'a> Answer<'a> {
    /// The answer, unless it is a refusal.
    pub(super) fn reply(&self) -> io::Result<Reply<'_>> {
        let link = self.link.as_ref().expect("until it is dropped");
        let reply = postcard::from_bytes(link.incoming.body()).map_err(unintelligible)?;
        let Reply::Refused(refusal, why) = reply else {
            return Ok(reply);
        };
        let kind = match refusal {
            Refusal::NotFound => ErrorKind::NotFound,
            Refusal::Invalid => ErrorKind::InvalidInput,
            Refusal::Forbidden => ErrorKind::PermissionDenied,
            Refusal::Failed | Refusal::Abandoned => ErrorKind::Other,
        };
        let name = self.client.name();
        Err(io::Error::new(kind, format!("the manager {name}: {why}")))
    }

    /// The value in the answer, if there is one.
    pub(super) fn value<T: DeserializeOwned>(mut self) -> io::Result<Option<T>> {
        let fds = std::mem::take(&mut self.fds);
        match self.reply()? {
            Reply::Value(bytes) => self.client.decode(bytes.0, fds).map(Some),
            Reply::Absent => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    /// The values in the answer, with their keys.
    pub(super) fn items<T>(
        mut self,
        mut decode: impl FnMut(&Client, &[u8], &[u8], Vec<OwnedFd>) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        let mut fds = std::mem::take(&mut self.fds);
        let Reply::Items(items) = self.reply()? else {
            return Err(unexpected(&self.reply()?));
        };
        let mut decoded = Vec::with_capacity(items.len());
        for item in items {
            let own = usize::from(item.fds).min(fds.len());
            let own = fds.drain(..own).collect();
            decoded.push(decode(self.client, item.key.0, item.value.0, own)?);
        }
        Ok(decoded)
    }

    /// The number in the answer.
    pub(super) fn number(self) -> io::Result<u64> {
        match self.reply()? {
            Reply::Number(number) => Ok(number),
            other => Err(unexpected(&other)),
        }
    }

    /// Yes or no.
    pub(super) fn flag(self) -> io::Result<bool> {
        match self.reply()? {
            Reply::Flag(flag) => Ok(flag),
            other => Err(unexpected(&other)),
        }
    }

    /// True: done; false: too late.
    pub(super) fn done(&self) -> io::Result<bool> {
        match self.reply()? {
            Reply::Done => Ok(true),
            Reply::TooLate => Ok(false),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells the manager that what it has handed out has arrived.
    pub(super) fn acknowledge(&mut self) -> io::Result<()> {
        // Out of here until it is sent: if a cancel or an error comes first, the connection
        // closes, and the manager takes back what it has handed out.
        let mut link = self.link.take().expect("until it is dropped");
        // Filling in the next frame leaves the received one alone.
        link.outgoing.fill(&Request::Ack, Vec::new())?;
        let sent = link.outgoing.send(&link.socket, Wait::Forever);
        sent.map_err(|error| self.client.lost(error))?;
        self.link = Some(link);
        Ok(())
    }

    /// The connection, which the manager is to remember.
    pub(super) fn into_link(mut self) -> Link {
        self.link.take().expect("until it is dropped")
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.client.give(link);
        }
    }
}

/// A last request over a connection that the manager remembers.
pub(super) fn release(client: &Client, mut link: Link, request: &Request<'_>) -> io::Result<()> {
    link.outgoing.fill(request, Vec::new())?;
    let received = link.exchange(Wait::Forever);
    received.map_err(|error| client.lost(error))?;
    // Else the manager may remember something of this connection: it is not used again.
    if let Ok(Reply::Done) = postcard::from_bytes(link.incoming.body()) {
        client.give(link);
    }
    Ok(())
}

pub(super) fn unexpected(reply: &Reply<'_>) -> io::Error {
    let why = format!("the manager gave an answer to another question: {reply:?}");
    io::Error::new(ErrorKind::InvalidData, why)
}

/// For how long to wait for an answer that the manager may take so long to give.
fn within(patience: Patience) -> Wait {
    let limit = patience.map(|nanos| Duration::from_nanos(nanos).saturating_add(GRACE));
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    end.map_or(Wait::Forever, Wait::Until)
}

/// What is said when the manager has waited for as long as it was told to.
pub(super) fn late(limit: Patience, why: &str) -> io::Error {
    let kind = match limit {
        Some(0) => ErrorKind::WouldBlock,
        _ => ErrorKind::TimedOut,
    };
    io::Error::new(kind, why)
}

pub(super) fn patience(limit: Duration) -> Patience {
    Some(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
}

/// How a client travels.
#[derive(Serialize, Deserialize)]
enum Ticket {
    /// To where it leads.
    Home,
    Handed(Place, Welcome),
    Path(PathBuf, Key, Welcome),
    Internet(SocketAddr, Key, Welcome),
}

impl Serialize for Client {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let welcome = self.0.welcome.clone();
        if carry::home().is_some_and(|home| home.is(self)) {
            return Ticket::Home.serialize(serializer);
        }
        carry::check_private::<Self, S::Error>()?;
        let ticket = match &self.0.route {
            Route::Handed(door) => {
                let place = carry::attach::<Self, S::Error>(door.as_fd())?;
                Ticket::Handed(place, welcome)
            }
            Route::Path(path, key) => Ticket::Path(path.clone(), key.clone(), welcome),
            Route::Internet(address, key) => Ticket::Internet(*address, key.clone(), welcome),
        };
        ticket.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Client {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (route, welcome) = match Ticket::deserialize(deserializer)? {
            Ticket::Home => {
                let home = carry::home();
                return home.ok_or_else(|| de::Error::custom("a manager's own is not at home"));
            }
            Ticket::Handed(place, welcome) => {
                let door = carry::take::<Self, D::Error>(place)?;
                let door = Socket::new(door, SocketKind::Datagram);
                (Route::Handed(door), welcome)
            }
            Ticket::Path(path, key, welcome) => (Route::Path(path, key), welcome),
            Ticket::Internet(address, key, welcome) => (Route::Internet(address, key), welcome),
        };
        if let Some(known) = Client::known(&welcome.token) {
            return Ok(known);
        }
        let instance = random::bytes().map_err(de::Error::custom)?;
        Ok(Client::new(route, welcome, u64::from_le_bytes(instance)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
