//! Memory faults as signals: one handler in front of the handlers that were there, and
//! alternate signal stacks for threads that have none.
//!
//! # Invariants
//! 1. What runs in the handler is async-signal-safe: atomics, reads of memory that is
//!    never freed, and system calls. No allocation, no lock.
//! 2. `PREVIOUS` holds the action of a signal before ours is installed for it.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::{io, mem, ptr};

use super::mem::{Mapping, PAGE, protect_none};

const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];
static PREVIOUS: [OnceLock<libc::sigaction>; 2] = [const { OnceLock::new() }; 2];
static ON_FAULT: OnceLock<fn(Fault)> = OnceLock::new();

/// An access to memory that the kernel refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The address that was accessed.
    pub(crate) address: usize,
    /// The stack pointer of the code that accessed it.
    pub(crate) stack_pointer: usize,
}

/// Calls `on_fault` for each memory fault of this process, and then, if it returns, whatever
/// handled the signal before. To be called once; `on_fault` must be async-signal-safe.
pub(crate) fn handle_faults(on_fault: fn(Fault)) -> io::Result<()> {
    let first = ON_FAULT.set(on_fault).is_ok();
    debug_assert!(first, "the fault handler is installed once per process");
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let old = current_action(signal)?;
        let mut new = old;
        // A handler that permits nested faults, or blocks other signals, keeps its terms.
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | (old.sa_flags & libc::SA_NODEFER);
        new.sa_sigaction = on_signal as *const () as usize;
        previous.get_or_init(|| old);
        // SAFETY: `new` is the complete old action but for a handler of the type that
        // SA_SIGINFO asks for.
        check(unsafe { libc::sigaction(signal, &new, ptr::null_mut()) })?;
    }
    Ok(())
}

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo; a code above 0 means that it sent the
    // signal itself, and then `si_addr` is set for these two signals.
    let (sent_by_process, address) = unsafe { ((*info).si_code <= 0, (*info).si_addr().addr()) };
    if !sent_by_process && let Some(on_fault) = ON_FAULT.get() {
        // SAFETY: with SA_SIGINFO the third argument is the interrupted context.
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        on_fault(Fault {
            address,
            stack_pointer: context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize,
        });
    }
    call_previous(signal, info, context, sent_by_process);
    // A fault happens again when the handler returns; a signal that was sent does not. If
    // the previous handler (std's does) restored the default action and counts on the
    // repetition, `kill -SEGV` would go unheeded.
    if sent_by_process && current_action(signal).is_ok_and(|a| a.sa_sigaction == libc::SIG_DFL) {
        // SAFETY: no preconditions.
        unsafe { libc::raise(signal) };
    }
}

fn call_previous(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    sent_by_process: bool,
) {
    let index = usize::from(signal == SIGNALS[1]);
    let Some(previous) = PREVIOUS[index].get() else {
        return set_default(signal);
    };
    match previous.sa_sigaction {
        libc::SIG_IGN if sent_by_process => {}
        // The kernel does not let a real fault be ignored either.
        libc::SIG_DFL | libc::SIG_IGN => set_default(signal),
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: installed with SA_SIGINFO, so it is a function of this type (invariant 2).
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: installed without SA_SIGINFO, so it is a function of this type (invariant 2).
            let handler: extern "C" fn(c_int) = unsafe { mem::transmute(handler) };
            handler(signal);
        }
    }
}

fn current_action(signal: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero is a valid sigaction (the default action), and the call overwrites it.
    let mut action = unsafe { mem::zeroed() };
    // SAFETY: a null new action only asks.
    check(unsafe { libc::sigaction(signal, ptr::null(), &mut action) })?;
    Ok(action)
}

fn set_default(signal: c_int) {
    // SAFETY: all-zero is the default action with an empty mask.
    unsafe {
        let action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, &action, ptr::null_mut());
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Writes to standard error by one system call, from a signal handler too.
pub(crate) fn write_stderr(text: &[u8]) {
    // SAFETY: pointer and length are of one slice. What cannot be written is lost: a
    // handler has nowhere else to say it.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

/// The calling thread's alternate signal stack, if [`ensure_alt_stack`] had to make one;
/// dropping it takes the stack away again.
#[must_use = "the alternate stack is removed when this is dropped"]
#[derive(Debug)]
pub(crate) struct AltStack {
    mapping: Option<Mapping>,
    // An alternate stack belongs to the thread that set it.
    _not_send: PhantomData<*mut ()>,
}

/// Gives the calling thread an alternate signal stack, unless it has one.
///
/// The main thread and those of `std::thread` have one; a thread made by C code has none, and
/// the report of a stack overflow needs it. Without memory for it the thread goes on without:
/// only that report is lost.
pub(crate) fn ensure_alt_stack() -> AltStack {
    let mapping = match current_alt_stack() {
        Some(current) if current.ss_flags & libc::SS_DISABLE != 0 => new_alt_stack().ok(),
        _ => None,
    };
    AltStack {
        mapping,
        _not_send: PhantomData,
    }
}

fn current_alt_stack() -> Option<libc::stack_t> {
    // SAFETY: all-zero is a valid stack_t, and the call overwrites it.
    let mut current = unsafe { mem::zeroed() };
    // SAFETY: a null new stack only asks.
    check(unsafe { libc::sigaltstack(ptr::null(), &mut current) }).ok()?;
    Some(current)
}

fn new_alt_stack() -> io::Result<Mapping> {
    // The registers that the kernel saves there differ by CPU; libc has no name for the key.
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    const FOR_HANDLERS: usize = 32 * 1024;
    // SAFETY: no preconditions; an unknown key gives 0.
    let saved_registers = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
    let size = (saved_registers + FOR_HANDLERS).next_multiple_of(PAGE);
    let mapping = Mapping::reserve(PAGE + size)?;
    // SAFETY: the mapping is new, so its first page is ours alone.
    unsafe { protect_none(mapping.start(), PAGE) }?;
    let stack = libc::stack_t {
        ss_sp: ptr::with_exposed_provenance_mut(mapping.start() + PAGE),
        ss_flags: 0,
        ss_size: size,
    };
    // SAFETY: the range is mapped until `AltStack` is dropped, which first takes it out of use.
    check(unsafe { libc::sigaltstack(&stack, ptr::null_mut()) })?;
    Ok(mapping)
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Some(mapping) = self.mapping.take() else {
            return;
        };
        let ours = current_alt_stack()
            .is_none_or(|current| current.ss_sp.addr() == mapping.start() + PAGE);
        if ours {
            let disable = libc::stack_t {
                ss_sp: ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            // SAFETY: disabling names no memory.
            if check(unsafe { libc::sigaltstack(&disable, ptr::null_mut()) }).is_err() {
                // Still in use: leaking it is the safe way out.
                mem::forget(mapping);
            }
        }
    }
}

/// Runs `f` on a thread that std knows nothing about, and waits for its end.
#[cfg(test)]
pub(crate) fn on_foreign_thread(f: fn()) {
    extern "C" fn start(f: *mut c_void) -> *mut c_void {
        // SAFETY: the argument is the `fn()` passed below.
        let f: fn() = unsafe { mem::transmute(f) };
        f();
        ptr::null_mut()
    }
    let mut thread = 0;
    // SAFETY: `start` takes any `fn()` as its argument, and the thread is joined once.
    unsafe {
        let result = libc::pthread_create(
            &mut thread,
            ptr::null(),
            start,
            f as *const () as *mut c_void,
        );
        assert_eq!(result, 0);
        assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
    }
}

/// Sends SIGSEGV to the whole process, as `kill -SEGV` does.
#[cfg(test)]
pub(crate) fn kill_with_segv() {
    // SAFETY: no preconditions.
    unsafe { libc::kill(libc::getpid(), libc::SIGSEGV) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled() -> bool {
        current_alt_stack().unwrap().ss_flags & libc::SS_DISABLE == 0
    }

    #[test]
    fn a_std_thread_keeps_its_own_alternate_stack() {
        std::thread::spawn(|| {
            let before = current_alt_stack().unwrap().ss_sp;
            let guard = ensure_alt_stack();
            assert!(guard.mapping.is_none());
            drop(guard);
            assert_eq!(current_alt_stack().unwrap().ss_sp, before);
            assert!(enabled());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_foreign_thread_gets_one_until_the_first_guard_is_dropped() {
        on_foreign_thread(|| {
            assert!(!enabled());
            let guard = ensure_alt_stack();
            assert!(enabled());
            drop(ensure_alt_stack());
            assert!(enabled());
            drop(guard);
            assert!(!enabled());
        });
    }
}
