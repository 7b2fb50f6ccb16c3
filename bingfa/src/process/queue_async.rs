//! Gets and puts of queues and channels between processes that are under way as values:
//! futures, and arms of a select.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::polling::{Arm, Pending, is_an_arm};
use super::queue::{Core, Letter, Queue, Wait};
use super::queue_error::{GetError, PutError};
use super::queue_join::Awaiting;
use super::shared::Shared;
use crate::shm::ring as shm;
use crate::shm::word::Word;

/// A get under way: to be awaited, or to be an arm of a [`Select`](crate::queue::Select).
///
/// # Cancellation
/// Dropped before it is ready it takes nothing. One that has won a select has its item, and
/// drops it.
#[must_use = "a get does nothing until it is awaited or selected"]
pub struct Get<'a, T>(Arm<Getting<'a, T>>);

struct Getting<'a, T> {
    core: Core<'a>,
    /// Of a channel: what counts is not who has the queue, but who has the other end.
    may_be_alone: bool,
    awaiting: Option<Awaiting<'a>>,
    outcome: Option<Result<T, GetError>>,
}

impl<'a, T> Get<'a, T> {
    pub(super) fn new(core: Core<'a>, may_be_alone: bool) -> Self
    where
        T: DeserializeOwned,
    {
        Get(Arm::new(Getting {
            core,
            may_be_alone,
            awaiting: None,
            outcome: None,
        }))
    }

    /// What the get has given, once a select says that this arm has won.
    ///
    /// # Errors
    /// As of [`Queue::get`]; [`GetError::Empty`] if the get is not over (the queue was not even
    /// tried).
    pub fn take(self) -> Result<T, GetError> {
        self.0.pending.outcome.unwrap_or(Err(GetError::Empty))
    }
}

impl<T: DeserializeOwned> Pending for Getting<'_, T> {
    fn attempt(&mut self) -> bool {
        if self.outcome.is_none() {
            let alone = !self.may_be_alone && self.core.is_alone() == Some(true);
            // Asked before: what was put before the end is found here.
            self.outcome = match self.core.get(Wait::No, self.may_be_alone) {
                Err(GetError::Empty) if alone => {
                    Some(Err(GetError::Closed(self.core.closed(false))))
                }
                Err(GetError::Empty) => None,
                outcome => Some(outcome),
            };
            if self.outcome.is_some() {
                self.awaiting = None;
            } else if !self.may_be_alone {
                let core = self.core;
                self.awaiting.get_or_insert_with(|| Awaiting::new(core));
            }
        }
        self.outcome.is_some()
    }

    fn may_succeed(&self) -> bool {
        self.core.ring().len() > 0 || self.core.may_be_over(self.may_be_alone)
    }

    fn waits_on(&self) -> (&Shared, &Word) {
        (self.core.0, self.core.ring().items())
    }
}

impl<T> Unpin for Get<'_, T> {}

impl<T: DeserializeOwned> Future for Get<'_, T> {
    type Output = Result<T, GetError>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let arm = &mut self.0;
        arm.poll(context)
            .map(|()| arm.pending.outcome.take().expect("done"))
    }
}

/// A put under way: to be awaited, or to be an arm of a [`Select`](crate::queue::Select).
///
/// # Cancellation
/// Dropped before its item was put it drops the item; [`into_item`](Put::into_item) gives it
/// back instead.
#[must_use = "a put does nothing until it is awaited or selected"]
pub struct Put<'a, T>(Arm<Putting<'a, T>>);

struct Putting<'a, T> {
    core: Core<'a>,
    may_be_alone: bool,
    item: Option<T>,
    /// It, encoded at the first attempt.
    letter: Option<Letter<'a>>,
    outcome: Option<Result<(), PutError<T>>>,
}

impl<'a, T> Put<'a, T> {
    pub(super) fn new(core: Core<'a>, item: T, may_be_alone: bool) -> Self
    where
        T: Serialize,
    {
        Put(Arm::new(Putting {
            core,
            may_be_alone,
            item: Some(item),
            letter: None,
            outcome: None,
        }))
    }

    /// How the put went, once a select says that this arm has won.
    ///
    /// # Errors
    /// As of [`Queue::put`]; [`PutError::Full`] with the item if the put is not over (the queue
    /// was not even tried).
    pub fn take(self) -> Result<(), PutError<T>> {
        let Putting { item, outcome, .. } = self.0.pending;
        match (outcome, item) {
            (Some(outcome), _) => outcome,
            (None, Some(item)) => Err(PutError::Full(item)),
            (None, None) => Ok(()),
        }
    }

    /// Ends the put: gives the item back, unless it was put.
    pub fn into_item(self) -> Option<T> {
        self.take().err().map(PutError::into_inner)
    }
}

impl<T: Serialize> Pending for Putting<'_, T> {
    fn attempt(&mut self) -> bool {
        let Some(item) = self.item.take() else {
            return self.outcome.is_some();
        };
        let alone = || !self.may_be_alone && self.core.is_alone() == Some(true);
        let put = match &mut self.letter {
            Some(letter) => self.core.try_put(letter),
            none => self.core.letter(&item).and_then(|letter| {
                let letter = none.insert(letter);
                self.core.try_put(letter)
            }),
        };
        self.outcome = match put {
            Ok(shm::Put::Done) => Some(Ok(())),
            Ok(shm::Put::Closed) => {
                let why = self.core.closed(!self.may_be_alone);
                Some(Err(PutError::Closed(item, why)))
            }
            Ok(shm::Put::Full) if alone() => {
                let why = self.core.closed(false);
                Some(Err(PutError::Closed(item, why)))
            }
            Err(why) if why.kind() != io::ErrorKind::WouldBlock => {
                Some(Err(PutError::Refused(item, why)))
            }
            Ok(shm::Put::Full | shm::Put::Busy) | Err(_) => {
                self.item = Some(item);
                None
            }
        };
        self.outcome.is_some()
    }

    fn may_succeed(&self) -> bool {
        let ring = self.core.ring();
        ring.len() < ring.capacity() || self.core.may_be_over(self.may_be_alone)
    }

    fn waits_on(&self) -> (&Shared, &Word) {
        (self.core.0, self.core.ring().room())
    }
}

impl<T> Unpin for Put<'_, T> {}

impl<T: Serialize> Future for Put<'_, T> {
    type Output = Result<(), PutError<T>>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let arm = &mut self.0;
        arm.poll(context)
            .map(|()| arm.pending.outcome.take().expect("done"))
    }
}

is_an_arm!(Get<T: DeserializeOwned>, Put<T: Serialize>);

impl<T> Queue<T> {
    /// Takes the oldest item, as an async task or as an arm of a
    /// [`Select`](crate::queue::Select); see [`get`](Self::get).
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bingfa::process::{self, Queue};
    ///
    /// let (numbers, words) = (Queue::unbounded()?, Queue::<String>::unbounded()?);
    /// let child = process::spawn(numbers.clone(), |numbers: Queue<u32>| {
    ///     numbers.put(7).unwrap();
    /// });
    /// let what = bingfa::select! {
    ///     get(numbers) -> number => format!("number {}", number.unwrap()),
    ///     get(words) -> word => format!("word {}", word.unwrap()),
    ///     timeout(Duration::from_secs(60)) => "nothing".to_owned(),
    /// };
    /// assert_eq!(what, "number 7");
    /// child.join().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_async(&self) -> Get<'_, T>
    where
        T: DeserializeOwned,
    {
        Get::new(self.core(), false)
    }

    /// Puts `item` into the queue, as an async task or as an arm of a
    /// [`Select`](crate::queue::Select); see [`put`](Self::put).
    ///
    /// # Panics
    /// In a plain `fork()` of a process that has the handle.
    pub fn put_async(&self, item: T) -> Put<'_, T>
    where
        T: Serialize,
    {
        Put::new(self.core(), item, false)
    }
}
