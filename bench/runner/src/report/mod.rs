//! The results for people and for programs: a table, JSON, charts, and all of them in a directory.

mod chart;
mod html;
mod json;
mod svg;
mod table;

pub(crate) use json::lines as json;
pub(crate) use table::{aligned, list, short, table};

use crate::measure::Measured;
use crate::system::System;
use std::fs;
use std::path::Path;

/// Writes `index.html`, `results.json` and a chart per bench into `directory`.
///
/// # Errors
/// If a file cannot be written; the message names it.
pub(crate) fn write(
    directory: &Path,
    all: &[Measured],
    system: &System,
    command: &str,
) -> Result<(), String> {
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut charts = Vec::new();
    for measured in all {
        let chart = chart::chart(measured);
        if let Some(svg) = &chart {
            put(&format!("{}.svg", measured.name), svg)?;
        }
        charts.push(chart);
    }
    put("results.json", &json::everything(all, system, command))?;
    put("index.html", &html::page(all, &charts, system, command))
}

#[cfg(test)]
fn sample() -> Measured {
    use crate::measure::{Row, Value};
    use crate::plan::Metric;
    use crate::stats::Summary;
    let value = |name, run, rounds: &[Option<f64>]| Value {
        name,
        run,
        summary: Summary::of(rounds.iter().flatten().copied()).expect("a figure"),
        rounds: rounds.to_vec(),
    };
    let row = Row {
        group: 0,
        cell: "tasks=2".into(),
        metric: Metric::lower("ns_per_switch"),
        values: vec![
            value("bingfa", 0, &[Some(4.2), None]),
            value("may", 1, &[Some(28.004_39)]),
            value("corosensei", 2, &[Some(2.3)]),
        ],
        best_peer: Some("may"),
        ratio: Summary::of([6.6667]),
    };
    Measured {
        name: "switch",
        about: "a test",
        fair: "it is",
        rounds: 3,
        seconds: 1.0,
        outside_load: None,
        rows: vec![row],
        growth: Vec::new(),
        notes: vec!["quiet".into()],
        bingfa_failed: false,
    }
}
