//! `loom` models of the protocols between threads. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p bingfa --lib --release`.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::completion::{Completed, Completion};
use super::inbox::{Inbox, Linked};
use super::word::Word;

/// A coroutine as its wakers see it.
struct Task {
    word: Word,
    next: super::atomic::AtomicPtr<Task>,
    /// What the waker publishes before it wakes: the wake-up has to order it.
    gifts: AtomicUsize,
}

// SAFETY: `next` is used by the inbox alone.
unsafe impl Linked for Task {
    fn next(&self) -> &AtomicPtr<Task> {
        &self.next
    }
}

impl Task {
    fn new() -> Self {
        Self {
            word: Word::new(),
            next: AtomicPtr::new(std::ptr::null_mut()),
            gifts: AtomicUsize::new(0),
        }
    }
}

/// A worker with one coroutine: its inbox and the bell that ends its sleep.
struct Shared {
    task: Task,
    inbox: Inbox<Task>,
    bell: Mutex<bool>,
    rung: Condvar,
}

impl Shared {
    fn new() -> Arc<Self> {
        let task = Task::new();
        assert!(task.word.start());
        Arc::new(Self {
            task,
            inbox: Inbox::new(),
            bell: Mutex::new(false),
            rung: Condvar::new(),
        })
    }

    /// What `TaskRef::send_home` does.
    fn post(&self) {
        // SAFETY: the task lives as long as the inbox; QUEUED was set by the caller.
        if unsafe { self.inbox.push(NonNull::from(&self.task)) } {
            *self.bell.lock().unwrap() = true;
            self.rung.notify_one();
        }
    }

    fn unpark(&self) {
        if self.task.word.notify() {
            self.post();
        }
    }

    fn cancel(&self) {
        if self.task.word.cancel() {
            self.post();
        }
    }

    /// The worker's loop until its coroutine is ready: a lost wake-up is a deadlock,
    /// which loom reports.
    fn sleep_until_ready(&self) {
        loop {
            let mut ready = 0;
            self.inbox.drain(|task| {
                // SAFETY: as in `post`.
                let task = unsafe { task.as_ref() };
                let popped = task.word.popped(|| task.word.is_cancelled());
                ready += usize::from(popped.ready);
            });
            assert!(ready <= 1, "made ready twice");
            if ready == 1 {
                return;
            }
            let mut bell = self.bell.lock().unwrap();
            while !*bell {
                bell = self.rung.wait(bell).unwrap();
            }
            *bell = false;
        }
    }

    /// A coroutine's wait: returns when there is a token or it is interrupted.
    fn park(&self) {
        if self.task.word.prepare() {
            self.sleep_until_ready();
        }
    }
}

#[test]
fn no_wake_up_is_lost() {
    loom::model(|| {
        let shared = Shared::new();
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.task.gifts.fetch_add(1, Relaxed);
                    shared.unpark();
                })
            })
            .collect();
        while shared.task.gifts.load(Relaxed) < 2 {
            shared.park();
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

#[test]
fn a_cancel_ends_a_wait_that_nobody_else_would() {
    loom::model(|| {
        let shared = Shared::new();
        let canceller = {
            let shared = shared.clone();
            thread::spawn(move || shared.cancel())
        };
        while !shared.task.word.is_cancelled() {
            shared.park();
        }
        canceller.join().unwrap();
    });
}

#[test]
fn a_cancel_and_an_unpark_at_once_make_it_ready_once() {
    loom::model(|| {
        let shared = Shared::new();
        let canceller = {
            let shared = shared.clone();
            thread::spawn(move || shared.cancel())
        };
        let waker = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.task.gifts.fetch_add(1, Relaxed);
                shared.unpark();
            })
        };
        while !shared.task.word.is_cancelled() || shared.task.gifts.load(Relaxed) == 0 {
            shared.park();
        }
        canceller.join().unwrap();
        waker.join().unwrap();
    });
}

#[test]
fn a_cancel_before_the_start_is_seen_then_or_sent_home() {
    loom::model(|| {
        let word = Arc::new(Word::new());
        let canceller = {
            let word = word.clone();
            thread::spawn(move || word.cancel())
        };
        let runs = word.start();
        let sent_home = canceller.join().unwrap();
        assert_eq!(runs, sent_home);
        assert!(word.is_cancelled());
    });
}

#[test]
fn a_deadline_and_an_unpark_at_once_make_it_ready_once() {
    loom::model(|| {
        let shared = Shared::new();
        let waker = {
            let shared = shared.clone();
            thread::spawn(move || shared.unpark())
        };
        if shared.task.word.prepare() {
            // The worker fires the deadline, and later finds what the waker sent, if anything.
            let fired = shared.task.word.unpark_now();
            assert!(fired, "nobody but the worker clears PARKED");
            let mut ready = false;
            shared
                .inbox
                .drain(|_| ready |= shared.task.word.popped(|| false).ready);
            assert!(!ready, "made ready twice");
        }
        waker.join().unwrap();
        shared
            .inbox
            .drain(|_| assert!(!shared.task.word.popped(|| false).ready));
    });
}

#[test]
fn the_inbox_keeps_arrival_order_and_loses_nothing() {
    struct Node {
        next: super::atomic::AtomicPtr<Node>,
        number: usize,
    }
    // SAFETY: `next` is used by the inbox alone.
    unsafe impl Linked for Node {
        fn next(&self) -> &AtomicPtr<Node> {
            &self.next
        }
    }
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Node>::new());
        let pushers: Vec<_> = [0, 10]
            .map(|base| {
                let inbox = inbox.clone();
                thread::spawn(move || {
                    for number in [base, base + 1] {
                        let node = Box::new(Node {
                            next: AtomicPtr::new(std::ptr::null_mut()),
                            number,
                        });
                        // SAFETY: pushed once; freed by the drain.
                        unsafe { inbox.push(NonNull::from(Box::leak(node))) };
                    }
                })
            })
            .into();
        let mut seen = Vec::new();
        let mut take = |node: NonNull<Node>| {
            // SAFETY: leaked by the pusher, taken out once.
            seen.push(unsafe { Box::from_raw(node.as_ptr()) }.number);
        };
        inbox.drain(&mut take);
        for pusher in pushers {
            pusher.join().unwrap();
        }
        inbox.drain(&mut take);
        let of = |range: std::ops::Range<usize>| -> Vec<usize> {
            seen.iter()
                .copied()
                .filter(|number| range.contains(number))
                .collect()
        };
        assert_eq!(seen.len(), 4);
        assert_eq!(of(0..10), [0, 1]);
        assert_eq!(of(10..20), [10, 11]);
    });
}

/// A waiter that counts how often it was woken.
type Bell = Arc<AtomicUsize>;

#[test]
fn a_joiner_is_woken_or_finds_the_result() {
    loom::model(|| {
        let completion = Arc::new(Completion::<Bell>::new());
        let result = Arc::new(AtomicUsize::new(0));
        let bell = Arc::new(AtomicUsize::new(0));
        let completer = {
            let (completion, result) = (completion.clone(), result.clone());
            thread::spawn(move || {
                result.store(42, Relaxed);
                if let Completed::Wake(bell) = completion.complete() {
                    bell.fetch_add(1, SeqCst);
                }
            })
        };
        let watching = completion.watch(bell.clone());
        if !watching {
            assert!(completion.is_done());
            assert_eq!(result.load(Relaxed), 42);
        }
        completer.join().unwrap();
        assert!(completion.is_done());
        assert_eq!(bell.load(SeqCst), usize::from(watching));
    });
}

#[test]
fn a_joiner_that_gives_up_and_comes_back_misses_nothing() {
    loom::model(|| {
        let completion = Arc::new(Completion::<Bell>::new());
        let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let completer = {
            let completion = completion.clone();
            thread::spawn(move || {
                if let Completed::Wake(bell) = completion.complete() {
                    bell.fetch_add(1, SeqCst);
                }
            })
        };
        let mut watching = completion.watch(first.clone());
        if watching && completion.unwatch() {
            watching = completion.watch(second.clone());
            completer.join().unwrap();
            assert_eq!(first.load(SeqCst), 0, "a withdrawn waiter is not woken");
            assert_eq!(second.load(SeqCst), usize::from(watching));
        } else {
            completer.join().unwrap();
        }
        assert!(completion.is_done());
    });
}

#[test]
fn a_result_is_dropped_by_exactly_one() {
    loom::model(|| {
        let completion = Arc::new(Completion::<Bell>::new());
        let completer = {
            let completion = completion.clone();
            thread::spawn(move || matches!(completion.complete(), Completed::Detached))
        };
        let by_handle = completion.detach();
        let by_completer = completer.join().unwrap();
        assert!(by_handle ^ by_completer);
    });
}
