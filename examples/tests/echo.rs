//! The main job: right answers under load, and an end to every trouble.

mod common;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Killed, backends, collect, end_of, run};
use rustix::process::{Pid, Signal, kill_process};

const ECHO: &str = env!("CARGO_BIN_EXE_echo");

fn table(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .map(|line| {
            let (name, value) = line.split_at(14);
            (name.trim(), value.trim())
        })
        .collect()
}

fn milliseconds(value: &str) -> f64 {
    value.strip_suffix(" ms").unwrap().parse().unwrap()
}

#[test]
fn both_carriers_answer_on_both_backends() {
    for backend in backends() {
        for carrier in ["coroutine", "thread"] {
            let ended = run(Command::new(ECHO)
                .args(["--clients", "200", "--seconds", "0.5", "--carrier", carrier])
                .env("BINGFA_IO", backend));
            ended.lines(); // it succeeded
            // Standard error is no terminal here, so there is no progress bar on it.
            assert!(!ended.stderr.contains("answers"), "{}", ended.stderr);
            let table = table(&ended.stdout);
            assert_eq!(table["clients"], "200");
            assert_eq!(table["mismatches"], "0");
            assert_eq!(table["failed clients"], "0");
            assert!(table["requests"].parse::<u64>().unwrap() >= 200);
            assert!(table["requests/s"].parse::<f64>().unwrap() > 0.0);
            let [p50, p99, p999] = ["p50", "p99", "p99.9"].map(|p| milliseconds(table[p]));
            assert!(0.0 < p50 && p50 <= p99 && p99 <= p999, "{}", ended.stdout);
            assert_eq!(table["carrier"], carrier);
            assert!(!table["workers"].is_empty());
            let name = if backend == "uring" {
                "io_uring"
            } else {
                backend
            };
            assert!(table["I/O backend"].contains(name), "{}", ended.stdout);
        }
    }
}

#[test]
fn messages_of_any_size_come_back() {
    for size in ["1", "5000", "3000000"] {
        let ended =
            run(Command::new(ECHO).args(["--clients", "3", "--size", size, "--scale", "0.1"]));
        ended.lines();
        assert_eq!(table(&ended.stdout)["mismatches"], "0");
    }
}

#[test]
fn it_raises_its_limit_or_says_what_to_do() {
    let limited = |how: &str| {
        let script = format!("ulimit {how} 100 && exec \"$0\" --clients 200 --seconds 0.1");
        run(Command::new("sh").args(["-c", &script, ECHO]))
    };
    limited("-Sn").lines(); // the soft limit only: that it can mend

    let ended = limited("-n");
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.contains("needs 400 open files"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("`ulimit -n 400`"), "{}", ended.stderr);
}

/// The job under way, and the process of its clients.
fn start() -> (Killed, Pid) {
    let child = Command::new(ECHO)
        .args(["--clients", "50", "--seconds", "600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let begin = Instant::now();
    let clients = loop {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "no second process"
        );
        if let Ok(clients) = fs::read_to_string(&children).unwrap().trim().parse() {
            break Pid::from_raw(clients).unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    };
    (Killed(child), clients)
}

#[test]
fn dead_clients_do_not_hang_it() {
    let (mut job, clients) = start();
    let stdout = collect(job.0.stdout.take().unwrap());
    let stderr = collect(job.0.stderr.take().unwrap());
    kill_process(clients, Signal::KILL).unwrap();
    assert_eq!(end_of(&mut job.0).code(), Some(1));
    assert_eq!(stdout.join().unwrap(), "");
    assert!(stderr.join().unwrap().contains("signal: 9"));
}

#[test]
fn a_dead_server_does_not_hang_the_clients() {
    let (mut job, clients) = start();
    let stderr = collect(job.0.stderr.take().unwrap());
    job.0.kill().unwrap();
    job.0.wait().unwrap();
    // Both processes have this pipe: its end comes when the clients have ended as well.
    let begin = Instant::now();
    while !stderr.is_finished() {
        if begin.elapsed() > Duration::from_secs(60) {
            let _ = kill_process(clients, Signal::KILL);
            panic!("the clients go on without a server");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn wrong_flags_are_refused_with_help() {
    for arguments in [
        ["--clients", "0"],
        ["--clients", "many"],
        ["--seconds", "-1"],
        ["--size", "0"],
        ["--carrier", "fibre"],
        ["--scale", "nan"],
        ["--port", "80"],
    ] {
        let ended = run(Command::new(ECHO).args(arguments));
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        assert!(ended.stderr.contains("--help"), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn an_unknown_backend_is_an_error_with_the_known_ones() {
    let ended = run(Command::new(ECHO).env("BINGFA_IO", "nonsense"));
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("uring") && ended.stderr.contains("epoll"));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// The clients' process against a server that answers rightly for a while, and then wrongly.
#[test]
fn a_wrong_answer_is_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut message = [0; 64];
                for count in 0.. {
                    if stream.read_exact(&mut message).is_err() {
                        return; // the client has asked enough
                    }
                    if count < 5 {
                        message.make_ascii_uppercase();
                    }
                    if stream.write_all(&message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    for backend in backends() {
        let ended = run(Command::new(ECHO)
            .args(["--clients", "3", "--seconds", "0.3", "clients", &address])
            .env("BINGFA_IO", backend));
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        let table = table(&ended.stdout);
        let number = |name: &str| table[name].parse::<u64>().unwrap();
        assert_eq!(number("failed clients"), 0, "{}", ended.stderr);
        // A first answer of each, before the clock starts, is not among the requests.
        assert_eq!(number("requests") + 3, number("mismatches") + 3 * 5);
        assert!(number("mismatches") > 0);
    }
}
