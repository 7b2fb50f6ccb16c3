//! What a process uses at the moment.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// Descriptors, mappings, threads and resident memory.
#[derive(Clone, Debug)]
pub struct Usage {
    pub descriptors: usize,
    pub mappings: usize,
    pub threads: usize,
    pub rss_kib: usize,
}

impl Usage {
    pub fn now() -> Usage {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Usage {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            mappings: fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count(),
            threads: field("Threads:"),
            rss_kib: field("VmRSS:"),
        }
    }

    /// When what the kernel and ending threads give back in their own time is back: the
    /// least of several looks, the last of which was no better.
    pub fn settled() -> Usage {
        // SAFETY: takes a number, and touches only free memory.
        unsafe { libc::malloc_trim(0) };
        let mut least = Usage::now();
        let start = Instant::now();
        let mut same = 0;
        while same < 10 && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
            let now = Usage::now();
            let better = now.descriptors < least.descriptors
                || now.mappings < least.mappings
                || now.threads < least.threads;
            same = if better { 0 } else { same + 1 };
            least = Usage {
                descriptors: least.descriptors.min(now.descriptors),
                mappings: least.mappings.min(now.mappings),
                threads: least.threads.min(now.threads),
                rss_kib: least.rss_kib.min(now.rss_kib),
            };
        }
        least
    }

    /// Allows for caches: a thread that is kept and its stack, pages that malloc keeps.
    #[track_caller]
    pub fn assert_no_more_than(&self, before: &Usage, label: &str) {
        let grown = self.descriptors > before.descriptors + 4
            || self.mappings > before.mappings + 24
            || self.threads > before.threads + 2
            || self.rss_kib > before.rss_kib + 6 * 1024;
        assert!(!grown, "{label}: from {before:?} to {self:?}");
    }
}

/// Raises the soft limit to the hard one.
pub fn allow_many_descriptors() {
    // SAFETY: the structure is valid for both calls.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

/// Lowers the soft limit: descriptors have smaller numbers than this from now on.
pub fn limit_descriptors(below: u64) {
    // SAFETY: the structure is valid for both calls.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = below;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

/// How many bytes of memory this process shares with others, in files that it has open.
pub fn shared_memory() -> u64 {
    let files = fs::read_dir("/proc/self/fd").unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let is_it = |path: &std::path::PathBuf| {
        fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("memfd:bingfa"))
    };
    let all = paths.filter(is_it);
    all.map(|path| fs::metadata(path).unwrap().blocks() * 512)
        .sum()
}
