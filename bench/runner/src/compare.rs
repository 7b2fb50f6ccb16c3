//! `compare`: two runs beside each other, by the `results.json` that `--out` has written.
//!
//! What counts are the ratios: they do not depend on how fast the machine was. A ratio that differs by more than 15 % is
//! listed with what the files know about why: the spread between rounds, load by others, another best peer, another
//! machine or commit.

use crate::measure::{LOUD, UNSTEADY};
use crate::report::short;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The word that asks for it.
pub(crate) const SUBCOMMAND: &str = "compare";

/// With fewer rounds the quartiles say nothing.
const ROUNDS: u64 = 3;

/// One `results.json`.
struct Results {
    name: String,
    json: Value,
}

/// A row of one of them, and the bench it belongs to.
#[derive(Clone, Copy)]
struct Row<'a> {
    bench: &'a Value,
    row: &'a Value,
}

/// Prints what differs. `false` if a difference has no reason in what was recorded.
///
/// # Errors
/// If there are not two files, or one cannot be read; the message names it.
pub(crate) fn main(words: &[String]) -> Result<bool, String> {
    let [first, second] = words else {
        return Err(
            "usage: compare A/results.json B/results.json (or the directories A and B)".into(),
        );
    };
    let (text, well) = compare(&read(first)?, &read(second)?);
    print!("{text}");
    Ok(well)
}

fn read(path: &str) -> Result<Results, String> {
    let file = match Path::new(path) {
        directory if directory.is_dir() => directory.join("results.json"),
        file => file.to_path_buf(),
    };
    let name = file.display().to_string();
    let text = fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    if !json["benches"].is_array() {
        return Err(format!(
            "{name}: no results of a bench, which `--out` writes"
        ));
    }
    Ok(Results { name, json })
}

fn compare(first: &Results, second: &Results) -> (String, bool) {
    let mut text = format!("first:  {}\nsecond: {}\n", first.name, second.name);
    let differ = differences(first, second);
    for (what, one, other) in &differ {
        let _ = writeln!(text, "{what}: {one}, then {other}");
    }
    let (mut compared, mut apart, mut unexplained) = (0, 0, 0);
    let mut alone = Vec::new();
    for one in first.rows() {
        let Some(other) = second.rows().find(|other| other.name() == one.name()) else {
            alone.push(format!("{} (first)", one.name()));
            continue;
        };
        let (Some(a), Some(b)) = (one.ratio(), other.ratio()) else {
            continue;
        };
        compared += 1;
        let distance = a.max(b) / a.min(b) - 1.0;
        if distance <= UNSTEADY {
            continue;
        }
        apart += 1;
        let mut why = reasons(one, other);
        // What is measured may be another thing, or on another machine.
        if !differ.is_empty() {
            why.push("the two differ as said above".into());
        }
        if why.is_empty() {
            unexplained += 1;
            why.push("nothing that was recorded explains it: measure both again".into());
        }
        let _ = writeln!(
            text,
            "{}: {} and {}, {:.0} % apart ({})\n    {}",
            one.name(),
            short(a),
            short(b),
            distance * 100.0,
            moved(one, other),
            why.join("; ")
        );
    }
    let known: Vec<String> = first.rows().map(|row| row.name()).collect();
    alone.extend(
        second
            .rows()
            .map(|row| row.name())
            .filter(|name| !known.contains(name))
            .map(|name| format!("{name} (second)")),
    );
    if !alone.is_empty() {
        let _ = writeln!(text, "in one of them only: {}", alone.join("; "));
    }
    let _ = writeln!(
        text,
        "{compared} ratios compared, {apart} more than {:.0} % apart, {unexplained} of these without a known reason",
        UNSTEADY * 100.0
    );
    (text, unexplained == 0)
}

/// What is known of machines and programs, and is not the same.
fn differences<'a>(first: &'a Results, second: &'a Results) -> Vec<(&'a str, &'a str, &'a str)> {
    // These differ from run to run.
    const PASSING: [&str; 2] = ["date", "load average at the start"];
    let facts = first.json["system"].as_object().into_iter().flatten();
    facts
        .filter(|(name, _)| !PASSING.contains(&name.as_str()))
        .filter_map(|(name, one)| {
            let (one, other) = (one.as_str()?, second.json["system"][name].as_str()?);
            (one != other).then_some((name.as_str(), one, other))
        })
        .collect()
}

impl Results {
    /// The rows that have a measure of quality.
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let benches = self.json["benches"].as_array().into_iter().flatten();
        benches.flat_map(|bench| {
            let rows = bench["rows"].as_array().into_iter().flatten();
            rows.filter(|row| row["better"].is_string())
                .map(move |row| Row { bench, row })
        })
    }
}

impl Row<'_> {
    fn name(&self) -> String {
        let word = |value: &Value| value.as_str().unwrap_or("?").to_string();
        let (bench, row) = (self.bench, self.row);
        [&bench["bench"], &row["cell"], &row["metric"]]
            .map(word)
            .join(" ")
    }

    fn ratio(&self) -> Option<f64> {
        let ratio = self.row["ratio"]["median"].as_f64()?;
        (ratio > 0.0).then_some(ratio)
    }

    /// The quartiles of the ratios, if there were rounds enough for them to mean something.
    fn quartiles(&self) -> Option<(f64, f64)> {
        let at = |index: usize| self.row["ratio"]["quartiles"][index].as_f64();
        let rounds = self.bench["rounds"].as_u64()?;
        (rounds >= ROUNDS).then_some((at(0)?, at(1)?))
    }

    fn peer(&self) -> &str {
        self.row["best_peer"].as_str().unwrap_or("none")
    }

    fn value(&self, contender: &str) -> Option<f64> {
        self.row["results"][contender]["median"].as_f64()
    }

    fn load(&self) -> f64 {
        let load = &self.bench["cores_used_by_others"]["median"];
        load.as_f64().unwrap_or(0.0)
    }
}

/// Why the ratios of two rows may differ.
fn reasons(one: Row<'_>, other: Row<'_>) -> Vec<String> {
    let mut why = Vec::new();
    for (which, row) in [("first", one), ("second", other)] {
        match row.quartiles() {
            None => why.push(format!("the {which} has too few rounds to know its spread")),
            Some((low, high)) if (high - low) / row.ratio().unwrap_or(1.0) > UNSTEADY => {
                why.push(format!(
                    "the middle half of the {which}'s rounds goes from {} to {}",
                    short(low),
                    short(high)
                ));
            }
            Some(_) => {}
        }
        if row.load() > LOUD {
            why.push(format!(
                "other processes used {:.2} cores during the {which}",
                row.load()
            ));
        }
    }
    if one.peer() != other.peer() {
        why.push(format!(
            "the best peer is {}, then {}",
            one.peer(),
            other.peer()
        ));
    }
    why
}

/// Whose figure has moved, and by how much.
fn moved(one: Row<'_>, other: Row<'_>) -> String {
    let mut names = vec!["bingfa", one.peer(), other.peer()];
    names.dedup();
    let change = |name: &str| {
        let percent = (other.value(name)? / one.value(name)? - 1.0) * 100.0;
        Some(format!("{name} {percent:+.0} %"))
    };
    let changes: Vec<String> = names.into_iter().filter_map(change).collect();
    changes.join(", ")
}
