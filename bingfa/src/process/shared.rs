//! A handle of a shared object that can be sent to other processes.
use std::any::TypeId;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use serde::{de, ser};

use super::{carry, family};
use crate::shm::arena::Arena;
use crate::shm::family::Family;
use crate::shm::kind::Kind;
use crate::shm::object::{Handle, Token};

/// The part that every handle has; cloned cheaply.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Handle>);

/// What an object is used as, so that a message cannot make it another type: the same in
/// all processes of one program.
fn layout<T: 'static>() -> u64 {
    let mut hasher = DefaultHasher::new();
    TypeId::of::<T>().hash(&mut hasher);
    hasher.finish()
}

impl Shared {
    /// Makes an object of the type `T`, with a payload of `len` bytes, which `init` gets as
    /// zeroes.
    ///
    /// # Errors
    /// If there is no memory.
    pub(super) fn create<T: 'static>(
        kind: Kind,
        len: u64,
        init: impl FnOnce(NonNull<u8>) -> io::Result<()>,
    ) -> io::Result<Shared> {
        let family = family::family()?;
        let handle = Handle::create(family, kind, layout::<T>(), len, init).map_err(|error| {
            let what = std::any::type_name::<T>();
            let why = match error.kind() {
                io::ErrorKind::TimedOut => format!("bingfa: no shared `{what}`: {error}"),
                _ => format!("bingfa: no memory for a shared `{what}` of {len} bytes: {error}"),
            };
            io::Error::new(error.kind(), why)
        })?;
        Ok(Shared(Arc::new(handle)))
    }

    pub(super) fn family(&self) -> &'static Family {
        self.0.family()
    }

    /// The arena, for somebody who uses the object.
    ///
    /// # Panics
    /// If this process is a fork of the one that has the handle.
    #[track_caller]
    pub(super) fn arena(&self) -> &'static Arena {
        let arena = self.family().arena();
        assert!(
            !arena.forked(),
            "bingfa: this process is a fork() of the one that has this lock, and cannot use it"
        );
        arena
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.0
    }

    pub(super) fn payload(&self) -> NonNull<u8> {
        self.0.payload()
    }

    /// The length of the payload.
    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    /// What a handle of type `T` is in the message that is being encoded.
    pub(super) fn export<T, E: ser::Error>(&self) -> Result<Token, E> {
        carry::export::<T, E>(&self.0)
    }

    /// The object that a message brings, for a handle of type `T`.
    pub(super) fn import<T: 'static, E: de::Error>(kind: Kind, token: Token) -> Result<Self, E> {
        let import = |block| Handle::import(family::family()?, token, block, kind, layout::<T>());
        // While somebody is stopped in the way it waits on: an error would lose the message.
        let make = |block| loop {
            match import(block) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                imported => return imported,
            }
        };
        carry::import::<T, E>(make).map(|handle| Shared(Arc::new(handle)))
    }
}

/// A type that is a [`Shared`] and nothing else can be sent.
macro_rules! can_be_sent {
    ($($type:ident $(<$data:ident>)?: $kind:expr),*) => {$(
        impl $(<$data: $crate::process::Pod>)? serde::Serialize for $type $(<$data>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.shared().export::<Self, S::Error>()?.serialize(serializer)
            }
        }

        impl<'de $(, $data: $crate::process::Pod)?> serde::Deserialize<'de> for $type $(<$data>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let token = serde::Deserialize::deserialize(deserializer)?;
                $crate::process::shared::Shared::import::<Self, D::Error>($kind, token)
                    .map(Self::over)
            }
        }
    )*};
}
pub(super) use can_be_sent;
