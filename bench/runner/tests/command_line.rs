//! The program as one calls it.

use std::process::{Command, Output};

fn bench(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(words)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_is_no_error() {
    for words in [
        vec!["--help"],
        vec!["-h"],
        vec!["guard", "--help"],
        vec!["echo", "--quick", "-h"],
    ] {
        let output = bench(&words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        let out = text(&output.stdout);
        assert!(out.starts_with("usage: ") && out.contains("process-spawn"));
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn a_word_that_is_not_known_ends_with_the_usage() {
    let output = bench(&["swich"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert!(errors.contains("\"swich\"") && errors.contains("usage: "));
    assert_eq!(text(&output.stdout), "");
}
