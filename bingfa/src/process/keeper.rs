//! The keeper: the one thread that makes this process's children and hears of their end.
//!
//! The kernel ties two things to the *thread* that made a child: the signal that a daemon gets
//! when its parent ends (`PR_SET_PDEATHSIG`), and whose child a zygote's copy is. So one thread
//! that lives as long as the process makes all new images. It watches every child's socket and
//! pidfd; `waitpid(-1)` and SIGCHLD are left to the program.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use super::carry::Shared;
use super::record::{Interest, Record};
use super::{family, receipt};
use crate::shm::peers::PeerId;
use crate::sys::epoll::{self, Poll};
use crate::sys::fork::Mark;
use crate::sys::kept::Kept;
use crate::sys::launch::{self, Exec, Made};
use crate::sys::{eventfd, task};

/// A new image to be made by the keeper.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) environment: Vec<CString>,
    pub(super) descriptors: Vec<Option<OwnedFd>>,
    pub(super) share_directories: bool,
}

/// What ends, and is no child of this process.
enum Other {
    /// Another process: its place in the family, pid, and descriptor.
    Process(PeerId, i32, OwnedFd),
    /// A message in a pipe.
    Message(PipeReader, Shared),
}

struct Keeper {
    poll: Kept<Poll>,
    /// Rung when there are orders.
    bell: Kept,
    orders: Mutex<Vec<(Order, mpsc::Sender<io::Result<Made>>)>>,
    children: Mutex<BTreeMap<u64, Arc<Record>>>,
    /// What else is waited for, by number.
    others: Mutex<BTreeMap<u64, Other>>,
    mark: Mark,
    tid: i32,
}

static KEEPER: Mutex<Option<Arc<Keeper>>> = Mutex::new(None);

/// What its descriptors are for, in words.
const CHILDREN: &str = "by which it hears of its children";

const BELL: u64 = 0;
/// The bit of those who are not children.
const OTHER: u64 = 1 << 63;

/// A number for the next child.
pub(super) fn next_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // Relaxed: the number itself is all that counts. Never 0, which is the bell.
    LAST.fetch_add(1, Relaxed) + 1
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // what is done under them cannot panic half-way
}

/// The keeper, started if need be.
fn keeper() -> io::Result<Arc<Keeper>> {
    let mut slot = lock(&KEEPER);
    if let Some(keeper) = &*slot {
        if keeper.mark.forked() {
            return Err(io::Error::other(
                "bingfa: this process is a fork() of one that has spawned processes; only that \
                 one can spawn more",
            ));
        }
        keeper.poll.get()?;
        keeper.bell.get()?;
        return Ok(keeper.clone());
    }
    let (ready, told) = mpsc::channel();
    std::thread::Builder::new()
        .name("bingfa-keeper".into())
        .spawn(move || {
            launch::block_signals();
            match Keeper::new() {
                Ok(keeper) => {
                    let keeper = Arc::new(keeper);
                    let _ = ready.send(Ok(keeper.clone()));
                    keeper.run();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })?;
    let keeper = told
        .recv()
        .map_err(|_| io::Error::other("bingfa: the keeper thread has panicked"))??;
    *slot = Some(keeper.clone());
    Ok(keeper)
}

/// The keeper, if there is one in this very process.
fn running() -> Option<Arc<Keeper>> {
    lock(&KEEPER).clone().filter(|keeper| !keeper.mark.forked())
}

/// Makes sure that there is a keeper.
///
/// # Errors
/// If there can be none, or this process has closed its descriptors: as a rule all, also those by
/// which its children are reached.
pub(super) fn check() -> io::Result<()> {
    keeper().map(drop)
}

/// Has the keeper make a child of a new image of this program; a plain thread's call.
pub(super) fn exec(order: Order) -> io::Result<Made> {
    let keeper = keeper()?;
    let (done, made) = mpsc::channel();
    lock(&keeper.orders).push((order, done));
    eventfd::signal(keeper.bell.get()?.as_fd());
    made.recv()
        .map_err(|_| io::Error::other("bingfa: the keeper thread has panicked"))?
}

/// The mode of `seccomp(2)` that new images will have.
pub(super) fn seccomp() -> io::Result<i32> {
    let keeper = keeper()?;
    let status = std::fs::read_to_string(format!("/proc/self/task/{}/status", keeper.tid))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    Ok(line.and_then(|mode| mode.trim().parse().ok()).unwrap_or(0))
}

/// From now on the keeper looks after this child.
pub(super) fn watch(record: &Arc<Record>) -> io::Result<()> {
    let keeper = keeper()?;
    lock(&keeper.children).insert(record.id, record.clone());
    record.watch(|pidfd, interest| {
        keeper.register_socket(record.id, interest, false)?;
        keeper.register(pidfd, epoll::IN, record.id << 1 | 1, false)
    })
}

/// The child has ended and is nobody's business any more.
pub(super) fn remove(id: u64, pidfd: BorrowedFd<'_>) {
    if let Some(keeper) = running() {
        // A sentinel that was given away keeps the registration alive.
        keeper.unregister(pidfd);
        lock(&keeper.children).remove(&id);
    }
}

/// Somebody else waits for the end of this child, and will reap it.
pub(super) fn leave_end(pidfd: BorrowedFd<'_>) {
    if let Some(keeper) = running() {
        keeper.unregister(pidfd);
    }
}

/// Whether the keeper watches this process, which is no child of this one.
pub(super) fn watches(peer: PeerId) -> bool {
    let is_it = |other: &Other| matches!(other, Other::Process(known, ..) if *known == peer);
    running().is_some_and(|keeper| lock(&keeper.others).values().any(is_it))
}

/// From now on the keeper watches `process`, which is no child of this one.
pub(super) fn watch_peer(peer: PeerId, pid: i32, process: OwnedFd) -> io::Result<()> {
    let raw = process.as_raw_fd();
    let watched = keeper()?.watch_other(raw, epoll::IN, Other::Process(peer, pid, process));
    watched.map_err(|(error, _)| error)
}

/// When the message is gone for which this is the receipt, the keeper takes back what nobody has
/// taken out.
pub(super) fn await_receipt(receipt: PipeReader, shared: Shared) {
    let Ok(keeper) = keeper() else {
        return shared.sent(); // as far as anybody can know
    };
    let raw = receipt.as_raw_fd();
    // No events but the end of it, which is always told.
    let watched = keeper.watch_other(raw, 0, Other::Message(receipt, shared));
    if let Err((_, Other::Message(_, shared))) = watched {
        shared.sent();
    }
}

/// All children that are not known to have ended, oldest first.
pub(super) fn children() -> Vec<Arc<Record>> {
    let Some(keeper) = running() else {
        return Vec::new();
    };
    let children = lock(&keeper.children);
    children.values().cloned().collect()
}

/// A child of the keeper's that is neither in its table nor `zygote`: what a zygote that was
/// killed has made without saying so.
///
/// # Errors
/// If the kernel does not tell (`CONFIG_PROC_CHILDREN`).
pub(super) fn unknown_child(zygote: i32) -> io::Result<Option<i32>> {
    let keeper = keeper()?;
    let list = std::fs::read_to_string(format!("/proc/self/task/{}/children", keeper.tid))?;
    let known: Vec<i32> = lock(&keeper.children).values().map(|c| c.pid).collect();
    let mut pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
    Ok(pids.find(|pid| *pid != zygote && !known.contains(pid)))
}

impl Keeper {
    /// By the keeper's own thread.
    fn new() -> io::Result<Keeper> {
        let (poll, bell) = (Poll::new()?, eventfd::create()?);
        poll.set(bell.as_raw_fd(), epoll::IN, BELL, false)
            .map_err(io::Error::from_raw_os_error)?;
        Ok(Keeper {
            poll: Kept::new(poll, CHILDREN)?,
            bell: Kept::new(bell, CHILDREN)?,
            orders: Mutex::default(),
            children: Mutex::default(),
            others: Mutex::default(),
            mark: Mark::here()?,
            tid: task::tid(),
        })
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(64);
        loop {
            let Ok(poll) = self.poll.get() else {
                std::thread::park(); // for good: daemons end with this thread
                continue;
            };
            // An error is a signal (all are blocked, but a debugger's stop is one, too).
            if poll.wait(&mut events, None).is_err() {
                continue;
            }
            for event in &events {
                let token = event.u64;
                match token {
                    BELL => self.obey(),
                    _ if token & OTHER != 0 => self.see_end_of(token & !OTHER),
                    _ => self.attend(token >> 1),
                }
            }
        }
    }

    fn obey(&self) {
        if let Ok(bell) = self.bell.get() {
            eventfd::drain(bell.as_fd());
        }
        for (order, done) in std::mem::take(&mut *lock(&self.orders)) {
            let _ = done.send(make(&order)); // an error: whoever asked has been cancelled
        }
    }

    fn attend(&self, id: u64) {
        let record = lock(&self.children).get(&id).cloned();
        // None: it has ended and been removed by somebody who asked for its state.
        if let Some(record) = record
            && record.refresh()
        {
            // Fails only without memory; the end is seen by the pidfd in any case.
            let _ = record.watch(|_, interest| self.register_socket(id, interest, true));
        }
    }

    /// One of the others has ended.
    fn see_end_of(&self, id: u64) {
        let other = lock(&self.others).remove(&id);
        match other {
            Some(Other::Process(peer, pid, process)) => {
                self.unregister(process.as_fd());
                drop(process);
                family::ended(peer, pid);
            }
            Some(Other::Message(receipt, shared)) => {
                self.unregister(receipt.as_fd());
                receipt::close(receipt, shared);
            }
            None => {}
        }
    }

    /// Watches `fd`, which is the other's; gives that back if it cannot.
    fn watch_other(&self, fd: RawFd, events: u32, other: Other) -> Result<(), (io::Error, Other)> {
        let id = next_id();
        lock(&self.others).insert(id, other);
        self.register(fd, events, id | OTHER, false)
            .map_err(|error| {
                let other = lock(&self.others).remove(&id);
                (error, other.expect("nobody else knows its number"))
            })
    }

    /// A socket at its end has been closed, and is registered no more.
    fn register_socket(&self, id: u64, interest: Interest, known: bool) -> io::Result<()> {
        let Some(socket) = interest.socket else {
            return Ok(());
        };
        let events = if interest.writable {
            epoll::IN | epoll::OUT
        } else {
            epoll::IN
        };
        self.register(socket, events, id << 1, known)
    }

    fn register(&self, fd: RawFd, events: u32, token: u64, known: bool) -> io::Result<()> {
        let set = self.poll.get()?.set(fd, events, token, known);
        set.map_err(io::Error::from_raw_os_error)
    }

    fn unregister(&self, fd: BorrowedFd<'_>) {
        if let Ok(poll) = self.poll.get() {
            epoll::remove(poll.as_raw_fd(), fd.as_raw_fd());
        }
    }
}

fn make(order: &Order) -> io::Result<Made> {
    let descriptors: Vec<Option<RawFd>> = order
        .descriptors
        .iter()
        .map(|fd| fd.as_ref().map(AsRawFd::as_raw_fd))
        .collect();
    let arguments: Vec<CString> = std::env::args_os()
        .filter_map(|argument| {
            CString::new(std::os::unix::ffi::OsStringExt::into_vec(argument)).ok()
        })
        .collect();
    launch::exec(&Exec {
        program: c"/proc/self/exe",
        arguments: &arguments,
        environment: &order.environment,
        descriptors: &descriptors,
        share_directories: order.share_directories,
    })
}
