//! A queue that a manager keeps: a state under a lock that is held for a few instructions, and
//! conditions.

use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;
use std::time::Instant;

use crate::process::wire::Encoded;
use crate::sync::{Condvar, Event, Mutex, MutexGuard};

/// How long an operation may wait, in the manager.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Now,
    Then(Instant),
    Forever,
}

impl Until {
    /// Waits until `event` is set; false: it was not in time.
    pub(super) fn wait(self, event: &Event) -> bool {
        match self {
            Until::Now => event.is_set(),
            Until::Then(deadline) => event.wait_deadline(deadline),
            Until::Forever => {
                event.wait();
                true
            }
        }
    }
}

/// Why an operation did not do what it was asked to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    TooLate,
    /// The object was removed.
    Gone,
    /// Somebody died while he was responsible: who, and for what.
    Abandoned(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // nothing under it panics half-way
}

/// Waits until `ready` gives something.
fn wait<'a, T, R>(
    condition: &Condvar,
    mut guard: MutexGuard<'a, T>,
    until: Until,
    mut ready: impl FnMut(&mut T) -> Option<Result<R, Failure>>,
) -> (MutexGuard<'a, T>, Result<R, Failure>) {
    let mut late = false;
    loop {
        if let Some(result) = ready(&mut guard) {
            return (guard, result);
        }
        if late {
            return (guard, Err(Failure::TooLate));
        }
        match until {
            Until::Now => late = true,
            Until::Forever => {
                guard = condition
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            Until::Then(deadline) => {
                let waited = condition.wait_deadline(guard, deadline);
                let (back, timed) = waited.unwrap_or_else(PoisonError::into_inner);
                guard = back;
                late = timed.timed_out();
            }
        }
    }
}

/// A queue.
pub(super) struct Store {
    capacity: u64,
    state: Mutex<Items>,
    more: Condvar,
    room: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct Items {
    items: VecDeque<Encoded>,
    unfinished: u64,
    /// How many items each client has taken and not reported done.
    taken: HashMap<u64, u64>,
    /// Who has left unfinished items behind.
    abandoned: Option<String>,
    gone: bool,
}

impl Items {
    fn unless_gone<R>(&self, f: impl FnOnce() -> Option<R>) -> Option<Result<R, Failure>> {
        if self.gone {
            return Some(Err(Failure::Gone));
        }
        f().map(Ok)
    }
}

impl Store {
    pub(super) fn new(capacity: Option<u64>) -> Store {
        Store {
            capacity: capacity.unwrap_or(u64::MAX),
            state: Mutex::default(),
            more: Condvar::new(),
            room: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// Puts in what `item` holds; it is left there in case of failure.
    pub(super) fn put(&self, item: &mut Option<Encoded>, until: Until) -> Result<(), Failure> {
        let (mut state, room) = wait(&self.room, lock(&self.state), until, |state| {
            let room = (state.items.len() as u64) < self.capacity;
            state.unless_gone(|| room.then_some(()))
        });
        room?;
        state.items.extend(item.take());
        state.unfinished += 1;
        self.more.notify_one();
        Ok(())
    }

    /// Takes an item out for this client.
    pub(super) fn get(&self, client: u64, until: Until) -> Result<Encoded, Failure> {
        let (mut state, item) = wait(&self.more, lock(&self.state), until, |state| {
            let item = state.items.pop_front();
            state.unless_gone(|| item)
        });
        if item.is_ok() {
            *state.taken.entry(client).or_default() += 1;
            self.room.notify_one();
        }
        item
    }

    /// Puts an item that the client never got where it was.
    pub(super) fn give_back(&self, client: u64, item: Encoded) {
        let mut state = lock(&self.state);
        state.items.push_front(item);
        state.less_taken(client);
        self.more.notify_one();
    }

    /// False: there are no unfinished ones.
    pub(super) fn task_done(&self, client: u64) -> bool {
        let mut state = lock(&self.state);
        if state.unfinished == 0 {
            return false;
        }
        state.unfinished -= 1;
        state.less_taken(client);
        if state.unfinished == 0 {
            self.done.notify_all();
        }
        true
    }

    pub(super) fn join(&self, until: Until) -> Result<(), Failure> {
        let (state, joined) = wait(&self.done, lock(&self.state), until, |state| {
            let done = state.unfinished == 0;
            match &state.abandoned {
                Some(who) if !done => Some(Err(Failure::Abandoned(who.clone()))),
                _ => state.unless_gone(|| done.then_some(())),
            }
        });
        drop(state);
        joined
    }

    pub(super) fn len(&self) -> u64 {
        lock(&self.state).items.len() as u64
    }

    pub(super) fn unfinished(&self) -> u64 {
        lock(&self.state).unfinished
    }

    /// A client has ended: what it had taken will not be reported done.
    pub(super) fn leave(&self, client: u64, who: &str) {
        let mut state = lock(&self.state);
        // Others may have reported its items done.
        if let Some(taken) = state.taken.remove(&client)
            && state.unfinished > 0
        {
            state.abandoned = Some(format!(
                "{who} has ended, or given up its proxies, with {taken} items taken and not \
                 reported done"
            ));
            self.done.notify_all();
        }
    }

    pub(super) fn remove(&self) {
        lock(&self.state).gone = true;
        self.more.notify_all();
        self.room.notify_all();
        self.done.notify_all();
    }
}

impl Items {
    fn less_taken(&mut self, client: u64) {
        if let Some(taken) = self.taken.get_mut(&client) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(&client);
            }
        }
    }
}
