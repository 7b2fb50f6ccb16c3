//! `process-spawn`: a process that gives a number back, or (`std-command`, `fork`) only ends.

use harness::{Args, Figures, median_us};
use std::process::Command;

pub(crate) fn run(args: &Args) {
    let total = args.number("total");
    let taken = match args.contender.as_str() {
        "std-command" => median_us(total, |_| {
            let status = Command::new("/bin/true").status().expect("a process");
            assert!(status.success());
        }),
        "procspawn" => median_us(total, |n| {
            let child = procspawn::spawn(n, |n: u64| n + 1);
            assert_eq!(child.join().expect("a result"), n + 1);
        }),
        "fork" => median_us(total, |_| fork()),
        _ => args.unknown(),
    };
    Figures::new().with("us_per_process", taken).print();
}

fn fork() {
    // SAFETY: one thread; the copy ends at once.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        // SAFETY: ends the copy.
        unsafe { libc::_exit(0) }
    }
    let mut status = 0;
    // SAFETY: `status` is writable.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((reaped, status), (pid, 0));
}
