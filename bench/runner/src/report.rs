//! The results as a table for people and as JSON for programs.

use crate::measure::{Measured, Row};
use crate::plan::{Bench, Better, Role, role};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// One JSON object per cell and metric, one per line.
pub(crate) fn json(measured: &Measured) -> String {
    for note in &measured.notes {
        eprintln!("bench: {}: {note}", measured.name);
    }
    let mut text = String::new();
    for row in &measured.rows {
        let Some(better) = row.metric.better else {
            continue;
        };
        let part = |floors: bool| -> Map<String, Value> {
            let values = row
                .values
                .iter()
                .filter(|(name, _)| (role(name) == Role::Floor) == floors);
            values
                .map(|&(name, value)| (name.to_string(), json!(rounded(value))))
                .collect()
        };
        let object = json!({
            "bench": measured.name,
            "cell": row.cell,
            "metric": row.metric.name,
            "better": if better == Better::Higher { "higher" } else { "lower" },
            "results": part(false),
            "floors": part(true),
            "best_peer": row.best_peer,
            "ratio": row.ratio.map(rounded),
        });
        let _ = writeln!(text, "{object}");
    }
    text
}

/// A row per cell and metric, a column per contender, the ratio last.
pub(crate) fn table(measured: &Measured) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in measured.rows.iter().flat_map(|row| &row.values) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| match role(name) {
        Role::Subject => 0,
        Role::Variant => 1,
        Role::Peer => 2,
        Role::Floor => 3,
    });

    let mut lines = vec![
        ["cell", "metric"]
            .into_iter()
            .chain(names.iter().copied())
            .chain(["ratio"])
            .map(str::to_string)
            .collect(),
    ];
    let mut last = "";
    for row in &measured.rows {
        let value = |name: &&str| {
            row.values
                .iter()
                .find(|(other, _)| other == name)
                .map_or(String::from("-"), |&(_, value)| short(value))
        };
        let cell = if row.cell == last { "" } else { &row.cell };
        last = &row.cell;
        let mut line = vec![cell.to_string(), row.metric.name.to_string()];
        line.extend(names.iter().map(value));
        line.push(ratio(row));
        lines.push(line);
    }

    let plural = if measured.rounds == 1 { "" } else { "s" };
    let mut text = format!(
        "\n{}: {} ({} round{plural}, medians)\n",
        measured.name, measured.about, measured.rounds
    );
    text.push_str(&aligned(&lines, 2));
    text.push_str("ratio: how many times better bingfa is than the best peer (median of the ratios of single rounds)\n");
    for growth in &measured.growth {
        let fitted = growth.lines.iter().filter_map(|line| {
            let exponent = line.exponent?;
            Some(format!("{} {exponent:.2}", line.name))
        });
        let fitted: Vec<_> = fitted.collect();
        if !fitted.is_empty() {
            let _ = writeln!(
                text,
                "growth: {} as {} to the power of: {}",
                growth.metric,
                growth.axis,
                fitted.join(", ")
            );
        }
    }
    let floors: Vec<_> = names
        .iter()
        .filter(|name| role(name) == Role::Floor)
        .copied()
        .collect();
    if !floors.is_empty() {
        let _ = writeln!(text, "floors, not peers: {}", floors.join(", "));
    }
    for note in &measured.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn ratio(row: &Row) -> String {
    match (row.metric.better, row.ratio, row.best_peer) {
        (None, _, _) | (_, _, None) => String::new(),
        (_, Some(ratio), Some(peer)) => format!("{} ({peer})", short(ratio)),
        (_, None, Some(peer)) => format!("- ({peer})"),
    }
}

/// The cells and contenders of every bench.
pub(crate) fn list(benches: &[Bench]) -> String {
    let mut text = String::new();
    for bench in benches {
        let _ = writeln!(text, "{}: {}", bench.name, bench.about);
        let _ = writeln!(text, "  fair: {}", bench.fair);
        for cell in bench.groups.iter().flat_map(|group| &group.cells) {
            let names: Vec<_> = cell.entries.iter().map(|&(name, _)| name).collect();
            let _ = writeln!(text, "  {}  [{}]", cell.name, names.join(" "));
        }
    }
    text
}

/// Columns as wide as their widest word: the first `left` of them and the last aligned to the left, figures to the right.
fn aligned(lines: &[Vec<String>], left: usize) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|word| word.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let words = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (word, width))| {
                if column < left || column + 1 == columns {
                    format!("{word:<width$}")
                } else {
                    format!("{word:>width$}")
                }
            });
        let line = words.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Three to four digits, as one reads them.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Five significant digits: more would be noise.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Metric;

    fn measured() -> Measured {
        let row = Row {
            cell: "tasks=2".into(),
            metric: Metric::lower("ns_per_switch"),
            values: vec![("bingfa", 4.2), ("may", 28.004_39), ("corosensei", 2.3)],
            best_peer: Some("may"),
            ratio: Some(6.6667),
        };
        Measured {
            name: "switch",
            about: "a test",
            rounds: 3,
            rows: vec![row],
            growth: Vec::new(),
            notes: vec!["quiet".into()],
            bingfa_failed: false,
        }
    }

    #[test]
    fn json_has_the_agreed_form() {
        let expected = concat!(
            r#"{"bench":"switch","cell":"tasks=2","metric":"ns_per_switch","better":"lower","#,
            r#""results":{"bingfa":4.2,"may":28.004},"floors":{"corosensei":2.3},"best_peer":"may","ratio":6.6667}"#,
            "\n"
        );
        assert_eq!(json(&measured()), expected);
    }

    #[test]
    fn the_table_is_aligned_and_ends_with_the_ratio() {
        let text = table(&measured());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2],
            "cell     metric         bingfa   may  corosensei  ratio"
        );
        assert_eq!(
            lines[3],
            "tasks=2  ns_per_switch    4.20  28.0        2.30  6.67 (may)"
        );
    }
}
