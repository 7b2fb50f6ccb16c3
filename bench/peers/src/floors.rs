//! Floors: what no runtime can beat, because each of them does at least this.

use corosensei::stack::{DefaultStack, Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult};
use std::io;
use std::time::{Duration, Instant};

/// `switch`: resume and suspend of raw corosensei coroutines in turn, without a scheduler. What a `yield_now` does
/// at least is one of each, so the two together count as one switch.
pub(crate) fn corosensei(tasks: u64, each: u64) -> Duration {
    let make = |index| {
        let stack = Coloured {
            stack: DefaultStack::new(64 * 1024).expect("a stack"),
            offset: index as usize % COLOURS * 64,
        };
        Coroutine::<(), (), u64, Coloured>::with_stack(stack, move |yielder, ()| {
            let mut done = 0;
            while done < each {
                yielder.suspend(());
                done += 1;
            }
            done
        })
    };
    let mut coroutines: Vec<_> = (0..tasks).map(make).collect();
    let start = Instant::now();
    for _ in 0..each {
        for coroutine in &mut coroutines {
            coroutine.resume(());
        }
    }
    let taken = start.elapsed();
    let done = coroutines
        .iter_mut()
        .map(|coroutine| match coroutine.resume(()) {
            CoroutineResult::Return(done) => done,
            CoroutineResult::Yield(()) => panic!("a coroutine has yielded once too often"),
        });
    assert_eq!(done.sum::<u64>(), tasks * each);
    taken
}

/// A stack that begins a little below its top. All stacks begin at the start of a page, so the few cache lines that
/// each uses would fall into the same sets of the first-level cache, and a thousand coroutines would evict each other.
struct Coloured {
    stack: DefaultStack,
    offset: usize,
}

/// How many starts there are, a cache line apart.
const COLOURS: usize = 16;

// SAFETY: the memory between `base` and `limit` is a part of what `stack` gives, which keeps it for as long as it
// lives; the offset is less than a page and a multiple of 16, so `base` stays aligned and far above `limit`.
unsafe impl Stack for Coloured {
    fn base(&self) -> StackPointer {
        let base = self.stack.base().get() - self.offset;
        StackPointer::new(base).expect("an address within a stack is not null")
    }

    fn limit(&self) -> StackPointer {
        self.stack.limit()
    }
}

/// `spawn alive=1M`: one page touched and one guard installed for each of so many stacks, by `threads` threads.
pub(crate) fn page_touch(stacks: usize, threads: usize) -> Duration {
    let each = stacks / threads;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || {
                touch(each).expect("guards need Linux 6.13 and 256 KiB of address space per stack")
            });
        }
    });
    start.elapsed()
}

fn touch(stacks: usize) -> io::Result<()> {
    const STRIDE: usize = 256 * 1024;
    const PAGE: usize = 4096;
    const MADV_GUARD_INSTALL: libc::c_int = 102;

    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new private mapping at an address of the kernel's choice touches no memory in use.
    let slab = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            stacks * STRIDE,
            protection,
            flags,
            -1,
            0,
        )
    };
    if slab == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let check = |result: libc::c_int| {
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: advice on the whole of the mapping made above.
    check(unsafe { libc::madvise(slab, stacks * STRIDE, libc::MADV_NOHUGEPAGE) })?;
    let slab = slab.cast::<u8>();
    for slot in 0..stacks {
        // SAFETY: `slot < stacks`, so both the first and the last page of the slot lie in the mapping made above,
        // which is never unmapped; the guard is installed on the first page and only the last is written.
        unsafe {
            let bottom = slab.add(slot * STRIDE);
            check(libc::madvise(bottom.cast(), PAGE, MADV_GUARD_INSTALL))?;
            bottom.add(STRIDE - 8).write_volatile(1);
        }
    }
    Ok(())
}
