//! The family that this process belongs to.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::arena::Arena;
use super::peers::{PeerId, Whereabouts};
use crate::sys::kept::Kept;
use crate::sys::pidfd;

/// A family, as one of its processes sees it.
#[derive(Debug)]
pub(crate) struct Family {
    arena: Arena,
    me: PeerId,
    parent: PeerId,
}

/// What a child is given of its family.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) file: Kept,
    pub(crate) me: PeerId,
    pub(crate) parent: PeerId,
}

static FAMILY: OnceLock<Family> = OnceLock::new();
static INHERITANCE: Mutex<Option<Inheritance>> = Mutex::new(None);

/// This process was spawned: called once, before it asks for its family.
pub(crate) fn inherit(inheritance: Inheritance) {
    *INHERITANCE.lock().unwrap_or_else(PoisonError::into_inner) = Some(inheritance);
}

/// This process's family, which it founds if it was not spawned into one.
///
/// # Errors
/// If there is no memory, no descriptor or no address space for it, or this process is a fork
/// of a member; as of [`Arena::lock`].
pub(crate) fn family() -> io::Result<&'static Family> {
    let family = match FAMILY.get() {
        Some(family) => family,
        None => join()?,
    };
    if family.arena.forked() {
        return Err(io::Error::other(
            "bingfa: this process is a fork() of one that shares memory with others; only that \
             one can use it",
        ));
    }
    Ok(family)
}

fn join() -> io::Result<&'static Family> {
    let mut inheritance = INHERITANCE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(family) = FAMILY.get() {
        return Ok(family);
    }
    let family = match &*inheritance {
        Some(Inheritance { file, me, parent }) => Family {
            arena: Arena::open(file.get()?.try_clone()?)?,
            me: *me,
            parent: *parent,
        },
        None => {
            // Random enough to tell families apart.
            let arena = Arena::create(RandomState::new().build_hasher().finish())?;
            let me = arena.lock()?.reserve(PeerId::NONE)?;
            Family {
                arena,
                me,
                parent: PeerId::NONE,
            }
        }
    };
    let pid = std::process::id() as i32;
    let start = pidfd::start_time(pid).unwrap_or(0);
    let arena = family.arena.lock()?;
    if !arena.is_live(family.me) {
        return Err(io::Error::other(
            "bingfa: this process counts as dead in its family: it was taken for its parent, or \
             the parent ended before it was made",
        ));
    }
    arena.set_whereabouts(family.me, Whereabouts { pid, start });
    drop(arena);
    *inheritance = None; // its descriptor
    Ok(FAMILY.get_or_init(|| family))
}

/// The family, if this process has joined it.
pub(crate) fn joined() -> Option<&'static Family> {
    FAMILY.get().filter(|family| !family.arena.forked())
}

impl Family {
    /// A family of two, for tests within one process.
    #[cfg(test)]
    pub(super) fn of_two() -> io::Result<[&'static Family; 2]> {
        let parent = Arena::create(RandomState::new().build_hasher().finish())?;
        let me = parent.lock()?.reserve(PeerId::NONE)?;
        let child = parent.lock()?.reserve(me)?;
        let file = parent.file()?.try_clone_to_owned()?;
        let none = PeerId::NONE;
        let both = [(parent, me, none), (Arena::open(file)?, child, me)];
        Ok(both.map(|(arena, me, parent)| &*Box::leak(Box::new(Family { arena, me, parent }))))
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    pub(crate) fn me(&self) -> PeerId {
        self.me
    }

    pub(crate) fn parent(&self) -> PeerId {
        self.parent
    }
}
