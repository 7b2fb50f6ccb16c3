//! What makes the end of a stack fault: the two kinds of guard pages, and how many of the
//! older kind a process can have.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{fs, io};

use crate::sys::mem::{self, Mapping, PAGE};

/// How the end of a coroutine's stack is guarded.
///
/// Both kinds turn an overflow into a report that names the coroutine; they differ in how
/// many coroutines can be alive at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GuardPages {
    /// [`Install`](Self::Install) where the kernel has it, else [`Protect`](Self::Protect).
    /// Tried once per process.
    #[default]
    Auto,
    /// `madvise(MADV_GUARD_INSTALL)`, Linux 6.13 or newer: guards cost no mapping, so the number
    /// of coroutines is limited by memory alone. On an older kernel, starting a runtime
    /// fails with [`Unsupported`](io::ErrorKind::Unsupported).
    Install,
    /// `mprotect`, on any kernel: each guard splits a mapping, and the kernel's limit
    /// (`vm.max_map_count`) allows about 30,000 coroutine stacks in a process. Beyond that a
    /// spawn fails with [`OutOfMemory`](io::ErrorKind::OutOfMemory).
    Protect,
}

impl GuardPages {
    /// What this choice means on the running kernel: `Install` or `Protect`, never `Auto`.
    pub(crate) fn resolve(self) -> io::Result<GuardPages> {
        static INSTALLABLE: OnceLock<bool> = OnceLock::new();
        self.resolve_for(*INSTALLABLE.get_or_init(can_install))
    }

    fn resolve_for(self, installable: bool) -> io::Result<GuardPages> {
        match self {
            GuardPages::Auto if installable => Ok(GuardPages::Install),
            GuardPages::Auto | GuardPages::Protect => Ok(GuardPages::Protect),
            GuardPages::Install if installable => Ok(GuardPages::Install),
            GuardPages::Install => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "GuardPages::Install needs MADV_GUARD_INSTALL (Linux 6.13 or newer, memory not \
                 locked by mlockall), which does not work here; choose GuardPages::Auto or \
                 GuardPages::Protect",
            )),
        }
    }
}

/// Tries it and looks: emulators accept advice that they do not know, and do nothing.
fn can_install() -> bool {
    let Ok(page) = Mapping::reserve(PAGE) else {
        return false;
    };
    // SAFETY: the page was mapped just now and nobody else knows it.
    unsafe { mem::install_guard(page.start(), PAGE) }.is_ok() && !mem::is_readable(page.start())
}

/// Bytes of a slot that are guard.
///
/// More than a page, because C code that was compiled without stack probes can step over a
/// single one; at most a sixteenth of the slot, but for the smallest ones.
pub(super) const fn guard_size(slot_size: usize) -> usize {
    const MOST: usize = 64 * 1024;
    let share = slot_size / 16;
    if share < PAGE {
        PAGE
    } else if share > MOST {
        MOST
    } else {
        share
    }
}

/// How many slots may be guarded by `mprotect`.
///
/// Each costs two mappings. At the kernel's limit even `malloc` of large blocks fails, so
/// the budget ends well before: the rest is for everybody else in the process.
#[derive(Debug)]
pub(super) struct ProtectBudget {
    // Only a count, which orders nothing: Relaxed throughout.
    used: AtomicUsize,
    limit: usize,
    max_map_count: usize,
}

impl ProtectBudget {
    /// The budget of this process: 30,000 under the kernel's default limit, else in proportion.
    pub(super) fn of_process() -> &'static ProtectBudget {
        const DEFAULT_MAP_COUNT: usize = 65_530;
        static BUDGET: OnceLock<ProtectBudget> = OnceLock::new();
        BUDGET.get_or_init(|| {
            let max_map_count = fs::read_to_string("/proc/sys/vm/max_map_count")
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(DEFAULT_MAP_COUNT);
            let limit = max_map_count as u64 * 30_000 / DEFAULT_MAP_COUNT as u64;
            ProtectBudget::new(limit as usize, max_map_count)
        })
    }

    pub(super) fn new(limit: usize, max_map_count: usize) -> ProtectBudget {
        ProtectBudget {
            used: AtomicUsize::new(0),
            limit,
            max_map_count,
        }
    }

    /// Counts one more slot, or says why there cannot be one.
    pub(super) fn take(&self) -> io::Result<()> {
        if self.used.fetch_add(1, Relaxed) < self.limit {
            return Ok(());
        }
        self.used.fetch_sub(1, Relaxed);
        Err(self.exhausted())
    }

    pub(super) fn give_back(&self, slots: usize) {
        self.used.fetch_sub(slots, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    #[cold]
    fn exhausted(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!(
                "no more coroutine stacks: {} are guarded by mprotect, which is what \
                 vm.max_map_count = {} allows (two mappings each, and a reserve for malloc); \
                 use Linux 6.13 or newer, where guards need no mapping, run fewer coroutines \
                 at once, or raise vm.max_map_count",
                self.limit, self.max_map_count
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_the_best_kind_there_is() {
        use GuardPages::{Auto, Install, Protect};
        assert_eq!(Auto.resolve_for(true).unwrap(), Install);
        assert_eq!(Auto.resolve_for(false).unwrap(), Protect);
        assert_eq!(Protect.resolve_for(true).unwrap(), Protect);
        assert_ne!(Auto.resolve().unwrap(), Auto);
    }

    #[test]
    fn install_on_an_old_kernel_is_refused_with_the_remedy() {
        let error = GuardPages::Install.resolve_for(false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains("6.13") && text.contains("GuardPages::Auto"),
            "{text}"
        );
    }

    #[test]
    fn guards_are_whole_pages_and_leave_most_of_the_slot() {
        for log2 in 14..41 {
            let slot = 1usize << log2;
            let guard = guard_size(slot);
            assert!(guard >= PAGE && guard.is_multiple_of(PAGE) && guard <= slot / 4);
        }
        assert_eq!(guard_size(256 * 1024), 16 * 1024);
    }

    #[test]
    fn the_process_budget_leaves_room_under_the_kernel_limit() {
        let budget = ProtectBudget::of_process();
        assert!(budget.limit > 0);
        assert!(2 * budget.limit < budget.max_map_count);
    }
}
