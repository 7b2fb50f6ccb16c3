//! `Queue`: items between processes, first in, first out.
//!
//! # Invariants
//! 1. The payload of the object is a [`Ring`], initialised before anybody else has it.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::DerefMut;
use std::ptr;
use std::time::{Duration, Instant};

use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::carry::Cargo;
use super::queue_error::{Closed, GetError, Last, PutError};
use super::queue_join::Awaiting;
use super::shared::Shared;
use super::waiting::{self, Look, Pace};
use super::wire;
use crate::shm::arena::Arena;
use crate::shm::block::{Block, Buffer, LONGEST_INLINE, Writer};
use crate::shm::kind::Kind;
use crate::shm::ring::{Put, Received, Ring};
use crate::shm::word::Word;

/// A queue between processes: first in, first out, any number of producers and consumers, on
/// threads and coroutines.
///
/// A handle: clones are the same queue, and so is what arrives in another process, as an
/// argument or a result of [`spawn`](super::spawn()) or in another message of this module,
/// also in one of another queue. Items travel by `serde`; they may contain shared objects, but
/// no descriptors, which are refused (see [`pipe`](super::pipe())). They lie in shared memory, and nothing but
/// the callers moves them. The queue and what is in it go with the last handle.
///
/// # When processes end
/// An item is in the queue, or with exactly one consumer: a process may be killed at any
/// moment. A wait that nobody can end is an error at once: a `get` from an empty queue, or
/// a `put` into a full one, that no other process has any more (though some had) gives
/// [`Closed`], which names the last. (Other carriers of this process do not count there, and
/// may end such a wait all the same: who relies on them tries again. If the queue was
/// [closed](Self::close), nothing changes that.) Items that a dead process had taken and not
/// [reported done](Self::task_done) are told to whoever [joins](Self::join).
///
/// # Examples
/// ```
/// use bingfa::process::{self, GetError, Queue};
///
/// let queue = Queue::bounded(3)?;
/// let cook = process::spawn(queue.clone(), |queue: Queue<String>| {
///     for n in 1..=5 {
///         queue.put(format!("bun {n}")).unwrap();
///     }
/// });
/// let mut eaten = Vec::new();
/// let end = loop {
///     match queue.get() {
///         Ok(bun) => eaten.push(bun),
///         Err(end) => break end,
///     }
/// };
/// assert_eq!(eaten, ["bun 1", "bun 2", "bun 3", "bun 4", "bun 5"]);
/// // The cook has ended, and nobody else has the queue.
/// assert!(matches!(end, GetError::Closed(why) if why.last().unwrap().pid() == cook.pid()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "multiprocessing.Queue")]
#[doc(alias = "JoinableQueue")]
pub struct Queue<T> {
    shared: Shared,
    items: PhantomData<fn(T) -> T>,
}

/// What waits are called in snapshots.
const GET: &&str = &"process queue get";
const PUT: &&str = &"process queue put";

/// Where an item is encoded to.
struct Into<'w, 'a, B: DerefMut<Target = Buffer>>(&'w mut Writer<'a, B>);

impl<B: DerefMut<Target = Buffer>> Flavor for Into<'_, '_, B> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.0.extend(bytes) {
            Ok(())
        } else {
            Err(postcard::Error::SerializeBufferFull)
        }
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Encodes an item, and gives back what it takes along.
#[inline]
fn encode<T: Serialize, B: DerefMut<Target = Buffer>>(
    item: &T,
    writer: &mut Writer<'_, B>,
) -> io::Result<Option<Box<Cargo>>> {
    let along = match wire::encode_into(Into(writer), item) {
        Ok(along) => along,
        Err(error) => {
            let invalid = || io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
            return Err(writer.error().unwrap_or_else(invalid));
        }
    };
    if let Some(along) = &along {
        if along.has_descriptors() {
            let why = "it has descriptors in it (of files, sockets, pipes, or that lead to a manager), which cannot \
                       lie in memory; send them by process::pipe";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        writer.pack(along.tokens())?;
    }
    Ok(along)
}

/// A message that waits for room. The writer's block goes before what it names is taken back.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    writer: Writer<'a, Box<Buffer>>,
    along: Option<Box<Cargo>>,
}

/// What an attempt to get has ended with.
enum Got {
    /// So many bytes, in the buffer.
    Short(usize),
    /// The block at this place.
    Long(u64),
    Failed(io::Error),
    Closed,
    /// No other process has the queue any more.
    Alone,
}

/// How long a call waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    No,
    Until(Option<Instant>),
}

impl Wait {
    pub(super) fn within(limit: Duration) -> Wait {
        // Further than the clock goes is for ever.
        Wait::Until(Instant::now().checked_add(limit))
    }
}

pub(super) const FOREVER: Wait = Wait::Until(None);

/// The untyped part, which channels have, too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Core<'a>(pub(super) &'a Shared);

impl<'a> Core<'a> {
    /// Makes a queue of type `Q`; `None`: without a limit.
    pub(super) fn create<Q: 'static>(capacity: Option<usize>) -> io::Result<Shared> {
        if capacity == Some(0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "bingfa: a queue between processes has room for at least one item",
            ));
        }
        let capacity = capacity.map_or(u64::MAX, |items| items as u64);
        let len = size_of::<Ring>() as u64;
        let shared = Shared::create::<Q>(Kind::Queue, len, |payload| {
            // SAFETY: the payload has room for it, and is nobody else's yet.
            unsafe { Ring::init(payload.cast(), capacity) }
        })?;
        Core(&shared).ring().open(shared.family().arena())?;
        Ok(shared)
    }

    pub(super) fn ring(self) -> &'a Ring {
        // SAFETY: invariant 1; the object lives as long as its handle.
        unsafe { self.0.payload().cast::<Ring>().as_ref() }
    }

    pub(super) fn arena(self) -> &'static Arena {
        let arena = self.0.family().arena();
        assert!(
            !arena.forked(),
            "bingfa: this process is a fork() of the one that has this queue, and cannot use it"
        );
        arena
    }

    pub(super) fn closed(self, by_hand: bool) -> Closed {
        Closed {
            last: self.ring().last().map(Last::new),
            by_hand,
        }
    }

    /// Whether some other process had the queue, and none has any more. `None`: to be asked
    /// again, before any sleep: nobody may be left to end that.
    pub(super) fn is_alone(self) -> Option<bool> {
        if self.ring().last().is_none() {
            return Some(false);
        }
        self.0.handle().has_others().map(|others| !others)
    }

    /// Whether a wait may have ended because others have gone.
    pub(super) fn may_be_over(self, may_be_alone: bool) -> bool {
        let closed = self.ring().is_closed() || self.ring().has_no_source() != Some(false);
        closed || !may_be_alone && self.is_alone() != Some(false)
    }

    #[track_caller]
    #[inline]
    pub(super) fn put<T: Serialize>(
        self,
        item: T,
        wait: Wait,
        may_be_alone: bool,
    ) -> Result<(), PutError<T>> {
        match self.put_once(item, wait, may_be_alone) {
            Err(PutError::Refused(item, why)) if why.kind() == io::ErrorKind::WouldBlock => {
                self.put_again(item, wait, may_be_alone)
            }
            put => put,
        }
    }

    /// Somebody holds the arena up, so that there was no memory for a long message.
    #[track_caller]
    #[cold]
    fn put_again<T: Serialize>(
        self,
        mut item: T,
        wait: Wait,
        may_be_alone: bool,
    ) -> Result<(), PutError<T>> {
        while let Wait::Until(deadline) = wait
            && waiting::nap(deadline)
        {
            match self.put_once(item, wait, may_be_alone) {
                Err(PutError::Refused(same, why)) if why.kind() == io::ErrorKind::WouldBlock => {
                    item = same;
                }
                put => return put,
            }
        }
        Err(PutError::Full(item))
    }

    /// The same; refused by `WouldBlock`: to be tried again.
    #[track_caller]
    #[inline]
    fn put_once<T: Serialize>(
        self,
        item: T,
        wait: Wait,
        may_be_alone: bool,
    ) -> Result<(), PutError<T>> {
        let (ring, arena) = (self.ring(), self.arena());
        // Goes after the writer, whose block names what it takes back.
        let along;
        let mut buffer = [const { MaybeUninit::uninit() }; LONGEST_INLINE];
        let mut writer = Writer::new(arena, self.0.handle().hold(), &mut buffer);
        along = match encode(&item, &mut writer) {
            Ok(along) => along,
            Err(why) => return Err(PutError::Refused(item, why)),
        };
        let message = writer.message();
        let attempt = |sleeps_next: bool| match ring.try_put(arena, message) {
            Ok(Put::Full) if sleeps_next && !may_be_alone => match self.is_alone() {
                Some(true) => Look::Done(Ok(Put::Full)),
                Some(false) => Look::NotYet,
                None => Look::Busy,
            },
            Ok(Put::Full) => Look::NotYet,
            Ok(Put::Busy) => Look::Busy,
            done => Look::Done(done),
        };
        match self.wait_for(ring.room(), PUT, wait, attempt) {
            Some(Ok(Put::Done)) => {
                writer.sent();
                if let Some(along) = along {
                    along.sent();
                }
                Ok(())
            }
            None | Some(Ok(Put::Busy)) => Err(PutError::Full(item)),
            Some(Ok(Put::Closed)) => Err(PutError::Closed(item, self.closed(!may_be_alone))),
            Some(Ok(Put::Full)) => Err(PutError::Closed(item, self.closed(false))),
            Some(Err(error)) => Err(PutError::Refused(item, error)),
        }
    }

    /// The message to be put with this item.
    ///
    /// # Errors
    /// Why it is refused; `WouldBlock`: it may be tried again.
    pub(super) fn letter<T: Serialize>(self, item: &T) -> io::Result<Letter<'a>> {
        let buffer = Box::new([const { MaybeUninit::uninit() }; LONGEST_INLINE]);
        let mut writer = Writer::new(self.arena(), self.0.handle().hold(), buffer);
        let along = encode(item, &mut writer)?;
        Ok(Letter { writer, along })
    }

    /// Puts a message if there is room.
    pub(super) fn try_put(self, letter: &mut Letter<'_>) -> io::Result<Put> {
        let put = self.ring().try_put(self.arena(), letter.writer.message())?;
        if put == Put::Done {
            letter.writer.sent();
            if let Some(along) = letter.along.take() {
                along.sent();
            }
        }
        Ok(put)
    }

    #[track_caller]
    #[inline]
    pub(super) fn get<T: DeserializeOwned>(
        self,
        wait: Wait,
        may_be_alone: bool,
    ) -> Result<T, GetError> {
        let (ring, arena) = (self.ring(), self.arena());
        let mut buffer = [const { MaybeUninit::uninit() }; LONGEST_INLINE];
        let hold = self.0.handle().hold();
        let mut awaiting = None;
        let attempt = |sleeps_next: bool| {
            if sleeps_next && !may_be_alone {
                awaiting.get_or_insert_with(|| Awaiting::new(self));
            }
            // First without a question whether more may come, which takes its time while
            // somebody is stopped in the middle of a put.
            let taken = self.take(&mut buffer);
            if !matches!(taken, Look::NotYet) {
                return taken;
            }
            let no_source = ring.has_no_source();
            let alone = if sleeps_next && !may_be_alone {
                self.is_alone()
            } else {
                Some(false)
            };
            let if_empty = match (no_source, alone) {
                (Some(true), _) => Look::Done(Got::Closed),
                (_, Some(true)) => Look::Done(Got::Alone),
                (Some(false), Some(false)) => return Look::NotYet,
                (None, _) | (_, None) => Look::Busy,
            };
            // What was put before the end is there by now.
            match self.take_the_last(&mut buffer) {
                Look::NotYet => if_empty,
                taken => taken,
            }
        };
        let decoded = match self.wait_for(ring.items(), GET, wait, attempt) {
            Some(Got::Short(len)) => {
                // SAFETY: so many bytes were written.
                let bytes = unsafe { buffer[..len].assume_init_ref() };
                wire::decode(bytes, Vec::new())
            }
            Some(Got::Long(at)) => wire::decode_block(&Block::over(arena, hold, at)),
            Some(Got::Closed) => return Err(GetError::Closed(self.closed(!may_be_alone))),
            Some(Got::Alone) => return Err(GetError::Closed(self.closed(false))),
            Some(Got::Failed(error)) => return Err(GetError::Invalid(error)),
            None => return Err(GetError::Empty),
        };
        decoded.map_err(|error| {
            GetError::Invalid(io::Error::new(
                io::ErrorKind::InvalidData,
                error.to_string(),
            ))
        })
    }

    /// One look at what is in the queue.
    #[inline]
    fn take(self, buffer: &mut Buffer) -> Look<Got> {
        let hold = self.0.handle().hold();
        match self.ring().try_get(self.arena(), hold, buffer) {
            Ok(Received::Short(len)) => Look::Done(Got::Short(len)),
            Ok(Received::Long(at)) => Look::Done(Got::Long(at)),
            Ok(Received::Nothing) => Look::NotYet,
            Ok(Received::Busy) => Look::Busy,
            Err(error) => Look::Done(Got::Failed(error)),
        }
    }

    /// The same, on the way out.
    #[cold]
    fn take_the_last(self, buffer: &mut Buffer) -> Look<Got> {
        self.take(buffer)
    }

    #[track_caller]
    #[inline]
    pub(super) fn wait_for<R>(
        self,
        word: &Word,
        what: &'static &'static str,
        wait: Wait,
        mut attempt: impl FnMut(bool) -> Look<R>,
    ) -> Option<R> {
        match wait {
            Wait::No => match attempt(false) {
                Look::Done(done) => Some(done),
                Look::NotYet | Look::Busy => None,
            },
            Wait::Until(deadline) => {
                let pace = || self.pace(word);
                let family = self.0.family();
                waiting::wait_at_a_pace_for(family, word, what, deadline, pace, attempt)
            }
        }
    }

    /// How to wait for the word.
    fn pace(self, word: &Word) -> Pace {
        let ring = self.ring();
        if !ptr::eq(word, ring.room()) {
            return Pace {
                pause: ring.pause_of_gets(),
                patient: false,
            };
        }
        // About as long as it takes to make some room.
        let nanos = ring.capacity().saturating_mul(2).min(1000);
        Pace {
            pause: Duration::from_nanos(nanos),
            patient: true,
        }
    }
}

impl<T> Queue<T> {
    /// With room for `capacity` items, at least one.
    ///
    /// # Errors
    /// `InvalidInput` if the capacity is 0; else if there is no memory, or no descriptor for
    /// the first of a family's shared objects.
    #[doc(alias = "maxsize")]
    pub fn bounded(capacity: usize) -> io::Result<Self>
    where
        T: 'static,
    {
        Core::create::<Self>(Some(capacity)).map(Self::over)
    }

    /// With room for as many as there is memory for.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn unbounded() -> io::Result<Self>
    where
        T: 'static,
    {
        Core::create::<Self>(None).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        let items = PhantomData;
        Self { shared, items }
    }

    pub(super) fn core(&self) -> Core<'_> {
        Core(&self.shared)
    }

    /// Puts `item` into the queue; waits for room.
    ///
    /// # Errors
    /// With the item: [`PutError::Closed`] if the queue is closed, before or during the wait,
    /// or is full and no other process has it any more; [`PutError::Refused`] if it cannot be
    /// encoded, or there is no memory.
    ///
    /// # Cancellation
    /// A cancelled waiter drops its item, which was in the queue at no time.
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), PutError<T>>
    where
        T: Serialize,
    {
        self.core().put(item, FOREVER, false)
    }

    /// Puts `item` into the queue if there is room now.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`PutError::Full`].
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>>
    where
        T: Serialize,
    {
        self.core().put(item, Wait::No, false)
    }

    /// Puts `item` into the queue; waits for room for at most `limit`.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`PutError::Full`] if it was too late.
    ///
    /// # Cancellation
    /// As for [`put`](Self::put).
    #[track_caller]
    pub fn put_timeout(&self, item: T, limit: Duration) -> Result<(), PutError<T>>
    where
        T: Serialize,
    {
        self.core().put(item, Wait::within(limit), false)
    }

    /// Takes the oldest item; waits for one.
    ///
    /// # Errors
    /// [`GetError::Closed`] if the queue is empty, and closed or no other process has it any
    /// more; [`GetError::Invalid`] if the item cannot be decoded.
    ///
    /// # Cancellation
    /// A cancelled waiter takes nothing.
    #[track_caller]
    pub fn get(&self) -> Result<T, GetError>
    where
        T: DeserializeOwned,
    {
        self.core().get(FOREVER, false)
    }

    /// Takes the oldest item, if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`] if there is none; [`GetError::Closed`] if the queue is closed, too;
    /// [`GetError::Invalid`] if the item cannot be decoded.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, GetError>
    where
        T: DeserializeOwned,
    {
        self.core().get(Wait::No, false)
    }

    /// Takes the oldest item; waits for one for at most `limit`.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`GetError::Empty`] if it was too late.
    ///
    /// # Cancellation
    /// As for [`get`](Self::get).
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T, GetError>
    where
        T: DeserializeOwned,
    {
        self.core().get(Wait::within(limit), false)
    }

    /// Closes the queue: what is in it can be taken, nothing goes in any more, and all who
    /// wait are told.
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.core().ring().close(self.core().arena());
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core().ring().is_closed()
    }

    /// How many items are in it, at this moment.
    #[must_use]
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.core().ring().len() as usize
    }

    /// Whether it has no items, at this moment.
    #[must_use]
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has no room, at this moment.
    #[must_use]
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.core().ring().len() >= self.core().ring().capacity()
    }

    /// For how many items it has room; `None`: for as many as there is memory for.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        let capacity = self.core().ring().capacity();
        (capacity != u64::MAX).then_some(capacity as usize)
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self::over(self.shared.clone())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shared
            .export::<Self, S::Error>()?
            .serialize(serializer)
    }
}

impl<'de, T: 'static> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = Deserialize::deserialize(deserializer)?;
        Shared::import::<Self, D::Error>(Kind::Queue, token).map(Self::over)
    }
}
