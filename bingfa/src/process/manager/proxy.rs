//! What stands for an object of a manager, here and in other processes.

use std::borrow::Borrow;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::client::unexpected;
use super::protocol::{Bytes, Kind, Reply, Request};
use super::{Client, call};

/// An object of a manager: a [`Dict`](super::Dict), a [`List`](super::List), a
/// [`Queue`](super::Queue), a [`Lock`](super::Lock), and so on, or of a type of your own
/// ([`Managed`]).
///
/// Its methods ask the manager and wait for the answer, which suspends only the caller. It may
/// be an argument of a process, a part of messages, and a value in another object of a manager;
/// clones stand for the same object. The object lives until it is removed, or its manager ends.
#[doc(alias = "BaseProxy")]
pub struct Proxy<O> {
    pub(super) client: Client,
    pub(super) id: u64,
    object: PhantomData<fn() -> O>,
}

/// What a manager can keep.
pub trait Shared: sealed::Sealed {}

impl<O: sealed::Sealed> Shared for O {}

pub(super) mod sealed {
    use super::Kind;

    /// Says what an object is.
    pub trait Sealed {
        /// What it is to the manager.
        const KIND: Kind;
    }
}

impl<T: Managed> sealed::Sealed for T {
    const KIND: Kind = Kind::Custom;
}

/// A type of your own, one object of which lives in a manager and serves all.
///
/// It handles one request at a time. Client programs other than the manager's own know it by
/// the types of its requests and replies alone.
///
/// # Examples
/// ```
/// use bingfa::process::manager::{Managed, Manager};
///
/// struct Counter(u64);
///
/// impl Managed for Counter {
///     type Request = u64;
///     type Reply = u64;
///
///     fn handle(&mut self, more: u64) -> u64 {
///         self.0 += more;
///         self.0
///     }
/// }
///
/// let manager = Manager::new()?;
/// let counter = manager.create(40, Counter)?;
/// assert_eq!(counter.request(2)?, 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "BaseManager.register")]
pub trait Managed: 'static {
    /// What it is asked.
    type Request: Serialize + DeserializeOwned;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned;

    /// Handles one request, in the manager's process. Nobody else's is handled meanwhile, also
    /// if it waits. A panic is an error for who asked.
    fn handle(&mut self, request: Self::Request) -> Self::Reply;
}

impl<O> Proxy<O> {
    pub(super) fn new(client: Client, id: u64) -> Self {
        Proxy {
            client,
            id,
            object: PhantomData,
        }
    }

    /// The manager.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Removes the object from its manager: for all other proxies of it that is an error from
    /// then on, and for whoever waits for it at that moment.
    ///
    /// # Errors
    /// If it is gone already, or the manager.
    pub fn remove_object(self) -> io::Result<()> {
        let request = Request::Remove(self.id);
        self.client
            .ask(&request, Vec::new(), None)?
            .done()
            .map(drop)
    }
}

impl<T: Managed> Proxy<T> {
    /// Has the object handle a request.
    ///
    /// # Errors
    /// If the object panics (it says where), or a value cannot be encoded or decoded.
    ///
    /// # Cancellation
    /// The request may be handled all the same.
    pub fn request(&self, request: impl Borrow<T::Request>) -> io::Result<T::Reply> {
        let request = self.client.encode(request.borrow())?;
        let asked = Request::Custom(self.id, Bytes(&request.bytes));
        let reply = self.client.ask(&asked, request.fds, None)?.value()?;
        reply.ok_or_else(|| unexpected(&Reply::Absent))
    }
}

impl Client {
    /// Makes an object of a type of your own, by `make(args)`, in the manager's process.
    ///
    /// # Errors
    /// `PermissionDenied` if this process was not handed the manager but has connected to it by
    /// an address: such a one may be another program, and can only [`open`](Self::open) what
    /// has a name. If `make` panics.
    pub fn create<T: Managed, A: Serialize + DeserializeOwned>(
        &self,
        args: A,
        make: fn(A) -> T,
    ) -> io::Result<Proxy<T>> {
        let args = self.encode(&args)?;
        let call = call::of_maker(make).ok_or_else(foreign)?;
        let request = Request::CreateCustom(call, Bytes(&args.bytes));
        let id = self.ask(&request, args.fds, None)?.number()?;
        Ok(Proxy::new(self.clone(), id))
    }

    pub(super) fn make<O: Shared>(&self) -> io::Result<Proxy<O>> {
        let id = self.ask(&Request::Create(O::KIND), Vec::new(), None)?;
        Ok(Proxy::new(self.clone(), id.number()?))
    }

    /// Gives an object a name, by which others [`open`](Self::open) it. One that had the name
    /// before loses it.
    ///
    /// # Errors
    /// `InvalidInput` if the object is another manager's.
    #[doc(alias = "register")]
    pub fn publish<O: Shared>(&self, name: &str, object: &Proxy<O>) -> io::Result<()> {
        if !object.client.is(self) {
            let why = "an object is published by its own manager";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let request = Request::Publish(name, object.id);
        self.ask(&request, Vec::new(), None)?.done().map(drop)
    }

    /// The object that was given this name.
    ///
    /// The types of what is in it are the caller's to know.
    ///
    /// # Errors
    /// `NotFound` if there is none; `InvalidInput` if it is a list, say, and not a dict.
    pub fn open<O: Shared>(&self, name: &str) -> io::Result<Proxy<O>> {
        let request = Request::Open(name, O::KIND);
        let id = self.ask(&request, Vec::new(), None)?.number()?;
        Ok(Proxy::new(self.clone(), id))
    }
}

/// The function that was to be sent cannot be.
pub(super) fn foreign() -> io::Error {
    let why = "bingfa: the function lies in a shared library, not in the program";
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

impl<O> Clone for Proxy<O> {
    fn clone(&self) -> Self {
        Proxy::new(self.client.clone(), self.id)
    }
}

impl<O> Serialize for Proxy<O> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.client, self.id).serialize(serializer)
    }
}

impl<'de, O> Deserialize<'de> for Proxy<O> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (client, id) = Deserialize::deserialize(deserializer)?;
        Ok(Proxy::new(client, id))
    }
}

impl<O> fmt::Debug for Proxy<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("object", &std::any::type_name::<O>())
            .field("id", &self.id)
            .field("client", &self.client)
            .finish()
    }
}
