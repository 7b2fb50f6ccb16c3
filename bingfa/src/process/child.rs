//! A child's side: how a process finds out that it is one, and what it does then.
//!
//! A new image is told by a variable in its environment and by descriptor 3, a socket. A
//! constructor looks for them before `main`. If the parent had called [`init`], the
//! constructor leaves the rest to the child's `init`, which comes when `std` is fully up.
//!
//! # Invariants
//! 1. Descriptor 3 is ours if the variable says so and its other end was made by the process
//!    that the variable names. Nobody else in a process that has just begun knows of it.
//! 2. The offsets in [`Orders`] come from `spawn::<A, T>` in a process of the same program
//!    (fingerprint): the first is that of [`call::<A, T>`](call), the second of an `fn(A) -> T`.
//! 3. Before `main`, and in [`init`] by its contract, the process has one thread.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, Once, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::{self, Encoded, Orders, Outcome, Panic};
use super::{identity, zygote};
use crate::sched::exit;
use crate::shm::arena;
use crate::shm::family::{self, Inheritance};
use crate::shm::object::Destination;
use crate::sys::kept::Kept;
use crate::sys::{self, attributes, fd, image::Image, launch, pass};

/// The variable that tells a new image what it is.
pub(super) const VARIABLE: &str = "BINGFA_PROCESS";

/// The number of the socket.
const SOCKET: i32 = 3;

/// What a new image is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs one function.
    Job,
    /// Makes copies of itself that run one function each.
    Zygote,
}

/// Whether this process has called [`init`], so that its children will, too.
static INIT: AtomicBool = AtomicBool::new(false);
/// A role that waits for [`init`], with the parent's pid.
static PENDING: Mutex<Option<(Role, i32)>> = Mutex::new(None);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = before_main;

/// What [`VARIABLE`] is to be for a child of this process.
pub(super) fn variable(role: Role, parent: i32) -> String {
    let init = if INIT.load(SeqCst) { "init" } else { "" };
    format!("{role:?}:{parent}:{init}")
}

/// Lets children of this process start their work here, in `main`, instead of before it.
///
/// Call it first in `main`, before anything that a child should not repeat; it does nothing
/// unless the process is a child made by [`spawn`](super::spawn), and there it does not
/// return. [`#[bingfa::main]`](macro@crate::main) calls it.
///
/// Without it, all works: a constructor in this library runs the child's function. But then
/// `main` has not begun: the child's main thread has no name and no report of a stack
/// overflow, and constructors of other libraries that come later have not run.
///
/// # Examples
/// ```
/// use bingfa::process;
///
/// fn main() {
///     process::init();
///     let child = process::spawn(6, |n: u32| n * 7);
///     assert_eq!(child.join().unwrap(), 42);
/// }
/// ```
#[doc(alias = "freeze_support")]
pub fn init() {
    INIT.store(true, SeqCst);
    let pending = PENDING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some((role, parent)) = pending {
        play(role, parent);
    }
}

/// # Errors
/// If this process is a child that has not reached [`init`] yet: it would repeat its
/// parent's work.
pub(super) fn check_not_pending() -> io::Result<()> {
    let pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    if pending.is_none() {
        return Ok(());
    }
    Err(io::Error::other(
        "bingfa: this process is a child that has not reached process::init() yet; \
         call process::init() first in main, or not at all",
    ))
}

extern "C" fn before_main() {
    let Some(told) = std::env::var_os(VARIABLE) else {
        return; // as in every process that nobody has spawned
    };
    // SAFETY: one thread (invariant 3).
    unsafe { std::env::remove_var(VARIABLE) };
    let Some((role, parent, init)) = told.to_str().and_then(parse) else {
        return;
    };
    if attributes::is_privileged() || !has_socket_of(parent) {
        return; // inherited by mistake, or not to be trusted
    }
    if init {
        INIT.store(true, SeqCst);
        *PENDING.lock().unwrap_or_else(PoisonError::into_inner) = Some((role, parent));
        if role == Role::Job {
            launch::unblock_signals();
        }
        return;
    }
    launch::ignore_sigpipe();
    play(role, parent)
}

fn parse(told: &str) -> Option<(Role, i32, bool)> {
    let mut parts = told.split(':');
    let role = match parts.next()? {
        "Job" => Role::Job,
        "Zygote" => Role::Zygote,
        _ => return None,
    };
    let parent = parts.next()?.parse().ok()?;
    Some((role, parent, parts.next()? == "init"))
}

/// Whether descriptor 3 is a socket whose pair was made by `parent`.
fn has_socket_of(parent: i32) -> bool {
    // SAFETY: only looked at; a number that is not open is an error of the call.
    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(SOCKET) };
    attributes::maker_of(socket) == Some(parent)
}

fn play(role: Role, parent: i32) -> ! {
    // SAFETY: the socket is ours, and nobody else has taken it (invariant 1).
    let socket = unsafe { OwnedFd::from_raw_fd(SOCKET) };
    let _ = fd::set_close_on_exec(socket.as_fd()); // fails only for what is not open
    match role {
        Role::Job => {
            launch::unblock_signals();
            run(socket)
        }
        // SAFETY: one thread (invariant 3), which the zygote verifies; locks are held by
        // nobody here.
        Role::Zygote => unsafe { zygote::serve(socket, parent) },
    }
}

/// The status of a Rust program whose main panics.
pub(super) const FAILED: i32 = 101;

/// Receives the orders, does what they say, and ends the process.
pub(super) fn run(socket: OwnedFd) -> ! {
    let (orders, mut arguments) = match receive(&socket) {
        Ok(job) => job,
        // The parent is gone, or has given up.
        Err(_) => std::process::exit(1),
    };
    let fds = &mut arguments.fds;
    if let Some((me, parent)) = orders.family
        && !fds.is_empty()
    {
        let mut file = fds.remove(0);
        if file.as_raw_fd() < SOCKET
            && let Ok(above) = fd::duplicate(file.as_raw_fd())
        {
            file = above; // one of the standard three is closed, and stays so
        }
        if let Ok(file) = Kept::new(file, arena::FILE) {
            family::inherit(Inheritance { file, me, parent }); // it is open, as it has just come
        }
    }
    let socket = Kept::new(socket, "to which its result was to go");
    let outcome = obey(orders, arguments);
    let mut status = match outcome {
        Outcome::Returned(_) => 0,
        Outcome::Panicked(_) | Outcome::Refused(_) => FAILED,
    };
    match socket.and_then(Kept::into_inner) {
        // An error: nobody wants to know. The status says it all the same.
        Ok(socket) => drop(report(socket, outcome)),
        Err(error) => {
            eprintln!("{error}");
            status = FAILED;
        }
    }
    end(status)
}

/// Waits for the orders and the arguments.
fn receive(socket: &OwnedFd) -> io::Result<(Orders, Encoded)> {
    let mut reader = pass::Reader::new(socket.as_fd());
    // All at once if it is small.
    let (orders, bytes) = wire::receive_job(BufReader::new(&mut reader))?;
    let arguments = Encoded {
        bytes,
        fds: reader.fds,
        ..Encoded::default()
    };
    Ok((orders, arguments))
}

/// Tells the parent how it went.
fn report(socket: OwnedFd, outcome: Outcome) -> io::Result<()> {
    let mut frame = wire::frame(outcome);
    let raw: Vec<_> = frame.fds.iter().map(AsRawFd::as_raw_fd).collect();
    let sent = pass::send(socket.as_fd(), &frame.first, &raw);
    if let Err(error) = sent {
        if raw.is_empty() {
            return Err(error);
        }
        let why = format!("its result: the descriptors cannot be sent: {error}");
        frame = wire::frame(Outcome::Refused(why));
        pass::send(socket.as_fd(), &frame.first, &[])?;
    }
    File::from(socket).write_all(&frame.rest)?;
    frame.shared.sent();
    Ok(())
}

/// Ends a child whose function has: as `exit` does, but for the handlers and destructors of
/// libraries, which cost more than everything else at the end.
fn end(status: i32) -> ! {
    exit::wait_for_all();
    let _ = io::stdout().flush(); // nobody is left to hear of an error
    sys::exit::leave(status)
}

/// What children need and a zygote has ready for them.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        Image::here();
        record_panics();
    });
}

fn obey(orders: Orders, arguments: Encoded) -> Outcome {
    let image = Image::here();
    let address = |offset| {
        let offset = usize::try_from(offset).ok()?;
        image.address_of(offset)
    };
    let (Some(thunk), Some(function)) = (address(orders.thunk), address(orders.function)) else {
        return Outcome::Refused("the child is not the same program as its parent".into());
    };
    if orders.fingerprint != image.fingerprint {
        return Outcome::Refused("the child is not the same program as its parent".into());
    }
    if let Err(why) = become_it(orders) {
        return Outcome::Refused(why);
    }
    prepare();
    // SAFETY: invariant 2.
    let thunk = unsafe { std::mem::transmute::<usize, Thunk>(thunk) };
    thunk(function, arguments)
}

/// Does once, for nothing, what every copy of the zygote does: what that makes ready
/// (thread-locals, memory, symbols of the C library) the copies have, and need not make. That
/// was a third of their page faults.
pub(super) fn rehearse() -> io::Result<()> {
    let orders = Orders {
        fingerprint: Image::here().fingerprint,
        thunk: 0,
        function: 0,
        name: "rehearsal".into(),
        daemon: false,
        parent: attributes::parent_pid(),
        parent_name: "main".into(),
        group: attributes::process_group(),
        family: None,
        no_new_privileges: attributes::no_new_privileges(),
        environment: None,
        directory: None,
        affinity: attributes::affinity()?,
        limits: Vec::new(),
    };
    let (ours, theirs) = pass::pair(true)?;
    let number = wire::encode(&7u64).map_err(|error| io::Error::other(error.to_string()))?;
    pass::send(ours.as_fd(), &wire::job(&orders, &number.bytes)?, &[])?;
    let (_, arguments) = receive(&theirs)?;
    let same: fn(u64) -> u64 = |number| number;
    report(theirs, call::<u64, u64>(same as usize, arguments))?;
    pass::receive(ours.as_fd(), &mut [0; 64])?;
    let _ = io::stdout().flush();
    sys::exit::flush_all();
    Ok(())
}

/// Takes over what the parent wants the child to have.
fn become_it(orders: Orders) -> Result<(), String> {
    if orders.daemon && !attributes::die_with_parent(orders.parent) {
        std::process::exit(1);
    }
    if attributes::process_group() != orders.group {
        // It may be gone by now, or in another session.
        let _ = attributes::join_process_group(orders.group);
    }
    if orders.no_new_privileges {
        attributes::renounce_new_privileges();
    }
    attributes::set_title(&orders.name);
    if attributes::affinity().is_ok_and(|own| own != orders.affinity) {
        attributes::set_affinity(&orders.affinity)
            .map_err(|error| format!("its CPU affinity cannot be set: {error}"))?;
    }
    if let Some(variables) = orders.environment {
        // SAFETY: one thread (invariant 3).
        unsafe {
            for (name, _) in std::env::vars_os() {
                std::env::remove_var(name);
            }
            for (name, value) in variables {
                std::env::set_var(
                    std::ffi::OsString::from_vec(name),
                    std::ffi::OsString::from_vec(value),
                );
            }
        }
    }
    if let Some(directory) = orders.directory {
        let directory = std::path::PathBuf::from(std::ffi::OsString::from_vec(directory));
        std::env::set_current_dir(&directory)
            .map_err(|error| format!("no change to directory {}: {error}", directory.display()))?;
    }
    for (resource, soft, hard) in orders.limits {
        attributes::set_limit(resource, (soft, hard))
            .map_err(|error| format!("its limit on resource {resource} cannot be set: {error}"))?;
    }
    identity::become_child(
        orders.name,
        orders.daemon,
        orders.parent,
        orders.parent_name,
    );
    Ok(())
}

/// What decodes the arguments, calls a function and encodes its result.
pub(super) type Thunk = fn(usize, Encoded) -> Outcome;

/// The [`Thunk`] for one type of function. `function` is the address of an `fn(A) -> T`.
pub(super) fn call<A: DeserializeOwned, T: Serialize>(
    function: usize,
    arguments: Encoded,
) -> Outcome {
    // SAFETY: invariant 2.
    let function = unsafe { std::mem::transmute::<usize, fn(A) -> T>(function) };
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let Encoded { bytes, fds, .. } = arguments;
        let arguments = match wire::decode(&bytes, fds) {
            Ok(arguments) => arguments,
            Err(error) => return Outcome::Refused(format!("its arguments: {error}")),
        };
        drop(bytes);
        let result = function(arguments);
        // Without a family there is nothing shared in it.
        let parent = family::joined().map(|family| Destination::Peer(family.parent()));
        match wire::encode_for(parent.unwrap_or(Destination::Anyone), &result) {
            Ok(result) => Outcome::Returned(result),
            Err(error) => Outcome::Refused(format!("its result: {error}")),
        }
    }));
    ended.unwrap_or_else(|payload| Outcome::Panicked(panic_of(payload)))
}

/// What is to be told of a panic that was caught on this thread.
pub(super) fn panic_of(payload: Box<dyn Any + Send>) -> Panic {
    let message = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => match payload.downcast_ref::<&str>() {
            Some(text) => (*text).into(),
            None => "(a payload that is no text)".into(),
        },
    };
    Panic {
        message,
        location: LAST_PANIC.with_borrow_mut(Option::take),
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has panics leave the place where they happened.
fn record_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string);
        LAST_PANIC.with_borrow_mut(|last| *last = place);
        before(info);
    }));
}

/// The zygote's copy, made for one job: `standard` are its descriptors 0 to 2.
///
/// # Safety
/// Called in a copy that has just begun, whose descriptors nobody else uses any more.
pub(super) unsafe fn begin(standard: [Option<OwnedFd>; 3], socket: OwnedFd) -> ! {
    let standard = standard.map(|fd| fd.map(IntoRawFd::into_raw_fd));
    // SAFETY: the caller's word; what arrived in a message is above 3.
    let socket = unsafe { launch::take_descriptors(standard, socket.into_raw_fd()) };
    launch::unblock_signals();
    match socket {
        Ok(socket) => run(socket),
        Err(_) => std::process::exit(1),
    }
}
