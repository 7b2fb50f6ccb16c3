//! CPU time and memory, read from the kernel.

use std::fs;
use std::io;
use std::time::Duration;

/// The CPU clock of a process (all its threads, those that have ended included) or of one kernel thread.
#[derive(Debug)]
pub enum Cpu {
    /// A process, by its CPU clock: exact to the nanosecond, while it runs too.
    Process(libc::clockid_t),
    /// A kernel thread, by the path of its `schedstat`.
    KernelThread(String),
}

impl Cpu {
    /// The clock of process `pid`.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        let mut clock: libc::clockid_t = 0;
        // SAFETY: `clock` is a live, writable clockid_t, and the call keeps no pointer to it.
        match unsafe { libc::clock_getcpuclockid(pid, &mut clock) } {
            0 => Ok(Self::Process(clock)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// The clock of the kernel thread that does the network work deferred on `core`.
    /// `None` where it cannot be seen, as in a container.
    pub fn of_ksoftirqd(core: usize) -> Option<Self> {
        let name = format!("ksoftirqd/{core}");
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let path = entry.path();
            let comm = fs::read_to_string(path.join("comm")).ok()?;
            (comm.trim_end() == name)
                .then(|| Self::KernelThread(path.join("schedstat").to_string_lossy().into_owned()))
        })
    }

    /// CPU time used so far.
    pub fn used(&self) -> io::Result<Duration> {
        match self {
            Self::Process(clock) => {
                let mut time = libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                // SAFETY: `time` is a live, writable timespec, and the call keeps no pointer to it.
                if unsafe { libc::clock_gettime(*clock, &mut time) } != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
            }
            Self::KernelThread(path) => {
                let text = fs::read_to_string(path)?;
                let nanos = text
                    .split_whitespace()
                    .next()
                    .and_then(|word| word.parse().ok());
                Ok(Duration::from_nanos(
                    nanos.ok_or_else(|| io::Error::other("empty schedstat"))?,
                ))
            }
        }
    }
}

/// CPU seconds that this process has used.
pub fn process_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU seconds that the children of this process have used, as far as they have ended and been waited for.
pub fn children_cpu_seconds() -> f64 {
    // SAFETY: an all-zero rusage is a valid value: it is plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a live, writable rusage, and the call keeps no pointer to it.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Memory of this process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident pages (`VmRSS`). Page tables are not among them.
    pub resident: f64,
    /// Page tables (`VmPTE`).
    pub page_tables: f64,
}

impl Memory {
    /// Memory at this moment.
    ///
    /// # Panics
    /// If `/proc/self/status` cannot be read.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status")
            .expect("/proc/self/status is needed to measure memory");
        let bytes = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default();
            let kib: f64 = line
                .split_whitespace()
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(f64::NAN);
            kib * 1024.0
        };
        Self {
            resident: bytes("VmRSS:"),
            page_tables: bytes("VmPTE:"),
        }
    }
}
