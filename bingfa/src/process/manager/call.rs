//! Functions of the program that a client wants called in the manager's process, which is the
//! same program.
//!
//! # Invariants
//! 1. A [`Call`] comes from a [`Trusted`] client, a process of the same program (by the
//!    fingerprint in its [`Hello`]) that was handed its connection by this program: it was made
//!    by one of the functions here from an instance of a thunk in this file, and from a function
//!    of the type that the instance casts to. A maker goes only where objects are made.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::{Call, Hello};
use super::{Client, Managed};
use crate::process::child;
use crate::process::wire::Encoded;
use crate::sys::image::Image;

/// New contents, and the result of the function.
pub(super) type Changed = (Vec<Encoded>, Encoded);
/// Function, contents, arguments and the manager itself.
type Update = fn(usize, Vec<Encoded>, Encoded, &Client) -> Result<Changed, String>;
type Make = fn(usize, Encoded, &Client) -> Result<Box<dyn Handler>, String>;

/// An object whose type the manager does not know.
pub(super) trait Handler {
    /// # Errors
    /// If the request or the reply cannot be decoded or encoded, or the object panics.
    fn handle(&mut self, request: Encoded, home: &Client) -> Result<Encoded, String>;
}

impl<T: Managed> Handler for T {
    fn handle(&mut self, request: Encoded, home: &Client) -> Result<Encoded, String> {
        guarded(|| {
            let request = home.decode(&request.bytes, request.fds).map_err(text)?;
            home.encode(&Managed::handle(self, request)).map_err(text)
        })
    }
}

/// A call that changes one value, or makes or removes it.
pub(super) fn of_entry<V, A, R>(function: fn(&mut Option<V>, A) -> R) -> Option<Call>
where
    V: Serialize + DeserializeOwned,
    A: DeserializeOwned,
    R: Serialize,
{
    let thunk: Update = update_entry::<V, A, R>;
    call(thunk as usize, function as usize)
}

/// A call that changes the one value of an entry that is always there.
pub(super) fn of_value<V, A, R>(function: fn(&mut V, A) -> R) -> Option<Call>
where
    V: Serialize + DeserializeOwned,
    A: DeserializeOwned,
    R: Serialize,
{
    let thunk: Update = update_value::<V, A, R>;
    call(thunk as usize, function as usize)
}

/// A call that changes a list.
pub(super) fn of_list<T, A, R>(function: fn(&mut Vec<T>, A) -> R) -> Option<Call>
where
    T: Serialize + DeserializeOwned,
    A: DeserializeOwned,
    R: Serialize,
{
    let thunk: Update = update_list::<T, A, R>;
    call(thunk as usize, function as usize)
}

/// A call that makes an object.
pub(super) fn of_maker<T: Managed, A: DeserializeOwned>(function: fn(A) -> T) -> Option<Call> {
    let thunk: Make = make::<T, A>;
    call(thunk as usize, function as usize)
}

/// `None` if the function lies in a shared library.
fn call(thunk: usize, function: usize) -> Option<Call> {
    let image = Image::here();
    Some(Call {
        thunk: image.offset_of(thunk)? as u64,
        function: image.offset_of(function)? as u64,
    })
}

fn addresses(call: Call) -> Result<(usize, usize), String> {
    let image = Image::here();
    let address = |offset: u64| image.address_of(usize::try_from(offset).ok()?);
    let found = address(call.thunk).zip(address(call.function));
    found.ok_or_else(|| "the function is not in this program".into())
}

/// That a client's [`Call`]s can be trusted.
#[derive(Debug)]
pub(super) struct Trusted(());

impl Trusted {
    /// `handed`: whether the client was handed its connection by a process of this program.
    pub(super) fn of(hello: &Hello, handed: bool) -> Option<Trusted> {
        let same = hello.fingerprint == Image::here().fingerprint;
        (handed && same).then_some(Trusted(()))
    }

    /// Calls a function that changes `contents`; they are the old ones if it fails.
    pub(super) fn update(
        &self,
        call: Call,
        contents: Vec<Encoded>,
        arguments: Encoded,
        home: &Client,
    ) -> Result<Changed, String> {
        let (thunk, function) = addresses(call)?;
        // SAFETY: by invariant 1, the thunk is an `Update`.
        let thunk = unsafe { std::mem::transmute::<usize, Update>(thunk) };
        thunk(function, contents, arguments, home)
    }

    /// Calls a function that makes an object.
    pub(super) fn create(
        &self,
        call: Call,
        arguments: Encoded,
        home: &Client,
    ) -> Result<Box<dyn Handler>, String> {
        let (thunk, function) = addresses(call)?;
        // SAFETY: by invariant 1, the thunk is a `Make`.
        let thunk = unsafe { std::mem::transmute::<usize, Make>(thunk) };
        thunk(function, arguments, home)
    }
}

fn update_entry<V, A, R>(
    function: usize,
    mut contents: Vec<Encoded>,
    arguments: Encoded,
    home: &Client,
) -> Result<Changed, String>
where
    V: Serialize + DeserializeOwned,
    A: DeserializeOwned,
    R: Serialize,
{
    // SAFETY: invariant 1: `of_entry` has paired them.
    let function = unsafe { std::mem::transmute::<usize, fn(&mut Option<V>, A) -> R>(function) };
    guarded(|| {
        let value = contents.pop().map(|v| home.decode(&v.bytes, v.fds));
        let mut value = value.transpose().map_err(text)?;
        let arguments = home.decode(&arguments.bytes, arguments.fds).map_err(text)?;
        let result = function(&mut value, arguments);
        let value = value.map(|value| home.encode(&value));
        let value = value.transpose().map_err(text)?;
        Ok((
            value.into_iter().collect(),
            home.encode(&result).map_err(text)?,
        ))
    })
}

fn update_value<V, A, R>(
    function: usize,
    mut contents: Vec<Encoded>,
    arguments: Encoded,
    home: &Client,
) -> Result<Changed, String>
where
    V: Serialize + DeserializeOwned,
    A: DeserializeOwned,
    R: Serialize,
{
    // SAFETY: invariant 1: `of_value` has paired them.
    let function = unsafe { std::mem::transmute::<usize, fn(&mut V, A) -> R>(function) };
    guarded(|| {
        let value = contents.pop().ok_or("the value is gone")?;
        let mut value = home.decode(&value.bytes, value.fds).map_err(text)?;
        let arguments = home.decode(&arguments.bytes, arguments.fds).map_err(text)?;
        let result = function(&mut value, arguments);
        let value = home.encode(&value).map_err(text)?;
        Ok((vec![value], home.encode(&result).map_err(text)?))
    })
}

fn update_list<T, A, R>(
    function: usize,
    contents: Vec<Encoded>,
    arguments: Encoded,
    home: &Client,
) -> Result<Changed, String>
where
    T: Serialize + DeserializeOwned,
    A: DeserializeOwned,
    R: Serialize,
{
    // SAFETY: invariant 1: `of_list` has paired them.
    let function = unsafe { std::mem::transmute::<usize, fn(&mut Vec<T>, A) -> R>(function) };
    guarded(|| {
        let items = contents.into_iter().map(|v| home.decode(&v.bytes, v.fds));
        let mut items = items.collect::<Result<Vec<T>, _>>().map_err(text)?;
        let arguments = home.decode(&arguments.bytes, arguments.fds).map_err(text)?;
        let result = function(&mut items, arguments);
        let items = items.iter().map(|item| home.encode(item));
        let items = items.collect::<Result<Vec<_>, _>>().map_err(text)?;
        Ok((items, home.encode(&result).map_err(text)?))
    })
}

fn make<T: Managed, A: DeserializeOwned>(
    function: usize,
    arguments: Encoded,
    home: &Client,
) -> Result<Box<dyn Handler>, String> {
    // SAFETY: invariant 1: `of_maker` has paired them.
    let function = unsafe { std::mem::transmute::<usize, fn(A) -> T>(function) };
    guarded(|| {
        let arguments = home.decode(&arguments.bytes, arguments.fds).map_err(text)?;
        let made: Box<dyn Handler> = Box::new(function(arguments));
        Ok(made)
    })
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// A user's panic ends the call, and nothing else.
fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| {
        let panic = child::panic_of(payload);
        let place = panic.location.map(|place| format!(" at {place}"));
        Err(format!(
            "it panicked{}: {}",
            place.unwrap_or_default(),
            panic.message
        ))
    })
}
