//! The programs of pipes and managers print what the catalogue says.

mod common;

use std::process::Command;

use common::run;

#[track_caller]
fn lines(arguments: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sharing"));
    let ended = run(command.args(arguments.split_whitespace()));
    ended.lines().iter().map(ToString::to_string).collect()
}

#[test]
fn p28_a_child_talks_to_its_parent() {
    assert_eq!(lines("p28"), ["[42, None, 'hello']", "Hi"]);
    assert_eq!(lines("pipe hello"), ["hello", "hi son"]);
}

#[test]
fn p29_five_children_append() {
    let printed = lines("p29").concat();
    let numbers = printed.trim_matches(['[', ']']).split(", ");
    let numbers: Vec<u32> = numbers.map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers[..3], [11, 22, 33]);
    let mut appended = numbers[3..].to_vec();
    appended.sort_unstable();
    assert_eq!(appended, [0, 1, 4, 9, 16]);
}

#[test]
fn p30_nothing_is_left() {
    assert_eq!(lines("p30"), ["0"]);
    assert_eq!(lines("dict update"), ["0"]);
}

#[test]
fn p31_a_dict_of_mixed_types() {
    let expected = [
        "{'2': 2, 0.25: None, 1: '1'}",
        "[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]",
    ];
    assert_eq!(lines("p31"), expected);
}
