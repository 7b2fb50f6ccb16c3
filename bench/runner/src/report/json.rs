//! The results for programs: lines for `--json`, and with everything that is known for `--out`.

use crate::measure::{Measured, Row};
use crate::plan::{Better, Role, role};
use crate::stats::Summary;
use crate::system::System;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// One object per cell and metric, one per line.
pub(crate) fn lines(measured: &Measured) -> String {
    let mut text = String::new();
    for object in measured.rows.iter().filter_map(|row| line(measured, row)) {
        let _ = writeln!(text, "{object}");
    }
    text
}

fn line(measured: &Measured, row: &Row) -> Option<Value> {
    let better = row.metric.better?;
    let part = |floors: bool| -> Map<String, Value> {
        let values = row.values.iter();
        values
            .filter(|value| (role(value.name) == Role::Floor) == floors)
            .map(|value| (value.name.to_string(), json!(rounded(value.summary.median))))
            .collect()
    };
    Some(json!({
        "bench": measured.name,
        "cell": row.cell,
        "metric": row.metric.name,
        "better": if better == Better::Higher { "higher" } else { "lower" },
        "results": part(false),
        "floors": part(true),
        "best_peer": row.best_peer,
        "ratio": row.ratio.map(|ratio| rounded(ratio.median)),
    }))
}

/// All benches with the spread and the figure of each round, and the machine that they ran on.
pub(crate) fn everything(all: &[Measured], system: &System, command: &str) -> String {
    let system: Map<String, Value> = system
        .facts
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect();
    let benches: Vec<Value> = all.iter().map(bench).collect();
    let object = json!({"command": command, "system": system, "benches": benches});
    format!("{object:#}\n")
}

fn bench(measured: &Measured) -> Value {
    let rows: Vec<Value> = measured
        .rows
        .iter()
        .map(|row| {
            let spread = |value: &crate::measure::Value| {
                let rounds: Vec<_> = value.rounds.iter().map(|value| value.map(rounded)).collect();
                let mut object = summary(&value.summary);
                object["rounds"] = json!(rounds);
                (value.name.to_string(), object)
            };
            json!({
                "cell": row.cell,
                "metric": row.metric.name,
                "better": row.metric.better.map(|better| if better == Better::Higher { "higher" } else { "lower" }),
                "results": row.values.iter().map(spread).collect::<Map<_, _>>(),
                "best_peer": row.best_peer,
                "ratio": row.ratio.as_ref().map(summary),
            })
        })
        .collect();
    let growth: Vec<Value> = measured
        .growth
        .iter()
        .map(|growth| {
            let exponents = growth
                .lines
                .iter()
                .map(|line| (line.name.to_string(), json!(line.exponent.map(rounded))));
            json!({
                "metric": growth.metric,
                "axis": growth.axis,
                "cells": growth.cells,
                "exponents": exponents.collect::<Map<_, _>>(),
            })
        })
        .collect();
    json!({
        "bench": measured.name,
        "about": measured.about,
        "fair": measured.fair,
        "rounds": measured.rounds,
        "seconds": rounded(measured.seconds),
        "cores_used_by_others": measured.outside_load.as_ref().map(summary),
        "rows": rows,
        "growth": growth,
        "notes": measured.notes,
    })
}

fn summary(summary: &Summary) -> Value {
    json!({
        "median": rounded(summary.median),
        "quartiles": [rounded(summary.low), rounded(summary.high)],
    })
}

/// Five significant digits: more would be noise.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn lines_have_the_agreed_form() {
        let expected = concat!(
            r#"{"bench":"switch","cell":"tasks=2","metric":"ns_per_switch","better":"lower","#,
            r#""results":{"bingfa":4.2,"may":28.004},"floors":{"corosensei":2.3},"best_peer":"may","ratio":6.6667}"#,
            "\n"
        );
        assert_eq!(lines(&sample()), expected);
    }

    #[test]
    fn everything_has_the_machine_and_the_rounds() {
        let system = System {
            facts: vec![("cpu", "a test".into())],
        };
        let text = everything(&[sample()], &system, "bench switch");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["system"]["cpu"], "a test");
        let row = &value["benches"][0]["rows"][0];
        assert_eq!(row["results"]["bingfa"]["rounds"][1], json!(null));
        assert_eq!(row["results"]["may"]["median"], 28.004);
    }
}
