//! What is not a daemon is waited for when `main` returns or `exit` is called.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, Once, PoisonError};

use crate::park::wait::{Unparker, wait};
use crate::park::{cancel, check, local};

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static WAITERS: Mutex<Vec<Unparker>> = Mutex::new(Vec::new());

/// Keeps the process alive while it exists; dropped when its carrier ends.
#[derive(Debug)]
pub(crate) struct KeepAlive(());

/// Counts a carrier that is not a daemon.
pub(crate) fn keep_alive() -> KeepAlive {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| crate::sys::exit::at_exit(wait_for_all));
    ALIVE.fetch_add(1, SeqCst);
    KeepAlive(())
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, SeqCst);
        for waiter in WAITERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            waiter.unpark();
        }
    }
}

/// Runs in `exit`, and at the end of a child. If a non-daemon carrier itself called `exit`, it is not waited for.
pub(crate) extern "C" fn wait_for_all() {
    let own = usize::from(!crate::park::is_daemon());
    while ALIVE.load(SeqCst) > own {
        WAITERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Unparker::current());
        if ALIVE.load(SeqCst) > own {
            // Nothing may unwind out of a C function: no cancel, no check.
            cancel::shield(|| check::without(|| wait(&"exit", None)));
        }
    }
    debug_assert!(local::frame().is_none() || own <= 1);
}
