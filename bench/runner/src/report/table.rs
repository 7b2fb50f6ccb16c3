//! The results as a table for the terminal.

use crate::measure::{Growth, Measured, Row};
use crate::plan::{Bench, Role, role};
use std::fmt::Write;

/// A row per cell and metric, a column per contender, the ratio last.
pub(super) fn lines(measured: &Measured) -> Vec<Vec<String>> {
    let names = names(measured);
    let head = ["cell", "metric"].into_iter().chain(names.iter().copied());
    let mut lines = vec![head.chain(["ratio"]).map(str::to_string).collect()];
    let mut last = "";
    for row in &measured.rows {
        let value = |name: &&str| {
            row.value(name)
                .map_or(String::from("-"), |value| short(value.summary.median))
        };
        let cell = if row.cell == last { "" } else { &row.cell };
        last = &row.cell;
        let mut line = vec![cell.to_string(), row.metric.name.to_string()];
        line.extend(names.iter().map(value));
        line.push(ratio(row));
        lines.push(line);
    }
    lines
}

/// All contenders: bingfa first, floors last.
fn names(measured: &Measured) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for value in measured.rows.iter().flat_map(|row| &row.values) {
        if !names.contains(&value.name) {
            names.push(value.name);
        }
    }
    names.sort_by_key(|name| role(name));
    names
}

/// The results for the terminal.
pub(crate) fn table(measured: &Measured) -> String {
    let plural = if measured.rounds == 1 { "" } else { "s" };
    let mut text = format!(
        "\n{}: {} ({} round{plural}, medians)\n",
        measured.name, measured.about, measured.rounds
    );
    text.push_str(&aligned(&lines(measured), 2));
    text.push_str("ratio: how many times better bingfa is than the best peer (median of the ratios of single rounds)\n");
    for growth in growth(measured) {
        let _ = writeln!(text, "{growth}");
    }
    let floors: Vec<_> = names(measured)
        .into_iter()
        .filter(|name| role(name) == Role::Floor)
        .collect();
    if !floors.is_empty() {
        let _ = writeln!(text, "floors, not peers: {}", floors.join(", "));
    }
    for note in &measured.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// The fitted exponents, a sentence for each curve.
pub(super) fn growth(measured: &Measured) -> Vec<String> {
    let sentence = |growth: &Growth| {
        let fitted = growth.lines.iter().filter_map(|line| {
            let exponent = line.exponent?;
            Some(format!("{} {}", line.name, two_digits(exponent)))
        });
        let fitted: Vec<_> = fitted.collect();
        let (metric, axis) = (growth.metric, growth.axis);
        (!fitted.is_empty()).then(|| {
            let which = growth.common.as_str();
            let which = if which.is_empty() {
                String::new()
            } else {
                format!(" ({which})")
            };
            format!(
                "growth{which}: {metric} as {axis} to the power of: {}",
                fitted.join(", ")
            )
        })
    };
    measured.growth.iter().filter_map(sentence).collect()
}

fn ratio(row: &Row) -> String {
    match (row.metric.better, row.ratio, row.best_peer) {
        (None, _, _) | (_, _, None) => String::new(),
        (_, Some(ratio), Some(peer)) => format!("{} ({peer})", short(ratio.median)),
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
pub(crate) fn aligned(lines: &[Vec<String>], left: usize) -> String {
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

/// An exponent: two digits, and no minus before a zero.
pub(super) fn two_digits(exponent: f64) -> String {
    format!("{:.2}", (exponent * 100.0).round() / 100.0 + 0.0)
}

/// Three to four digits, as one reads them.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_table_is_aligned_and_ends_with_the_ratio() {
        let text = table(&sample());
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
