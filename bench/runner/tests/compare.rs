//! `compare` on small results of known differences.

use std::process::{Command, Output};

fn compare(first: &str, second: &str) -> (Output, String) {
    let path = |name: &str| format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["compare", &path(first), &path(second)])
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

/// The line that begins with `start`, and the one after it.
fn entry<'a>(text: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(start))?;
    Some((line, lines.next().unwrap_or_default().trim()))
}

#[test]
fn what_agrees_is_not_listed() {
    let (output, text) = compare("first.json", "first.json");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.ends_with(
        "5 ratios compared, 0 more than 15 % apart, 0 of these without a known reason\n"
    ));
}

#[test]
fn what_differs_is_listed_with_its_reason() {
    let (output, text) = compare("first.json", "second.json");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(entry(&text, "switch steady"), None);
    let (moved, why) = entry(&text, "switch moved").expect("a difference");
    assert_eq!(
        moved,
        "switch moved ns_per_switch: 5.00 and 2.50, 100 % apart (bingfa +100 %, may +0 %)"
    );
    assert!(why.starts_with("nothing that was recorded"), "{text}");
    let (_, why) = entry(&text, "switch wide").expect("a difference");
    assert_eq!(
        why,
        "the middle half of the first's rounds goes from 4.00 to 6.50"
    );
    let (overtaken, why) = entry(&text, "switch overtaken").expect("a difference");
    assert!(
        overtaken.ends_with("(bingfa +0 %, may +0 %, go -33 %)"),
        "{text}"
    );
    assert_eq!(why, "the best peer is may, then go");
    assert!(text.contains("in one of them only: switch gone ns_per_switch (first)"));
    assert!(text.ends_with(
        "4 ratios compared, 3 more than 15 % apart, 1 of these without a known reason\n"
    ));
}

#[test]
fn load_few_rounds_and_another_commit_are_reasons() {
    let (output, text) = compare("first.json", "loud.json");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("commit: abc, then def"), "{text}");
    let (_, why) = entry(&text, "switch moved").expect("a difference");
    for reason in ["too few rounds", "1.40 cores", "differ as said above"] {
        assert!(why.contains(reason), "{reason} in {why}");
    }
}

#[test]
fn a_file_that_is_none_is_named() {
    let (output, _) = compare("first.json", "none.json");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none.json"));
}
