//! The programs with locks between processes.

mod common;

use std::process::Command;

use common::{Ended, run};

/// Runs a program ten times as fast or faster.
fn program(arguments: &str) -> Ended {
    run(Command::new(env!("CARGO_BIN_EXE_process-locks"))
        .args(arguments.split_whitespace())
        .args(["--scale", "0.03"]))
}

fn count(lines: &[&str], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}

#[test]
fn p13_as_many_users_have_a_ticket_as_there_were() {
    for tickets in [0, 3, 20] {
        let ended = program(&format!("p13 --count {tickets}"));
        let lines = ended.lines();
        let sold = 8.min(tickets);
        assert_eq!(lines.len(), 17, "{lines:?}");
        assert_eq!(count(&lines, "查询余票: "), 8);
        assert_eq!(count(&lines, "买票成功"), sold, "{lines:?}");
        assert_eq!(count(&lines, "买票失败"), 8 - sold);
        assert_eq!(*lines.last().unwrap(), format!("余票: {}", tickets - sold));
        ended.slept(8.0 * 0.03); // one after the other
    }
    let ended = program("p13 ten");
    let lines = ended.lines();
    assert_eq!(count(&lines, "在查询票，票还剩"), 10);
    assert_eq!(count(&lines, "现在要买了"), 3);
    assert_eq!(count(&lines, "购票成功"), 3, "{lines:?}");
    assert_eq!(count(&lines, "购票失败"), 7);
    assert_eq!(*lines.last().unwrap(), "余票: 0");
    ended.slept(3.0 * 3.0 * 0.03);
}

#[test]
fn p13_without_the_lock_a_ticket_may_be_sold_twice() {
    let ended = program("p13 ten --count 1 --unlocked");
    let lines = ended.lines();
    let sold = count(&lines, "购票成功");
    assert!(sold >= 1, "{lines:?}"); // nearly always ten
    assert_eq!(sold + count(&lines, "购票失败"), 10);
}

#[test]
fn p14_with_the_lock_each_says_hello_and_does_something() {
    let ended = program("p14");
    let lines = ended.lines();
    let mut greeted = Vec::new();
    for pair in lines.chunks(2) {
        let i = pair[0].strip_prefix("hello world ").unwrap();
        assert_eq!(pair[1], format!("{i} do something."), "{lines:?}");
        greeted.push(i);
    }
    greeted.sort_unstable();
    assert_eq!(greeted, ["0", "1", "2", "3", "4"]);
    ended.slept(5.0 * 0.03);
    let ended = program("p14 --unlocked");
    assert_eq!(count(&ended.lines(), "hello world"), 5);
    assert_eq!(count(&ended.lines(), "do something."), 5);
}
