//! Proxies of dicts, and of what a manager keeps as dicts: namespaces and values.

use std::borrow::Borrow;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::unexpected;
use super::protocol::{Bytes, DictOp, Item, Kind, Reply, Request};
use super::proxy::{foreign, sealed};
use super::{Client, Proxy, call};
use crate::process::wire::Encoded;

/// A map that a manager keeps: [`Client::dict`].
///
/// Keys are equal if they are encoded alike, as they are with all types whose `Eq` looks at all
/// they consist of; a `HashMap` inside a key is not one of them.
#[doc(alias = "DictProxy")]
#[derive(Debug)]
pub struct Dict<K, V>(PhantomData<fn() -> (K, V)>);

/// Attributes by name, each of its own type, that a manager keeps: [`Client::namespace`].
#[doc(alias = "NamespaceProxy")]
#[derive(Debug)]
pub struct Namespace(());

/// One value that a manager keeps: [`Client::value`].
#[doc(alias = "ValueProxy")]
#[derive(Debug)]
pub struct Value<T>(PhantomData<fn() -> T>);

impl<K, V> sealed::Sealed for Dict<K, V> {
    const KIND: Kind = Kind::Dict;
}

impl sealed::Sealed for Namespace {
    const KIND: Kind = Kind::Dict;
}

impl<T> sealed::Sealed for Value<T> {
    const KIND: Kind = Kind::Dict;
}

impl Client {
    /// Makes an empty dict.
    ///
    /// # Errors
    /// If the manager has ended.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, manager::{Dict, Manager, Proxy}};
    ///
    /// let manager = Manager::new()?;
    /// let ages = manager.dict()?;
    /// let child = process::spawn(ages.clone(), |ages: Proxy<Dict<String, u32>>| {
    ///     ages.insert("lqz".to_owned(), 18).unwrap();
    ///     ages.update("lqz", 1, |age, more| *age.get_or_insert(0) += more).unwrap();
    /// });
    /// child.join().unwrap();
    /// assert_eq!(ages.get("lqz")?, Some(19));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.dict")]
    pub fn dict<K, V>(&self) -> io::Result<Proxy<Dict<K, V>>> {
        self.make()
    }

    /// Makes a namespace without attributes.
    ///
    /// # Errors
    /// If the manager has ended.
    ///
    /// # Examples
    /// ```
    /// let manager = bingfa::process::manager::Manager::new()?;
    /// let options = manager.namespace()?;
    /// options.set("depth", &3u8)?;
    /// options.set("name", "deep")?;
    /// assert_eq!(options.get::<u8>("depth")?, Some(3));
    /// assert_eq!(options.get::<String>("name")?.as_deref(), Some("deep"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.Namespace")]
    pub fn namespace(&self) -> io::Result<Proxy<Namespace>> {
        self.make()
    }

    /// Makes a value.
    ///
    /// # Errors
    /// If the value cannot be encoded.
    ///
    /// # Examples
    /// ```
    /// let manager = bingfa::process::manager::Manager::new()?;
    /// let tickets = manager.value(2u32)?;
    /// let sold = tickets.update(1, |tickets, wanted| {
    ///     let enough = *tickets >= wanted;
    ///     *tickets -= if enough { wanted } else { 0 };
    ///     enough
    /// })?;
    /// assert!(sold);
    /// assert_eq!(tickets.get()?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.Value")]
    pub fn value<T>(&self, value: impl Borrow<T>) -> io::Result<Proxy<Value<T>>>
    where
        T: Serialize + DeserializeOwned,
    {
        let proxy: Proxy<Value<T>> = self.make()?;
        proxy.set(value)?;
        Ok(proxy)
    }
}

/// The operations on any entry, by the encoded key.
impl<O> Proxy<O> {
    fn entry<T: DeserializeOwned>(
        &self,
        op: DictOp<'_>,
        fds: Vec<OwnedFd>,
    ) -> io::Result<Option<T>> {
        let request = Request::Dict(self.id, op);
        self.client.ask(&request, fds, None)?.value()
    }

    fn put_entry<T: Serialize + ?Sized>(&self, key: &[u8], value: &T) -> io::Result<()> {
        let Encoded { bytes, fds, .. } = self.client.encode(value)?;
        let request = Request::Dict(self.id, DictOp::Insert(Bytes(key), Bytes(&bytes)));
        self.client.ask(&request, fds, None)?.done().map(drop)
    }

    fn update_entry<T, A, R>(
        &self,
        key: &[u8],
        args: &A,
        f: fn(&mut Option<T>, A) -> R,
    ) -> io::Result<R>
    where
        T: Serialize + DeserializeOwned,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let args = self.client.encode(args)?;
        let call = call::of_entry(f).ok_or_else(foreign)?;
        let op = DictOp::Update(call, Bytes(key), Bytes(&args.bytes));
        let result = self.entry(op, args.fds)?;
        result.ok_or_else(|| unexpected(&Reply::Absent))
    }

    /// What was there before is given back if it is not what was expected.
    fn exchange_entry<T: Serialize + DeserializeOwned>(
        &self,
        key: &[u8],
        current: Option<&T>,
        new: Option<&T>,
    ) -> io::Result<Result<(), Option<T>>> {
        let current = current
            .map(|value| self.client.encode_key(value))
            .transpose()?;
        let new = new.map(|value| self.client.encode(value)).transpose()?;
        let (bytes, fds) = new.map_or((None, Vec::new()), |new| (Some(new.bytes), new.fds));
        let op = DictOp::Exchange(
            Bytes(key),
            current.as_deref().map(Bytes),
            bytes.as_deref().map(Bytes),
        );
        let answer = self.client.ask(&Request::Dict(self.id, op), fds, None)?;
        if matches!(answer.reply()?, Reply::Done) {
            return Ok(Ok(()));
        }
        answer.value().map(Err)
    }
}

impl<K, V> Proxy<Dict<K, V>>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    /// The value of this key.
    ///
    /// # Errors
    /// `InvalidData` if it is no `V`; if the dict or its manager is gone.
    #[doc(alias = "__getitem__")]
    pub fn get<Q: Serialize + ?Sized>(&self, key: &Q) -> io::Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        let key = self.client.encode_key(key)?;
        self.entry(DictOp::Get(Bytes(&key)), Vec::new())
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// `InvalidInput` if they cannot be encoded; if the dict or its manager is gone.
    #[doc(alias = "__setitem__")]
    pub fn insert(&self, key: impl Borrow<K>, value: impl Borrow<V>) -> io::Result<()> {
        let key = self.client.encode_key(key.borrow())?;
        self.put_entry(&key, value.borrow())
    }

    /// Sets several values at once.
    ///
    /// # Errors
    /// As for [`insert`](Self::insert).
    #[doc(alias = "update")]
    pub fn extend(&self, entries: impl IntoIterator<Item = (K, V)>) -> io::Result<()> {
        let encode =
            |(key, value): (K, V)| Ok((self.client.encode_key(&key)?, self.client.encode(&value)?));
        let entries = entries.into_iter().map(encode);
        let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
        let (items, fds) = Item::several(&mut entries);
        let request = Request::Dict(self.id, DictOp::Extend(items));
        self.client.ask(&request, fds, None)?.done().map(drop)
    }

    /// Removes a key, and gives back its value.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    #[doc(alias = "pop")]
    pub fn remove<Q: Serialize + ?Sized>(&self, key: &Q) -> io::Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        let key = self.client.encode_key(key)?;
        self.entry(DictOp::Remove(Bytes(&key)), Vec::new())
    }

    /// Changes the value of a key, or makes or removes it, by `f(value, args)` in the manager's
    /// process: nobody else sees or changes the dict meanwhile. Gives back what `f` does.
    ///
    /// A panic in `f` is an error here, and leaves the value as it was. `f` must not use this
    /// dict itself, and nobody else is served while it computes.
    ///
    /// # Errors
    /// `PermissionDenied` if this process was not handed the manager but has connected to it by
    /// an address: use [`compare_exchange`](Self::compare_exchange).
    pub fn update<Q, A, R>(&self, key: &Q, args: A, f: fn(&mut Option<V>, A) -> R) -> io::Result<R>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let key = self.client.encode_key(key)?;
        self.update_entry(&key, &args, f)
    }

    /// Sets the value of a key to `new` if it is `current` now (`None`: not there). Values are
    /// compared as they are encoded.
    ///
    /// # Errors
    /// `Ok(Err(value))` with what is there, if it is not `current`; else as for
    /// [`insert`](Self::insert).
    pub fn compare_exchange<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        current: Option<&V>,
        new: Option<&V>,
    ) -> io::Result<Result<(), Option<V>>>
    where
        K: Borrow<Q>,
    {
        let key = self.client.encode_key(key)?;
        self.exchange_entry(&key, current, new)
    }

    /// Whether there is this key.
    ///
    /// # Errors
    /// If the dict or its manager is gone.
    #[doc(alias = "__contains__")]
    pub fn contains_key<Q: Serialize + ?Sized>(&self, key: &Q) -> io::Result<bool>
    where
        K: Borrow<Q>,
    {
        let key = self.client.encode_key(key)?;
        let request = Request::Dict(self.id, DictOp::Contains(Bytes(&key)));
        self.client.ask(&request, Vec::new(), None)?.flag()
    }

    /// The number of keys.
    ///
    /// # Errors
    /// If the dict or its manager is gone.
    pub fn len(&self) -> io::Result<usize> {
        let request = Request::Dict(self.id, DictOp::Len);
        Ok(self.client.ask(&request, Vec::new(), None)?.number()? as usize)
    }

    /// Whether there is no key.
    ///
    /// # Errors
    /// If the dict or its manager is gone.
    pub fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// All keys and values, as they are at one moment, in no particular order.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    #[doc(alias = "items")]
    #[doc(alias = "keys")]
    #[doc(alias = "values")]
    #[doc(alias = "copy")]
    pub fn entries(&self) -> io::Result<Vec<(K, V)>> {
        let request = Request::Dict(self.id, DictOp::Items);
        let answer = self.client.ask(&request, Vec::new(), None)?;
        answer.items(|client, key, value, fds| {
            Ok((client.decode(key, Vec::new())?, client.decode(value, fds)?))
        })
    }

    /// Removes all keys.
    ///
    /// # Errors
    /// If the dict or its manager is gone.
    pub fn clear(&self) -> io::Result<()> {
        let request = Request::Dict(self.id, DictOp::Clear);
        self.client
            .ask(&request, Vec::new(), None)?
            .done()
            .map(drop)
    }
}

impl Proxy<Namespace> {
    /// Sets an attribute.
    ///
    /// # Errors
    /// `InvalidInput` if it cannot be encoded; if the namespace or its manager is gone.
    #[doc(alias = "setattr")]
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> io::Result<()> {
        self.put_entry(&self.client.encode_key(name)?, value)
    }

    /// The attribute of this name, which has to be a `T`.
    ///
    /// # Errors
    /// `InvalidData` if it is none; if the namespace or its manager is gone.
    #[doc(alias = "getattr")]
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let name = self.client.encode_key(name)?;
        self.entry(DictOp::Get(Bytes(&name)), Vec::new())
    }

    /// Removes an attribute; true if it was there.
    ///
    /// # Errors
    /// If the namespace or its manager is gone.
    #[doc(alias = "delattr")]
    pub fn remove(&self, name: &str) -> io::Result<bool> {
        let name = self.client.encode_key(name)?;
        let request = Request::Dict(self.id, DictOp::Remove(Bytes(&name)));
        let answer = self.client.ask(&request, Vec::new(), None)?;
        Ok(!matches!(answer.reply()?, Reply::Absent))
    }
}

/// The key of the one entry that a value is.
const ITSELF: &[u8] = b"";

impl<T: Serialize + DeserializeOwned> Proxy<Value<T>> {
    /// The value.
    ///
    /// # Errors
    /// `InvalidData` if it is no `T`; if the value or its manager is gone.
    pub fn get(&self) -> io::Result<T> {
        let value = self.entry(DictOp::Get(Bytes(ITSELF)), Vec::new())?;
        value.ok_or_else(|| unexpected(&Reply::Absent))
    }

    /// Sets the value.
    ///
    /// # Errors
    /// `InvalidInput` if it cannot be encoded; if the value or its manager is gone.
    pub fn set(&self, value: impl Borrow<T>) -> io::Result<()> {
        self.put_entry(ITSELF, value.borrow())
    }

    /// Changes the value by `f(value, args)` in the manager's process: nobody else sees or
    /// changes it meanwhile. Gives back what `f` does.
    ///
    /// # Errors
    /// As for [`Dict`]'s `update`.
    pub fn update<A, R>(&self, args: A, f: fn(&mut T, A) -> R) -> io::Result<R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let args = self.client.encode(&args)?;
        let call = call::of_value(f).ok_or_else(foreign)?;
        let op = DictOp::Update(call, Bytes(ITSELF), Bytes(&args.bytes));
        let result = self.entry(op, args.fds)?;
        result.ok_or_else(|| unexpected(&Reply::Absent))
    }

    /// Sets the value to `new` if it is `current` now. Values are compared as they are encoded.
    ///
    /// # Errors
    /// `Ok(Err(value))` with what it is, if not `current`; else as for [`set`](Self::set).
    pub fn compare_exchange(&self, current: &T, new: &T) -> io::Result<Result<(), T>> {
        match self.exchange_entry(ITSELF, Some(current), Some(new))? {
            Ok(()) => Ok(Ok(())),
            Err(Some(value)) => Ok(Err(value)),
            Err(None) => Err(unexpected(&Reply::Absent)),
        }
    }
}
