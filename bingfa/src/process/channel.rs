//! `channel`: a queue between processes with counted ends.
//!
//! # Invariants
//! 1. The payload of an end's object is an [`End`], written before anybody else has it.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::queue::{Core, FOREVER, Wait};
use super::queue_async::{Get, Put};
use super::queue_error::{GetError, PutError};
use super::shared::Shared;
use crate::shm::end::End;
use crate::shm::kind::Kind;
use crate::shm::last::LastGone;
use crate::shm::object::Token;

/// Makes a channel between processes, with room for `capacity` items (`None`: for as many as
/// there is memory for).
///
/// Both ends are handles that can be cloned and sent to other processes. When all senders have
/// gone, however their processes ended, receivers get what is left, then
/// [`GetError::Closed`]; when all receivers have, senders get [`PutError::Closed`] at once. Both
/// name the process that was the last. (A [`Queue`](super::Queue) has one kind of handle, which
/// does both.)
///
/// # Errors
/// `InvalidInput` if the capacity is 0; else if there is no memory, or no descriptor for the
/// first of a family's shared objects.
///
/// # Examples
/// ```
/// use bingfa::process::{self, Sender};
///
/// let (sender, receiver) = process::channel(None)?;
/// let children: Vec<_> = (0..3u32)
///     .map(|n| {
///         process::spawn((n, sender.clone()), |(n, sender): (u32, Sender<u32>)| {
///             sender.send(n * n).unwrap();
///         })
///     })
///     .collect();
/// drop(sender);
/// let mut squares: Vec<u32> = receiver.iter().collect();
/// squares.sort_unstable();
/// assert_eq!(squares, [0, 1, 4]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel<T: 'static>(capacity: Option<usize>) -> io::Result<(Sender<T>, Receiver<T>)> {
    let queue = Core::create::<Channel<T>>(capacity)?;
    let sender = end::<Sender<T>>(&queue, true)?;
    let receiver = end::<Receiver<T>>(&queue, false)?;
    Ok((
        Sender {
            queue: queue.clone(),
            end: sender,
            items: PhantomData,
        },
        Receiver {
            queue,
            end: receiver,
            items: PhantomData,
        },
    ))
}

/// What the queue of a channel is, to tell it from others.
struct Channel<T>(PhantomData<T>);

fn end<E: 'static>(queue: &Shared, sends: bool) -> io::Result<Shared> {
    let (index, serial) = queue.handle().name();
    Shared::create::<E>(Kind::End, size_of::<End>() as u64, |payload| {
        // SAFETY: the payload has room for it, and is nobody else's yet.
        unsafe {
            payload.cast::<End>().write(End {
                index,
                serial,
                sends,
                last: LastGone::default(),
            });
        }
        Ok(())
    })
}

/// The end of a [`channel`] that sends.
pub struct Sender<T> {
    queue: Shared,
    end: Shared,
    items: PhantomData<fn(T)>,
}

/// The end of a [`channel`] that receives. Clones take turns: each item goes to one.
pub struct Receiver<T> {
    queue: Shared,
    end: Shared,
    items: PhantomData<fn() -> T>,
}

impl<T: Serialize> Sender<T> {
    /// Sends `item`; waits for room.
    ///
    /// # Errors
    /// With the item: [`PutError::Closed`] if there is no receiver any more;
    /// [`PutError::Refused`] if it cannot be encoded, or there is no memory.
    ///
    /// # Cancellation
    /// A cancelled waiter drops its item, which was not sent.
    #[track_caller]
    pub fn send(&self, item: T) -> Result<(), PutError<T>> {
        Core(&self.queue).put(item, FOREVER, true)
    }

    /// Sends `item` if there is room now.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`PutError::Full`].
    pub fn try_send(&self, item: T) -> Result<(), PutError<T>> {
        Core(&self.queue).put(item, Wait::No, true)
    }

    /// Sends `item`; waits for room for at most `limit`.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`PutError::Full`] if it was too late.
    ///
    /// # Cancellation
    /// As for [`send`](Self::send).
    #[track_caller]
    pub fn send_timeout(&self, item: T, limit: Duration) -> Result<(), PutError<T>> {
        Core(&self.queue).put(item, Wait::within(limit), true)
    }

    /// Sends `item`, as an async task or as an arm of a [`Select`](crate::queue::Select); see
    /// [`send`](Self::send).
    pub fn send_async(&self, item: T) -> Put<'_, T> {
        Put::new(Core(&self.queue), item, true)
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Takes the oldest item; waits for one.
    ///
    /// # Errors
    /// [`GetError::Closed`] if none is left and there is no sender any more;
    /// [`GetError::Invalid`] if the item cannot be decoded.
    ///
    /// # Cancellation
    /// A cancelled waiter takes nothing.
    #[track_caller]
    pub fn recv(&self) -> Result<T, GetError> {
        Core(&self.queue).get(FOREVER, true)
    }

    /// Takes the oldest item, if there is one.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`GetError::Empty`].
    pub fn try_recv(&self) -> Result<T, GetError> {
        Core(&self.queue).get(Wait::No, true)
    }

    /// Takes the oldest item; waits for one for at most `limit`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`GetError::Empty`] if it was too late.
    ///
    /// # Cancellation
    /// As for [`recv`](Self::recv).
    #[track_caller]
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, GetError> {
        Core(&self.queue).get(Wait::within(limit), true)
    }

    /// Takes the oldest item, as an async task or as an arm of a
    /// [`Select`](crate::queue::Select); see [`recv`](Self::recv).
    pub fn recv_async(&self) -> Get<'_, T> {
        Get::new(Core(&self.queue), true)
    }

    /// The items as they come, until there is no sender any more or one cannot be decoded.
    ///
    /// # Cancellation
    /// Who is cancelled while it waits for the next one has taken nothing.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }
}

/// What both ends can do.
macro_rules! an_end {
    ($end:ident, $name:literal) => {
        impl<T> $end<T> {
            /// How many items are under way, at this moment.
            #[must_use]
            pub fn len(&self) -> usize {
                Core(&self.queue).ring().len() as usize
            }

            /// Whether no item is under way, at this moment.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }

        impl<T> Clone for $end<T> {
            fn clone(&self) -> Self {
                Self {
                    queue: self.queue.clone(),
                    end: self.end.clone(),
                    items: PhantomData,
                }
            }
        }

        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)
                    .field("len", &self.len())
                    .finish_non_exhaustive()
            }
        }

        impl<T> Serialize for $end<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let queue = self.queue.export::<Self, S::Error>()?;
                let end = self.end.export::<Self, S::Error>()?;
                (queue, end).serialize(serializer)
            }
        }

        impl<'de, T: 'static> Deserialize<'de> for $end<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (queue, end) = <(Token, Token)>::deserialize(deserializer)?;
                Ok(Self {
                    queue: Shared::import::<Channel<T>, D::Error>(Kind::Queue, queue)?,
                    end: Shared::import::<Self, D::Error>(Kind::End, end)?,
                    items: PhantomData,
                })
            }
        }
    };
}

an_end!(Sender, "Sender");
an_end!(Receiver, "Receiver");
