//! Who looks after whom in a family of processes that share memory.
//!
//! Each process watches its children, whose ends its keeper sees anyway, and, once it shares
//! something, its parent. Whoever sees one end buries it and from then on watches all that
//! have lost their parent. So there is always somebody who hears of an end at once: from
//! a dead process that nobody has buried, go up to the nearest ancestor that lives. It, or the
//! children of what is dead in between, have seen that die.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Once;

use super::keeper;
use crate::shm::family::{self, Family};
use crate::shm::kind::Gone;
use crate::shm::later;
use crate::shm::peers::{PeerId, Whereabouts};
use crate::sys::pidfd;

/// This process's family, for an object to be shared in.
///
/// # Errors
/// As [`family::family`].
pub(super) fn family() -> io::Result<&'static Family> {
    static WATCH: Once = Once::new();
    let family = family::family()?;
    WATCH.call_once(|| watch(family, family.parent()));
    Ok(family)
}

/// The place of a child to be; it is given back if there will be no child.
#[derive(Debug)]
pub(super) struct Seat {
    family: &'static Family,
    peer: PeerId,
    pid: i32,
}

impl Seat {
    /// `None` if this process cannot have a family, or no more: then its child is on its own.
    ///
    /// # Errors
    /// If a process is stopped in the way.
    pub(super) fn reserve() -> io::Result<Option<Seat>> {
        let seat = || -> io::Result<Seat> {
            let family = family::family()?;
            let peer = family.arena().lock()?.reserve(family.me())?;
            Ok(Seat {
                family,
                peer,
                pid: 0,
            })
        };
        match seat() {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            seat => Ok(seat.ok()),
        }
    }

    pub(super) fn family(&self) -> &'static Family {
        self.family
    }

    pub(super) fn peer(&self) -> PeerId {
        self.peer
    }

    /// The child exists.
    pub(super) fn take(&mut self, pid: i32) {
        self.pid = pid;
        let arena = self.family.arena();
        if arena.whereabouts(self.peer).is_none() {
            arena.set_whereabouts(self.peer, Whereabouts { pid, start: 0 });
        }
    }

    /// The child has ended.
    pub(super) fn leave(&self, status: Option<ExitStatus>) {
        bury(
            self.family,
            &Gone {
                peer: self.peer,
                pid: self.pid,
                lives: false,
                status: status.map(ExitStatusExt::into_raw),
            },
        );
    }
}

impl Drop for Seat {
    /// Without a child, or after its end, when this does nothing.
    fn drop(&mut self) {
        if !self.family.arena().forked() && self.pid == 0 {
            self.leave(None);
        }
    }
}

/// A process that is watched here has ended.
pub(super) fn ended(peer: PeerId, pid: i32) {
    if let Some(family) = family::joined() {
        bury(
            family,
            &Gone {
                peer,
                pid,
                lives: false,
                status: None,
            },
        );
    }
}

fn bury(family: &'static Family, gone: &Gone) {
    if family.arena().forked() {
        return;
    }
    let gone = *gone;
    let try_it = move || {
        let arena = family.arena().lock_briefly();
        let buried = arena.is_some_and(|arena| arena.bury(&gone));
        watch_orphans(family);
        buried
    };
    // Somebody may be stopped with a lock that is needed, or there is no address space.
    if !try_it() {
        later::until_done(try_it);
    }
}

fn watch_orphans(family: &'static Family) {
    for orphan in family.arena().orphans() {
        if orphan != family.me() {
            watch(family, orphan);
        }
    }
}

/// Has the keeper watch a process that is no child of this one, or buries it if it has ended.
fn watch(family: &'static Family, peer: PeerId) {
    let Some(at) = family.arena().whereabouts(peer) else {
        return; // nobody, or nobody any more
    };
    if keeper::watches(peer) {
        return;
    }
    match pidfd::open(at.pid) {
        // The number could be another's by now. (Once it is open, it stays whose it is.) If the
        // kernel does not tell, for want of descriptors or of a /proc, it counts as its own:
        // better watched for nothing than buried alive.
        Ok(process)
            if at.start == 0 || pidfd::start_time(at.pid).is_none_or(|other| other == at.start) =>
        {
            // Fails without descriptors or memory: then others see its end, as a rule.
            let _ = keeper::watch_peer(peer, at.pid, process);
        }
        Err(error) if !pidfd::is_no_such_process(&error) => {}
        _ => ended(peer, at.pid),
    }
}
