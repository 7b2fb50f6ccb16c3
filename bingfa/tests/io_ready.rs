//! Waiting for foreign descriptors, on whichever carrier the tests run.

mod common;

use bingfa::thread::spawn;

use std::fs::File;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bingfa::io::{self, Read, Write};

use common::until_in;

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(10)
}

#[bingfa::test]
fn a_pipe_is_readable_when_something_came() {
    let (mut out, mut inp) = std::io::pipe().unwrap();
    let deadline = soon();
    let late = io::readable(&out, deadline).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert!(Instant::now() >= deadline);

    let writer = spawn(move || {
        inp.write_all(b"x").unwrap();
        inp
    });
    io::readable(&out, None).unwrap();
    out.read_exact(&mut [0]).unwrap();
    let inp = writer.join().unwrap();
    io::readable(&out, soon()).unwrap_err();

    // The end is something to read, too.
    drop(inp);
    io::readable(&out, None).unwrap();
    assert_eq!(out.read(&mut [0]).unwrap(), 0);
}

#[bingfa::test]
fn a_pipe_is_writable_while_it_has_room() {
    let (mut out, mut inp) = std::io::pipe().unwrap();
    let mut sent = 0;
    while io::writable(&inp, soon()).is_ok() {
        sent += inp.write(&[0; 4096]).unwrap();
    }
    let reader = spawn(move || {
        out.read_exact(&mut vec![0; sent]).unwrap();
        out
    });
    io::writable(&inp, None).unwrap();
    // Nobody left to read: a write would not wait, it would fail.
    drop(reader.join().unwrap());
    io::writable(&inp, None).unwrap();
}

#[bingfa::test]
fn a_deadline_that_has_passed_still_lets_a_ready_one_through() {
    let (out, mut inp) = std::io::pipe().unwrap();
    let past = Instant::now();
    let late = io::readable(&out, past).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    inp.write_all(b"x").unwrap();
    io::readable(&out, past).unwrap();
}

#[bingfa::test]
fn a_regular_file_is_always_ready() {
    let file = File::open("/proc/self/exe").unwrap();
    io::readable(&file, None).unwrap();
    io::writable(&file, None).unwrap();
    let null = File::open("/dev/null").unwrap();
    io::readable(&null, None).unwrap();
}

/// What wakes those who wait for a terminal, without anything to read, is a change of its modes.
#[bingfa::test]
fn a_terminal_is_waited_for_through_wake_ups_for_nothing() {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let keyboard = openpt(flags).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let terminal = ioctl_tiocgptpeer(&keyboard, flags).unwrap();
    let mut modes = tcgetattr(&terminal).unwrap();
    modes.make_raw();

    let reader = terminal.try_clone().unwrap();
    let reader = bingfa::coroutine::spawn(move || {
        io::readable(&reader, None).unwrap();
        let mut byte = [0];
        File::from(reader).read_exact(&mut byte).unwrap();
        byte[0]
    });
    for _ in 0..20 {
        until_in(&reader, "poll");
        tcsetattr(&terminal, OptionalActions::Now, &modes).unwrap();
    }
    let mut keyboard = File::from(keyboard);
    keyboard.write_all(b"x").unwrap();
    assert_eq!(reader.join().unwrap(), b'x');
}

#[bingfa::test]
fn several_wait_for_one_descriptor() {
    let (out, mut inp) = std::io::pipe().unwrap();
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let out = out.try_clone().unwrap();
            spawn(move || io::readable(&out, None).unwrap())
        })
        .collect();
    inp.write_all(b"x").unwrap();
    for one in waiters {
        one.join().unwrap();
    }
}
