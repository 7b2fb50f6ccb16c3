//! Standard input, shared by several carriers: each line goes whole to one of them.

use std::thread::spawn;

use std::env;
use std::io::Write;
use std::process::{Command, Stdio};

use bingfa::io::{self, BufRead};

/// Says to [`child`] that it is one, and what to do.
const TASK: &str = "BINGFA_TEST_STDIN";

/// Runs [`child`] in a process of its own and returns the lines that it reported.
fn run_child(task: &str, feed: impl FnOnce(&mut dyn Write)) -> Vec<String> {
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(TASK, task)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    feed(&mut input);
    drop(input);
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("@"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn child() {
    match env::var(TASK).as_deref() {
        Ok("share") => {
            let readers: Vec<_> = (0..4).map(|_| spawn(read_lines)).collect();
            for one in readers {
                for line in one.join().unwrap() {
                    print!("\n@{line}");
                }
            }
            println!();
        }
        Ok("lock") => {
            let mut input = io::stdin().lock();
            // Nobody gets a line from between these.
            let other = spawn(|| io::read_to_string(io::stdin()).unwrap());
            let mut first = String::new();
            input.read_line(&mut first).unwrap();
            let mut second = Vec::new();
            input.read_until(b';', &mut second).unwrap();
            drop(input);
            let rest = other.join().unwrap();
            print!("\n@{first}@{}", String::from_utf8(second).unwrap());
            println!("\n@{rest}");
        }
        _ => {} // the ordinary run of this binary
    }
}

fn read_lines() -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if io::stdin().read_line(&mut line).unwrap() == 0 {
            return lines;
        }
        lines.push(line.trim_end().to_owned());
    }
}

#[test]
fn every_line_goes_whole_to_one_reader() {
    let mut expected: Vec<String> = (0..2000).map(|i| format!("line {i} of many")).collect();
    let mut seen = run_child("share", |input| {
        for line in &expected {
            let (half, rest) = line.split_at(line.len() / 2);
            input.write_all(half.as_bytes()).unwrap();
            input.write_all(format!("{rest}\n").as_bytes()).unwrap();
        }
    });
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn a_lock_keeps_the_others_out() {
    let seen = run_child("lock", |input| {
        input.write_all(b"first\nsecond;third").unwrap();
    });
    assert_eq!(seen, ["first", "second;", "third"]);
}
