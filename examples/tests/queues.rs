//! What the programs of `queues` print, with threads and with coroutines.

mod common;

use std::process::Command;

use common::meals::{dish, each_is_eaten_once, portion};
use common::{Ended, run};

const CARRIERS: [&str; 2] = ["thread", "coroutine"];

fn queues(arguments: &str, carrier: &str, scale: f64) -> Ended {
    run(Command::new(env!("CARGO_BIN_EXE_queues"))
        .args(arguments.split_whitespace())
        .args(["--carrier", carrier, "--scale", &scale.to_string()]))
}

#[track_caller]
fn prints(arguments: &str, seconds: f64, expected: &[&str]) {
    for carrier in CARRIERS {
        let ended = queues(arguments, carrier, 0.02);
        assert_eq!(ended.lines(), expected, "{arguments} {carrier}");
        ended.slept(seconds * 0.02);
    }
}

#[test]
fn p23_all_is_eaten_once_and_both_eaters_end() {
    for carrier in CARRIERS {
        let ended = queues("p23", carrier, 0.002);
        let foods = ["包子", "骨头", "泔水"];
        each_is_eaten_once(&ended.lines(), &foods, 0..10, portion, "吃了");
        ended.slept(10.0 * 0.002); // a cook's sleeps of a second and more
    }
}

const UNREPORTED: &str = "p26 unreported";

/// Takes out the lines that tell who waits for ever, for what; gives who.
fn take_blocked<'a>(lines: &mut Vec<&'a str>, what: &str) -> Vec<&'a str> {
    let seen = format!(" blocked: {what} at ");
    let who = lines
        .iter()
        .filter_map(|line| Some(line.split_once(&seen)?.0));
    let who = who.collect();
    lines.retain(|line| !line.contains(&seen));
    who
}

#[test]
fn p23_three_ends_are_too_many_for_two_eaters_and_too_few_for_five() {
    for carrier in CARRIERS {
        for (version, waiting, left) in [("p23 ends", 0, 1), ("p23 five", 2, 0)] {
            let ended = queues(version, carrier, 0.002);
            let mut lines = ended.lines();
            assert_eq!(take_blocked(&mut lines, "queue get").len(), waiting);
            let last = format!("吃了30个, 队列里还有{left}个None");
            assert_eq!(lines.pop(), Some(&*last));
            let foods = ["包子", "骨头", "泔水"];
            each_is_eaten_once(&lines, &foods, 0..10, portion, "吃了");
        }
    }
}

#[test]
fn p24_patient_eaters_eat_all() {
    for carrier in CARRIERS {
        for (version, foods) in [
            ("p24", &["包子", "骨头", "泔水"][..]),
            ("p24 homework", &["包子", "榴莲"]),
        ] {
            let ended = queues(version, carrier, 0.002);
            // On a busy machine food may be late.
            let lines: Vec<_> = ended.lines();
            let lines: Vec<_> = lines.into_iter().filter(|l| !l.contains("等了")).collect();
            each_is_eaten_once(&lines, foods, 0..10, portion, "吃了");
        }
    }
}

#[test]
fn p25_all_dishes_are_eaten_before_main_ends() {
    for carrier in CARRIERS {
        let ended = queues("p25", carrier, 0.002);
        let foods = ["黄金炒饭", "佛跳墙"];
        each_is_eaten_once(&ended.lines(), &foods, 0..8, dish, "吃了");
    }
}

#[test]
fn p26_poison_ends_both_eaters() {
    for (carrier, version) in [
        ("thread", "p26"),
        ("coroutine", "p26"),
        ("thread", UNREPORTED),
        ("coroutine", UNREPORTED),
    ] {
        let ended = queues(version, carrier, 0.002);
        let mut lines = ended.lines();
        if version == UNREPORTED {
            assert_eq!(take_blocked(&mut lines, "queue join"), ["join"]);
            assert_eq!(lines.pop(), Some("2份没有报告"));
        }
        let (poisoned, eaten): (Vec<&str>, Vec<_>) =
            lines.iter().partition(|line| line.ends_with("鹤顶红"));
        let foods = ["黄金炒饭", "佛跳墙"];
        each_is_eaten_once(&eaten, &foods, 0..8, dish, "吃了");
        let mut poisoned = poisoned;
        poisoned.sort_unstable();
        assert_eq!(poisoned, ["八戒吃了鹤顶红", "悟空吃了鹤顶红"]);
    }
}

#[test]
fn p51_what_one_puts_another_gets() {
    for carrier in CARRIERS {
        for (version, seconds, values) in [
            ("p51", 3.0, &["lqz"][..]),
            ("p51 values", 0.0, &["11", "hello", "2.5"]),
        ] {
            let ended = queues(version, carrier, 0.02);
            let mut lines = ended.lines();
            // The get too many, which is told in the end that nothing will come.
            assert_eq!(take_blocked(&mut lines, "queue get"), ["getter"]);
            assert_eq!(lines, [values, &["Empty", "closed"]].concat());
            ended.slept(seconds * 0.02);
        }
    }
}

#[test]
fn p52_join_waits_for_all_that_was_put() {
    prints("p52", 0.0, &["111", "222", "333", "ok"]);
}

#[test]
fn p53_three_orders() {
    prints("p53", 0.0, &["1", "2", "(1, lqz)"]);
    let sorted = [
        "[3, hello]",
        "[4, {\"name\": \"alex\"}]",
        "[5, 100]",
        "[7, 200]",
    ];
    prints("p53 priority", 0.0, &sorted);
}
