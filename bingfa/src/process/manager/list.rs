//! Proxies of lists.

use std::borrow::Borrow;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::unexpected;
use super::protocol::{Bytes, Item, Kind, ListOp, Reply, Request};
use super::proxy::{foreign, sealed};
use super::{Client, Proxy, call};
use crate::process::wire::Encoded;

/// A vector that a manager keeps: [`Client::list`].
#[doc(alias = "ListProxy")]
#[derive(Debug)]
pub struct List<T>(PhantomData<fn() -> T>);

impl<T> sealed::Sealed for List<T> {
    const KIND: Kind = Kind::List;
}

impl Client {
    /// Makes an empty list.
    ///
    /// # Errors
    /// If the manager has ended.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::{self, manager::{List, Manager, Proxy}};
    ///
    /// let manager = Manager::new()?;
    /// let list = manager.list()?;
    /// list.extend([11, 22, 33])?;
    /// process::spawn(list.clone(), |list: Proxy<List<u32>>| list.push(44).unwrap()).join().unwrap();
    /// assert_eq!(list.to_vec()?, [11, 22, 33, 44]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SyncManager.list")]
    pub fn list<T>(&self) -> io::Result<Proxy<List<T>>> {
        self.make()
    }
}

impl<T: Serialize + DeserializeOwned> Proxy<List<T>> {
    fn one(&self, op: ListOp<'_>, fds: Vec<OwnedFd>) -> io::Result<Option<T>> {
        self.client
            .ask(&Request::List(self.id, op), fds, None)?
            .value()
    }

    fn do_it(&self, op: ListOp<'_>, fds: Vec<OwnedFd>) -> io::Result<()> {
        let request = Request::List(self.id, op);
        self.client.ask(&request, fds, None)?.done().map(drop)
    }

    /// Appends an item.
    ///
    /// # Errors
    /// `InvalidInput` if it cannot be encoded; if the list or its manager is gone.
    #[doc(alias = "append")]
    pub fn push(&self, item: impl Borrow<T>) -> io::Result<()> {
        let Encoded { bytes, fds, .. } = self.client.encode(item.borrow())?;
        self.do_it(ListOp::Push(Bytes(&bytes)), fds)
    }

    /// Appends several items, with nobody's in between.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn extend(&self, items: impl IntoIterator<Item = T>) -> io::Result<()> {
        let encode = |item| Ok((Vec::new(), self.client.encode(&item)?));
        let items = items.into_iter().map(encode);
        let mut items = items.collect::<io::Result<Vec<_>>>()?;
        let (items, fds) = Item::several(&mut items);
        self.do_it(ListOp::Extend(items), fds)
    }

    /// Takes the last item.
    ///
    /// # Errors
    /// `InvalidData` if it is no `T`; if the list or its manager is gone.
    pub fn pop(&self) -> io::Result<Option<T>> {
        self.one(ListOp::Pop, Vec::new())
    }

    /// The item at a place.
    ///
    /// # Errors
    /// As for [`pop`](Self::pop).
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> io::Result<Option<T>> {
        self.one(ListOp::Get(index as u64), Vec::new())
    }

    /// Replaces the item at a place.
    ///
    /// # Errors
    /// `NotFound` if there is no such place; as for [`push`](Self::push).
    #[doc(alias = "__setitem__")]
    pub fn set(&self, index: usize, item: impl Borrow<T>) -> io::Result<()> {
        let Encoded { bytes, fds, .. } = self.client.encode(item.borrow())?;
        self.do_it(ListOp::Set(index as u64, Bytes(&bytes)), fds)
    }

    /// Inserts an item before the place.
    ///
    /// # Errors
    /// `NotFound` if there is no such place; as for [`push`](Self::push).
    pub fn insert(&self, index: usize, item: impl Borrow<T>) -> io::Result<()> {
        let Encoded { bytes, fds, .. } = self.client.encode(item.borrow())?;
        self.do_it(ListOp::Insert(index as u64, Bytes(&bytes)), fds)
    }

    /// Takes the item at a place; those behind it move up.
    ///
    /// # Errors
    /// As for [`pop`](Self::pop).
    pub fn remove(&self, index: usize) -> io::Result<Option<T>> {
        self.one(ListOp::Remove(index as u64), Vec::new())
    }

    /// The number of items.
    ///
    /// # Errors
    /// If the list or its manager is gone.
    pub fn len(&self) -> io::Result<usize> {
        let request = Request::List(self.id, ListOp::Len);
        Ok(self.client.ask(&request, Vec::new(), None)?.number()? as usize)
    }

    /// Whether there is no item.
    ///
    /// # Errors
    /// If the list or its manager is gone.
    pub fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// All items, as they are at one moment.
    ///
    /// # Errors
    /// As for [`pop`](Self::pop).
    pub fn to_vec(&self) -> io::Result<Vec<T>> {
        let request = Request::List(self.id, ListOp::Items);
        let answer = self.client.ask(&request, Vec::new(), None)?;
        answer.items(|client, _, item, fds| client.decode(item, fds))
    }

    /// Reverses the order.
    ///
    /// # Errors
    /// If the list or its manager is gone.
    pub fn reverse(&self) -> io::Result<()> {
        self.do_it(ListOp::Reverse, Vec::new())
    }

    /// Removes all items.
    ///
    /// # Errors
    /// If the list or its manager is gone.
    pub fn clear(&self) -> io::Result<()> {
        self.do_it(ListOp::Clear, Vec::new())
    }

    /// Changes the list by `f(items, args)` in the manager's process: nobody else sees or
    /// changes it meanwhile. Gives back what `f` does.
    ///
    /// All items are decoded and encoded for it. A panic in `f` is an error here, and leaves the
    /// list as it was. `f` must not use this list itself.
    ///
    /// # Errors
    /// `PermissionDenied` if this process was not handed the manager but has connected to it by
    /// an address.
    ///
    /// # Examples
    /// ```
    /// let manager = bingfa::process::manager::Manager::new()?;
    /// let list = manager.list()?;
    /// list.extend([3, 1, 2])?;
    /// let largest = list.update((), |items: &mut Vec<i32>, ()| {
    ///     items.sort();
    ///     items.last().copied()
    /// })?;
    /// assert_eq!(largest, Some(3));
    /// assert_eq!(list.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "sort")]
    pub fn update<A, R>(&self, args: A, f: fn(&mut Vec<T>, A) -> R) -> io::Result<R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let args = self.client.encode(&args)?;
        let call = call::of_list(f).ok_or_else(foreign)?;
        let op = ListOp::Update(call, Bytes(&args.bytes));
        let request = Request::List(self.id, op);
        let result = self.client.ask(&request, args.fds, None)?.value()?;
        result.ok_or_else(|| unexpected(&Reply::Absent))
    }
}
