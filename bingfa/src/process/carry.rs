//! What a value takes along when it travels: descriptors, beside the bytes, and the holds of
//! shared objects.
//!
//! `serde` gives a value that is being encoded no way to its message. So [`gather`] opens a
//! *load* for the carrier that encodes, the handles inside the value [`attach`] their
//! descriptors to it and encode only their places in it; [`hand_out`] and [`take`] are the way
//! back. A shared object needs no descriptor, but a hold that lasts until it arrives
//! ([`export`]). Without an open load a handle refuses to be encoded: its bytes alone would mean
//! nothing to whoever reads them.
//!
//! # Invariants
//! 1. A load lies in the frame that encodes or decodes, and is in its thread's chain only as long
//!    as its [`Open`] lives, which that frame has, too, and gives to nobody. Frames stay on their
//!    thread, and coroutines' stacks are not freed before they have unwound.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use serde::{Deserialize, Serialize, de, ser};

use super::manager::Client;
use super::receipt::Receipt;
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
    /// While decoding: the block in shared memory in which the message lies, if it lies in one.
    pub(super) block: Option<u64>,
    /// While decoding: what its sender wants back, if it wants to know what was taken out.
    pub(super) receipt: Option<Receipt>,
}

/// The message at hand.
struct Load {
    setting: Setting,
    /// Whose message it is: a coroutine that suspends in the middle of its own
    /// `Serialize` leaves the load where others of its thread find it.
    carrier: u64,
    /// Most messages take nothing along.
    cargo: RefCell<Option<Box<Cargo>>>,
    /// The one that was the innermost of its thread before.
    outer: Cell<*const Load>,
}

/// What a message takes along, if it takes something.
#[derive(Debug, Default)]
pub(super) struct Cargo {
    /// What the descriptors that were attached were called here, in the same order.
    originals: Vec<RawFd>,
    along: Along,
    /// Why a handle refused; the format would drop the text.
    why: Option<String>,
}

impl Load {
    fn new(setting: Setting, cargo: Option<Box<Cargo>>) -> Load {
        Load {
            setting,
            carrier: carrier::id(),
            cargo: RefCell::new(cargo),
            outer: Cell::new(ptr::null()),
        }
    }

    fn cargo<R>(&self, f: impl FnOnce(&mut Cargo) -> R) -> R {
        f(self.cargo.borrow_mut().get_or_insert_default())
    }

    /// Remembers the first reason.
    fn refuse(&self, why: String) -> String {
        self.cargo(|cargo| {
            cargo.why.get_or_insert_with(|| why.clone());
        });
        why
    }
}

impl Cargo {
    /// What the message takes along, and why a handle refused.
    pub(super) fn unpack(cargo: Option<Box<Cargo>>) -> (Along, Option<String>) {
        cargo.map_or_else(Default::default, |cargo| (cargo.along, cargo.why))
    }

    pub(super) fn has_descriptors(&self) -> bool {
        !self.along.fds.is_empty()
    }

    /// The shared objects in the message.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.along.shared.0
    }

    /// The message has gone.
    pub(super) fn sent(self) {
        self.along.shared.sent();
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

    /// The message has gone, and its receiver has taken the first so many of them; the holds of the
    /// others are taken back.
    pub(super) fn sent_in_part(mut self, taken: usize) {
        self.0.drain(..taken.min(self.0.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    /// The innermost load of this thread, or null.
    static INNERMOST: Cell<*const Load> = const { Cell::new(ptr::null()) };
}

/// Keeps a load in its thread's chain, and takes it out also if a user's `Serialize` panics.
struct Open<'a>(&'a Load);

impl<'a> Open<'a> {
    #[inline]
    fn new(load: &'a Load) -> Open<'a> {
        load.outer.set(INNERMOST.replace(load));
        Open(load)
    }
}

impl Drop for Open<'_> {
    #[inline]
    fn drop(&mut self) {
        if ptr::eq(INNERMOST.get(), self.0) {
            INNERMOST.set(self.0.outer.get());
            return;
        }
        // A coroutine that has suspended in the middle is further in.
        let inner = chain().find(|load| ptr::eq(load.outer.get(), self.0));
        let inner = inner.expect("it is in its thread's chain");
        inner.outer.set(self.0.outer.get());
    }
}

/// The loads of this thread, from the innermost on, for a caller who is in none of their ends.
fn chain<'a>() -> impl Iterator<Item = &'a Load> {
    let mut next = INNERMOST.get();
    std::iter::from_fn(move || {
        // SAFETY: null, or in the chain, and so alive (invariant 1).
        let load = unsafe { next.as_ref() }?;
        next = load.outer.get();
        Some(load)
    })
}

/// The innermost load of this carrier, if it is encoding or decoding a message.
fn with_load<R>(f: impl FnOnce(&Load) -> R) -> Option<R> {
    let carrier = carrier::id();
    chain().find(|load| load.carrier == carrier).map(f)
}

/// Runs `encode`, and gives back what the message takes along.
#[inline]
pub(super) fn gather<R>(setting: Setting, encode: impl FnOnce() -> R) -> (R, Option<Box<Cargo>>) {
    let load = Load::new(setting, None);
    let open = Open::new(&load);
    let result = encode();
    drop(open);
    (result, load.cargo.into_inner())
}

/// Runs `decode`, which takes what it wants of `fds`; gives back why a handle refused.
#[inline]
pub(super) fn hand_out<R>(
    setting: Setting,
    fds: Vec<OwnedFd>,
    decode: impl FnOnce() -> R,
) -> (R, Option<String>) {
    let mut cargo = None::<Box<Cargo>>;
    if !fds.is_empty() {
        cargo.get_or_insert_default().along.fds = fds;
    }
    let load = Load::new(setting, cargo);
    let open = Open::new(&load);
    let result = decode();
    drop(open);
    let cargo = load.cargo.into_inner();
    (result, cargo.and_then(|cargo| cargo.why))
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
        let attach = |cargo: &mut Cargo| {
            // Borrowed for the whole encoding, so the number means the same all the while.
            if let Some(known) = cargo.originals.iter().position(|&known| known == raw) {
                return Ok(Place(known as u16));
            }
            let place = cargo.along.fds.len();
            if load.setting.network {
                return Err("a descriptor cannot be sent over a network".into());
            }
            if place == MOST {
                return Err(format!("a message takes at most {place} descriptors along"));
            }
            let copy = fd.try_clone_to_owned().map_err(|error| error.to_string())?;
            cargo.originals.push(raw);
            cargo.along.fds.push(copy);
            Ok(Place(place as u16))
        };
        load.cargo(attach)
            .map_err(|error| load.refuse(format!("`{what}`: {error}")))
    });
    attached
        .unwrap_or_else(|| Err(elsewhere(what, BY_DESCRIPTOR)))
        .map_err(E::custom)
}

/// How handles may be sent that take a descriptor along, or lie in shared memory.
const BY_DESCRIPTOR: &str = "or as a value that a manager keeps";
const IN_MEMORY: &str = "or in an item of process::Queue or process::channel";

fn elsewhere(what: &str, or: &str) -> String {
    format!(
        "`{what}` is a handle that lives in a process, and can only be sent by bingfa to another \
         one: as an argument or a result of process::spawn, in a message of process::pipe, {or}"
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
        Err(load.refuse(why))
    });
    checked
        .unwrap_or_else(|| Err(elsewhere(what, BY_DESCRIPTOR)))
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
                return Err(load.refuse(why));
            }
            return Err(elsewhere(what, IN_MEMORY)); // a `Deserialize` that encodes
        };
        match handle.export(to) {
            Ok(token) => {
                load.cargo(|cargo| cargo.along.shared.0.push(token));
                Ok(token)
            }
            Err(error) => Err(load.refuse(format!("`{what}`: {error}"))),
        }
    });
    exported
        .unwrap_or_else(|| Err(elsewhere(what, IN_MEMORY)))
        .map_err(E::custom)
}

/// Makes a handle of type `T` of what was exported, by way of the block in which the message lies;
/// remembers why not.
pub(super) fn import<T, E: de::Error>(
    make: impl FnOnce(Option<u64>) -> std::io::Result<Handle>,
) -> Result<Handle, E> {
    let what = std::any::type_name::<T>();
    let block = with_load(|load| {
        if let Some(receipt) = &load.setting.receipt {
            receipt.take();
        }
        load.setting.block
    });
    make(block.flatten()).map_err(|error| {
        let why = format!("`{what}`: {error}");
        E::custom(with_load(|load| load.refuse(why.clone())).unwrap_or(why))
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
        let found = load.cargo(|cargo| match cargo.along.fds.get(usize::from(place.0)) {
            Some(fd) => fd.try_clone().map_err(|error| error.to_string()),
            None => Err(
                "its descriptor is not in the message; the receiver may have had too many open \
                 (RLIMIT_NOFILE)"
                    .into(),
            ),
        });
        found.map_err(|error| load.refuse(format!("`{what}`: {error}")))
    });
    let elsewhere = || {
        Err(format!(
            "`{what}` is a handle, and can only be received by bingfa"
        ))
    };
    taken.unwrap_or_else(elsewhere).map_err(E::custom)
}
