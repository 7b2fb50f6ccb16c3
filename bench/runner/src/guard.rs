//! `guard`: instructions per operation, counted by callgrind, against the figures in `bench/guard.json`.
//!
//! Instructions do not depend on what else the machine does, so one run tells. An operation's cost is the difference of
//! two runs that differ only in how often they do it: start and end cancel out. Counts repeat to 2 %.
//!
//! Stacks are not registered with valgrind: callgrind counts an instruction on whichever stack it runs (a registered
//! switch measured the same 157 instructions as an unregistered one); only tools that track memory have to know stacks.

use crate::contenders;
use crate::report::aligned;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The word that asks for it.
pub(crate) const SUBCOMMAND: &str = "guard";

/// By how much an operation may grow before it is a failure, as a part of the committed figure.
const TOLERANCE: f64 = 0.10;

/// How often the two runs do the operation.
const FEW: u64 = 10_000;
const MANY: u64 = 160_000;

/// One operation: what was committed, and what was counted now.
#[derive(Debug)]
struct Finding {
    operation: String,
    committed: f64,
    counted: f64,
}

/// Compares all operations, or writes down their figures with `--write`. `false` if one has grown too much.
///
/// # Errors
/// If valgrind is missing or a run fails; the message says which.
pub(crate) fn main(words: &[String]) -> Result<bool, String> {
    let write = match words {
        [] => false,
        [word] if word == "--write" => true,
        _ => return Err("usage: guard [--write]".into()),
    };
    let path = contenders::bench_directory().join("guard.json");
    let committed = read(&path)?;
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Err(
            "guard: no valgrind here; bench/setup.sh gets it, or: apt-get install valgrind".into(),
        );
    }
    let program = contenders::build_bingfa()?;
    let mut findings = Vec::new();
    for (operation, committed) in committed {
        let (few, many) = (
            count(&program, &operation, FEW)?,
            count(&program, &operation, MANY)?,
        );
        findings.push(Finding {
            operation,
            committed,
            counted: per_operation(few, many),
        });
    }
    print!("{}", table(&findings));
    if write {
        let figures: Map<String, Value> = findings
            .iter()
            .map(|finding| {
                (
                    finding.operation.clone(),
                    json!((finding.counted * 10.0).round() / 10.0),
                )
            })
            .collect();
        let text = format!("{:#}\n", Value::Object(figures));
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        eprintln!("guard: wrote {}", path.display());
        return Ok(true);
    }
    let grown: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.has_grown())
        .map(|finding| finding.operation.as_str())
        .collect();
    if !grown.is_empty() {
        eprintln!(
            "guard: {} grew by more than {:.0} %. If that is right, commit the new figures with the change, and say why: \
             cargo run --release --manifest-path bench/Cargo.toml -- guard --write",
            grown.join(", "),
            TOLERANCE * 100.0
        );
    }
    Ok(grown.is_empty())
}

/// The committed figures: an object of operations and instructions.
fn read(path: &Path) -> Result<Vec<(String, f64)>, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let figures: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    figures
        .into_iter()
        .map(|(operation, figure)| match figure.as_f64() {
            Some(figure) => Ok((operation, figure)),
            None => Err(wrong(format!("{operation}: {figure} is no number"))),
        })
        .collect()
}

/// Instructions of a process that does `operation` so many times.
fn count(program: &PathBuf, operation: &str, times: u64) -> Result<u64, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["bingfa", "guard"])
        .arg(format!("operation={operation}"))
        .arg(format!("count={times}"))
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!(
            "guard: {operation} failed under valgrind ({}):\n{said}",
            output.status
        ));
    }
    collected(&said).ok_or_else(|| format!("guard: valgrind has not said what it counted:\n{said}"))
}

/// The total in what callgrind prints at its end: `==123== Collected : 4567`.
fn collected(said: &str) -> Option<u64> {
    let line = said
        .lines()
        .find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().replace(',', "").parse().ok()
}

fn per_operation(few: u64, many: u64) -> f64 {
    many.saturating_sub(few) as f64 / (MANY - FEW) as f64
}

impl Finding {
    fn change(&self) -> f64 {
        self.counted / self.committed - 1.0
    }

    fn has_grown(&self) -> bool {
        self.counted > self.committed * (1.0 + TOLERANCE)
    }
}

fn table(findings: &[Finding]) -> String {
    let mut lines = vec![
        ["operation", "committed", "now", "change", ""]
            .map(str::to_string)
            .to_vec(),
    ];
    for finding in findings {
        let verdict = match finding {
            finding if finding.has_grown() => "too much",
            finding if finding.change() < -TOLERANCE => "less: `guard --write` would keep that",
            _ => "",
        };
        lines.push(vec![
            finding.operation.clone(),
            format!("{:.1}", finding.committed),
            format!("{:.1}", finding.counted),
            format!("{:+.1} %", finding.change() * 100.0),
            verdict.to_string(),
        ]);
    }
    format!("instructions per operation\n{}", aligned(&lines, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(committed: f64, counted: f64) -> Finding {
        Finding {
            operation: "switch".into(),
            committed,
            counted,
        }
    }

    #[test]
    fn a_tenth_is_the_limit() {
        assert!(!finding(100.0, 109.0).has_grown());
        assert!(finding(100.0, 111.0).has_grown());
        assert!(!finding(100.0, 50.0).has_grown());
        // A new operation without a figure yet.
        assert!(finding(0.0, 1.0).has_grown());
    }

    #[test]
    fn the_total_is_found_in_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 2165318\n==7== \n==7== I   refs:      2,165,318\n";
        assert_eq!(collected(said), Some(2_165_318));
        assert_eq!(collected("==7== nothing"), None);
    }

    #[test]
    fn start_and_end_cancel_out() {
        assert_eq!(per_operation(500 + FEW * 3, 500 + MANY * 3), 3.0);
    }

    #[test]
    fn the_committed_figures_can_be_read() {
        let figures = read(&contenders::bench_directory().join("guard.json")).unwrap();
        assert!(
            figures
                .iter()
                .any(|(operation, figure)| operation == "switch" && *figure > 1.0)
        );
    }
}
