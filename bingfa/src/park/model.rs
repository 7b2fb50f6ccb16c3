//! Carriers for the `loom` models: threads of loom with a token, and with a deadline and
//! a cancel that another thread of the model sets off. Stands in for `wait` and `carrier`.

#![allow(unsafe_code)]

use std::time::Instant;

use loom::sync::{Arc, Condvar, Mutex};

/// As the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Woken,
    TimedOut,
    Interrupted,
}

/// As the real one.
#[derive(Clone, Debug)]
pub(crate) enum Unparker {
    Carrier(Carrier),
    Async(std::task::Waker),
}

#[derive(Debug, Default)]
struct State {
    token: bool,
    late: bool,
    cancelled: bool,
}

/// One carrier, as everybody sees it.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    id: u64,
    state: Arc<(Mutex<State>, Condvar)>,
}

loom::thread_local! {
    static CURRENT: std::cell::RefCell<Option<Carrier>> = std::cell::RefCell::new(None);
}

impl Carrier {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            state: Arc::new((Mutex::new(State::default()), Condvar::new())),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The calling thread is this one.
    pub(crate) fn enter(&self) {
        CURRENT.with(|current| *current.borrow_mut() = Some(self.clone()));
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.state.0.lock().unwrap());
        self.state.1.notify_one();
    }

    pub(crate) fn unpark(&self) {
        self.change(|state| state.token = true);
    }

    /// Its deadlines pass.
    pub(crate) fn expire(&self) {
        self.change(|state| state.late = true);
    }

    pub(crate) fn cancel(&self) {
        self.change(|state| state.cancelled = true);
    }
}

impl Unparker {
    pub(crate) fn current() -> Self {
        Unparker::Carrier(current())
    }

    pub(crate) fn wake(self) {
        match self {
            Unparker::Carrier(carrier) => carrier.unpark(),
            Unparker::Async(waker) => waker.wake(),
        }
    }
}

/// As the real one.
#[derive(Debug)]
pub(crate) enum Queued {
    Other(Unparker),
}

impl Queued {
    pub(crate) fn current() -> Self {
        Queued::Other(Unparker::current())
    }

    pub(crate) fn is_coroutine(&self) -> bool {
        false
    }

    pub(crate) fn is_here(&self) -> bool {
        false
    }

    pub(crate) fn fetch(&self) {}

    pub(crate) unsafe fn fetch_more(&self) {}

    pub(crate) fn is_cancelled(&self) -> bool {
        false
    }

    pub(crate) unsafe fn wake_after(self, release: impl FnOnce()) -> Option<Unparker> {
        let Queued::Other(unparker) = self;
        release();
        Some(unparker)
    }
}

fn current() -> Carrier {
    CURRENT.with(|current| current.borrow().clone().expect("the model calls `enter`"))
}

/// Whoever is in the model.
pub(crate) fn id() -> u64 {
    current().id
}

pub(crate) fn about_to_wait() {}

pub(crate) fn may_expire() -> bool {
    false
}

pub(crate) fn is_interrupted() -> bool {
    current().state.0.lock().unwrap().cancelled
}

pub(crate) fn may_panic() -> bool {
    true
}

pub(crate) fn doom(_report: String) {}

/// As the real one; any deadline is the one that `expire` sets off.
pub(crate) fn wait(_what: &'static &'static str, deadline: Option<Instant>) -> Outcome {
    let current = current();
    let mut state = current.state.0.lock().unwrap();
    loop {
        if state.cancelled {
            return Outcome::Interrupted;
        }
        if std::mem::take(&mut state.token) {
            return Outcome::Woken;
        }
        if state.late && deadline.is_some() {
            return Outcome::TimedOut;
        }
        state = current.state.1.wait(state).unwrap();
    }
}
