//! Rounds: each goes through the groups in random order, and in each group through the contenders in random order.

use crate::contenders::Programs;
use crate::execute::{self, Figures};
use crate::plan::{Bench, Better, Cell, Curve, Group, Metric, Role, role};
use crate::stats::{exponent, median, shuffle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Above this many cores of load by other processes a run is spoken of.
const LOUD: f64 = 0.25;

/// The figures of a bench.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) notes: Vec<String>,
    pub(crate) bingfa_failed: bool,
}

/// One metric of one cell.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) cell: String,
    pub(crate) metric: Metric,
    /// Medians, in the order of the plan.
    pub(crate) values: Vec<(&'static str, f64)>,
    pub(crate) best_peer: Option<&'static str>,
    /// How many times better bingfa is than the best peer: the median of the ratios of single rounds.
    pub(crate) ratio: Option<f64>,
}

/// How a metric grows with a number, per contender.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) axis: &'static str,
    pub(crate) metric: &'static str,
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

/// Runs all rounds of `bench`.
pub(crate) fn run(bench: &Bench, programs: &Programs) -> Measured {
    let mut measured = Measured {
        name: bench.name,
        about: bench.about,
        rounds: 0,
        rows: Vec::new(),
        growth: Vec::new(),
        notes: Vec::new(),
        bingfa_failed: false,
    };
    let mut results: Vec<Vec<Vec<Option<Figures>>>> = bench
        .groups
        .iter()
        .map(|group| vec![Vec::new(); group.runs.len()])
        .collect();
    let mut progress = Progress::new(bench);

    let start = Instant::now();
    let mut longest = Duration::ZERO;
    while measured.rounds < bench.rounds.most
        && (measured.rounds == 0 || start.elapsed() + longest <= bench.rounds.budget)
    {
        let begin = Instant::now();
        let mut order: Vec<usize> = (0..bench.groups.len()).collect();
        shuffle(&mut order);
        for index in order {
            let group = &bench.groups[index];
            let mut runs = group.needed();
            shuffle(&mut runs);
            for run in runs {
                let figures = progress.run(group, run, programs);
                measured.bingfa_failed |= figures.is_none() && group.runs[run].is_bingfa();
                results[index][run].push(figures);
            }
        }
        measured.rounds += 1;
        longest = longest.max(begin.elapsed());
    }

    for (group, results) in bench.groups.iter().zip(&results) {
        for cell in &group.cells {
            measured.rows.extend(
                cell.metrics
                    .iter()
                    .map(|&metric| row(cell, metric, results))
                    .filter(|row| !row.values.is_empty()),
            );
            for note in cell.notes.iter().filter(|note| {
                cell.entries
                    .iter()
                    .any(|(name, _)| note.split(':').next() == Some(name))
            }) {
                if !measured.notes.iter().any(|known| known == note) {
                    measured.notes.push(note.to_string());
                }
            }
        }
    }
    measured.growth = bench
        .curves
        .iter()
        .map(|curve| growth(curve, &measured.rows))
        .filter(|growth| !growth.lines.is_empty())
        .collect();
    let suspicions = measured.rows.iter().filter_map(suspicion);
    measured.notes.extend(suspicions.collect::<Vec<_>>());
    measured.notes.extend(progress.notes());
    measured
}

fn row(cell: &Cell, metric: Metric, results: &[Vec<Option<Figures>>]) -> Row {
    let by_round = |run: usize| -> Vec<Option<f64>> {
        results[run]
            .iter()
            .map(|figures| figures.as_ref()?.get(metric.field).copied())
            .collect()
    };
    let rounds: BTreeMap<&str, Vec<Option<f64>>> = cell
        .entries
        .iter()
        .map(|&(name, run)| (name, by_round(run)))
        .collect();
    let middle = |name: &str| median(rounds[name].iter().flatten().copied());
    let values: Vec<_> = cell
        .entries
        .iter()
        .map(|&(name, _)| (name, middle(name)))
        .filter(|(_, value)| !value.is_nan())
        .collect();

    let Some(better) = metric.better else {
        return Row {
            cell: cell.name.clone(),
            metric,
            values,
            best_peer: None,
            ratio: None,
        };
    };
    let peers = values.iter().filter(|(name, _)| role(name) == Role::Peer);
    let best_peer = match better {
        Better::Higher => peers.max_by(|a, b| a.1.total_cmp(&b.1)),
        Better::Lower => peers.min_by(|a, b| a.1.total_cmp(&b.1)),
    };
    let best_peer = best_peer.map(|&(name, _)| name);
    let ratio = best_peer
        .filter(|_| values.iter().any(|(name, _)| role(name) == Role::Subject))
        .map(|peer| {
            let pairs = rounds["bingfa"]
                .iter()
                .zip(&rounds[peer])
                .filter_map(|(bingfa, peer)| Some(((*bingfa)?, (*peer)?)));
            median(pairs.map(|(bingfa, peer)| {
                if better == Better::Higher {
                    bingfa / peer
                } else {
                    peer / bingfa
                }
            }))
        });
    Row {
        cell: cell.name.clone(),
        metric,
        values,
        best_peer,
        ratio: ratio.filter(|ratio| !ratio.is_nan()),
    }
}

fn growth(curve: &Curve, rows: &[Row]) -> Growth {
    let mut lines: Vec<Line> = Vec::new();
    for (x, cell) in &curve.points {
        let row = rows
            .iter()
            .find(|row| row.cell == *cell && row.metric.name == curve.metric);
        for &(name, value) in row.iter().flat_map(|row| &row.values) {
            let point = (*x, value);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name,
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
        lines,
    }
}

/// Which contenders' figures in this row's cell are to be doubted, and why.
fn suspicion(row: &Row) -> Option<String> {
    let (limit, why) = row.metric.suspect?;
    let above = row.values.iter().filter(|(_, value)| *value > limit);
    let names: Vec<_> = above.map(|&(name, _)| name).collect();
    (!names.is_empty()).then(|| format!("{} ({}): {why}", row.cell, names.join(", ")))
}

/// Says on standard error what runs, and remembers what went wrong.
struct Progress {
    bench: &'static str,
    total: usize,
    done: usize,
    start: Instant,
    failures: BTreeMap<&'static str, String>,
    loud: Vec<(f64, &'static str)>,
}

impl Progress {
    fn new(bench: &Bench) -> Self {
        let per_round: usize = bench.groups.iter().map(|group| group.needed().len()).sum();
        Self {
            bench: bench.name,
            total: per_round * bench.rounds.most,
            done: 0,
            start: Instant::now(),
            failures: BTreeMap::new(),
            loud: Vec::new(),
        }
    }

    fn run(&mut self, group: &Group, index: usize, programs: &Programs) -> Option<Figures> {
        let run = &group.runs[index];
        self.done += 1;
        let command = match programs.command(run.contender) {
            Ok(command) => command,
            Err(why) => {
                self.failures
                    .entry(run.contender)
                    .or_insert(format!("left out: {why}"));
                return None;
            }
        };
        let what = format!("{} {} {}", self.bench, run.contender, run.args.join(" "));
        let seconds = self.start.elapsed().as_secs();
        eprintln!("[{}/{} {seconds} s] {what}", self.done, self.total);
        match execute::once(run, command) {
            Ok(outcome) => {
                if outcome.outside_load > LOUD {
                    eprintln!("    other processes used {:.2} cores", outcome.outside_load);
                    self.loud.push((outcome.outside_load, run.contender));
                }
                Some(outcome.figures)
            }
            Err(error) => {
                eprintln!("    failed: {error}");
                self.failures
                    .entry(run.contender)
                    .or_insert(format!("failed at least once: {error}"));
                None
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self
            .failures
            .iter()
            .map(|(name, why)| format!("{name}: {why}"))
            .collect();
        if let Some((load, name)) = self.loud.iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
            notes.push(format!(
                "{} of {} runs had more than {LOUD} cores of load by other processes (at most {load:.2}, during {name})",
                self.loud.len(),
                self.done
            ));
        }
        notes
    }
}
