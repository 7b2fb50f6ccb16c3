//! `loom` models of deadlocks: however the waits that close a circle fall together, one of
//! them finds it and gives up (in the models, as with `Deadlock::Panic`), and one only. If nobody
//! does, loom reports that nothing goes on.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::JoinHandle;

use super::models::{Protected, carrier};
use super::raw_condvar::{RawCondvar, Waited};
use super::raw_mutex::{Locked, RawMutex};
use crate::park::model::Carrier;

/// The bits of its address that choose the bucket are the same in every run.
#[repr(align(128))]
struct Place(Protected);

#[repr(C, align(256))]
struct Table {
    places: [Place; 3],
    changed: RawCondvar,
}

impl Table {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            places: [(); 3].map(|()| {
                Place(Protected {
                    raw: RawMutex::new(),
                    data: UnsafeCell::new(0),
                })
            }),
            changed: RawCondvar::new(),
        })
    }

    fn lock(&self, place: usize, me: &Carrier) -> Locked {
        self.places[place].0.lock(me, None)
    }

    fn unlock(&self, place: usize, me: &Carrier) {
        self.places[place].0.count_and_unlock(me.id());
    }

    /// Locks the one, then the other; true: it gave up the second, because of a deadlock.
    fn lock_both(&self, me: &Carrier, first: usize, second: usize) -> bool {
        assert_eq!(self.lock(first, me), Locked::Yes);
        let gave_up = self.lock(second, me) == Locked::Interrupted;
        if !gave_up {
            self.unlock(second, me);
        }
        self.unlock(first, me);
        gave_up
    }
}

/// [`Table::lock_both`] by a carrier of its own.
fn eater(id: u64, table: &Arc<Table>, first: usize, second: usize) -> JoinHandle<bool> {
    let table = table.clone();
    carrier(id, move |me| table.lock_both(me, first, second)).1
}

/// Of three carriers, fewer changes between them are tried than of two.
fn of_three(f: impl Fn(&Carrier) + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let me = Carrier::new(1);
        me.enter();
        f(&me);
    });
}

#[test]
fn of_two_who_lock_crosswise_one_gives_up() {
    loom::model(|| {
        let table = Table::new();
        let me = Carrier::new(1);
        me.enter();
        let other = eater(2, &table, 1, 0);
        let gave_up = table.lock_both(&me, 0, 1);
        assert!(!(other.join().unwrap() && gave_up), "one is enough");
    });
}

#[test]
fn of_three_in_a_ring_one_gives_up() {
    of_three(|me| {
        let table = Table::new();
        // Two of the ids share a slot, and two of the locks a bucket.
        let others = [eater(2, &table, 1, 2), eater(3, &table, 2, 0)];
        let mut gave_up = usize::from(table.lock_both(me, 0, 1));
        for other in others {
            gave_up += usize::from(other.join().unwrap());
        }
        assert!(gave_up <= 1, "{gave_up} gave up");
    });
}

/// The main one holds 0 while it waits, with 1, at the condition variable; another takes 1 and
/// wants 0, and a third notifies at any moment after that.
#[test]
fn a_wait_that_turns_into_one_for_the_mutex_is_seen() {
    of_three(|me| {
        let table = Table::new();
        assert_eq!(table.lock(0, me), Locked::Yes);
        assert_eq!(table.lock(1, me), Locked::Yes);
        let taken = table.clone();
        let (_, taker) = carrier(2, move |me| {
            // Who has the mutex knows that the wait has begun.
            assert_eq!(taken.lock(1, me), Locked::Yes);
            let notified = taken.clone();
            let (_, notifier) = carrier(3, move |_| notified.changed.notify_one());
            let gave_up = taken.lock(0, me) == Locked::Interrupted;
            if !gave_up {
                taken.unlock(0, me);
            }
            taken.unlock(1, me);
            notifier.join().unwrap();
            gave_up
        });
        let waited = table.changed.wait(&table.places[1].0.raw, 1, None);
        if waited == Waited::Notified {
            table.unlock(1, me);
        }
        table.unlock(0, me);
        let gave_up = waited == Waited::Interrupted;
        assert_ne!(taker.join().unwrap(), gave_up, "one is enough, and needed");
    });
}
