//! What an exchange holds, and each step that it takes with its locks held.
//!
//! A queue has two ends, each with a lock and a store of its own: puts add to the *tail*, gets
//! take from the *head*, and when that is empty the two stores change places. So a put and
//! a get do not disturb each other, as long as nobody waits (Michael and Scott's two-lock
//! queue, 1996, with whole stores in place of nodes). Everything else needs both locks: it
//! works on [`All`]. Where order or capacity forbid two stores, all is in the tail.
//!
//! # Invariants
//! 1. Gets wait only while there is no item and no put waits; so a put that finds one hands
//!    its item over, and whoever waited longest is served.
//! 2. Puts wait only while there is no room. (One exception: an item whose comparison
//!    panicked stays with its put, which is told to try again itself.)
//! 3. No get or put waits in a closed exchange.
//! 4. Code of users runs here only as `Ord` (which may panic, see [`Order`]); items are
//!    dropped and waiters woken by the callers, when the lock is open again.

#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::time::Duration;

use super::error::{GetError, PutError, TooManyDone};
use super::node::{End, Hold, List, Node, finish, inside};
use super::order::Order;
use crate::park::Pause;
use crate::park::select::Claim;

/// The end where items come in, and everything that needs both locks.
pub(super) struct Tail<O: Order, W> {
    items: O,
    /// How many may be put with the tail's lock alone: 0 unless only items matter.
    room: usize,
    /// How large `room` was when it was said last.
    granted: usize,
    /// How many had been put with the tail's lock alone by then.
    passed: u64,
    pause: Pause,
    capacity: usize,
    closed: bool,
    /// Closed, and what was in it was thrown away.
    drained: bool,
    gets: List<O::Item, W>,
    puts: List<O::Item, W>,
    joins: List<O::Item, W>,
    /// Items put and not yet reported done.
    unfinished: usize,
}

// SAFETY: the lists point to nodes that others own, but touch them only under the lock, and
// what the nodes hold (items, whom to wake) may be sent.
unsafe impl<O: Order + Send, W: Send> Send for Tail<O, W> where O::Item: Send {}

/// The end where items go out.
pub(super) struct Head<O: Order> {
    items: O,
    /// Whether gets may take with the head's lock alone: no put waits.
    open: bool,
    /// How many items have come over from the tail.
    passed: u64,
    pause: Pause,
}

/// Both ends, locked; without a head if all is in the tail.
pub(super) struct All<'a, O: Order, W> {
    pub(super) tail: &'a mut Tail<O, W>,
    pub(super) head: Option<&'a mut Head<O>>,
}

/// In which line a node waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Gets,
    Puts,
    Joins,
}

/// What became of what was tried.
pub(super) enum Entered<W> {
    /// It is done, and somebody may be to be woken.
    Served(Option<W>),
    /// The exchange is closed; the item of a put is still in its slot.
    Closed,
    /// It has to wait.
    Waits,
}

impl<O: Order> Head<O> {
    pub(super) fn new() -> Self {
        Self {
            items: O::default(),
            open: true,
            passed: 0,
            pause: Pause::default(),
        }
    }

    /// For how long a thread that has found nothing lets items gather: then more of them come
    /// over from the tail at once, for which both ends have to stop.
    pub(super) fn pause(&self) -> Duration {
        self.pause.next(self.passed)
    }

    /// Takes an item, if that concerns nobody else.
    #[inline(always)]
    pub(super) fn get(&mut self) -> Option<O::Item> {
        if self.open { self.items.pop() } else { None }
    }
}

impl<O: Order, W> Tail<O, W> {
    /// `None`: without a limit.
    pub(super) fn new(capacity: Option<usize>) -> Self {
        Self {
            items: O::default(),
            room: 0,
            capacity: capacity.unwrap_or(usize::MAX),
            closed: false,
            drained: false,
            gets: List::new(),
            puts: List::new(),
            joins: List::new(),
            unfinished: 0,
            granted: 0,
            passed: 0,
            pause: Pause::default(),
        }
    }

    /// For how long a thread that has found no room lets it grow, likewise.
    pub(super) fn pause(&self) -> Duration {
        self.pause.next(self.passed_by_now())
    }

    fn passed_by_now(&self) -> u64 {
        self.passed + (self.granted - self.room) as u64
    }

    /// Puts the item, if that concerns nobody else; else it stays in the slot.
    #[inline(always)]
    pub(super) fn put(&mut self, slot: &mut Option<O::Item>) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.unfinished += 1;
        self.items.push(slot);
        true
    }
}

impl<O: Order, W> Deref for All<'_, O, W> {
    type Target = Tail<O, W>;

    fn deref(&self) -> &Tail<O, W> {
        self.tail
    }
}

impl<O: Order, W> DerefMut for All<'_, O, W> {
    fn deref_mut(&mut self) -> &mut Tail<O, W> {
        self.tail
    }
}

impl<O: Order, W: Hold> All<'_, O, W> {
    /// Says what each end may do alone, from what is there now.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        let quiet = self.puts.is_empty() && self.gets.is_empty() && !self.closed;
        let room = self.capacity.saturating_sub(self.len());
        self.passed = self.passed_by_now();
        self.room = if quiet && self.head.is_some() {
            room
        } else {
            0
        };
        self.granted = self.room;
        let open = self.puts.is_empty();
        if let Some(head) = &mut self.head {
            head.open = open;
        }
    }

    /// The next item of both stores.
    #[inline(always)]
    fn pop(&mut self) -> Option<O::Item> {
        match &mut self.head {
            None => self.tail.items.pop(),
            Some(head) => head.items.pop().or_else(|| {
                std::mem::swap(&mut head.items, &mut self.tail.items);
                head.passed += head.items.count() as u64;
                head.items.pop()
            }),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.count() + self.head.as_ref().map_or(0, |head| head.items.count())
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Gives the item to a waiting get or stores it; gives the one to wake, if any. On an
    /// error, or if a comparison panics, the item stays in the slot.
    #[inline(always)]
    pub(super) fn put(&mut self, slot: &mut Option<O::Item>) -> Result<Option<W>, PutError<()>> {
        if self.closed {
            return Err(PutError::Closed(()));
        }
        if !self.gets.is_empty()
            // SAFETY: called with the lock held, as all of this.
            && let Some(get) = unsafe { self.gets.pop() }
        {
            self.unfinished += 1;
            // SAFETY: just unlinked by us.
            return Ok(unsafe {
                inside(get, |inside| inside.item = slot.take());
                finish(get, End::Served, W::hold)
            });
        }
        if self.len() >= self.capacity {
            return Err(PutError::Full(()));
        }
        self.items.push(slot);
        self.unfinished += 1;
        Ok(None)
    }

    /// Takes the item that is next; also gives the one to wake, if any.
    #[inline(always)]
    pub(super) fn get(&mut self) -> Result<(O::Item, Option<W>), GetError> {
        if let Some(item) = self.pop() {
            let woken = if self.puts.is_empty() {
                None
            } else {
                self.move_in()
            };
            return Ok((item, woken));
        }
        // SAFETY: the lock is held.
        if let Some(put) = unsafe { self.puts.pop() } {
            self.unfinished += 1;
            // SAFETY: just unlinked by us.
            let (item, woken) = unsafe {
                (
                    inside(put, |inside| inside.item.take()),
                    finish(put, End::Served, W::hold),
                )
            };
            return Ok((item.expect("a put waits with its item"), woken));
        }
        Err(if self.closed {
            GetError::Closed
        } else {
            GetError::Empty
        })
    }

    /// What a waiter of that line wants, if it can be done now.
    #[inline(always)]
    pub(super) fn attempt(&mut self, line: Line, slot: &mut Option<O::Item>) -> Entered<W> {
        match line {
            Line::Puts => match self.put(slot) {
                Ok(woken) => Entered::Served(woken),
                Err(PutError::Closed(())) => Entered::Closed,
                Err(PutError::Full(())) => Entered::Waits,
            },
            Line::Gets => match self.get() {
                Ok((item, woken)) => {
                    *slot = Some(item);
                    Entered::Served(woken)
                }
                Err(GetError::Closed) => Entered::Closed,
                Err(GetError::Empty) => Entered::Waits,
            },
            Line::Joins if self.unfinished == 0 => Entered::Served(None),
            Line::Joins => Entered::Waits,
        }
    }

    /// There is room: the item of the put that has waited longest comes in.
    #[cold]
    fn move_in(&mut self) -> Option<W> {
        if self.len() >= self.capacity {
            return None; // a rendezvous, or one item too many was brought back
        }
        // SAFETY: the lock is held.
        let put = unsafe { self.puts.pop() }?;
        let items = &mut self.items;
        // SAFETY: just unlinked by us.
        let moved = unsafe {
            inside(put, |inside| {
                catch_unwind(AssertUnwindSafe(|| items.push(&mut inside.item)))
            })
        };
        let end = if moved.is_ok() {
            self.unfinished += 1;
            End::Served
        } else {
            End::Retry
        };
        // SAFETY: as above.
        unsafe { finish(put, end, W::hold) }
    }

    /// Brings back an item that was given to a get which is not there to take it. If it has
    /// no place any more it stays in the slot, to be dropped.
    pub(super) fn restore(&mut self, slot: &mut Option<O::Item>) -> Vec<W> {
        if self.drained {
            return self.done().unwrap_or_default();
        }
        // SAFETY: the lock is held.
        if let Some(get) = unsafe { self.gets.pop() } {
            // SAFETY: just unlinked by us.
            let woken = unsafe {
                inside(get, |inside| inside.item = slot.take());
                finish(get, End::Served, W::hold)
            };
            return woken.into_iter().collect();
        }
        if let Some(item) = slot.take() {
            match &mut self.head {
                Some(head) => head.items.restore(item),
                None => self.items.restore(item),
            }
        }
        Vec::new()
    }

    /// Reports one item done; gives those to wake.
    pub(super) fn done(&mut self) -> Result<Vec<W>, TooManyDone> {
        if self.unfinished == 0 {
            return Err(TooManyDone(()));
        }
        self.unfinished -= 1;
        Ok(self.end_joins())
    }

    fn end_joins(&mut self) -> Vec<W> {
        let mut woken = Vec::new();
        if self.unfinished == 0 {
            Self::end_all(&mut self.tail.joins, End::Served, &mut woken);
        }
        woken
    }

    fn end_all(list: &mut List<O::Item, W>, end: End, woken: &mut Vec<W>) {
        // SAFETY: the lock is held; the node was just unlinked by us.
        while let Some(node) = unsafe { list.pop() } {
            // SAFETY: as above.
            woken.extend(unsafe { finish(node, end, W::own) });
        }
    }

    /// Lets nothing in any more, and with `drain` nothing out either: gives what was in it,
    /// to be dropped, and those to wake.
    pub(super) fn close(&mut self, drain: bool) -> ([O; 2], Vec<W>) {
        self.closed = true;
        let mut woken = Vec::new();
        Self::end_all(&mut self.tail.puts, End::Closed, &mut woken);
        Self::end_all(&mut self.tail.gets, End::Closed, &mut woken);
        let mut drained = [O::default(), O::default()];
        if drain {
            self.drained = true;
            let count = self.len();
            if let Some(head) = &mut self.head {
                drained[0] = std::mem::take(&mut head.items);
            }
            drained[1] = std::mem::take(&mut self.items);
            // Some may have been reported before they were taken.
            self.unfinished = self.unfinished.saturating_sub(count);
            woken.extend(self.end_joins());
        }
        (drained, woken)
    }

    fn list(&mut self, line: Line) -> &mut List<O::Item, W> {
        match line {
            Line::Gets => &mut self.gets,
            Line::Puts => &mut self.puts,
            Line::Joins => &mut self.joins,
        }
    }

    /// The node waits from now on.
    ///
    /// # Safety
    /// The node's invariant 2 holds for it, and it is linked nowhere.
    pub(super) unsafe fn enlist(&mut self, line: Line, node: NonNull<Node<O::Item, W>>) {
        // SAFETY: the caller's duties; the lock is held.
        unsafe { self.list(line).push(node) };
    }

    /// The node waits no longer; false: somebody has ended its wait (or taken it out because
    /// its claim was lost).
    ///
    /// # Safety
    /// The node was enlisted in that line.
    pub(super) unsafe fn delist(&mut self, line: Line, node: NonNull<Node<O::Item, W>>) -> bool {
        // SAFETY: the caller's node; the lock is held.
        let linked = unsafe { inside(node, |inside| inside.linked) };
        if linked {
            // SAFETY: linked, in the list that the caller says.
            unsafe { self.list(line).remove(node) };
        }
        linked
    }

    /// Whether an attempt would do something now, for somebody who waits with `own`.
    pub(super) fn is_ready(&self, line: Line, own: &Claim) -> bool {
        match line {
            Line::Gets => {
                // SAFETY: the lock is held.
                let offered = || unsafe { self.puts.has_other_than(own) };
                self.closed || self.len() > 0 || offered()
            }
            Line::Puts => {
                // SAFETY: the lock is held.
                let wanted = || unsafe { self.gets.has_other_than(own) };
                self.closed || self.len() < self.capacity || wanted()
            }
            Line::Joins => self.unfinished == 0,
        }
    }
}
