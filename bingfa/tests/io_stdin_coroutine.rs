//! Standard input in coroutines: whoever waits for a line does not hold its worker, and can
//! give up.

mod common;

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use bingfa::time::timeout;
use bingfa::{IoBackend, coroutine, io};
use common::{SHORT, Watchdog, backends, cancel_and_join, runtime, until_in};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Says to [`child`] that it is one, and which backend to take.
const TASK: &str = "BINGFA_TEST_STDIN_COROUTINE";

fn say(what: &str) {
    println!("\n@{what}");
}

fn read_line() -> String {
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    line
}

#[test]
fn child() {
    let backend = match env::var(TASK).as_deref() {
        Ok("Uring") => IoBackend::Uring,
        Ok("Epoll") => IoBackend::Epoll,
        _ => return, // the ordinary run of this binary
    };
    runtime(backend, 1).run(|| {
        let _dog = Watchdog::new("child");
        // All of this is on one thread: that it goes on shows that the reader does not hold it.
        let reader = coroutine::spawn_local(read_line);
        until_in(&reader, "poll");
        let behind = coroutine::spawn_local(read_line);
        until_in(&behind, "stdin");
        say("both wait");
        assert_eq!(reader.join().unwrap(), "first\n");
        until_in(&behind, "poll");
        say("the first has its line");
        assert_eq!(behind.join().unwrap(), "second\n");

        let reader = coroutine::spawn_local(read_line);
        until_in(&reader, "poll");
        let behind = coroutine::spawn_local(read_line);
        until_in(&behind, "stdin");
        say("a part, please");
        cancel_and_join(behind);
        cancel_and_join(reader);
        assert!(timeout(SHORT, read_line).is_err());
        say("they have given up");
        assert_eq!(read_line(), "a part and the rest\n"); // whoever had read it
        say("the end, please");
        assert_eq!(coroutine::spawn_local(read_line).join().unwrap(), "");
        say("bye");
    });
}

struct Parent {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Parent {
    fn start(backend: IoBackend, stdin: Stdio) -> Parent {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(TASK, format!("{backend:?}"))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Parent { process, lines }
    }

    /// Waits until the child says it.
    #[track_caller]
    fn hears(&mut self, what: &str) {
        let said = self.lines.by_ref().map(Result::unwrap);
        let said: Vec<_> = said
            .take_while(|line| line != &format!("@{what}"))
            .collect();
        let other = said.iter().find(|line| line.starts_with('@'));
        assert_eq!(other, None, "instead of {what}");
    }

    /// Writes what the child wants to read, when it wants it.
    fn talk(mut self, mut input: File, end: impl FnOnce(File)) {
        self.hears("both wait");
        input.write_all(b"first\n").unwrap();
        self.hears("the first has its line");
        input.write_all(b"second\n").unwrap();
        self.hears("a part, please");
        input.write_all(b"a part").unwrap();
        self.hears("they have given up");
        input.write_all(b" and the rest\n").unwrap();
        self.hears("the end, please");
        end(input);
        self.hears("bye");
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn a_pipe() {
    for backend in backends() {
        let (theirs, ours) = std::io::pipe().unwrap();
        let parent = Parent::start(backend, theirs.into());
        parent.talk(File::from(std::os::fd::OwnedFd::from(ours)), drop);
    }
}

#[test]
fn a_terminal() {
    for backend in backends() {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(name).unwrap();
        let parent = Parent::start(backend, theirs.into());
        // The end of a terminal's input is a key.
        parent.talk(File::from(ours), |mut input| {
            input.write_all(b"\x04").unwrap()
        });
    }
}
