//! What the programs of `locks` print, with threads and with coroutines.

mod common;

use std::collections::HashSet;
use std::process::Command;

use common::{Ended, run};

const CARRIERS: [&str; 2] = ["thread", "coroutine"];

fn locks(arguments: &str, carrier: &str, scale: f64) -> Ended {
    run(Command::new(env!("CARGO_BIN_EXE_locks"))
        .args(arguments.split_whitespace())
        .args(["--carrier", carrier, "--scale", &scale.to_string()]))
}

#[track_caller]
fn number(arguments: &str, carrier: &str, scale: f64) -> i32 {
    let ended = locks(arguments, carrier, scale);
    let lines = ended.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].parse().unwrap()
}

#[test]
fn p42_what_is_read_and_written_back_can_get_lost() {
    // Threads that run at the same time may lose some even without a sleep.
    assert!((0..100).contains(&number("p42", "thread", 0.01)));
    // On one worker nobody comes between.
    assert_eq!(number("p42", "coroutine", 0.01), 0);
    assert!((1..=100).contains(&number("p42 up", "thread", 0.01)));
    assert_eq!(number("p42 up", "coroutine", 0.01), 100);
    for carrier in CARRIERS {
        // All have read before the first writes, unless the machine is busy.
        assert!((1..100).contains(&number("p42 slow", carrier, 1.0)));
        assert!((0..100).contains(&number("p42 quick", carrier, 0.1)));
        assert_eq!(number("p42 locked", carrier, 0.1), 0);
        assert_eq!(number("p42 atomic", carrier, 0.01), 0);
    }
}

/// The program ends, with status 1 and a report of so many who wait for each other.
#[track_caller]
fn deadlocks(arguments: &str, carrier: &str, count: usize) -> Ended {
    let ended = locks(arguments, carrier, 0.05);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let waits = ended.stderr.matches(" and waits for Mutex 0x").count();
    assert_eq!(waits, count, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("bingfa: deadlock: "),
        "{}",
        ended.stderr
    );
    ended
}

/// What the report says of this one.
fn is_reported(ended: &Ended, carrier: &str, name: &str) -> bool {
    ended
        .stderr
        .contains(&format!("\n  {carrier} '{name}' (id "))
}

#[test]
fn p43_two_wait_for_each_other_and_the_report_names_them() {
    for carrier in CARRIERS {
        for (version, words) in [
            ("p43", [" 抢到锁1", " 抢到锁2"]),
            ("p43 ten", [" GET LOCKA", " GET LOCKB"]),
        ] {
            let ended = deadlocks(version, carrier, 2);
            let lines: Vec<_> = ended.stdout.lines().collect();
            for (line, word) in lines.iter().zip([0, 1, 1]) {
                assert!(
                    line.ends_with(&format!("Thread-1{}", words[word])),
                    "{lines:?}"
                );
            }
            // The others stop at the poisoned lock 2, or 1.
            assert!(
                lines[3..].iter().all(|line| line.ends_with(words[0])),
                "{lines:?}"
            );
            assert!(is_reported(&ended, carrier, "Thread-1"), "{}", ended.stderr);
            let holder = lines[3]
                .trim_start_matches("i am ")
                .split_once(' ')
                .unwrap()
                .0;
            assert!(
                is_reported(&ended, carrier, holder),
                "{holder}: {}",
                ended.stderr
            );
        }
    }
}

#[test]
fn p44_an_eater_with_chopsticks_and_one_with_noodles_wait_for_each_other() {
    for carrier in CARRIERS {
        let ended = deadlocks("p44", carrier, 2);
        let named = |names: [&str; 3]| {
            let named = names
                .iter()
                .filter(|name| is_reported(&ended, carrier, name));
            assert_eq!(named.count(), 1, "{}", ended.stderr);
        };
        named(["张三", "李四", "王五"]);
        named(["赵六", "王7", "傻逼"]);
        assert!(ended.stdout.contains(":拿到了筷子\n"));
        assert!(ended.stdout.contains(":拿到了面条\n"));
        assert!(!ended.stdout.contains("放下"));
    }
}

#[test]
fn p44_an_order_or_a_try_cures_it_with_two_locks() {
    for carrier in CARRIERS {
        for version in ["p44 in-order", "p44 try-lock"] {
            let ended = locks(version, carrier, 0.01);
            assert!(ended.stderr.is_empty(), "{}", ended.stderr);
            let (mut eaten, mut holders) = (HashSet::new(), [None; 2]);
            for line in ended.lines() {
                let taken = line.split_once(":拿到了");
                let left = line.split_once("放下了");
                let place = |word| usize::from(word == "面条");
                if let Some((name, word)) = taken {
                    assert_eq!(holders[place(word)].replace(name), None, "{line}");
                } else if let Some((name, word)) = left {
                    assert_eq!(holders[place(word)].take(), Some(name), "{line}");
                } else {
                    let name = line.strip_suffix("开始吃面").unwrap();
                    assert_eq!(holders, [Some(name); 2]);
                    assert!(eaten.insert(name), "{name} eats twice");
                }
            }
            assert_eq!(eaten.len(), 6);
        }
    }
}

#[test]
fn p46_the_first_waits_for_itself() {
    for carrier in CARRIERS {
        let ended = deadlocks("p46", carrier, 1);
        let lines: Vec<_> = ended.stdout.lines().collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let name = lines[0].split_once(':').unwrap().0;
        assert!(is_reported(&ended, carrier, name), "{}", ended.stderr);
    }
}

#[test]
fn p45_a_recursive_lock_lets_all_finish() {
    for carrier in CARRIERS {
        let ended = locks("p45", carrier, 0.01);
        let lines = ended.lines();
        assert_eq!(lines.len(), 8 * 4);
        assert_eq!(lines.iter().filter(|l| l.ends_with("抢到锁1")).count(), 16);
        ended.slept(8.0 * 0.01);

        let ended = locks("p45 ten", carrier, 0.01);
        let lines = ended.lines();
        assert_eq!(lines.len(), 40);
        assert_eq!(
            lines.iter().filter(|l| l.ends_with("GET LOCKB")).count(),
            20
        );
        ended.slept(10.0 * 0.01);

        // Each of the six is finished before the next begins.
        let ended = locks("p45 noodles", carrier, 0.01);
        let lines = ended.lines();
        assert_eq!(lines.len(), 6 * 5);
        let mut names = HashSet::new();
        for meal in lines.chunks(5) {
            let (name, _) = meal[0].split_once(':').unwrap();
            assert!(names.insert(name), "{name} eats twice");
            assert!(meal[1].starts_with(&format!("{name}:拿到了")));
            assert_eq!(meal[2], "开始吃面");
            assert!(
                meal[3..]
                    .iter()
                    .all(|l| l.starts_with(&format!("{name}放下了")))
            );
        }
    }
}

#[test]
fn p47_never_more_than_five_are_parked() {
    for carrier in CARRIERS {
        let ended = locks("p47", carrier, 0.01);
        let mut parked = HashSet::new();
        let mut lines = ended.lines();
        // All are alive, though only five are inside.
        let counted = lines.iter().position(|line| *line == "25个任务, 5个车位");
        assert!(lines[..counted.unwrap()].len() <= 5, "{lines:?}");
        lines.remove(counted.unwrap());
        assert_eq!(lines.len(), 50);
        for line in lines {
            let (car, what) = line.split_once(' ').unwrap();
            match what {
                "抢到车位" => assert!(parked.insert(car)),
                _ => assert!(parked.remove(car)),
            }
            assert!(parked.len() <= 5, "{parked:?}");
        }
        ended.slept(15.0 * 0.01);
    }
}

#[test]
fn p48_five_at_a_time() {
    for carrier in CARRIERS {
        let ended = locks("p48", carrier, 0.02);
        assert_eq!(ended.lines(), ["ok"; 10]);
        ended.slept(4.0 * 0.02);
    }
}

#[test]
fn p49_nobody_boards_before_the_bus_is_there() {
    for carrier in CARRIERS {
        let ended = locks("p49", carrier, 0.1);
        let lines = ended.lines();
        assert_eq!(lines.len(), 22);
        let arrived = lines.iter().position(|l| *l == "公交车到站了").unwrap();
        let ends = |lines: &[&str], end| lines.iter().filter(|l| l.ends_with(end)).count();
        assert_eq!(ends(&lines[arrived..], "上车出发"), 10);
        assert_eq!(ends(&lines, "正在等车"), 10);
        ended.slept(3.0 * 0.1);
    }
}

#[test]
fn p50_clients_wait_for_the_server_or_go_on() {
    for carrier in CARRIERS {
        let ended = locks("p50", carrier, 0.1);
        let lines = ended.lines();
        let count = |line| lines.iter().filter(|l| **l == line).count();
        assert_eq!(count("wait......."), 5);
        assert_eq!(count("attempt to start redis server"), 1);
        assert_eq!(count("connect to redis server"), 5);
        assert_eq!(lines.len(), 11);
        ended.slept(3.0 * 0.1);
    }
    let ended = locks("p50 second", "thread", 0.5);
    let lines = ended.lines();
    assert_eq!(lines.len(), 11);
    // A busy machine may hold one up until the server runs.
    assert!(lines.iter().filter(|l| l.ends_with("redis server")).count() >= 6);
}
