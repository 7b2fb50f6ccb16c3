//! How many of a queue's items are done, for those who join.
//!
//! The hold of each process counts the items that it has taken, and those of them that are done.
//! When it ends, or lets go, what is in its hands is **abandoned**: it counts as done, and is
//! told to whoever joins. The numbers of a process go from its hold into the **book** of the
//! departed by one store, of the number of entries, as the book lies there twice. An undertaker
//! that is killed before it has cleared the hold leaves a book that names it, and then the
//! numbers in that hold count no more.
//!
//! # Invariants
//! 1. `books[n % 2]`, with `n` the number of entries, is the book, and not written while that is
//!    the number. It is written under the arena's lock.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    fence,
};

use super::arena::{Arena, ArenaGuard};
use super::hold::Hold;
use super::kind::Gone;
use super::word::Word;

/// Zeroed memory is that of a queue in which nothing ever was.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Tasks {
    /// On which one joins.
    pub(crate) joined: Word,
    /// About how many items are done, as a reason to look exactly. Too large does no harm; it is
    /// too small only while somebody is about to count one in, or was killed then and is about
    /// to be buried.
    done: AtomicU64,
    /// So many abandoned items were told of.
    reported: AtomicU64,
    entries: AtomicU64,
    books: [Book; 2],
}

#[repr(C)]
#[derive(Debug)]
struct Book {
    /// The items that were done by, or in the hands of, processes that have let go.
    settled: AtomicU64,
    /// How many of those were in their hands, and the last process that had some.
    abandoned: AtomicU64,
    abandoner: AtomicU64,
    /// The hold whose numbers are in it and are not cleared yet, or 0.
    hold: AtomicU64,
}

/// What a book says.
#[derive(Clone, Copy, Debug)]
struct Entry {
    settled: u64,
    abandoned: u64,
    abandoner: u64,
    hold: u64,
}

/// How often to count again what others change meanwhile; under the arena's lock.
const RECOUNTS: u32 = 20;

/// More than any queue ever had, and far from the end of the numbers.
const PLENTY: u64 = u64::MAX / 2;

impl Tasks {
    /// One of the items that the process of this hold has taken is done, of `put` that there
    /// ever were. False: it has none in hand.
    pub(super) fn done(&self, arena: &Arena, hold: &Hold, put: impl FnOnce() -> u64) -> bool {
        // Release: pairs with the Acquire in `finished`.
        let finished = hold.finished.fetch_update(Release, Relaxed, |finished| {
            (finished < hold.taken.load(Relaxed)).then_some(finished + 1)
        });
        if finished.is_err() {
            return false;
        }
        // Acquire, so that what others have counted before comes before the wake-up; Release:
        // pairs with that, and with the Acquire in `recount`.
        if self.done.fetch_add(1, AcqRel) + 1 >= put() {
            self.joined.wake(|flags| arena.ring(flags));
        }
        true
    }

    /// Whether it may be that all of so many are done.
    pub(super) fn may_all_be_done(&self, put: u64) -> bool {
        self.done.load(Relaxed) >= put
    }

    /// About how many of so many items are not done.
    pub(super) fn about_unfinished(&self, put: u64) -> u64 {
        put.saturating_sub(self.done.load(Relaxed))
    }

    /// How many of so many items are not done; `holds` are those of the queue.
    pub(super) fn unfinished<'a>(
        &self,
        arena: &ArenaGuard<'_>,
        put: u64,
        holds: impl Iterator<Item = &'a Hold>,
    ) -> u64 {
        put.saturating_sub(self.finished(arena, holds))
    }

    fn finished<'a>(&self, arena: &ArenaGuard<'_>, holds: impl Iterator<Item = &'a Hold>) -> u64 {
        let book = self.book();
        let counts = holds.filter(|hold| book.hold == 0 || arena.offset(*hold) != book.hold);
        // Acquire: pairs with the Release in `done`.
        let finished: u64 = counts.map(|hold| hold.finished.load(Acquire)).sum();
        finished + book.settled
    }

    /// How many items were abandoned, ever.
    pub(crate) fn abandoned(&self) -> u64 {
        self.book().abandoned
    }

    /// What is abandoned and was told to nobody: from which number on.
    pub(crate) fn reported(&self) -> u64 {
        self.reported.load(Relaxed)
    }

    /// So many abandoned items have been told of; the process that had the last of them.
    pub(crate) fn report(&self, abandoned: u64) -> u32 {
        self.reported.fetch_max(abandoned, Relaxed);
        self.book().abandoner as u32
    }

    fn book(&self) -> Entry {
        loop {
            // Acquire: pairs with the Release in `enter`.
            let entries = self.entries.load(Acquire);
            let book = &self.books[(entries % 2) as usize];
            let entry = Entry {
                settled: book.settled.load(Relaxed),
                abandoned: book.abandoned.load(Relaxed),
                abandoner: book.abandoner.load(Relaxed),
                hold: book.hold.load(Relaxed),
            };
            fence(Acquire); // pairs with the one in `enter`: what was read is older than the number
            if self.entries.load(Relaxed) == entries {
                return entry;
            }
        }
    }

    fn enter(&self, entry: Entry) {
        let entries = self.entries.load(Relaxed) + 1;
        let book = &self.books[(entries % 2) as usize];
        fence(Release); // pairs with the one in `book`
        book.settled.store(entry.settled, Relaxed);
        book.abandoned.store(entry.abandoned, Relaxed);
        book.abandoner.store(entry.abandoner, Relaxed);
        book.hold.store(entry.hold, Relaxed);
        self.entries.store(entries, Release); // pairs with the Acquire in `book`
    }

    /// A process has let go of the queue, or has ended. May be done again if whoever did it was
    /// killed; what it has taken must be known.
    pub(super) fn depart<'a, I: Iterator<Item = &'a Hold>>(
        &self,
        arena: &ArenaGuard<'_>,
        hold: &Hold,
        holds: impl Fn() -> I,
        gone: &Gone,
    ) {
        let at = arena.offset(hold);
        let mut book = self.book();
        if book.hold != at {
            let (in_hand, taken) = (hold.in_hand(), hold.taken.load(Relaxed));
            book.settled += taken;
            book.abandoned += in_hand;
            if in_hand > 0 {
                book.abandoner = u64::from(gone.pid.unsigned_abs());
            }
            self.enter(Entry { hold: at, ..book });
        }
        hold.taken.store(0, Relaxed);
        hold.finished.store(0, Relaxed);
        self.enter(Entry { hold: 0, ..book });
        self.recount(|| self.finished(arena, holds()));
    }

    /// Makes good what a dead process has left in `done`, which others count on in meanwhile: it
    /// may be too large then, but not too small, or the last one would wake nobody.
    fn recount(&self, finished: impl Fn() -> u64) {
        for _ in 0..RECOUNTS {
            // Who has done one counts it as finished first. So all that are counted in `seen`
            // are in the sum; what is in the sum only will be counted in once more.
            let seen = self.done.load(Acquire); // pairs with the Release in `done`
            let finished = finished();
            // AcqRel: so that who sees this has seen what was before it.
            let set = self.done.compare_exchange(seen, finished, AcqRel, Relaxed);
            if set.is_ok() {
                return;
            }
        }
        // Too busy to count: too large for good. Those who join are woken more often, and look.
        self.done.fetch_max(PLENTY, AcqRel);
    }
}

#[cfg(test)]
#[allow(unsafe_code)] // objects of its own make, with payloads that it knows
mod tests {
    use super::super::block::{LONGEST_INLINE, Message};
    use super::super::family::Family;
    use super::super::kind::Kind;
    use super::super::object::{Destination, Handle};
    use super::super::ring::{Put, Received, Ring};
    use super::*;
    use std::mem::MaybeUninit;
    use std::ptr::NonNull;

    /// A queue of two processes, with their handles.
    fn queue() -> [(&'static Family, Handle); 2] {
        let [parent, child] = Family::of_two().unwrap();
        let len = size_of::<Ring>() as u64;
        // SAFETY: the payload has room for it, and is nobody else's yet.
        let init = |payload: NonNull<u8>| unsafe { Ring::init(payload.cast(), 100) };
        let ours = Handle::create(parent, Kind::Queue, 5, len, init).unwrap();
        ring(&ours).open(parent.arena()).unwrap();
        let token = ours.export(Destination::Peer(child.me())).unwrap();
        let theirs = Handle::import(child, token, None, Kind::Queue, 5).unwrap();
        [(parent, ours), (child, theirs)]
    }

    fn ring(handle: &Handle) -> &Ring {
        // SAFETY: `queue` makes only such.
        unsafe { handle.payload().cast().as_ref() }
    }

    fn put(family: &Family, handle: &Handle) {
        let put = ring(handle).try_put(family.arena(), Message::Short(b"item"));
        assert_eq!(put.unwrap(), Put::Done);
    }

    fn get(family: &Family, handle: &Handle) {
        let mut buffer = [const { MaybeUninit::uninit() }; LONGEST_INLINE];
        let got = ring(handle).try_get(family.arena(), handle.hold(), &mut buffer);
        assert_eq!(got.unwrap(), Received::Short(4));
    }

    fn kill(by: &Family, whom: &Family) {
        let gone = Gone {
            peer: whom.me(),
            pid: 77,
            lives: false,
            status: None,
        };
        assert!(by.arena().lock().unwrap().bury(&gone));
    }

    #[test]
    fn an_item_is_known_that_somebody_took_who_was_killed_before_it_could_count_it() {
        let [(parent, ours), (child, theirs)] = queue();
        (0..3).for_each(|_| put(parent, &ours));
        get(child, &theirs);
        // Killed with the lock in its hands, between the commit and its note.
        theirs.hold().taken.store(0, Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(ring(&theirs).lock_head_briefly(child.arena())));
        });
        // Others take on, before anybody buries it.
        get(parent, &ours);
        kill(parent, child);
        assert_eq!(ring(&ours).tasks().abandoned(), 1);
        assert_eq!(ours.unfinished(ring(&ours)), Some(2));
        std::mem::forget(theirs); // the process is gone
    }

    #[test]
    fn an_undertaker_that_is_killed_buries_nobody_twice() {
        let [(parent, ours), (child, theirs)] = queue();
        (0..3).for_each(|_| put(parent, &ours));
        (0..2).for_each(|_| get(child, &theirs));
        assert!(ring(&ours).task_done(child.arena(), theirs.hold()));
        // Killed after it had entered the dead one in the book.
        let tasks = ring(&ours).tasks();
        tasks.enter(Entry {
            settled: 2,
            abandoned: 1,
            abandoner: 77,
            hold: child.arena().offset(theirs.hold()),
        });
        assert_eq!(ours.unfinished(ring(&ours)), Some(1));
        kill(parent, child);
        assert_eq!((tasks.abandoned(), tasks.report(1)), (1, 77));
        assert_eq!(ours.unfinished(ring(&ours)), Some(1));
        std::mem::forget(theirs);
    }

    #[test]
    fn whoever_is_stopped_with_a_lock_holds_up_nobody_else() {
        let [(parent, ours), (child, theirs)] = queue();
        (0..2).for_each(|_| put(parent, &ours));
        get(child, &theirs);
        let (stopped, go) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _lock = ring(&ours).lock_head_briefly(parent.arena());
                stopped.wait();
                go.wait();
            });
            stopped.wait();
            drop(theirs); // comes back, and the process has it no more
            assert_eq!(ours.has_others(), Some(false));
            let gone = Gone {
                peer: child.me(),
                pid: 77,
                lives: false,
                status: None,
            };
            assert!(!parent.arena().lock().unwrap().bury(&gone));
            assert!(parent.arena().is_live(child.me()));
            go.wait();
        });
        kill(parent, child); // now it can be done
        assert_eq!(ring(&ours).tasks().abandoned(), 1);
        assert_eq!(ours.unfinished(ring(&ours)), Some(1));
    }

    #[test]
    fn there_may_be_more_items_than_fit_into_32_bits() {
        let [(parent, ours), (child, theirs)] = queue();
        put(parent, &ours);
        let before = u64::from(u32::MAX);
        theirs.hold().taken.store(before, Relaxed);
        theirs.hold().finished.store(before, Relaxed);
        get(child, &theirs);
        assert_eq!(theirs.hold().in_hand(), 1);
        assert!(ring(&theirs).task_done(child.arena(), theirs.hold()));
        assert!(!ring(&theirs).task_done(child.arena(), theirs.hold()));
        kill(parent, child);
        assert_eq!(ring(&ours).tasks().abandoned(), 0);
        std::mem::forget(theirs);
    }
}
