//! Objects that a process of its own keeps for others: dicts, lists, queues, locks, semaphores,
//! barriers, and types of your own.
//!
//! A [`Manager`] starts the process, makes objects in it, and hands out *proxies*
//! ([`Proxy`]), which can be sent to other processes and even be values in the manager's
//! objects. Each call is one message there and one back, so an operation on shared memory is
//! faster by far where there is one that does the job; but a manager keeps values of any size
//! and type, changes them by functions of yours ([`update`](Proxy::update)), and serves other
//! machines.
//!
//! ```
//! use bingfa::process::{self, manager::{Dict, List, Manager, Proxy}};
//!
//! fn child((d, l): (Proxy<Dict<String, u32>>, Proxy<List<u32>>)) {
//!     d.insert("two".to_owned(), 2).unwrap();
//!     l.reverse().unwrap();
//! }
//!
//! let manager = Manager::new()?;
//! let (d, l) = (manager.dict()?, manager.list()?);
//! l.extend(0..10)?;
//! process::spawn((d.clone(), l.clone()), child).join().unwrap();
//! assert_eq!(d.get("two")?, Some(2));
//! assert_eq!(l.to_vec()?, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Atomicity
//!
//! Each call is done as a whole, with nobody's in between. What takes several calls is not:
//! `d.insert(k, d.get(k)? + 1)` loses what others do in the meantime, here as in Python. The
//! `update` methods are one call, and a [`Lock`] makes several one.
//!
//! # What it keeps
//!
//! Values are copies of what they were. What lies in memory that processes share (a
//! [`process::Mutex`](super::Mutex), [`Value`](super::Value), [`Array`](super::Array),
//! [`SharedMemory`](super::SharedMemory), [`Queue`](super::Queue)) is an error as a value, which
//! names the type: it lives with the processes that have it, which a manager, with clients on
//! other machines, cannot follow. Send it in a [`pipe`](super::pipe) or as an argument, or have
//! the manager keep an object of its own kind.
//!
//! # Who may use it
//!
//! Processes that are sent a proxy or a [`Client`]: what they get is a descriptor that leads to
//! the manager, and nobody else has one. A manager can listen at a path or an internet address
//! as well ([`Builder::path`], [`Builder::bind`]); who comes that way and the manager show each
//! other that they know a key (HMAC-SHA-256), before anything else is read. If the machine at the
//! other end of a network vanishes without a word, both sides take its process for dead after a
//! minute: what it had locked is free, and who waits for the manager gets an error.
//!
//! # How it ends
//!
//! With the [`Manager`], with the process that made it, or killed: for all who wait or ask
//! later, that is an error which names it, at once. What it kept is gone.

mod auth;
mod barrier;
mod call;
mod client;
mod condvar;
mod containers;
mod dict;
mod event;
mod flag;
mod gates;
mod latch;
mod link;
mod list;
mod lock;
mod meeting;
mod path;
mod pending;
mod permits;
mod protocol;
mod proxy;
mod queue;
mod reentrant_lock;
mod semaphore;
mod server;
mod signal;
mod state;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use barrier::Barrier;
pub use client::Client;
pub use condvar::Condvar;
pub use dict::{Dict, Namespace, Value};
pub use event::Event;
pub use list::List;
pub use lock::{Lock, LockGuard};
pub use proxy::{Managed, Proxy, Shared};
pub use queue::Queue;
pub use reentrant_lock::{ReentrantLock, ReentrantLockGuard};
pub use semaphore::{BoundedSemaphore, Semaphore, SemaphorePermit};

use super::{Fd, JoinHandle, Process};
use crate::io::socket::{Kind, Socket};
use crate::net::{TcpListener, ToSocketAddrs};
use crate::park::cancel;
use crate::sys::{pass, random};
use auth::Key;
use client::Route;
use path::Bound;
use protocol::Welcome;
use server::{Listener, Orders};

/// A process that keeps objects for others, and the right to use it: see [`Client`] for the
/// calls. Dropping it ends the process.
///
/// # Examples
/// ```
/// use bingfa::process::manager::Manager;
///
/// let manager = Manager::new()?;
/// let list = manager.list()?;
/// list.push(1)?;
/// drop(manager);
/// let error = list.len().unwrap_err().to_string();
/// assert!(error.contains("has ended"), "{error}");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "SyncManager")]
#[doc(alias = "BaseManager")]
#[doc(alias = "multiprocessing.Manager")]
pub struct Manager {
    client: Client,
    process: Option<JoinHandle<()>>,
    address: Option<SocketAddr>,
    /// To be removed at the end.
    bound: Option<Bound>,
}

/// How a manager is to be started.
#[derive(Debug)]
#[must_use = "nothing happens until start() is called"]
pub struct Builder {
    name: Option<String>,
    address: Option<io::Result<Vec<SocketAddr>>>,
    path: Option<PathBuf>,
    key: Option<Key>,
    longest: usize,
}

impl Manager {
    /// Starts a manager for this process and those that it sends proxies to.
    ///
    /// # Errors
    /// The operating system's, if it makes no process or no more descriptors.
    pub fn new() -> io::Result<Manager> {
        Manager::builder().start()
    }

    /// A manager with other attributes.
    pub fn builder() -> Builder {
        Builder {
            name: None,
            address: None,
            path: None,
            key: None,
            longest: link::LONGEST,
        }
    }

    /// The address at which it listens, if it does.
    #[must_use]
    #[doc(alias = "address")]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The manager's process.
    #[must_use]
    pub fn process(&self) -> &Process {
        let process = self.process.as_ref();
        process.expect("taken when it is shut down").process()
    }

    /// Ends the process and waits until it is gone.
    ///
    /// # Cancellation
    /// The process ends in any case.
    pub fn shutdown(mut self) {
        self.end();
        if let Some(process) = self.process.take() {
            let _ = process.join(); // it was killed
        }
    }

    fn end(&mut self) {
        if let Some(process) = &self.process {
            let _ = process.kill(); // fails only for what is not ours
        }
        drop(self.bound.take());
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.end();
    }
}

impl Deref for Manager {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// The name that messages show. Default: "Manager-1" and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Also listen at an internet address, for those who know the [`key`](Self::key).
    ///
    /// Connections are neither encrypted nor protected against whoever can alter them on the
    /// way: for networks that you trust, or through a tunnel.
    #[doc(alias = "Listener")]
    pub fn bind(mut self, address: impl ToSocketAddrs) -> Self {
        self.address = Some(address.to_socket_addrs().map(Iterator::collect));
        self
    }

    /// Also listen at a path, for those who know the [`key`](Self::key). Only this user can
    /// connect there. What a manager has left behind that was killed is replaced.
    #[doc(alias = "Listener")]
    pub fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().into());
        self
    }

    /// What who connects has to know. It is better random, and 32 bytes long, than clever.
    #[doc(alias = "authkey")]
    pub fn key(mut self, key: &[u8]) -> Self {
        self.key = Some(Key(key.into()));
        self
    }

    /// The longest message in bytes that the manager takes. Default, and most: 1 GiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.longest = bytes.min(link::LONGEST);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// `InvalidInput` if it is to listen but has no key, or an empty one; `AddrInUse` if
    /// somebody else does; the operating system's, if it makes no process or no more
    /// descriptors.
    ///
    /// # Cancellation
    /// A cancelled start leaves no process behind.
    pub fn start(self) -> io::Result<Manager> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // Relaxed: the number itself is all that counts.
        let number = || LAST.fetch_add(1, Relaxed) + 1;
        let name = self.name.unwrap_or_else(|| format!("Manager-{}", number()));
        let no_key = self.key.as_ref().is_none_or(|key| key.0.is_empty());
        if no_key && (self.address.is_some() || self.path.is_some()) {
            let why = "bingfa: a manager that listens needs a key";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        let mut listeners = Vec::new();
        let mut address = None;
        if let Some(addresses) = self.address {
            let listener = TcpListener::bind(&addresses?[..])?;
            address = Some(listener.local_addr()?);
            listeners.push(Listener::Internet(listener));
        }
        let mut bound = None;
        if let Some(path) = self.path {
            let (listener, place) = path::bind(path)?;
            listeners.push(Listener::Path(listener));
            bound = Some(place);
        }
        let (door, inner) = pass::pair(false)?;
        let orders = Orders {
            doors: (Fd::from(inner), Fd::from(door.try_clone()?)),
            listeners,
            key: self.key.unwrap_or(Key(Vec::new())),
            welcome: Welcome {
                name: name.clone(),
                pid: 0, // the process knows it
                token: random::bytes()?,
            },
            longest: self.longest,
        };
        let builder = super::Builder::new().name(name).daemon(true);
        // A cancel in there would leave a process behind that we know nothing of.
        let process = cancel::shield(|| builder.spawn(orders, server::serve))?;
        let mut begins = Begins(Some(process));
        let client = Client::by(Route::Handed(Socket::new(door, Kind::Datagram)));
        let client = client.map_err(|error| {
            io::Error::new(error.kind(), format!("the manager has not begun: {error}"))
        })?;
        Ok(Manager {
            client,
            process: begins.0.take(),
            address,
            bound,
        })
    }
}

/// A manager's process that nobody has reached yet; killed unless that comes about.
struct Begins(Option<JoinHandle<()>>);

impl Drop for Begins {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            let _ = process.kill(); // fails only for what is not ours
        }
    }
}
