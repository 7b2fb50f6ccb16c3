//! What objects there are, and what becomes of one when a process that has it ends.
#![allow(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::arena::ArenaGuard;
use super::barrier::Barrier;
use super::condvar::Condvar;
use super::end::End;
use super::event::Event;
use super::hold::Hold;
use super::lock::Lock;
use super::object::Object;
use super::peers::PeerId;
use super::permits::Permits;
use super::ring::Ring;
use super::rwlock::RwLock;

/// What lies behind the head of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
pub(crate) enum Kind {
    /// Bytes.
    Memory = 1,
    /// A [`Lock`], and what it protects.
    Locked = 2,
    /// A [`Ring`].
    Queue = 3,
    /// An [`End`] of a queue, which tells that when nobody has it any more.
    End = 4,
    /// An [`Event`].
    Event = 5,
    /// A [`Condvar`].
    Condvar = 6,
    /// A [`Barrier`].
    Barrier = 7,
    /// [`Permits`].
    Semaphore = 8,
    /// A [`RwLock`], and what it protects.
    RwLock = 9,
}

/// A process that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) peer: PeerId,
    pub(crate) pid: i32,
    /// It has not ended, but let go of an object.
    pub(crate) lives: bool,
    /// As `wait` gives it; `None` if that is not known here.
    pub(crate) status: Option<i32>,
}

/// The payload of an object.
///
/// # Safety
/// It begins with a `T`, as its kind says.
unsafe fn payload<'a, T>(object: &Object<'a>) -> &'a T {
    // SAFETY: the caller's; the object stays while the arena's lock is held.
    unsafe { object.payload().cast::<T>().as_ref() }
}

impl Kind {
    /// A process has ended, or let go of the object otherwise (then it is not `dead`): its part
    /// in it is undone, and all are woken who wait for it. (One that was killed may have been
    /// about to do that.) May be done again. False: somebody is stopped with a lock.
    pub(super) fn depart(
        self,
        arena: &ArenaGuard<'_>,
        object: &Object<'_>,
        hold: &Hold,
        gone: &Gone,
    ) -> bool {
        // SAFETY: each kind says what its payload begins with.
        unsafe {
            match self {
                Kind::Memory => {}
                Kind::Locked => payload::<Lock>(object).bury(arena, gone),
                Kind::Queue => {
                    let holds = || arena.holds(object).map(|(_, hold)| hold);
                    return payload::<Ring>(object).depart(arena, hold, holds, gone);
                }
                Kind::End => payload::<End>(object).depart(arena, gone),
                Kind::Event => payload::<Event>(object).bury(arena),
                Kind::Condvar => payload::<Condvar>(object).bury(arena, gone),
                Kind::Barrier => payload::<Barrier>(object).bury(arena, hold, gone),
                Kind::Semaphore => return payload::<Permits>(object).depart(arena, hold, gone),
                Kind::RwLock => return payload::<RwLock>(object).depart(arena, hold, gone),
            }
        }
        true
    }

    /// A message goes that nobody has read, and with it a handle that somebody could have had.
    pub(super) fn lose_message(self, arena: &ArenaGuard<'_>, object: &Object<'_>) {
        if self == Kind::Queue {
            // SAFETY: as in `depart`.
            unsafe { payload::<Ring>(object) }.rouse(arena); // some may be alone now
        }
    }

    /// The object goes: so does what else belongs to it.
    pub(super) fn end(self, arena: &ArenaGuard<'_>, object: &Object<'_>) {
        // SAFETY: as in `depart`.
        unsafe {
            match self {
                Kind::Queue => payload::<Ring>(object).end(arena),
                Kind::End => payload::<End>(object).end(arena),
                _ => {}
            }
        }
    }
}
