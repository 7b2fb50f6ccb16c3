//! What a thread of this process is doing, as the kernel sees it (`proc(5)`).

use std::fs;
use std::time::Duration;

/// The calling thread's id.
pub(crate) fn tid() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// How much CPU time the thread has used; `None` if that cannot be told.
pub(crate) fn cpu_time(tid: i32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Whether the thread sleeps in the kernel (else it runs, or waits for a core).
pub(crate) fn is_blocked(tid: i32) -> bool {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the state follows it.
    let state = text
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim_start().chars().next());
    matches!(state, Some('S' | 'D'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_computes_uses_time_and_is_not_blocked() {
        let tid = tid();
        let before = cpu_time(tid).unwrap();
        while cpu_time(tid).unwrap() == before {}
        assert!(!is_blocked(tid));
    }
}
