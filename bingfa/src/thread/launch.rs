//! A thread of ours from its start to its end, and the handle's half of it.
//!
//! # Invariants
//! 1. The thread hands its result over through the packet, and drops an `Ending` as the
//!    last thing it does: by then its closure is gone, and its result is the handle's or
//!    gone as well. Nothing of what they borrow is touched after that.
//! 2. A packet has two owners, the thread and the handle. The last one to go finds the
//!    result if nobody has taken it: `Arc::into_inner` tells exactly one of them.

#![allow(unsafe_code)]

use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::Result;
use std::time::Instant;

use super::Thread;
use super::scope::ScopeData;
use crate::park::completion::Completion;
use crate::park::local;
use crate::park::packet::{Packet, wait_done};
use crate::park::thread::{Listed, ThreadRecord, adopt, retire};
use crate::park::wait::Unparker;
use crate::registry::{Entry, Kind};
use crate::sched::exit::{KeepAlive, keep_alive};

/// How a thread is to be made.
pub(super) struct Plan {
    pub(super) name: Option<String>,
    pub(super) stack_size: Option<usize>,
    pub(super) daemon: bool,
    pub(super) at: &'static Location<'static>,
}

/// What is heard of a thread's end, when it is dropped.
struct Ending {
    scope: Option<Arc<ScopeData>>,
    _keep_alive: Option<KeepAlive>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(scope) = &self.scope {
            scope.ended();
        }
    }
}

/// What the new thread does. A thread that could not be made drops it: the fields in order.
struct Body<F, T> {
    f: F,
    packet: Arc<Packet<Result<T>>>,
    listed: Listed,
    ending: Ending,
}

impl<F: FnOnce() -> T, T> Body<F, T> {
    fn run(self) {
        // `ending` first, so that it goes last even if something below panics.
        let Body {
            ending,
            packet,
            f,
            listed,
        } = self;
        adopt(listed);
        let result = catch_unwind(AssertUnwindSafe(f));
        retire();
        packet.deliver(result);
        report_unjoined(packet, ending.scope.as_deref());
        drop(ending);
    }
}

/// One owner of the packet lets go. The last one tells the scope of a panic that nobody
/// has joined.
fn report_unjoined<T>(packet: Arc<Packet<Result<T>>>, scope: Option<&ScopeData>) {
    if let Some(packet) = Arc::into_inner(packet)
        && let Some(Err(_)) = packet.take()
        && let Some(scope) = scope
    {
        scope.panicked();
    }
}

/// The handle's side: the right to the result.
pub(super) struct Handle<T> {
    /// `None` once it is joined.
    native: Option<std::thread::JoinHandle<()>>,
    thread: Thread,
    /// `None` only while being dropped.
    packet: Option<Arc<Packet<Result<T>>>>,
    scope: Option<Arc<ScopeData>>,
}

// SAFETY: as std's. A handle is made only for a `T: Send`, and it moves or drops that value;
// everything else in it is `Send` and `Sync`.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: a shared handle gives access to atomics and constants only.
unsafe impl<T> Sync for Handle<T> {}

/// Makes a thread that runs `f`.
///
/// # Safety
/// What `f` and its result borrow stays valid until `scope` hears of the thread's end; if
/// there is no scope, until the caller has joined the thread, or for ever.
pub(super) unsafe fn launch<F, T>(
    plan: Plan,
    scope: Option<&Arc<ScopeData>>,
    f: F,
) -> io::Result<Handle<T>>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let mut builder = std::thread::Builder::new();
    if let Some(bytes) = plan.stack_size {
        builder = builder.stack_size(bytes);
    }
    let name = plan.name.as_deref().map(Arc::from);
    if let Some(name) = plan.name {
        builder = builder.name(name);
    }
    let record = ThreadRecord::new(Entry::new(Kind::Thread, name, plan.daemon, plan.at));
    let thread = Thread::of(Unparker::Thread(record.clone()));
    let packet = Arc::new(Packet::new());
    if let Some(scope) = scope {
        scope.started();
    }
    let body = Body {
        f,
        packet: packet.clone(),
        listed: Listed::new(record),
        ending: Ending {
            scope: scope.cloned(),
            _keep_alive: (!plan.daemon).then(keep_alive),
        },
    };
    // SAFETY: the closure's result is `()`; what it captures is not used after `ending` is
    // dropped (invariant 1), and until then it is valid (caller). Without a scope the
    // caller's join comes after the packet's hand-over, when only `ending` is left.
    let native = unsafe { builder.spawn_unchecked(move || body.run()) }?;
    Ok(Handle {
        native: Some(native),
        thread,
        packet: Some(packet),
        scope: scope.cloned(),
    })
}

impl<T> Handle<T> {
    fn packet(&self) -> &Packet<Result<T>> {
        self.packet.as_ref().expect("only `drop` takes it")
    }

    pub(super) fn thread(&self) -> &Thread {
        &self.thread
    }

    pub(super) fn completion(&self) -> &Completion<Unparker> {
        &self.packet().completion
    }

    /// The operating system's thread.
    pub(super) fn native(&self) -> &std::thread::JoinHandle<()> {
        self.native.as_ref().expect("only `join` takes it out")
    }

    /// The same, without the right to the result.
    pub(super) fn into_native(mut self) -> std::thread::JoinHandle<()> {
        self.native.take().expect("only `join` takes it out")
    }

    pub(super) fn is_finished(&self) -> bool {
        self.packet().completion.is_done()
    }

    fn take(&mut self) -> Result<T> {
        self.packet()
            .take()
            .expect("done, and the one handle takes it once")
    }

    #[track_caller]
    fn refuse_to_join_oneself(&self) {
        assert!(
            !self.thread.is_current(),
            "bingfa: {:?} tries to join itself, which would never end",
            self.thread
        );
    }

    #[track_caller]
    pub(super) fn join(mut self) -> Result<T> {
        self.refuse_to_join_oneself();
        while !wait_done(&self.packet().completion, &"join", None) {}
        // A coroutine must not wait for the operating system's thread, which still drops its
        // thread-locals; a plain thread does, as with std.
        if local::frame().is_none()
            && let Some(native) = self.native.take()
        {
            // It has only its thread-locals to drop. Its result we have; an error would be a
            // panic of what came after it.
            let _ = native.join();
        }
        self.take()
    }

    #[track_caller]
    pub(super) fn join_until(
        mut self,
        deadline: Option<Instant>,
    ) -> std::result::Result<Result<T>, Self> {
        self.refuse_to_join_oneself();
        if wait_done(&self.packet().completion, &"join", deadline) {
            Ok(self.take())
        } else {
            Err(self)
        }
    }

    /// # Panics
    /// If polled again after it was ready.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Result<T>> {
        let waiter = || Unparker::Async(context.waker().clone());
        if self.is_finished() || !self.packet().completion.watch(waiter()) {
            Poll::Ready(self.take())
        } else {
            Poll::Pending
        }
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if let Some(packet) = self.packet.take() {
            report_unjoined(packet, self.scope.as_deref());
        }
    }
}
