//! [`Selecting`]: a [`Select`](super::Select) for `async` code.
//!
//! A future can be forgotten, and what it borrowed used on, so here the arms are pinned: an arm
//! that was left in the line stays where it is until its own drop takes it out.
//!
//! # Invariants
//! 1. While `waits` is set the arms may be in the line with its claim; a claim that was
//!    forgotten with its `Selecting` is never freed.

#![allow(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Selectable;
use super::select::somewhere;
use crate::park::select::{Claim, Ticket};
use crate::park::wait::Unparker;

/// Waits, in `async` code, for the first of several things, and gives its number.
///
/// Its arms are the futures that [`Select`](super::Select) takes, pinned; the one that has won is
/// ready, so to await it gives its outcome at once. Among several that are ready a random
/// one is taken.
///
/// # Cancellation
/// Dropped before it is ready it has done nothing, or an arm has been served, which then is
/// ready.
///
/// # Examples
/// ```
/// use std::pin::pin;
/// use bingfa::queue::{Queue, Selecting};
///
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// #     match pin!(future).poll(&mut context) {
/// #         std::task::Poll::Ready(output) => output,
/// #         std::task::Poll::Pending => panic!("has to wait"),
/// #     }
/// # }
/// let (numbers, words) = (Queue::<i32>::unbounded(), Queue::unbounded());
/// words.put("one").unwrap();
/// block_on(async {
///     let (mut number, mut word) = (pin!(numbers.get_async()), pin!(words.get_async()));
///     let won = Selecting::new().arm(number.as_mut()).arm(word.as_mut()).await;
///     assert_eq!(won, 1);
///     assert_eq!(word.await, Ok("one"));
/// });
/// ```
#[derive(Default)]
#[must_use = "a future does nothing until it is awaited"]
pub struct Selecting<'a> {
    arms: Vec<Pin<&'a mut dyn Selectable>>,
    /// While it is in the lines. In a box, as the lines point to it.
    waits: Option<Box<Claim>>,
}

impl fmt::Debug for Selecting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selecting({} arms)", self.arms.len())
    }
}

impl<'a> Selecting<'a> {
    /// Without arms: it is never ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an arm. Arms are numbered from 0 in the order in which they are added.
    pub fn arm(mut self, arm: Pin<&'a mut dyn Selectable>) -> Self {
        self.arms.push(arm);
        self
    }

    /// The arm, as its trait wants it.
    fn at(&mut self, index: usize) -> &mut dyn Selectable {
        // SAFETY: the methods of the arms (all of this crate) move nothing out of them.
        unsafe { self.arms[index].as_mut().get_unchecked_mut() }
    }

    /// Leaves the lines; gives the arm that was served there.
    fn leave(&mut self) -> Option<usize> {
        let claim = self.waits.take()?;
        claim.give_up();
        let mut won = None;
        for index in 0..self.arms.len() {
            if self.at(index).delist() {
                won = Some(index);
            }
        }
        won
    }

    /// Gets in line with all arms; false if one of them is ready by now.
    fn enter(&mut self, unparker: &Unparker) -> bool {
        let claim = Box::new(Claim::new());
        let all = (0..self.arms.len()).all(|index| {
            self.at(index).enlist(&Ticket {
                claim: &claim,
                arm: index as u32,
                unparker,
            })
        });
        self.waits = Some(claim);
        all
    }
}

impl Future for Selecting<'_> {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        let unparker = Unparker::Async(context.waker().clone());
        let count = self.arms.len();
        for _ in 0..2 {
            if let Some(arm) = self.leave() {
                return Poll::Ready(arm);
            }
            let start = somewhere(count);
            let mut order = (start..count).chain(0..start);
            if let Some(arm) = order.find(|&index| self.at(index).attempt()) {
                return Poll::Ready(arm);
            }
            if self.enter(&unparker) {
                return Poll::Pending;
            }
        }
        // One looks ready and is not: somebody was faster, or is stopped with what it needs.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Selecting<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
