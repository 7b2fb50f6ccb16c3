//! A mutex between processes whose owner may be killed: a robust `pthread_mutex_t`.
//!
//! Its owner is a thread. The kernel goes through the list of robust mutexes of each thread
//! that ends, so that the next one to lock hears of it at once.
//!
//! # Invariants
//! 1. A [`RobustMutex`] lies in memory shared by all who use it, was initialised once, and is
//!    neither moved nor destroyed while somebody may use it.
//! 2. Whoever locks unlocks on the same thread, and a coroutine does not switch meanwhile.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// For how many seconds an owner may stay stopped.
const PATIENCE: u32 = 5;

/// The mutex, as it lies in shared memory.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: made for use by many threads; every access is a call of the C library.
unsafe impl Sync for RobustMutex {}

impl RobustMutex {
    /// Initialises the one at `at`.
    ///
    /// # Safety
    /// `at` is writable, aligned, and nobody uses it yet.
    pub(crate) unsafe fn init(at: *mut RobustMutex) -> io::Result<()> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: initialised first, destroyed last; `at` is ours (caller).
        unsafe {
            check(libc::pthread_mutexattr_init(attributes))?;
            let made = check(libc::pthread_mutexattr_setpshared(
                attributes,
                libc::PTHREAD_PROCESS_SHARED,
            ))
            .and_then(|()| {
                check(libc::pthread_mutexattr_setrobust(
                    attributes,
                    libc::PTHREAD_MUTEX_ROBUST,
                ))
            })
            .and_then(|()| check(libc::pthread_mutex_init(at.cast(), attributes)));
            libc::pthread_mutexattr_destroy(attributes);
            made
        }
    }

    /// Blocks the thread until the mutex is its own. `repair` runs first if an owner has died
    /// with it; if that one dies as well, the next repairs. Says so if it takes very long.
    ///
    /// # Errors
    /// `TimedOut`, with its owner's name, if that is stopped (SIGSTOP, a debugger), and stays so
    /// for some seconds.
    #[inline]
    pub(crate) fn lock(&self, repair: impl FnOnce()) -> io::Result<RobustGuard<'_>> {
        let mut locked = self.try_lock();
        if locked == libc::EBUSY {
            locked = self.wait()?;
        }
        Ok(self.locked(locked, repair))
    }

    /// As [`lock`](Self::lock), but gives up after some milliseconds: then its owner is
    /// stopped, or does not get to run.
    #[inline]
    pub(crate) fn lock_briefly(&self, repair: impl FnOnce()) -> Option<RobustGuard<'_>> {
        let mut locked = self.try_lock();
        if locked == libc::EBUSY {
            locked = self.wait_briefly();
        }
        (locked != libc::EBUSY).then(|| self.locked(locked, repair))
    }

    #[inline]
    fn try_lock(&self) -> i32 {
        // SAFETY: initialised (invariant 1).
        unsafe { libc::pthread_mutex_trylock(self.0.get()) }
    }

    /// What `pthread_mutex_lock` gives; an error if its owner stays stopped.
    #[cold]
    fn wait(&self) -> io::Result<i32> {
        let (mut stopped, mut said) = ((0, 0), false);
        loop {
            match self.wait_a_second() {
                libc::ETIMEDOUT => {}
                done => return Ok(done),
            }
            let owner = Owner::of(self.owner());
            // 0: it has let go of it since, and somebody else may be faster than we are.
            if !said && owner.thread != 0 {
                said = true;
                let _ = writeln!(
                    io::stderr(),
                    "bingfa: process {} waits for {owner} which is changing memory that they share",
                    std::process::id(),
                );
            }
            stopped = match stopped {
                _ if !owner.is_stopped() => (0, 0),
                (thread, seconds) if thread == owner.thread => (thread, seconds + 1),
                _ => (owner.thread, 1),
            };
            if stopped.1 == PATIENCE {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "bingfa: {owner} has been changing memory that all share for {PATIENCE} \
                         seconds; let it go on (SIGCONT), or end it"
                    ),
                ));
            }
        }
    }

    fn wait_a_second(&self) -> i32 {
        // If the clock is set meanwhile, it is a longer or a shorter one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let until = now.unwrap_or_default() + Duration::from_secs(1);
        let until = libc::timespec {
            tv_sec: until.as_secs() as libc::time_t,
            tv_nsec: until.subsec_nanos().into(),
        };
        // SAFETY: initialised (invariant 1).
        unsafe { libc::pthread_mutex_timedlock(self.0.get(), &raw const until) }
    }

    /// The number of the thread that has it, or 0.
    fn owner(&self) -> u32 {
        // SAFETY: initialised, and it begins with the word that the kernel knows: that of a
        // robust futex (`set_robust_list(2)`).
        let word = unsafe { AtomicU32::from_ptr(self.0.get().cast()) };
        word.load(Relaxed) & libc::FUTEX_TID_MASK
    }

    /// Looks again and again; `pthread_mutex_timedlock` goes by a clock that can be set.
    #[cold]
    fn wait_briefly(&self) -> i32 {
        const PATIENCE: Duration = Duration::from_millis(5);
        const SPINS: u32 = 20;
        const YIELDS: u32 = 20;
        let begin = Instant::now();
        for look in 0.. {
            match self.try_lock() {
                libc::EBUSY if begin.elapsed() >= PATIENCE => break,
                libc::EBUSY => {}
                done => return done,
            }
            // The sections are short: whoever is not through at once does not run.
            match look {
                0..SPINS => (0..10).for_each(|_| std::hint::spin_loop()),
                _ if look < SPINS + YIELDS => thread::yield_now(),
                _ => thread::sleep(Duration::from_micros(50)),
            }
        }
        libc::EBUSY
    }

    #[inline]
    fn locked(&self, result: i32, repair: impl FnOnce()) -> RobustGuard<'_> {
        match result {
            0 => {}
            libc::EOWNERDEAD => {
                repair();
                // SAFETY: this thread holds it.
                unsafe { libc::pthread_mutex_consistent(self.0.get()) };
            }
            error => panic!(
                "bingfa: a lock in shared memory is broken: {}",
                io::Error::from_raw_os_error(error)
            ),
        }
        RobustGuard(self)
    }
}

/// A thread that has a mutex, with its process and its state.
struct Owner {
    thread: u32,
    process: String,
    state: String,
}

impl Owner {
    fn of(thread: u32) -> Owner {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.map_or("?", str::trim).to_owned()
        };
        Owner {
            thread,
            process: field("Tgid:"),
            state: field("State:"),
        }
    }

    /// By a signal, or a debugger.
    fn is_stopped(&self) -> bool {
        self.state.starts_with(['T', 't'])
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner {
            thread,
            process,
            state,
        } = self;
        write!(f, "thread {thread} of process {process}, in state {state},")
    }
}

fn check(error: i32) -> io::Result<()> {
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// The right to what the mutex protects.
#[derive(Debug)]
pub(crate) struct RobustGuard<'a>(&'a RobustMutex);

impl Drop for RobustGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this thread holds it (invariant 2).
        unsafe { libc::pthread_mutex_unlock(self.0.0.get()) };
    }
}
