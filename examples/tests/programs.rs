//! Every program prints what the catalogue says, in that order where there is one.

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{Ended, Killed, run};

const THREADS: &str = env!("CARGO_BIN_EXE_threads");
const PROCESSES: &str = env!("CARGO_BIN_EXE_processes");
const COROUTINES: &str = env!("CARGO_BIN_EXE_coroutines");
const SERVERS: &str = env!("CARGO_BIN_EXE_servers");

/// Runs a program with its sleeps shortened.
fn program(binary: &str, arguments: &str, scale: f64) -> Ended {
    run(Command::new(binary)
        .args(arguments.split_whitespace())
        .args(["--scale", &scale.to_string()]))
}

#[track_caller]
fn prints(binary: &str, arguments: &str, seconds: f64, expected: &[&str]) {
    let ended = program(binary, arguments, 0.05);
    assert_eq!(ended.lines(), expected, "{arguments}");
    ended.slept(seconds * 0.05);
}

/// The lines, where processes may print them in any order.
#[track_caller]
fn prints_in_any_order(arguments: &str, seconds: f64, expected: &[&str]) {
    let ended = program(PROCESSES, arguments, 0.05);
    let (mut lines, mut expected) = (ended.lines(), expected.to_vec());
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected, "{arguments}");
    ended.slept(seconds * 0.05);
}

/// The number at the end of a line.
#[track_caller]
fn number_after(line: &str, before: &str) -> u32 {
    let number = line
        .strip_prefix(before)
        .unwrap_or_else(|| panic!("{line}"));
    number.trim_end_matches("执行中").parse().unwrap()
}

#[test]
fn p01_main_does_not_wait_but_the_program_does() {
    let lines = ["主进程", "写讲话稿任务开始", "写讲话稿任务执行完毕"];
    prints_in_any_order("p01", 5.0, &lines);
    prints_in_any_order("p01 ok", 2.0, &["ending", "ok"]);
}

#[test]
fn p02_an_object_runs_in_a_process() {
    prints_in_any_order("p02", 5.0, &["主进程", "约会任务开始", "任务结束"]);
    prints_in_any_order("p02 lqz", 2.0, &["主进程", "Process-1", "lqz", "19"]);
}

#[test]
fn p03_children_run_together_unless_joined_in_turn() {
    let take = |version: &str, count: usize, least: f64, most: f64| {
        let ended = program(PROCESSES, &format!("p03 {version}"), 0.05);
        let lines = ended.lines();
        assert_eq!(lines.len(), count, "{lines:?}");
        let last = lines[count - 1].trim_start_matches("Totally take ");
        let seconds: f64 = last.trim_end_matches(" seconds").parse().unwrap();
        // On a slow machine only the difference between together and in turn counts.
        assert!(
            seconds >= least * 0.05 && seconds < most,
            "{version}: {seconds}"
        );
        lines.into_iter().map(String::from).collect::<Vec<_>>()
    };
    take("three", 8, 3.0, 30.0);
    take("five", 7, 2.0, 30.0);
    let in_turn = take("five-in-turn", 7, 10.0, 30.0);
    let tasks: Vec<_> = (0..5).map(|i| format!("我是task1 {i}")).collect();
    assert_eq!(in_turn[..5], tasks);
    let two = take("two", 4, 2.0, 30.0);
    let father = number_after(&two[0], "current father process ");
    let sons: Vec<_> = two[1..3]
        .iter()
        .map(|line| line.split(' ').nth(3).unwrap())
        .collect();
    assert!(sons[0] != sons[1] && !sons.contains(&father.to_string().as_str()));
}

#[test]
fn p04_two_whole_lines_are_appended() {
    prints_in_any_order("p04", 10.0, &["first line", "second line"]);
}

#[test]
fn p05_names_are_distinct_or_given() {
    let lines = [
        "Process-1",
        "Process-2",
        "process01",
        "lqz",
        "19",
        "lqz",
        "19",
        "lqz",
        "19",
    ];
    prints_in_any_order("p05", 0.0, &lines);
}

#[test]
fn p06_a_child_is_terminated() {
    let ended = program(PROCESSES, "p06", 1.0);
    let lines = ended.lines();
    assert_eq!((lines[0], lines[2], lines[3]), ("true", "ssss", "false"));
    assert!(lines[4].contains("SIGTERM"), "{lines:?}");
    assert_eq!(lines.len(), 5);
}

#[test]
fn p07_numbers_of_the_family() {
    let ended = program(PROCESSES, "p07", 1.0);
    let lines = ended.lines();
    let child = number_after(lines[0], "子进程");
    let parent = number_after(lines[1], "子进程的父进程");
    assert_eq!(number_after(lines[2], "子进程的进程号"), child);
    assert_eq!(number_after(lines[3], "主进程"), parent);
    let own = std::process::id();
    assert_eq!(number_after(lines[4], "主进程的父进程"), own);
}

#[test]
fn p08_a_child_greets_bob() {
    let ended = program(PROCESSES, "p08", 1.0);
    let lines = ended.lines();
    let main = number_after(lines[3], "process id: ");
    assert_eq!(lines[..2], ["main line", "process name: main"]);
    assert_eq!(lines[4..6], ["function f", "process name: Process-1"]);
    assert_eq!(number_after(lines[6], "parent process: "), main);
    assert_ne!(number_after(lines[7], "process id: "), main);
    assert_eq!(lines[8..], ["hello bob"]);
}

#[test]
fn p09_p10_processes_do_not_share() {
    prints(PROCESSES, "p09", 0.0, &["18"]);
    let n = [
        "我是task",
        "子进程的： 100",
        "主进程的： 10",
        "我是task",
        "子进程的： 100",
        "直接调用之后： 100",
    ];
    prints(PROCESSES, "p09 n", 0.0, &n);
    prints(PROCESSES, "p09 zero", 0.0, &["主 100"]);
    let pools = [
        "子进程的名字是>>> 子进程01",
        "[101, 1]",
        "子进程的名字是>>> 子进程02",
        "[102, 1]",
        "主进程结束",
    ];
    prints(PROCESSES, "p10", 0.0, &pools);
}

#[test]
fn p11_a_daemon_process_is_cut_off() {
    let ended = program(PROCESSES, "p11", 1.0);
    assert_eq!(ended.lines(), ["苏妲己还活着", "纣王驾崩了"]);
}

#[test]
fn p12_a_daemon_dies_with_a_parent_that_is_killed() {
    let mut command = Command::new(PROCESSES);
    command
        .args(["p12", "--below", "100000"])
        .stdout(Stdio::piped());
    let mut parent = Killed(command.spawn().unwrap());
    let mut lines = BufReader::new(parent.0.stdout.take().unwrap()).lines();
    let child: u32 = lines.next().unwrap().unwrap().parse().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "4999950000");
    parent.0.kill().unwrap();
    parent.0.wait().unwrap();
    // Its output ends when the last process that has it is gone: the parent, the child.
    assert!(lines.next().is_none());
    let stat = format!("/proc/{child}/stat");
    while std::fs::read_to_string(&stat).is_ok_and(|state| !state.contains(") Z")) {
        std::thread::yield_now();
    }
}

#[test]
fn p15_five_named_processes() {
    let ended = program(PROCESSES, "p15", 0.05);
    let lines = ended.lines();
    let of = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    assert_eq!(
        lines.iter().filter(|line| **line == "结果是5050").count(),
        5
    );
    for i in 1..=5 {
        assert_eq!(of(&format!("process-00{i}")), 1);
    }
    let parent = number_after(lines[15], "这是父进程,进程id为");
    assert_eq!(of(&format!("父进程id:{parent}")), 5);
}

#[test]
fn p38_threads_have_the_number_of_their_process() {
    let ended = program(PROCESSES, "p38", 0.05);
    let numbers: HashMap<_, _> = ended
        .lines()
        .into_iter()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    assert_eq!(numbers.len(), 5);
    assert_eq!(numbers["线程1"], numbers["主"]);
    assert_eq!(numbers["线程2"], numbers["主"]);
    assert_ne!(numbers["进程1"], numbers["主"]);
    assert_ne!(numbers["进程1"], numbers["进程2"]);
    ended.slept(3.0 * 0.05);
}

#[test]
fn p39_starts_are_measured() {
    let ended = program(PROCESSES, "p39", 1.0);
    let lines = ended.lines();
    assert_eq!(lines[..3], ["hello", "hello", "主线程/主进程"]);
    assert!(lines[3].starts_with("thread: ") && lines[4].starts_with("process: "));
}

#[test]
fn p55_p56_sums_and_times() {
    let ended = program(PROCESSES, "p55 --to 100000", 1.0);
    let lines = ended.lines();
    assert_eq!(
        lines.iter().filter(|line| **line == "5000050000").count(),
        10
    );
    assert!(lines[5].starts_with("threads: ") && lines[11].starts_with("processes: "));

    let ended = program(PROCESSES, "p56", 0.01);
    let lines = ended.lines();
    for (line, what) in lines.iter().zip([
        "计算密集型 4 t",
        "计算密集型 4 p",
        "IO密集型 4 t",
        "IO密集型 4 p",
    ]) {
        assert!(line.starts_with(what), "{line}");
    }
    assert_eq!(lines.len(), 4);
}

#[test]
fn p34_main_does_not_wait_but_the_process_does() {
    let wukong = ["悟空 任务开始", "主线程", "悟空 任务结束"];
    prints(THREADS, "p34", 3.0, &wukong);
    let foo = [">>>>>>>>>>>>>>>2", "ending", "thread 1"];
    prints(THREADS, "p34 foo", 3.0, &foo);
    prints(THREADS, "p34 nick", 2.0, &["主线程", "nick say hello"]);
}

#[test]
fn p35_an_object_runs_on_a_thread() {
    let wukong = ["悟空 任务开始", "主线程", "悟空 任务结束"];
    prints(THREADS, "p35", 3.0, &wukong);
    prints(THREADS, "p35 ok", 2.0, &["ok", "end again", "end"]);
    prints(THREADS, "p35 nick", 2.0, &["主线程", "nick say hello"]);
}

#[test]
fn p36_main_waits_for_threads_that_run_together() {
    let wukong = ["悟空 任务开始", "悟空 任务结束", "主线程"];
    prints(THREADS, "p36", 3.0, &wukong);

    let ended = program(THREADS, "p36 two-and-five", 0.05);
    let lines = ended.lines();
    let before = [
        ">>>>>>>>>>>>>>>2",
        ">>>>>>>>>>>>>>>>5",
        "thread 1",
        "thread 2",
    ];
    assert_eq!(lines[..4], before);
    assert!(lines[4].parse::<f64>().unwrap() >= 5.0 * 0.05);
    assert_eq!(lines[5..], ["ending"]);

    let ended = program(THREADS, "p36 hello", 0.05);
    let lines = ended.lines();
    let first = [
        "thread id: Thread-1 for task 1",
        "thread id: Thread-2 for task 2",
    ];
    assert_eq!(lines[..2], first);
    let seconds = lines[2].strip_prefix("Take ").unwrap();
    let seconds: f64 = seconds.strip_suffix(" s").unwrap().parse().unwrap();
    assert!(seconds >= 2.0 * 0.05);
}

#[test]
fn p37_threads_share_data() {
    let age = ["16", "当前线程的名字 main", "进程中活跃的线程数量 1"];
    prints(THREADS, "p37", 0.0, &age);
    prints(THREADS, "p37 n", 0.0, &["主 0"]);
}

#[test]
fn p40_a_daemon_thread_is_cut_off() {
    prints(THREADS, "p40", 0.0, &["妲己 还活着", "纣王驾崩了"]);
    prints(THREADS, "p40 ok", 0.0, &["ok", "end again"]);
}

#[test]
fn p41_only_the_thread_that_is_no_daemon_finishes() {
    let lines = ["任务1开始", "任务2开始", "主线程", "任务2结束"];
    prints(THREADS, "p41", 2.0, &lines);
}

#[test]
fn p69_loops_take_turns_or_run_together() {
    for (version, seconds, order) in [
        ("two-in-turn", 12.0, "哒 哒 哒 咩 咩 咩"),
        ("two", 6.0, "哒 咩 哒 咩 哒 咩"),
        ("three-in-turn", 21.0, "哒 哒 哒 咩 咩 咩 不要 不要 不要"),
        ("three", 9.0, "哒 咩 不要 哒 咩 不要 哒 咩 不要"),
    ] {
        let ended = program(COROUTINES, &format!("p69 {version}"), 0.05);
        let mut lines = ended.lines();
        let elapsed: f64 = lines.pop().unwrap().parse().unwrap();
        // The third 哒 (4 s) and the second 不要 (3 s) are near each other on a busy machine.
        if version == "three" {
            assert_eq!(lines[..3], ["哒", "咩", "不要"]);
            lines.sort_unstable();
            let mut any: Vec<_> = order.split(' ').collect();
            any.sort_unstable();
            assert_eq!(lines, any);
        } else {
            assert_eq!(lines.join(" "), order);
        }
        assert!(elapsed >= seconds * 0.05, "{version}: {elapsed} s");
        ended.slept(seconds * 0.05);
    }
}

#[test]
fn p70_the_mango_comes_back_first() {
    let lines = [
        "我在吃西瓜...",
        "我去吃芒果...",
        "我吃完西瓜，回去继续吃芒果...",
        "我回来继续吃西瓜...",
    ];
    prints(COROUTINES, "p70", 2.0, &lines);
}

#[test]
fn p81_a_range_of_ones_own() {
    let default: Vec<String> = (0..10).chain(3..7).map(|i| i.to_string()).collect();
    let default: Vec<&str> = default.iter().map(String::as_str).collect();
    prints(COROUTINES, "p81", 0.0, &default);
    prints(COROUTINES, "p81 3 7", 0.0, &["3", "4", "5", "6"]);
    prints(COROUTINES, "p81 2", 0.0, &["0", "1"]);
    // Where the notes' class never ends.
    prints(COROUTINES, "p81 5 0", 0.0, &[]);
    prints(COROUTINES, "p81 7 3", 0.0, &[]);
    prints(COROUTINES, "p81 -2 0", 0.0, &["-2", "-1"]);
}

#[test]
fn p85_p86_say_in_turn_or_together() {
    for (program_name, order) in [("p85", ["hello", "world"]), ("p86", ["world", "hello"])] {
        let ended = program(COROUTINES, program_name, 0.05);
        let lines = ended.lines();
        assert!(lines[0].starts_with("started at "));
        assert_eq!(lines[1..3], order);
        assert!(lines[3].starts_with("finished at "));
        assert_eq!(lines.len(), 4);
        ended.slept(3.0 * 0.05);
    }
}

#[test]
fn p87_an_hour_is_cut_short() {
    prints(COROUTINES, "p87", 1.0, &["timeout!"]);
}

#[test]
fn wrong_usage_is_refused_with_help() {
    for (binary, arguments) in [
        (THREADS, ""),
        (THREADS, "p34 nobody"),
        (THREADS, "p34 --scale 0"),
        (COROUTINES, "p69 --scale fast"),
        (COROUTINES, "p99"),
        (SERVERS, "p92 --clients-on process"),
        (SERVERS, "p90 --clients -1"),
    ] {
        let ended = run(Command::new(binary).args(arguments.split_whitespace()));
        assert_eq!(ended.status.code(), Some(2), "{binary} {arguments}");
        assert!(ended.stderr.contains("--help"), "{}", ended.stderr);
    }
}
