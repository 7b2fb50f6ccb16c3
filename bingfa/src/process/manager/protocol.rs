//! What a manager's clients ask, and what it answers. Keys and values are bytes to it.

use std::fmt;
use std::os::fd::OwnedFd;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::process::wire::Encoded;

/// Tells a manager from all others.
pub(super) type Token = [u8; 16];

/// A client's first word.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) pid: u32,
    /// Of the client's [`Client`](super::Client), which may have several connections.
    pub(super) instance: u64,
    /// Of its program, whose functions it may want to be called.
    pub(super) fingerprint: u64,
}

/// And the manager's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) token: Token,
}

/// Bytes in a message, which are not copied to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visitor<'de> for Borrowing {
            type Value = Bytes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_bytes(Borrowing)
    }
}

/// One of several keys and values (the keys of a list are empty).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    pub(super) key: Bytes<'a>,
    #[serde(borrow)]
    pub(super) value: Bytes<'a>,
    /// How many of the message's descriptors are the value's.
    pub(super) fds: u16,
}

impl<'a> Item<'a> {
    /// Several encoded keys and values as parts of a message, and all their descriptors.
    pub(super) fn several(entries: &'a mut [(Vec<u8>, Encoded)]) -> (Vec<Item<'a>>, Vec<OwnedFd>) {
        let mut all = Vec::new();
        let item = |(key, value): &'a mut (Vec<u8>, Encoded)| {
            let fds = value.fds.len() as u16; // at most 253
            all.append(&mut value.fds);
            Item {
                key: Bytes(key),
                value: Bytes(&value.bytes),
                fds,
            }
        };
        (entries.iter_mut().map(item).collect(), all)
    }
}

/// A function of the program, and what decodes its arguments and calls it: their offsets in
/// the main image.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) thunk: u64,
    pub(super) function: u64,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Also a namespace, and a value.
    Dict,
    List,
    Queue,
    Lock,
    Event,
    ReentrantLock,
    Condvar,
    Semaphore,
    BoundedSemaphore,
    Barrier,
    /// Of a user's type.
    Custom,
}

/// Nanoseconds that the caller is ready to wait; `None`: for ever.
pub(super) type Patience = Option<u64>;

/// What a client asks. The message's descriptors are those of its values, in order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request<'a> {
    /// A new object that needs nothing.
    Create(Kind),
    CreateQueue(Option<u64>),
    /// So many permits, and whether that is the most.
    CreateSemaphore(u64, bool),
    CreateBarrier(u64),
    CreateCustom(Call, #[serde(borrow)] Bytes<'a>),
    Remove(u64),
    /// Gives an object a name.
    Publish(&'a str, u64),
    /// The object of this name and kind.
    Open(&'a str, Kind),
    Dict(u64, #[serde(borrow)] DictOp<'a>),
    List(u64, #[serde(borrow)] ListOp<'a>),
    Queue(u64, #[serde(borrow)] QueueOp<'a>),
    Lock(u64, LockOp),
    Event(u64, EventOp),
    Semaphore(u64, SemaphoreOp),
    Condvar(u64, CondvarOp),
    Barrier(u64, BarrierOp),
    /// Has the object handle this.
    Custom(u64, #[serde(borrow)] Bytes<'a>),
    /// What was handed out has arrived; this has no answer.
    Ack,
    /// The client needs nothing any more; this has no answer.
    Part,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum DictOp<'a> {
    #[serde(borrow)]
    Get(Bytes<'a>),
    Insert(#[serde(borrow)] Bytes<'a>, #[serde(borrow)] Bytes<'a>),
    Extend(#[serde(borrow)] Vec<Item<'a>>),
    Remove(#[serde(borrow)] Bytes<'a>),
    Contains(#[serde(borrow)] Bytes<'a>),
    Len,
    Items,
    Clear,
    /// Key, what is expected there, and what is to be there.
    Exchange(
        #[serde(borrow)] Bytes<'a>,
        #[serde(borrow)] Option<Bytes<'a>>,
        #[serde(borrow)] Option<Bytes<'a>>,
    ),
    /// Key and arguments.
    Update(Call, #[serde(borrow)] Bytes<'a>, #[serde(borrow)] Bytes<'a>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ListOp<'a> {
    #[serde(borrow)]
    Extend(Vec<Item<'a>>),
    Push(#[serde(borrow)] Bytes<'a>),
    Pop,
    Get(u64),
    Set(u64, #[serde(borrow)] Bytes<'a>),
    Insert(u64, #[serde(borrow)] Bytes<'a>),
    Remove(u64),
    Len,
    Items,
    Reverse,
    Clear,
    /// Arguments.
    Update(Call, #[serde(borrow)] Bytes<'a>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum QueueOp<'a> {
    Put(#[serde(borrow)] Bytes<'a>, Patience),
    Get(Patience),
    TaskDone,
    Join(Patience),
    Len,
    Unfinished,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum LockOp {
    Acquire(Patience),
    /// With the reason why what it protects cannot be trusted, if there is one.
    Release(Option<String>),
    ClearPoison,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum EventOp {
    Set,
    Clear,
    IsSet,
    Wait(Patience),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SemaphoreOp {
    /// So many.
    Acquire(u64, Patience),
    /// What this connection has.
    Release,
    Forget,
    Add(u64),
    Available,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum CondvarOp {
    /// Frees this lock, which the connection holds, first.
    Wait(u64, Patience),
    NotifyOne,
    NotifyAll,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum BarrierOp {
    Wait(Patience),
    IsBroken,
    Reset,
}

/// What a manager answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply<'a> {
    Done,
    /// An object, a length.
    Number(u64),
    Flag(bool),
    /// Nothing there.
    Absent,
    /// With all descriptors of the message.
    #[serde(borrow)]
    Value(Bytes<'a>),
    #[serde(borrow)]
    Items(Vec<Item<'a>>),
    /// The patience is over.
    TooLate,
    Refused(Refusal, &'a str),
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// There is no such object, place or name.
    NotFound,
    /// It makes no sense.
    Invalid,
    /// Not to this client.
    Forbidden,
    /// The function that was to be called did not return.
    Failed,
    /// A client died while it was responsible.
    Abandoned,
}
