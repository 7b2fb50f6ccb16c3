//! One test, every carrier: who runs what a test of a lock spawns.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bingfa::coroutine::{self, Info, State};
use bingfa::thread;

use super::{backends, labelled, runtime, until};

/// What the members are. The test itself runs as the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Threads,
    /// Coroutines that share one thread.
    OneWorker,
    /// Coroutines on two threads.
    Workers,
    /// By turns.
    Mixed,
}

pub struct Crew {
    pub kind: Kind,
    spawned: AtomicUsize,
}

/// Runs `test` with each kind of crew, coroutines on each backend.
pub fn on_every_carrier(test: impl Fn(&Crew)) {
    let crew = |kind| Crew {
        kind,
        spawned: AtomicUsize::new(0),
    };
    labelled("threads", || test(&crew(Kind::Threads)));
    for io in backends() {
        for (kind, workers) in [(Kind::OneWorker, 1), (Kind::Workers, 2), (Kind::Mixed, 2)] {
            labelled(&format!("{kind:?}, {io:?}"), || {
                runtime(io, workers).run(|| test(&crew(kind)));
            });
        }
    }
}

impl Crew {
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Member<T> {
        let number = self.spawned.fetch_add(1, SeqCst);
        match self.kind {
            Kind::Threads => Member::Thread(thread::spawn(f)),
            Kind::OneWorker | Kind::Workers => Member::Coroutine(coroutine::spawn(f)),
            Kind::Mixed if number.is_multiple_of(2) => Member::Thread(thread::spawn(f)),
            Kind::Mixed => Member::Coroutine(coroutine::spawn(f)),
        }
    }

    /// One that can be cancelled.
    pub fn spawn_coroutine<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Member<T> {
        Member::Coroutine(coroutine::spawn(f))
    }

    /// Whether its members can run while the calling one computes.
    pub fn is_parallel(&self) -> bool {
        self.kind != Kind::OneWorker
    }
}

/// One member of the crew.
pub enum Member<T> {
    Thread(thread::JoinHandle<T>),
    Coroutine(coroutine::JoinHandle<T>),
}

impl<T> Member<T> {
    pub fn id(&self) -> u64 {
        match self {
            Member::Thread(handle) => handle.thread().id().as_u64().get(),
            Member::Coroutine(handle) => handle.id().as_u64().get(),
        }
    }

    pub fn join(self) -> std::thread::Result<T> {
        match self {
            Member::Thread(handle) => handle.join(),
            Member::Coroutine(handle) => handle.join(),
        }
    }

    pub fn is_finished(&self) -> bool {
        match self {
            Member::Thread(handle) => handle.is_finished(),
            Member::Coroutine(handle) => handle.is_finished(),
        }
    }

    /// Coroutines only.
    pub fn cancel(&self) {
        match self {
            Member::Thread(_) => panic!("a thread cannot be cancelled"),
            Member::Coroutine(handle) => handle.cancel(),
        }
    }

    /// What a snapshot says of it.
    pub fn info(&self) -> Option<Info> {
        let all = match self {
            Member::Thread(_) => thread::enumerate(),
            Member::Coroutine(_) => coroutine::enumerate(),
        };
        all.into_iter().find(|info| info.id.get() == self.id())
    }

    /// Waits until it waits for `what`.
    #[track_caller]
    pub fn until_in(&self, what: &str) {
        until(|| {
            assert!(!self.is_finished(), "ended before it waited for {what}");
            self.info().is_some_and(|info| {
                info.state == State::Blocked && info.last_wait.is_some_and(|wait| wait.what == what)
            })
        });
    }
}
