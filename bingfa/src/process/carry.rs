//! What a value takes along when it travels: descriptors, beside the bytes, and the holds of
//! shared objects.
//!
//! `serde` gives a value that is being encoded no way to its message. So [`gather`] opens a
//! *load* for the carrier that encodes, the handles inside the value [`attach`] their
//! descriptors to it and encode only their places in it; [`hand_out`] and [`take`] are the way
//! back. A shared object needs no descriptor, but a hold that lasts until it arrives
//! ([`export`]). Without an open load a handle refuses to be encoded: its bytes alone would mean
//! nothing to whoever reads them.

use std::cell::RefCell;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize, de, ser};

use super::manager::Client;
use crate::park::carrier;
use crate::shm::family;
use crate::shm::object::{Destination, Handle, Token};
use crate::sys::pass;

/// The most descriptors that a message takes along: one is the family's own.
const MOST: usize = pass::MOST - 1;

/// Where a descriptor lies in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place(u16);

/// Where the message at hand goes, or comes from.
#[derive(Debug, Default)]
pub(super) struct Setting {
    /// Who gets it, each message once; `None` while decoding, and for what a manager keeps.
    pub(super) to: Option<Destination>,
    /// The manager that keeps it: its own proxies are known there by their numbers.
    pub(super) home: Option<Client>,
    /// A network lies in between: nothing can be taken along, and no secrets may.
    pub(super) network: bool,
}

/// What the message at hand takes along.
struct Load {
    setting: Setting,
    /// Whose message it is: a coroutine that suspends in the middle of its own
    /// `Serialize` leaves the load where others of its thread find it.
    carrier: u64,
    /// Most messages take nothing along.
    cargo: Option<Box<Cargo>>,
}

/// What the message at hand takes along, if it does.
#[derive(Default)]
struct Cargo {
    /// What the descriptors that were attached were called here, in the same order.
    originals: Vec<RawFd>,
    along: Along,
    /// Why a handle refused; the format would drop the text.
    why: Option<String>,
}

impl Load {
    fn cargo(&mut self) -> &mut Cargo {
        self.cargo.get_or_insert_default()
    }
}

/// What a message takes along.
#[derive(Debug, Default)]
pub(super) struct Along {
    pub(super) fds: Vec<OwnedFd>,
    pub(super) shared: Shared,
}

/// The shared objects in a message. If it goes before the message has gone, their holds are
/// taken back.
#[derive(Debug, Default)]
pub(super) struct Shared(Vec<Token>);

impl Shared {
    /// The message has gone: the holds are the receiver's business.
    pub(super) fn sent(mut self) {
        self.0.clear();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(family) = family::joined() {
            for token in self.0.drain(..) {
                Handle::recall(family, token);
            }
        }
    }
}

thread_local! {
    /// The last one of a carrier is that of its innermost message.
    static LOADS: RefCell<Vec<Load>> = const { RefCell::new(Vec::new()) };
}

/// Closes the load, also if a user's `Serialize` panics.
struct Open {
    carrier: u64,
}

impl Open {
    fn new(setting: Setting, fds: Vec<OwnedFd>) -> Open {
        let carrier = carrier::id();
        let mut load = Load {
            setting,
            carrier,
            cargo: None,
        };
        if !fds.is_empty() {
            load.cargo().along.fds = fds;
        }
        LOADS.with_borrow_mut(|loads| loads.push(load));
        Open { carrier }
    }

    fn take(&self) -> Option<Load> {
        LOADS.with_borrow_mut(|loads| {
            let mine = loads.iter().rposition(|load| load.carrier == self.carrier);
            mine.map(|mine| loads.remove(mine))
        })
    }

    fn close(self) -> Load {
        let load = self.take().expect("each opens and closes its own");
        std::mem::forget(self);
        load
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// The innermost load of this carrier, if it is encoding or decoding a message.
fn with_load<R>(f: impl FnOnce(&mut Load) -> R) -> Option<R> {
    let carrier = carrier::id();
    LOADS.with_borrow_mut(|loads| {
        let mine = loads.iter_mut().rev().find(|load| load.carrier == carrier);
        mine.map(f)
    })
}

/// Runs `encode`, and gives back what the message takes along, and why a handle refused.
pub(super) fn gather<R>(
    setting: Setting,
    encode: impl FnOnce() -> R,
) -> (R, Along, Option<String>) {
    let open = Open::new(setting, Vec::new());
    let result = encode();
    match open.close().cargo {
        None => (result, Along::default(), None),
        Some(cargo) => (result, cargo.along, cargo.why),
    }
}

/// Runs `decode`, which takes what it wants of `fds`; gives back why a handle refused.
pub(super) fn hand_out<R>(
    setting: Setting,
    fds: Vec<OwnedFd>,
    decode: impl FnOnce() -> R,
) -> (R, Option<String>) {
    let open = Open::new(setting, fds);
    let result = decode();
    (result, open.close().cargo.and_then(|cargo| cargo.why))
}

/// Has the message that is being encoded take `fd` along, for a handle of type `T`.
///
/// The message gets a descriptor of its own; the same one twice is sent once.
///
/// # Errors
/// If this is no message of ours, or it takes too many along.
pub(super) fn attach<T, E: ser::Error>(fd: BorrowedFd<'_>) -> Result<Place, E> {
    let what = std::any::type_name::<T>();
    let attached = with_load(|load| {
        let raw = fd.as_raw_fd();
        // Borrowed for the whole encoding, so the number means the same all the while.
        if let Some(known) = load
            .cargo()
            .originals
            .iter()
            .position(|&known| known == raw)
        {
            return Ok(Place(known as u16));
        }
        let place = load.cargo().along.fds.len();
        let copy = if load.setting.network {
            Err("a descriptor cannot be sent over a network".into())
        } else if place == MOST {
            Err(format!("a message takes at most {place} descriptors along"))
        } else {
            fd.try_clone_to_owned().map_err(|error| error.to_string())
        };
        let copy = copy.map_err(|error| refuse(load, format!("`{what}`: {error}")))?;
        load.cargo().originals.push(raw);
        load.cargo().along.fds.push(copy);
        Ok(Place(place as u16))
    });
    attached
        .unwrap_or_else(|| Err(elsewhere(what)))
        .map_err(E::custom)
}

fn elsewhere(what: &str) -> String {
    format!(
        "`{what}` is a handle that lives in a process, and can only be sent by bingfa to another \
         one: as an argument or a result of process::spawn, in a message of process::pipe, or \
         through a manager"
    )
}

/// Whether the message that is being encoded may carry what only this program's own
/// processes are to know, for a handle of type `T`.
///
/// # Errors
/// If this is no message of ours, or it goes over a network.
pub(super) fn check_private<T, E: ser::Error>() -> Result<(), E> {
    let what = std::any::type_name::<T>();
    let checked = with_load(|load| {
        if !load.setting.network {
            return Ok(());
        }
        let why = format!("`{what}` of another manager cannot be sent over a network");
        Err(refuse(load, why))
    });
    checked
        .unwrap_or_else(|| Err(elsewhere(what)))
        .map_err(E::custom)
}

/// The manager that keeps the message that is being encoded or decoded.
pub(super) fn home() -> Option<Client> {
    with_load(|load| load.setting.home.clone()).flatten()
}

/// Has the message that is being encoded take a hold of a shared object along, for a handle of
/// type `T`.
///
/// # Errors
/// If this is no message of ours, or its receiver has ended.
pub(super) fn export<T, E: ser::Error>(handle: &Handle) -> Result<Token, E> {
    let what = std::any::type_name::<T>();
    let exported = with_load(|load| {
        let Some(to) = load.setting.to else {
            if load.setting.home.is_some() {
                // A hold lasts until one process has it; a manager's values go to many, or none.
                let why = format!("`{what}` is in shared memory, and no manager can keep it");
                return Err(refuse(load, why));
            }
            return Err(elsewhere(what)); // a `Deserialize` that encodes
        };
        match handle.export(to) {
            Ok(token) => {
                load.cargo().along.shared.0.push(token);
                Ok(token)
            }
            Err(error) => Err(refuse(load, format!("`{what}`: {error}"))),
        }
    });
    exported
        .unwrap_or_else(|| Err(elsewhere(what)))
        .map_err(E::custom)
}

/// Makes a handle of type `T` of what was exported; remembers why not.
pub(super) fn import<T, E: de::Error>(
    make: impl FnOnce() -> std::io::Result<Handle>,
) -> Result<Handle, E> {
    let what = std::any::type_name::<T>();
    make().map_err(|error| {
        let why = format!("`{what}`: {error}");
        E::custom(with_load(|load| refuse(load, why.clone())).unwrap_or(why))
    })
}

/// Takes the descriptor at `place` out of the message that is being decoded, for a handle of
/// type `T`. Whoever takes the same one again gets another descriptor of the same thing.
///
/// # Errors
/// If this is no message of ours, or the descriptor has not come.
pub(super) fn take<T, E: de::Error>(place: Place) -> Result<OwnedFd, E> {
    let what = std::any::type_name::<T>();
    let taken = with_load(|load| {
        let found = match load.cargo().along.fds.get(usize::from(place.0)) {
            Some(fd) => fd.try_clone().map_err(|error| error.to_string()),
            None => Err(
                "its descriptor is not in the message; the receiver may have had too many open \
                 (RLIMIT_NOFILE)"
                    .into(),
            ),
        };
        found.map_err(|error| refuse(load, format!("`{what}`: {error}")))
    });
    let elsewhere = || {
        Err(format!(
            "`{what}` is a handle, and can only be received by bingfa"
        ))
    };
    taken.unwrap_or_else(elsewhere).map_err(E::custom)
}

/// Remembers the first reason.
fn refuse(load: &mut Load, why: String) -> String {
    load.cargo().why.get_or_insert_with(|| why.clone());
    why
}
