//! Shared objects: what lies in the arena for several processes, until the last lets go.
//!
//! An object is a block: a [`Head`], and its payload, which is whatever its [`Kind`] says. The
//! head has a list of holds, one for each process that has handles, with the numbers
//! that die with that process:
//! - `handles`: in that process;
//! - `promised`: in a message for that process alone (a child's arguments, a child's result);
//! - `sent`: in messages from that process for anybody. If it ends its hold becomes nobody's, and
//!   keeps the object in memory for whoever finds those.
//!
//! # Invariants
//! 1. An entry of the table is 0 (never used), odd (free: twice the next free entry, plus 1) or
//!    the offset of an object that exists.
//! 2. A hold is in the list of its object as long as one of its numbers is not 0; the holds of
//!    a peer go when it is buried. An object exists as long as it has holds. So a [`Handle`] is
//!    valid: its process has a hold, and cannot be buried while it runs.
#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use serde::{Deserialize, Serialize};

use super::arena::{Arena, ArenaGuard, OBJECTS};
use super::family::Family;
use super::hold::Hold;
use super::kind::Kind;
use super::later;
use super::peers::PeerId;
use super::ring::Ring;

/// How many objects there may be.
pub(crate) const MOST: u64 = 1 << 20;

/// The table's own words, in the arena's header.
#[repr(C)]
pub(super) struct Table {
    /// How many entries were ever used.
    len: AtomicU64,
    /// The first free one, plus 1.
    free: AtomicU64,
    /// The last serial number.
    serial: AtomicU64,
}

/// What every object begins with.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Head {
    /// Never used twice; 0 once the object is gone.
    serial: AtomicU64,
    kind: Kind,
    index: u32,
    /// Of the payload, in bytes.
    len: u64,
    /// What the payload is: decided by those who make and use it.
    layout: u64,
    /// The first hold, or 0.
    holds: AtomicU64,
}

const HEAD: u64 = size_of::<Head>() as u64;

/// An object while the arena's lock is held, or a handle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    arena: &'a Arena,
    at: u64,
    head: &'a Head,
}

impl<'a> Object<'a> {
    pub(super) fn payload(&self) -> NonNull<u8> {
        self.arena.at(self.at + HEAD)
    }

    pub(super) fn kind(&self) -> Kind {
        self.head.kind
    }

    /// The word that leads to the first hold.
    pub(super) fn holds(&self) -> &'a AtomicU64 {
        &self.head.holds
    }
}

impl Table {
    /// How many entries there are.
    pub(super) fn len(&self) -> u64 {
        self.len.load(Acquire) // pairs with the Release in `new_entry`
    }
}

/// An object in a message.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    family: u64,
    index: u32,
    serial: u64,
    /// Whose number it counts in: `promised` if it is the receiver, else `sent`.
    owner: PeerId,
}

impl Token {
    /// Entry, serial number, and whose number it counts in.
    pub(super) fn parts(self) -> (u32, u64, u64) {
        (self.index, self.serial, self.owner.to_bits())
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// This process and no other.
    Peer(PeerId),
    /// Whoever gets it.
    Anyone,
}

/// The right of this process to an object. Counted once, however often it is shared here.
#[derive(Debug)]
pub(crate) struct Handle {
    family: &'static Family,
    at: u64,
    head: NonNull<Head>,
    payload: NonNull<u8>,
    hold: NonNull<Hold>,
}

// SAFETY: what it points to is shared memory, made for that (invariant 2 of the arena).
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

fn gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "bingfa: the shared object does not exist any more: the message that named it was \
         decoded before, or was meant for another process",
    )
}

impl Handle {
    /// Makes an object, and the first handle. `init` gets the payload, which is all zeroes.
    ///
    /// # Errors
    /// If there is no memory, or `init` fails; as of [`Arena::lock`].
    pub(crate) fn create(
        family: &'static Family,
        kind: Kind,
        layout: u64,
        len: u64,
        init: impl FnOnce(NonNull<u8>) -> io::Result<()>,
    ) -> io::Result<Handle> {
        let total = len.checked_add(HEAD).ok_or(io::ErrorKind::OutOfMemory)?;
        let arena = family.arena();
        let at = arena.allocate(total)?;
        arena.clear(at, total);
        let (place, payload) = (arena.at::<Head>(at), arena.at::<u8>(at + HEAD));
        let made = init(payload).and_then(|()| {
            let arena = arena.lock()?;
            let hold = arena.new_hold(family.me())?;
            Ok((hold, arena.new_entry()?, arena))
        });
        let (hold, index, arena) = match made {
            Ok(made) => made,
            Err(error) => {
                arena.free(at, total);
                return Err(error);
            }
        };
        let serial = arena.object_table().serial.load(Relaxed) + 1;
        arena.object_table().serial.store(serial, Relaxed);
        let head = Head {
            serial: AtomicU64::new(serial),
            kind,
            index,
            len,
            layout,
            holds: AtomicU64::new(hold),
        };
        // SAFETY: allocated above, with room for it, and nobody else's.
        unsafe { place.write(head) };
        let hold = arena.at::<Hold>(hold);
        // SAFETY: made above.
        unsafe { hold.as_ref() }.handles.store(1, Relaxed);
        arena.entry(index.into()).store(at, Release); // from here on it exists
        Ok(Handle {
            family,
            at,
            head: place,
            payload,
            hold,
        })
    }

    fn object(&self) -> Object<'_> {
        Object {
            arena: self.family.arena(),
            at: self.at,
            // SAFETY: it exists (invariant 2).
            head: unsafe { self.head.as_ref() },
        }
    }

    pub(crate) fn family(&self) -> &'static Family {
        self.family
    }

    pub(crate) fn payload(&self) -> NonNull<u8> {
        self.payload
    }

    /// This process's part in it.
    pub(crate) fn hold(&self) -> &Hold {
        // SAFETY: ours, as long as we have handles (invariant 2).
        unsafe { self.hold.as_ref() }
    }

    /// Its entry in the table, and its serial number.
    pub(crate) fn name(&self) -> (u32, u64) {
        let head = self.object().head;
        (head.index, head.serial.load(Relaxed))
    }

    /// Whether another process has it, or may come to have it by a message. `None`: somebody
    /// holds the arena up; ask again, as nobody may come who tells.
    pub(crate) fn has_others(&self) -> Option<bool> {
        let arena = self.family.arena().lock_briefly()?;
        let others = |hold: &Hold| {
            let is_mine = hold.peer() == self.family.me();
            let is_orphan = hold.peer() == PeerId::NONE;
            !is_orphan && !hold.is_empty() && (!is_mine || hold.sent.load(Relaxed) > 0)
        };
        Some(arena.holds(&self.object()).any(|(_, hold)| others(hold)))
    }

    /// For queues: how many of its items are not done; `None` as of
    /// [`has_others`](Self::has_others).
    pub(crate) fn unfinished(&self, ring: &Ring) -> Option<u64> {
        let arena = self.family.arena().lock_briefly()?;
        let object = self.object();
        Some(ring.unfinished(&arena, arena.holds(&object).map(|(_, hold)| hold)))
    }

    /// The length of the payload.
    pub(crate) fn len(&self) -> u64 {
        self.object().head.len
    }

    /// Its name in a message to `to`.
    ///
    /// # Errors
    /// If the receiver has ended, there is no memory, or as of [`Arena::lock`].
    pub(crate) fn export(&self, to: Destination) -> io::Result<Token> {
        let arena = self.family.arena().lock()?;
        let (owner, number) = match to {
            Destination::Peer(peer) => {
                let hold = arena.hold_of(&self.object(), peer)?;
                (peer, &hold.promised)
            }
            // SAFETY: ours, as long as we have handles (invariant 2).
            Destination::Anyone => (self.family.me(), unsafe { &self.hold.as_ref().sent }),
        };
        number.store(number.load(Relaxed) + 1, Relaxed);
        Ok(Token {
            family: self.family.arena().id(),
            index: self.object().head.index,
            serial: self.object().head.serial.load(Relaxed),
            owner,
        })
    }

    /// The handle that a message brings, which lies in this block, if it lies in one.
    ///
    /// # Errors
    /// If it is of another family, or is gone, or is not what is expected; as of [`Arena::lock`].
    pub(crate) fn import(
        family: &'static Family,
        token: Token,
        block: Option<u64>,
        kind: Kind,
        layout: u64,
    ) -> io::Result<Handle> {
        if token.family != family.arena().id() {
            return Err(io::Error::other(
                "bingfa: the shared object belongs to processes that have no common ancestor \
                 with this one",
            ));
        }
        let arena = family.arena().lock()?;
        let object = arena.find(token.index, token.serial)?.ok_or_else(gone)?;
        let is_right = object.head.kind == kind && object.head.layout == layout;
        let own = arena.hold_of(&object, family.me())?;
        // First ours, so that it does not go away in between.
        own.handles.store(own.handles.load(Relaxed) + 1, Relaxed);
        if let Some(block) = block {
            arena.unpack(block, token);
        }
        let claimed = arena.claim(&object, token.owner, family.me());
        arena.settle(object);
        let handle = Handle {
            family,
            at: object.at,
            head: NonNull::from(object.head),
            payload: object.payload(),
            hold: NonNull::from(own),
        };
        drop(arena);
        if !claimed {
            return Err(gone());
        }
        if !is_right {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "bingfa: the shared object is of another type",
            ));
        }
        Ok(handle)
    }

    /// Takes back what `export` gave out: the message has not gone, or nobody will read it.
    pub(crate) fn recall(family: &'static Family, token: Token) {
        let recall = move || {
            let arena = family.arena().lock_briefly();
            arena.is_some_and(|arena| {
                arena.recall(token, family.me());
                true
            })
        };
        if !recall() {
            later::until_done(recall);
        }
    }
}

impl Handle {
    /// What its drop does, once. False: somebody holds the arena up.
    fn let_go(&self) -> bool {
        let Some(arena) = self.family.arena().lock_briefly() else {
            return false;
        };
        // SAFETY: ours (invariant 2).
        let handles = unsafe { &self.hold.as_ref().handles };
        handles.store(handles.load(Relaxed) - 1, Relaxed);
        let object = Object {
            arena: self.family.arena(),
            at: self.at,
            // SAFETY: it exists until `settle`.
            head: unsafe { self.head.as_ref() },
        };
        arena.settle(object);
        true
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.family.arena().forked() {
            return; // its copy in the other process counts
        }
        if !self.let_go() {
            let this = ManuallyDrop::new(Handle { ..*self });
            later::until_done(move || this.let_go());
        }
    }
}

impl Arena {
    /// The entry of the table with this number, which was counted.
    pub(super) fn entry(&self, index: u64) -> &AtomicU64 {
        // SAFETY: in the table, and committed before it was counted.
        unsafe { self.at::<AtomicU64>(OBJECTS + index * 8).as_ref() }
    }
}

impl ArenaGuard<'_> {
    /// An entry that nobody uses.
    fn new_entry(&self) -> io::Result<u32> {
        let table = self.object_table();
        let free = table.free.load(Relaxed);
        if free != 0 {
            table
                .free
                .store(self.entry(free - 1).load(Relaxed) >> 1, Relaxed);
            return Ok((free - 1) as u32);
        }
        let index = table.len.load(Relaxed);
        if index == MOST {
            return Err(io::Error::other(format!(
                "bingfa: more than {MOST} shared objects"
            )));
        }
        self.commit_entry(OBJECTS + index * 8)?;
        table.len.store(index + 1, Release);
        Ok(index as u32)
    }

    /// A handle in a message from this process to anybody goes, as the message does.
    pub(super) fn release_sent(&self, index: u32, serial: u64, owner: u64) {
        if let Ok(Some(object)) = self.find(index, serial) {
            self.claim(&object, PeerId::from_bits(owner), PeerId::NONE);
            object.kind().lose_message(self, &object);
            self.settle(object);
        }
    }

    fn recall(&self, token: Token, me: PeerId) {
        if let Ok(Some(object)) = self.find(token.index, token.serial)
            && let Some(hold) = self.holder(&object, token.owner)
        {
            let promised = token.owner != me;
            let number = if promised { &hold.promised } else { &hold.sent };
            number.store(number.load(Relaxed).saturating_sub(1), Relaxed);
            object.kind().lose_message(self, &object);
            self.settle(object);
        }
    }

    pub(super) fn object(&self, at: u64) -> io::Result<Object<'_>> {
        let head = self.reach::<Head>(at)?;
        Ok(Object {
            arena: self,
            at,
            // SAFETY: the caller has the offset from the table (invariant 1).
            head: unsafe { head.as_ref() },
        })
    }

    fn find(&self, index: u32, serial: u64) -> io::Result<Option<Object<'_>>> {
        if u64::from(index) >= self.object_table().len() {
            return Ok(None);
        }
        match self.entry(index.into()).load(Acquire) {
            at if at == 0 || at % 2 == 1 => Ok(None),
            at => {
                let object = self.object(at)?;
                Ok((object.head.serial.load(Relaxed) == serial).then_some(object))
            }
        }
    }

    /// The queue of this name, if it exists.
    pub(super) fn queue(&self, index: u32, serial: u64) -> Option<&Ring> {
        let object = self.find(index, serial).ok()??;
        // SAFETY: the payload of this kind is a ring.
        (object.head.kind == Kind::Queue)
            .then(|| unsafe { object.payload().cast::<Ring>().as_ref() })
    }

    /// The object cannot be found any more.
    pub(super) fn remove_entry(&self, object: &Object<'_>) {
        let index = u64::from(object.head.index);
        object.head.serial.store(0, Relaxed);
        let table = self.object_table();
        self.entry(index)
            .store(table.free.load(Relaxed) << 1 | 1, Release);
        table.free.store(index + 1, Relaxed);
    }

    /// Gives its memory back.
    pub(super) fn free_object(&self, object: Object<'_>) {
        self.free(object.at, object.head.len + HEAD);
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Gone;
    use super::*;

    /// How many objects exist.
    fn objects(family: &Family) -> usize {
        let arena = family.arena();
        (0..arena.object_table().len())
            .filter(|index| {
                let at = arena.entry(*index).load(Acquire);
                at != 0 && at.is_multiple_of(2)
            })
            .count()
    }

    fn make(family: &'static Family) -> Handle {
        Handle::create(family, Kind::Memory, 5, 100, |_| Ok(())).unwrap()
    }

    fn import(family: &'static Family, token: Token) -> io::Result<Handle> {
        Handle::import(family, token, None, Kind::Memory, 5)
    }

    fn kill(by: &Family, whom: &Family) {
        let gone = Gone {
            peer: whom.me(),
            pid: 1,
            lives: false,
            status: None,
        };
        assert!(by.arena().lock().unwrap().bury(&gone));
    }

    #[test]
    fn an_object_lives_as_long_as_somebody_has_it() {
        let [parent, child] = Family::of_two().unwrap();
        let made = make(parent);
        let token = made.export(Destination::Peer(child.me())).unwrap();
        drop(made);
        assert_eq!(objects(child), 1); // in the message
        let theirs = import(child, token).unwrap();
        assert!(import(child, token).is_err()); // it is one handle only
        let back = theirs.export(Destination::Anyone).unwrap();
        drop(theirs);
        let ours = import(parent, back).unwrap();
        assert_eq!(ours.len(), 100);
        drop(ours);
        assert_eq!(objects(parent), 0);
        assert!(import(parent, back).is_err());
        // Its entry and its memory are used again, and its name is not.
        let next = make(child);
        assert!(import(parent, back).is_err());
        drop(next);
    }

    #[test]
    fn what_a_message_holds_dies_with_its_receiver_and_not_with_its_sender() {
        let [parent, child] = Family::of_two().unwrap();
        let made = make(child);
        let for_parent = made.export(Destination::Peer(parent.me())).unwrap();
        let for_anyone = made.export(Destination::Anyone).unwrap();
        std::mem::forget(made);
        kill(parent, child);
        let first = import(parent, for_parent).unwrap();
        drop(first);
        assert_eq!(objects(parent), 1);
        let second = import(parent, for_anyone).unwrap();
        assert!(import(parent, for_anyone).is_err());
        // The dead one gets nothing.
        assert!(second.export(Destination::Peer(child.me())).is_err());
        drop(second);
        assert_eq!(objects(parent), 0);

        let [parent, child] = Family::of_two().unwrap();
        let made = make(parent);
        let lost = made.export(Destination::Peer(child.me())).unwrap();
        drop(made);
        kill(parent, child);
        assert_eq!(objects(parent), 0);
        assert!(import(parent, lost).is_err());
    }

    #[test]
    fn a_message_that_does_not_go_holds_nothing() {
        let [parent, child] = Family::of_two().unwrap();
        let made = make(parent);
        for to in [Destination::Peer(child.me()), Destination::Anyone] {
            let token = made.export(to).unwrap();
            Handle::recall(parent, token);
            assert!(import(child, token).is_err());
        }
        drop(made);
        assert_eq!(objects(parent), 0);
    }

    #[test]
    fn an_object_is_not_taken_for_another() {
        let [parent, child] = Family::of_two().unwrap();
        let made = make(parent);
        let token = made.export(Destination::Anyone).unwrap();
        let error = Handle::import(child, token, None, Kind::Locked, 5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let token = made.export(Destination::Anyone).unwrap();
        let error = Handle::import(child, token, None, Kind::Memory, 6).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let [stranger, _] = Family::of_two().unwrap();
        let token = made.export(Destination::Anyone).unwrap();
        let error = import(stranger, token).unwrap_err().to_string();
        assert!(error.contains("no common ancestor"), "{error}");
    }

    #[test]
    fn a_queue_goes_that_has_got_no_memory_yet() {
        let [parent, child] = Family::of_two().unwrap();
        let make = |family| {
            let len = size_of::<Ring>() as u64;
            // SAFETY: the payload has room for it, and is nobody else's yet.
            let init = |payload: NonNull<u8>| unsafe { Ring::init(payload.cast(), 1) };
            Handle::create(family, Kind::Queue, 5, len, init).unwrap()
        };
        drop(make(parent)); // its first segment could not be had
        assert_eq!(objects(parent), 0);
        std::mem::forget(make(child)); // killed before it could ask for it
        kill(parent, child);
        assert_eq!(objects(parent), 0);
    }

    #[test]
    fn children_that_nobody_has_heard_of_are_buried_with_their_parent() {
        let [parent, child] = Family::of_two().unwrap();
        kill(child, parent);
        assert!(!parent.arena().is_live(child.me()));
    }
}
