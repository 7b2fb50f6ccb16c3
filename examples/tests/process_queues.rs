//! What the programs with queues between processes print.

mod common;

use std::fs::{DirEntry, read_dir, read_to_string};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::meals::{dish, each_is_eaten_once, portion};
use common::{Ended, Killed, collect, end_of, kill, run};

const QUEUES: &str = env!("CARGO_BIN_EXE_process-queues");

fn queues(arguments: &str, scale: f64) -> Ended {
    run(Command::new(QUEUES)
        .args(arguments.split_whitespace())
        .args(["--scale", &scale.to_string()]))
}

#[track_caller]
fn prints(arguments: &str, seconds: f64, expected: &[&str]) {
    let ended = queues(arguments, 0.05);
    assert_eq!(ended.lines(), expected, "{arguments}");
    ended.slept(seconds * 0.05);
}

/// Where `line` is.
#[track_caller]
fn place(lines: &[&str], line: &str) -> usize {
    let found = lines.iter().position(|&other| other == line);
    found.unwrap_or_else(|| panic!("{line}: {lines:?}"))
}

/// Takes out the lines that tell who waits for ever, for what.
fn take_blocked(lines: &mut Vec<&str>, what: &str) -> usize {
    let before = lines.len();
    lines.retain(|line| !line.contains(&format!(" blocked: process queue {what} at ")));
    before - lines.len()
}

#[test]
fn p16_first_in_first_out() {
    prints("p16", 0.0, &["a b c d e f", "true"]);
    let ended = queues("p16 probes", 0.05);
    let expected = [
        "full false",
        "empty false",
        "put within 3 s: Full (",
        "put without waiting: Full (",
        "full true",
        "a b c d e f",
        "get within 3 s: Empty (",
        "get without waiting: Empty (",
        "true",
    ];
    let lines = ended.lines();
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    ended.slept(2.0 * 3.0 * 0.05);
}

#[test]
fn p17_a_value_arrives_whole_at_another_child() {
    prints("p17", 0.0, &["宫爆鸡丁"]);
    let ended = queues("p17 list", 1.0);
    let lines = ended.lines();
    let value = place(&lines, "[42, None, 'hello']");
    assert!(place(&lines, "f1 start...") < value, "{lines:?}");
    assert!(place(&lines, "f2 start...") < value, "{lines:?}");
    assert!(place(&lines, "f1 start...") < place(&lines, "f1 end"));
    assert!(value < place(&lines, "f2 end"), "{lines:?}");
    assert_eq!(lines.len(), 5);
}

#[test]
fn p18_the_parent_waits_for_its_child() {
    prints("p18", 0.0, &["[12, 'hello', True]"]);
    let ended = queues("p18 late", 0.05);
    let mut lines = ended.lines();
    let begin = lines.remove(0);
    assert!(begin.starts_with("我这个进程") && begin.ends_with("开始放数据了"));
    lines.sort_unstable_by_key(|line| line.ends_with("我放完了")); // either may be first
    assert_eq!(lines[0], "lqz is handsome");
    assert_eq!(lines.len(), 2);
    ended.slept(10.0 * 0.05);
}

#[test]
fn p19_both_items_arrive_though_there_is_one_place() {
    let ended = queues("p19", 1.0);
    let who: Vec<_> = ended
        .lines()
        .iter()
        .map(|line| line.split_once("这个进程取了数据：").unwrap())
        .collect();
    assert_eq!(who.len(), 2);
    assert!(who.iter().all(|(_, item)| item.ends_with(":放了数据")));
    assert!(who[0].0 != who[1].0 && who[0].1 != who[1].1, "{who:?}");
}

/// The last line of P20 to P23, after ten buns of each of `foods`.
#[track_caller]
fn eaten(lines: &mut Vec<&str>, foods: &[&str], last: &str) {
    assert_eq!(lines.pop(), Some(last));
    each_is_eaten_once(lines, foods, 0..10, portion, "吃了");
}

#[test]
fn p20_the_eater_is_seen_to_wait_for_ever() {
    let ended = queues("p20", 0.005);
    let mut lines = ended.lines();
    assert_eq!(take_blocked(&mut lines, "get"), 1);
    eaten(&mut lines, &["包子"], "吃了10个");
}

#[test]
fn p21_p22_an_end_that_is_put_last_ends_the_eater() {
    for program in ["p21", "p22"] {
        let ended = queues(program, 0.005);
        eaten(&mut ended.lines(), &["包子"], "吃了10个");
    }
}

#[test]
fn p22_an_end_that_is_put_first_leaves_the_cook_waiting_for_ever() {
    let ended = queues("p22 wrong", 0.005);
    let mut lines = ended.lines();
    assert_eq!(take_blocked(&mut lines, "put"), 1);
    lines.remove(place(&lines, "吃了0个"));
    assert_eq!(lines.pop(), Some("放了3个"));
    assert_eq!(lines.len(), 4); // it has made a fourth
    for (i, line) in lines.iter().enumerate() {
        assert!(line.ends_with(&format!("这个厨师，整了第{i}个包子")));
    }
}

const FOODS: [&str; 3] = ["包子", "骨头", "泔水"];

#[test]
fn p23_one_end_too_many_is_left_over() {
    let ended = queues("p23", 0.002);
    let last = "吃了30个, 队列里还有1个None";
    eaten(&mut ended.lines(), &FOODS, last);
    ended.slept(10.0 * 0.002); // a cook's sleeps of a second and more
}

#[test]
fn p23_who_gets_no_end_is_seen_to_wait_for_ever() {
    let ended = queues("p23 five", 0.002);
    let mut lines = ended.lines();
    assert_eq!(take_blocked(&mut lines, "get"), 2);
    let last = "吃了30个, 队列里还有0个None";
    eaten(&mut lines, &FOODS, last);
}

#[test]
fn p23_a_killed_cook_is_named_and_nobody_waits_for_it() {
    let mut child = Command::new(QUEUES)
        .args(["p23", "--scale", "0.1"]) // it cooks for 1 s at least
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let stderr = collect(child.stderr.take().unwrap());
    let mut program = Killed(child);
    let first = lines.next().unwrap().unwrap();
    let (cook, _) = first.split_once("这个厨师").unwrap();
    kill(cook.parse().unwrap());
    lines.for_each(drop); // until all who could write have ended
    assert_eq!(end_of(&mut program.0).code(), Some(1));
    let stderr = stderr.join().unwrap();
    assert!(
        stderr.contains(cook) && stderr.contains("SIGKILL"),
        "{stderr}"
    );
}

#[test]
fn p24_patient_eaters_eat_all() {
    for (version, foods) in [("p24", &FOODS[..]), ("p24 homework", &["包子", "榴莲"])] {
        let ended = queues(version, 0.002);
        // On a busy machine food may be late.
        let lines: Vec<_> = ended.lines();
        let lines: Vec<_> = lines.into_iter().filter(|l| !l.contains("等了")).collect();
        each_is_eaten_once(&lines, foods, 0..10, portion, "吃了");
    }
}

const DISHES: [&str; 2] = ["黄金炒饭", "佛跳墙"];

#[test]
fn p25_all_dishes_are_eaten_before_main_ends() {
    let ended = queues("p25", 0.002);
    each_is_eaten_once(&ended.lines(), &DISHES, 0..8, dish, "吃了");
}

#[test]
fn p26_poison_ends_both_eaters() {
    let ended = queues("p26", 0.002);
    let lines = ended.lines();
    let (mut poisoned, eaten): (Vec<&str>, Vec<_>) =
        lines.iter().partition(|line| line.ends_with("鹤顶红"));
    each_is_eaten_once(&eaten, &DISHES, 0..8, dish, "吃了");
    poisoned.sort_unstable();
    assert_eq!(poisoned, ["八戒吃了鹤顶红", "悟空吃了鹤顶红"]);
}

#[test]
fn p27_all_is_consumed_before_the_consumer_is_terminated() {
    let ended = queues("p27", 0.05);
    let mut lines = ended.lines();
    let last = lines.pop().unwrap();
    assert!(last.starts_with("Take ") && last.ends_with(" s."), "{last}");
    for value in 0..5 {
        let produced = place(&lines, &format!("Produce {value}"));
        assert!(produced < place(&lines, &format!("Consume {value}")));
    }
    assert_eq!(lines.len(), 10);
    ended.slept(5.0 * 0.05);
}

/// Kills children of a program that is started with `arguments`: it ends with an error that names
/// the first, or one of them.
#[track_caller]
fn names_whom_it_lost(arguments: &str, scale: f64, kills: impl FnOnce(&mut Child) -> Vec<u32>) {
    let mut child = Command::new(QUEUES)
        .args(arguments.split_whitespace())
        .args(["--scale", &scale.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = collect(child.stderr.take().unwrap());
    let killed = kills(&mut child);
    let mut program = Killed(child);
    killed.iter().copied().for_each(kill);
    assert_eq!(end_of(&mut program.0).code(), Some(1), "{arguments}");
    let stderr = stderr.join().unwrap();
    let names = |pid: &u32| stderr.contains(&pid.to_string());
    assert!(
        killed.iter().any(names) && stderr.contains("SIGKILL"),
        "{arguments}: {killed:?} {stderr}"
    );
}

/// The first eater that has said something.
fn an_eater(program: &mut Child) -> Vec<u32> {
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let eater = lines.by_ref().find_map(|line| {
        let line = line.unwrap();
        let (eater, _) = line.split_once("这个消费者")?;
        eater.parse().ok()
    });
    std::thread::spawn(|| lines.for_each(drop)); // so that the program can go on writing
    vec![eater.expect("somebody eats")]
}

#[test]
fn p20_to_p23_a_killed_eater_is_named_and_nobody_waits_for_it() {
    for program in ["p20", "p21", "p22", "p23", "p23 five"] {
        names_whom_it_lost(program, 0.05, an_eater); // a cook works for half a second at least
    }
}

/// The last children of a program, which has so many and a zygote.
fn last_of(program: &Child, children: usize, last: usize) -> Vec<u32> {
    let tasks = format!("/proc/{}/task", program.id());
    loop {
        let of_task = |task: std::io::Result<DirEntry>| {
            let list = task.and_then(|task| read_to_string(task.path().join("children")));
            list.unwrap_or_default() // a thread may have ended
        };
        let all: Vec<String> = read_dir(&tasks).unwrap().map(of_task).collect();
        let pids = all.iter().flat_map(|list| list.split_whitespace());
        let mut pids: Vec<u32> = pids.map(|pid| pid.parse().unwrap()).collect();
        if pids.len() > children {
            let stat = |pid: &u32| read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let begin = |pid: &u32| {
                let stat = stat(pid);
                let (_, behind) = stat.rsplit_once(") ").unwrap();
                let begin = behind.split_whitespace().nth(19).unwrap();
                (begin.parse::<u64>().unwrap(), *pid)
            };
            pids.sort_by_cached_key(begin);
            return pids.split_off(pids.len() - last);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn p24_p25_p27_killed_consumers_are_named_and_nobody_waits_for_them() {
    for (program, children, consumers) in [("p24 homework", 4, 2), ("p25", 4, 2), ("p27", 2, 1)] {
        let killed = |program: &mut Child| last_of(program, children, consumers);
        names_whom_it_lost(program, 0.1, killed);
    }
}
