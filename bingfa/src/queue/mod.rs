//! Queues between threads, coroutines and async tasks, in any mix.
//!
//! | | order | room |
//! |---|---|---|
//! | [`Queue`] | first in, first out | bounded or not |
//! | [`LifoQueue`] | last in, first out | bounded or not |
//! | [`PriorityQueue`] | smallest first, in order of arrival among equals | bounded or not |
//! | [`SimpleQueue`] | first in, first out | unbounded; no counting of tasks |
//!
//! [`bounded`], [`unbounded`] and [`rendezvous`] make *channels*: queues with counted ends, which
//! close by themselves when all [`Sender`]s or all [`Receiver`]s are gone.
//!
//! Queues are shared by reference or in an [`Arc`](std::sync::Arc), and any number of carriers
//! may put and get. A `put` into a full queue waits for room, a `get` from an empty one for an
//! item; those who wait are served in the order in which they came, and an item goes from hand
//! to hand when somebody waits for it. Every wait has forms with a time limit, without
//! waiting (`try_`) and for `async` code (`_async`).
//!
//! Closing a queue ends it for all: puts fail at once, gets when it is empty. So consumers
//! loop over a queue, and nobody has to count end markers:
//!
//! ```
//! use bingfa::{coroutine, queue::Queue};
//!
//! let buns = Queue::bounded(3);
//! let eaten = coroutine::scope(|s| {
//!     let guests: Vec<_> = (0..2).map(|_| s.spawn(|| buns.iter().count())).collect();
//!     for bun in 0..10 {
//!         buns.put(bun).unwrap();
//!     }
//!     buns.close();
//!     guests.into_iter().map(|guest| guest.join().unwrap()).sum::<usize>()
//! });
//! assert_eq!(eaten, 10);
//! ```
//!
//! To wait for the first of several things there is [`select!`](crate::select), and [`Select`]
//! beneath it.
//!
//! # Nothing is lost
//! An item is in the queue, or with exactly one consumer, or given back in an error. That
//! holds also when a waiter is cancelled, or its time is up, at the very moment at which it is
//! served: then it counts as served. A `put` that is cancelled before its item was taken
//! drops the item; one whose time is up gives it back.
//!
//! # Python's names
//! `maxsize=0` means unbounded in Python; here capacity 0 is a *rendezvous*, where a `put`
//! waits until its item is taken, and [`unbounded`](Queue::unbounded) queues have no capacity.
//! `qsize`, `empty` and `full` are [`len`](Queue::len), [`is_empty`](Queue::is_empty) and
//! [`is_full`](Queue::is_full), and as momentary as there.

mod channel;
mod queues;
mod select;
mod select_macro;
mod selecting;
mod simple;

pub use crate::sync::exchange::{
    Closed, Fifo, Get, GetError, Join, Lifo, Order, Priority, Put, PutError, SendTimeoutError,
    TooManyDone, Unfinished,
};
pub use channel::{
    Receiver, ReceiverIntoIter, ReceiverIter, ReceiverTryIter, Receiving, Sender, Sending,
    WeakSender, bounded, rendezvous, unbounded,
};
pub use queues::{IntoIter, Iter, LifoQueue, PriorityQueue, Queue, QueueOf, TryIter};
pub use select::{Select, Selectable};
pub use selecting::Selecting;
pub use simple::SimpleQueue;
