//! Runs a program to its end, with a watchdog.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod meals;

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// For what ends by itself within seconds, on a machine that may be busy.
const WATCHDOG: Duration = Duration::from_secs(120);

pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: ExitStatus,
    pub(crate) took: Duration,
}

impl Ended {
    /// The lines printed by a program that must have succeeded.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<&str> {
        assert!(
            self.status.success(),
            "{}\n{}{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self.stdout.lines().collect()
    }

    /// Its sleeps add up to so many seconds, and it does not take much longer than that.
    #[track_caller]
    pub(crate) fn slept(&self, seconds: f64) {
        let took = self.took.as_secs_f64();
        assert!(
            (seconds..seconds + 30.0).contains(&took),
            "{took} s instead of {seconds} s"
        );
    }
}

pub(crate) fn run(command: &mut Command) -> Ended {
    run_with_input(command, "")
}

pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Ended {
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading this.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = end_of(&mut child);
    Ended {
        took: begin.elapsed(),
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Waits for a program that ends by itself.
pub(crate) fn end_of(child: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > WATCHDOG {
            let _ = child.kill();
            panic!("the program hangs");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Reads all there is on a thread of its own, so that no pipe fills up.
pub(crate) fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// The I/O backends that this kernel has.
pub(crate) fn backends() -> Vec<&'static str> {
    let uring = bingfa::Runtime::builder().io(bingfa::IoBackend::Uring);
    match uring.workers(1).build() {
        Ok(_) => vec!["epoll", "uring"],
        Err(error) => {
            eprintln!("io_uring is not tested: {error}");
            vec!["epoll"]
        }
    }
}

/// Kills a program's child.
pub(crate) fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Kills the program however the test ends.
pub(crate) struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
