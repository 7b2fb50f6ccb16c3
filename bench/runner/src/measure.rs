//! Rounds: each goes through the groups in random order, and in each group through the contenders in random order.

use crate::contenders::Programs;
use crate::execute::{self, Figures, Outcome};
use crate::headroom;
use crate::plan::{Bench, Better, Cell, Curve, Group, Metric, Role, Rounds, Run, role};
use crate::progress::Progress;
use crate::stats::{Summary, exponent, shuffle};
use std::time::{Duration, Instant};

/// How long a run may take: not half as long when all is well. A first look is not held up as long.
const LIMIT: Duration = Duration::from_secs(180);

/// So many disturbed repeats in a row, and no more are tried.
const PATIENCE: usize = 5;

/// Above this many cores of load by other processes a run is spoken of.
pub(crate) const LOUD: f64 = 0.25;
/// A ratio whose quartiles lie further apart than this, as a part of it, is spoken of.
pub(crate) const UNSTEADY: f64 = 0.15;

/// The figures of a bench.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) fair: &'static str,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    /// Cores used by other processes, over the runs. `None`: nothing has run.
    pub(crate) outside_load: Option<Summary>,
    pub(crate) rows: Vec<Row>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) notes: Vec<String>,
    pub(crate) bingfa_failed: bool,
}

/// One metric of one cell.
#[derive(Debug)]
pub(crate) struct Row {
    /// Rows of one group were measured interleaved.
    pub(crate) group: usize,
    pub(crate) cell: String,
    pub(crate) metric: Metric,
    /// In the order of the plan.
    pub(crate) values: Vec<Value>,
    pub(crate) best_peer: Option<&'static str>,
    /// How many times better bingfa is than the best peer: over the ratios of single rounds.
    pub(crate) ratio: Option<Summary>,
}

/// What a contender has reached.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) name: &'static str,
    /// Which run of the group it was: a run may appear in several cells.
    pub(crate) run: usize,
    pub(crate) summary: Summary,
    /// A figure per round; `None` where the contender failed.
    pub(crate) rounds: Vec<Option<f64>>,
}

/// How a metric grows with a number, per contender.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) axis: &'static str,
    pub(crate) metric: &'static str,
    /// The cells that it joins, and the words that all of their names have.
    pub(crate) cells: Vec<String>,
    pub(crate) common: String,
    pub(crate) lines: Vec<Line>,
}

/// One contender's part of it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
    /// The fitted exponent, if there are points enough.
    pub(crate) exponent: Option<f64>,
}

impl Row {
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.name == name)
    }
}

/// The figures of each run of a group, by round.
type Results = Vec<Vec<Option<Figures>>>;

/// Runs the rounds of `bench`, as many as its time allows.
pub(crate) fn run(bench: &Bench, programs: &Programs, progress: &mut Progress) -> Measured {
    let mut session = Session::new(&bench.rounds);
    let mut results: Vec<Results> = bench
        .groups
        .iter()
        .map(|group| vec![Vec::new(); group.runs.len()])
        .collect();
    progress.begin(bench);

    let start = Instant::now();
    let mut longest = Duration::ZERO;
    let mut rounds = 0;
    while rounds < bench.rounds.most
        && (rounds == 0 || start.elapsed() + longest <= bench.rounds.budget)
    {
        let begin = Instant::now();
        let mut order: Vec<usize> = (0..bench.groups.len()).collect();
        shuffle(&mut order);
        for index in order {
            let group = &bench.groups[index];
            let mut runs = group.needed();
            shuffle(&mut runs);
            for run in runs {
                let figures = if start.elapsed() < bench.rounds.end() {
                    session.run(group, run, programs, progress)
                } else {
                    session.leave_out(&group.runs[run], progress);
                    None
                };
                results[index][run].push(figures);
            }
        }
        rounds += 1;
        longest = longest.max(begin.elapsed());
    }
    progress.end();

    let rows = rows(bench, &results);
    let growth = bench
        .curves
        .iter()
        .map(|curve| growth(curve, &rows))
        .filter(|growth| !growth.lines.is_empty())
        .collect();
    let mut notes = plan_notes(bench);
    notes.extend(rows.iter().filter_map(suspicion));
    notes.extend(headroom::note(&rows));
    notes.extend(unsteady(&rows, rounds));
    notes.extend(session.notes());
    if rounds < bench.rounds.most {
        notes.push(format!(
            "{rounds} of {} rounds: there was no time for more",
            bench.rounds.most
        ));
    }
    Measured {
        name: bench.name,
        about: bench.about,
        fair: bench.fair,
        rounds,
        seconds: start.elapsed().as_secs_f64(),
        outside_load: Summary::of(session.outside_loads.iter().map(|(load, _)| *load)),
        rows,
        growth,
        notes,
        bingfa_failed: session.bingfa_failed,
    }
}

/// The notes of the plan that speak of a contender that takes part, each once.
fn plan_notes(bench: &Bench) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for cell in bench.groups.iter().flat_map(|group| &group.cells) {
        for note in &cell.notes {
            let about = note.split(':').next().unwrap_or_default();
            let takes_part = cell.entries.iter().any(|(name, _)| *name == about);
            if takes_part && !notes.iter().any(|known| known == note) {
                notes.push(note.to_string());
            }
        }
    }
    notes
}

fn rows(bench: &Bench, results: &[Results]) -> Vec<Row> {
    let groups = bench.groups.iter().zip(results).enumerate();
    groups
        .flat_map(|(index, (group, results))| {
            group.cells.iter().flat_map(move |cell| {
                cell.metrics
                    .iter()
                    .map(move |&metric| row(index, cell, metric, results))
            })
        })
        .filter(|row| !row.values.is_empty())
        .collect()
}

fn row(group: usize, cell: &Cell, metric: Metric, results: &Results) -> Row {
    let values: Vec<Value> = cell
        .entries
        .iter()
        .filter_map(|&(name, run)| {
            let rounds: Vec<Option<f64>> = results[run]
                .iter()
                .map(|figures| figures.as_ref()?.get(metric.field).copied())
                .collect();
            let summary = Summary::of(rounds.iter().flatten().copied())?;
            Some(Value {
                name,
                run,
                summary,
                rounds,
            })
        })
        .collect();
    let mut row = Row {
        group,
        cell: cell.name.clone(),
        metric,
        values,
        best_peer: None,
        ratio: None,
    };
    if let Some(better) = metric.better {
        compare(&mut row, better);
    }
    row
}

/// Finds the best peer and bingfa's ratio to it.
fn compare(row: &mut Row, better: Better) {
    let peers = row
        .values
        .iter()
        .filter(|value| role(value.name) == Role::Peer);
    let order = |a: &&Value, b: &&Value| a.summary.median.total_cmp(&b.summary.median);
    let best = match better {
        Better::Higher => peers.max_by(order),
        Better::Lower => peers.min_by(order),
    };
    row.best_peer = best.map(|value| value.name);
    let subject = row
        .values
        .iter()
        .find(|value| role(value.name) == Role::Subject);
    if let (Some(best), Some(subject)) = (best, subject) {
        let pairs = subject.rounds.iter().zip(&best.rounds);
        let ratios = pairs
            .filter_map(|(bingfa, peer)| Some(((*bingfa)?, (*peer)?)))
            .map(|(bingfa, peer)| match better {
                Better::Higher => bingfa / peer,
                Better::Lower => peer / bingfa,
            });
        row.ratio = Summary::of(ratios);
    }
}

fn growth(curve: &Curve, rows: &[Row]) -> Growth {
    let mut lines: Vec<Line> = Vec::new();
    for (x, cell) in &curve.points {
        let row = rows
            .iter()
            .find(|row| row.cell == *cell && row.metric.name == curve.metric);
        for value in row.iter().flat_map(|row| &row.values) {
            let point = (*x, value.summary.median);
            match lines.iter_mut().find(|line| line.name == value.name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name: value.name,
                    points: vec![point],
                    exponent: None,
                }),
            }
        }
    }
    for line in &mut lines {
        line.exponent = exponent(&line.points);
    }
    Growth {
        axis: curve.axis,
        metric: curve.metric,
        cells: curve.points.iter().map(|(_, cell)| cell.clone()).collect(),
        common: common_words(curve.points.iter().map(|(_, cell)| cell.as_str())),
        lines,
    }
}

/// The words that all of these have, in the order of the first.
pub(crate) fn common_words<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<&str> = names.next().unwrap_or_default().split(' ').collect();
    for name in names {
        words.retain(|word| name.split(' ').any(|other| other == *word));
    }
    words.join(" ")
}

/// Which contenders' figures in this row's cell are to be doubted, and why.
fn suspicion(row: &Row) -> Option<String> {
    let (limit, why) = row.metric.suspect?;
    let above = row
        .values
        .iter()
        .filter(|value| value.summary.median > limit);
    let names: Vec<_> = above.map(|value| value.name).collect();
    (!names.is_empty()).then(|| format!("{} ({}): {why}", row.cell, names.join(", ")))
}

/// Ratios that another run may well find different, and how far they went.
fn unsteady(rows: &[Row], rounds: usize) -> Option<String> {
    if rounds < 3 {
        return Some(format!(
            "{rounds} round{}: too few to know the spread; ratios may differ by more than 15 % in another run",
            if rounds == 1 { "" } else { "s" }
        ));
    }
    let list: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let ratio = row.ratio?;
            let wide = (ratio.high - ratio.low) / ratio.median > UNSTEADY;
            wide.then(|| {
                format!(
                    "{} {} {:.2} to {:.2}",
                    row.cell, row.metric.name, ratio.low, ratio.high
                )
            })
        })
        .collect();
    (!list.is_empty()).then(|| {
        format!(
            "ratios whose middle half varied by more than 15 % between rounds, so that another run may differ as much: {}",
            list.join("; ")
        )
    })
}

/// What has happened during the runs.
struct Session {
    limit: Duration,
    /// How many more repeats of disturbed runs may be disturbed themselves before the rest are not repeated.
    patience: usize,
    failures: Vec<(&'static str, String)>,
    outside_loads: Vec<(f64, &'static str)>,
    /// Runs for which there was no time.
    left_out: Vec<String>,
    bingfa_failed: bool,
}

impl Session {
    fn new(rounds: &Rounds) -> Self {
        Self {
            limit: rounds.budget.min(LIMIT),
            patience: if rounds.most > 3 { PATIENCE } else { 0 },
            failures: Vec::new(),
            outside_loads: Vec::new(),
            left_out: Vec::new(),
            bingfa_failed: false,
        }
    }

    /// The time is over: notes that `run` has not run.
    fn leave_out(&mut self, run: &Run, progress: &Progress) {
        progress.step("", "");
        self.left_out
            .push(format!("{} {}", run.contender, run.args.join(" ")));
    }

    fn run(
        &mut self,
        group: &Group,
        index: usize,
        programs: &Programs,
        progress: &Progress,
    ) -> Option<Figures> {
        let run = &group.runs[index];
        let command = match programs.command(run.contender) {
            Ok(command) => command,
            Err(why) => {
                progress.step("", "");
                self.remember(run.contender, format!("left out: {why}"));
                return None;
            }
        };
        progress.step(run.contender, &run.args.join(" "));
        let outcome = match execute::once(run, command, self.limit) {
            Ok(outcome) if outcome.outside_load > LOUD && self.patience > 0 => {
                self.again(run, outcome, programs)
            }
            other => other,
        };
        match outcome {
            Ok(outcome) => {
                self.outside_loads
                    .push((outcome.outside_load, run.contender));
                Some(outcome.figures)
            }
            Err(error) => {
                progress.say(&format!("{} failed: {error}", run.contender));
                self.remember(run.contender, format!("failed at least once: {error}"));
                self.bingfa_failed |= run.is_bingfa();
                None
            }
        }
    }

    /// Others used the machine during `first`: runs once more, and takes the quieter of the two, whatever it has measured.
    fn again(&mut self, run: &Run, first: Outcome, programs: &Programs) -> Result<Outcome, String> {
        let command = programs.command(run.contender)?;
        let second = execute::once(run, command, self.limit)?;
        // Where others are always busy, repeating helps nobody.
        self.patience = match second.outside_load > LOUD {
            true => self.patience - 1,
            false => PATIENCE,
        };
        Ok(if second.outside_load < first.outside_load {
            second
        } else {
            first
        })
    }

    fn remember(&mut self, contender: &'static str, what: String) {
        if !self.failures.iter().any(|(known, _)| *known == contender) {
            self.failures.push((contender, what));
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self
            .failures
            .iter()
            .map(|(name, why)| format!("{name}: {why}"))
            .collect();
        if !self.left_out.is_empty() {
            notes.push(format!(
                "the machine was too slow or too busy, and there was no time for: {}",
                self.left_out.join("; ")
            ));
        }
        let loud = self.outside_loads.iter().filter(|(load, _)| *load > LOUD);
        if let Some((load, name)) = loud.clone().max_by(|a, b| a.0.total_cmp(&b.0)) {
            notes.push(format!(
                "{} of {} runs had more than {LOUD} cores of load by other processes (at most {load:.2}, during {name}): do not believe their figures",
                loud.count(),
                self.outside_loads.len()
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group in which contender `i` has the figures of `rounds[i]`.
    fn cell_of(metric: Metric, contenders: &[(&'static str, &[f64])]) -> Row {
        let runs: Vec<Run> = contenders
            .iter()
            .map(|(name, _)| Run::new(name, "test", &[]))
            .collect();
        let results: Results = contenders
            .iter()
            .map(|(_, rounds)| {
                let figures = |&value: &f64| Figures::from([(metric.field.to_string(), value)]);
                // NaN stands for a failed run.
                rounds
                    .iter()
                    .map(|value| (!value.is_nan()).then(|| figures(value)))
                    .collect()
            })
            .collect();
        row(0, &Cell::of_all("cell", &runs, &[metric]), metric, &results)
    }

    #[test]
    fn ratios_are_those_of_pairs_and_not_of_medians() {
        let row = cell_of(
            Metric::lower("ns"),
            &[
                ("bingfa", &[10.0, 20.0, 30.0]),
                ("may", &[40.0, 20.0, 90.0]),
            ],
        );
        // 4, 1 and 3; the ratio of the medians would be 2.
        assert_eq!(row.ratio.unwrap().median, 3.0);
        assert_eq!(row.best_peer, Some("may"));
    }

    #[test]
    fn a_failed_round_spoils_its_pair_only() {
        let row = cell_of(
            Metric::higher("rate"),
            &[
                ("bingfa", &[10.0, f64::NAN, 30.0]),
                ("go", &[5.0, 1.0, 15.0]),
            ],
        );
        assert_eq!(row.ratio.unwrap().median, 2.0);
        assert_eq!(row.value("bingfa").unwrap().rounds[1], None);
    }

    #[test]
    fn floors_and_variants_are_no_peers() {
        let row = cell_of(
            Metric::lower("ns"),
            &[
                ("bingfa", &[10.0]),
                ("bingfa-fifo", &[1.0]),
                ("corosensei", &[2.0]),
                ("may", &[30.0]),
                ("go", &[40.0]),
            ],
        );
        assert_eq!(row.best_peer, Some("may"));
        assert_eq!(row.ratio.unwrap().median, 3.0);
    }

    #[test]
    fn without_bingfa_there_is_no_ratio() {
        let row = cell_of(Metric::lower("ns"), &[("may", &[3.0]), ("go", &[4.0])]);
        assert_eq!(row.best_peer, Some("may"));
        assert!(row.ratio.is_none());
    }

    #[test]
    fn a_wide_ratio_is_spoken_of_and_a_steady_one_is_not() {
        let wide = cell_of(
            Metric::lower("ns"),
            &[
                ("bingfa", &[10.0, 10.0, 10.0]),
                ("may", &[10.0, 20.0, 40.0]),
            ],
        );
        let steady = cell_of(
            Metric::lower("ns"),
            &[
                ("bingfa", &[10.0, 10.0, 10.0]),
                ("may", &[20.0, 20.5, 21.0]),
            ],
        );
        assert!(unsteady(&[steady], 3).is_none());
        assert!(unsteady(&[wide], 3).unwrap().contains("cell ns"));
    }

    #[test]
    fn what_there_is_no_time_for_is_left_out_and_named() {
        let runs = vec![Run::new("may", "test", &["total=7".to_string()])];
        let cells = vec![Cell::of_all("cell", &runs, &[Metric::lower("ns")])];
        let bench = Bench {
            name: "test",
            about: "",
            fair: "",
            rounds: Rounds {
                most: 1,
                budget: Duration::ZERO,
            },
            groups: vec![Group { runs, cells }],
            curves: vec![],
        };
        let measured = run(&bench, &Programs::default(), &mut Progress::new(1));
        assert!(measured.rows.is_empty() && !measured.bingfa_failed);
        let named = |note: &String| note.ends_with("no time for: may total=7");
        assert!(measured.notes.iter().any(named), "{:?}", measured.notes);
    }

    #[test]
    fn growth_joins_the_cells_of_a_curve() {
        let mut rows = Vec::new();
        for x in [1.0, 10.0, 100.0] {
            let mut row = cell_of(Metric::lower("cost"), &[("bingfa", &[x * x]), ("go", &[x])]);
            row.cell = format!("n={x}");
            rows.push(row);
        }
        let curve = Curve {
            axis: "n",
            metric: "cost",
            points: [1.0, 10.0, 100.0].map(|x| (x, format!("n={x}"))).into(),
        };
        let growth = growth(&curve, &rows);
        let exponents: Vec<_> = growth
            .lines
            .iter()
            .map(|line| (line.name, line.exponent.unwrap().round()))
            .collect();
        assert_eq!(exponents, [("bingfa", 2.0), ("go", 1.0)]);
    }

    #[test]
    fn common_words_need_not_be_first() {
        let cells = ["conns=1 io=uring", "conns=64 io=uring"];
        assert_eq!(common_words(cells.into_iter()), "io=uring");
    }
}
