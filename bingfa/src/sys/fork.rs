//! Tells a process from what it has forked, for the price of one load.
//!
//! One page of the process is `MADV_WIPEONFORK`: whatever made the child (`fork`,
//! a raw `clone`), the page reads as zero in it, where `getpid` would cost a
//! system call and `pthread_atfork` misses the raw calls.
//!
//! # Invariants
//! 1. The page is mapped once and never unmapped.
//! 2. Its word is 0 (fresh, or wiped) or the generation of this very process. No
//!    process has the generation of one of its ancestors: the counter that deals
//!    them out is ordinary memory, which the child inherits.
#![allow(unsafe_code)]

use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static WORD: OnceLock<Result<&'static AtomicU64, i32>> = OnceLock::new();
static LAST_GENERATION: AtomicU64 = AtomicU64::new(0);

/// The process in which it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    word: &'static AtomicU64,
    generation: u64,
}

impl Mark {
    /// Marks the calling process.
    ///
    /// # Errors
    /// If the page cannot be mapped.
    pub(crate) fn here() -> io::Result<Mark> {
        let word = (*WORD.get_or_init(map)).map_err(io::Error::from_raw_os_error)?;
        let mut generation = word.load(Relaxed);
        if generation == 0 {
            // Relaxed: the number itself is all that is shared.
            let fresh = LAST_GENERATION.fetch_add(1, Relaxed) + 1;
            generation = match word.compare_exchange(0, fresh, Relaxed, Relaxed) {
                Ok(_) => fresh,
                Err(other_thread) => other_thread,
            };
        }
        Ok(Mark { word, generation })
    }

    /// Whether this is a fork of the process that made the mark.
    #[inline]
    pub(crate) fn forked(self) -> bool {
        // Relaxed: within a process the word never changes again (invariant 2).
        self.word.load(Relaxed) != self.generation
    }
}

fn map() -> Result<&'static AtomicU64, i32> {
    // SAFETY: a new anonymous mapping, placed by the kernel, of one page of any size.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size_of::<AtomicU64>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(super::errno::last());
    }
    // Linux before 4.14 has no such page; there forks go unnoticed.
    // SAFETY: the page is ours and new.
    unsafe { libc::madvise(page, size_of::<AtomicU64>(), libc::MADV_WIPEONFORK) };
    // SAFETY: zeroed, aligned to a page, and never unmapped (invariant 1).
    Ok(unsafe { &*page.cast::<AtomicU64>() })
}
