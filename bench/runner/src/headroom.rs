//! Whether the load generator held the servers up: what it could have driven, beside what the fastest server answered.

use crate::measure::{Row, Value};
use crate::report::short;

/// For each cell under load, how many times the rate of its fastest server the load generator could have driven while it
/// drove that one.
pub(crate) fn note(rows: &[Row]) -> Option<String> {
    let cells: Vec<String> = rows
        .iter()
        .filter(|row| row.metric.name == "requests_per_s")
        .filter_map(|rates| {
            let median = |value: &Value| value.summary.median;
            let fastest = rates
                .values
                .iter()
                .max_by(|a, b| median(a).total_cmp(&median(b)))?;
            let capacity = rows
                .iter()
                .find(|row| row.cell == rates.cell && row.metric.name == "load_capacity_per_s")?
                .value(fastest.name)?;
            Some(format!(
                "{} {:.2} ({}/s, {})",
                rates.cell,
                median(capacity) / median(fastest),
                short(median(capacity)),
                fastest.name,
            ))
        })
        .collect();
    (!cells.is_empty()).then(|| {
        format!(
            "what the load generator could have driven, in rates of the fastest server (below 1.05 the generator was the limit): {}",
            cells.join("; ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Metric;
    use crate::stats::Summary;

    fn row(cell: &str, metric: &'static str, values: &[(&'static str, f64)]) -> Row {
        Row {
            group: 0,
            cell: cell.into(),
            metric: Metric::shown(metric),
            values: values
                .iter()
                .enumerate()
                .map(|(run, &(name, figure))| Value {
                    name,
                    run,
                    summary: Summary::of([figure]).expect("a figure"),
                    rounds: vec![Some(figure)],
                })
                .collect(),
            best_peer: None,
            ratio: None,
        }
    }

    #[test]
    fn the_generator_is_set_beside_the_fastest_server_of_each_cell() {
        let rows = [
            row(
                "conns=1",
                "requests_per_s",
                &[("bingfa", 100.0), ("epoll-loop", 200.0)],
            ),
            row(
                "conns=1",
                "load_capacity_per_s",
                &[("bingfa", 900.0), ("epoll-loop", 500.0)],
            ),
            row("conns=64", "requests_per_s", &[("bingfa", 100.0)]),
            row("conns=64", "load_capacity_per_s", &[("bingfa", 102.0)]),
        ];
        let note = note(&rows).expect("cells under load");
        assert!(
            note.ends_with("conns=1 2.50 (500/s, epoll-loop); conns=64 1.02 (102/s, bingfa)"),
            "{note}"
        );
    }

    #[test]
    fn a_bench_without_load_says_nothing() {
        assert_eq!(
            note(&[row("tasks=2", "ns_per_switch", &[("bingfa", 4.0)])]),
            None
        );
    }
}
