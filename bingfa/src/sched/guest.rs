//! `run`: the calling thread as a worker, for as long as one closure takes.

#![allow(unsafe_code)]

use std::panic::{Location, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_deque::Worker as Deque;

use super::runtime::Shared;
use super::worker::{self, Worker};
use crate::park::packet::Packet;
use crate::park::{cancel, local};
use crate::sched::spawn::{Spawn, new_task};
use crate::stack;

/// Runs `f` as a coroutine on the calling thread; see `Runtime::run`. `wait`: what
/// refuses to end afterwards is waited for without limit (else left behind, which is
/// for a `main` that is about to end the process).
#[track_caller]
pub(crate) fn run<T>(shared: &Arc<Shared>, class: u8, wait: bool, f: impl FnOnce() -> T) -> T {
    if local::frame().is_some() {
        return call(f); // already in a coroutine
    }
    assert!(
        worker::current().is_none(),
        "bingfa: run() was called from a scheduler callback, where nothing may block"
    );
    let _alt_stack = stack::ensure_alt_stack();
    let worker = match Worker::new(shared.clone(), None, Deque::new_fifo()) {
        Ok(worker) => Box::new(worker),
        Err(error) => panic!("bingfa: run() could not start a worker on this thread: {error}"),
    };
    let packet = Arc::new(Packet::new());
    let deliver = packet.clone();
    // A timeout around this call counts inside as well.
    let limit = cancel::ambient_deadline().filter(|_| !std::thread::panicking());
    let body: Box<dyn FnOnce() + '_> = Box::new(move || {
        deliver.deliver(match limit {
            Some(limit) => cancel::within(limit, f),
            None => Some(f()),
        })
    });
    // SAFETY: the closure and its borrows are used only by the coroutine, which has
    // ended before this function returns or unwinds (below: until the task is done).
    let body: Box<dyn FnOnce() + 'static> = unsafe { std::mem::transmute(body) };
    let spawn = Spawn {
        name: Some("main".into()),
        class,
        ..Spawn::new(Location::caller())
    };
    let (task, handle) = new_task(spawn, body);

    // SAFETY: boxed, and detached or leaked below.
    let before = unsafe { worker.attach() };
    worker.push_own(task);
    worker.run_until(&|| handle.is_done());
    let result = handle.take();
    let refused = worker.shut_down(shared.config.shutdown_timeout);
    if refused > 0 {
        super::runtime::name_survivors(&worker);
        if wait {
            while worker.shut_down(Duration::from_secs(3600)) > 0 {}
        } else {
            worker.detach(before);
            std::mem::forget(worker);
            return finish(result, &packet);
        }
    }
    worker.retire(before);
    finish(result, &packet)
}

/// Not inlined: the locals of `f` would take their room on the thread's stack as well, where
/// it does not run.
#[inline(never)]
fn call<T>(f: impl FnOnce() -> T) -> T {
    f()
}

fn finish<T>(result: std::thread::Result<()>, packet: &Packet<Option<T>>) -> T {
    if let Err(payload) = result {
        resume_unwind(payload);
    }
    let delivered = packet.take();
    delivered
        .expect("the coroutine delivered before it ended")
        .unwrap_or_else(|| {
            cancel::raise();
            unreachable!("the timeout around `run` has expired")
        })
}
