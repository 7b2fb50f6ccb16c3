//! What a bench consists of: groups of runs that are compared, and the cells that are read off them.

use crate::options::Options;
use std::time::Duration;

/// Contenders that are limits, not peers.
const FLOORS: &[&str] = &[
    "corosensei",
    "page-touch",
    "page-touch-1",
    "epoll-loop",
    "epoll-loop-buffers",
    "fork",
    "pipe",
    "socket-echo",
];

/// Contenders written in Python.
const PYTHONS: &[&str] = &["python", "uvloop", "gevent", "futures"];

/// One name of the command line.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    /// What is measured.
    pub(crate) about: &'static str,
    /// Why the comparison is fair, and where it is not quite.
    pub(crate) fair: &'static str,
    pub(crate) rounds: Rounds,
    pub(crate) groups: Vec<Group>,
    /// How cost grows over some of the cells.
    pub(crate) curves: Vec<Curve>,
}

/// How often the contenders run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    pub(crate) most: usize,
    /// No further round is begun that would probably not end within this time.
    pub(crate) budget: Duration,
}

impl Rounds {
    /// After this time no run is begun, not even in the first round.
    pub(crate) fn end(&self) -> Duration {
        self.budget.saturating_mul(3) / 2
    }
}

/// A metric over cells that differ in one number.
#[derive(Debug)]
pub(crate) struct Curve {
    /// What the number counts, for example `connections`.
    pub(crate) axis: &'static str,
    /// The name of the metric.
    pub(crate) metric: &'static str,
    /// The number, and the cell measured with it.
    pub(crate) points: Vec<(f64, String)>,
}

/// Runs that are interleaved with each other, since their figures are compared.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) runs: Vec<Run>,
    pub(crate) cells: Vec<Cell>,
}

/// One process (and, if it serves, its load) whose figures are taken once per round.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) contender: &'static str,
    pub(crate) bench: &'static str,
    pub(crate) args: Vec<String>,
    pub(crate) workers: usize,
    pub(crate) cores: Vec<usize>,
    pub(crate) load: Option<Load>,
    /// Seconds from start to end on a quiet machine, roughly: for the estimate.
    pub(crate) expected: f64,
}

/// The load that a serving contender is put under.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// So many connections, each with one request in flight.
    Closed {
        connections: usize,
        warmup: f64,
        seconds: f64,
    },
    /// Connections with a request each 10 ms beside connections that always have data in flight.
    Fair {
        paced: usize,
        busy: usize,
        warmup: f64,
        seconds: f64,
    },
}

/// One row of the results.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) metrics: Vec<Metric>,
    /// Under which name which run of the group appears.
    pub(crate) entries: Vec<(&'static str, usize)>,
    pub(crate) notes: Vec<&'static str>,
}

/// A figure of a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// The field of a run's figures that holds it.
    pub(crate) field: &'static str,
    /// `None`: no measure of quality, shown in the table only.
    pub(crate) better: Option<Better>,
    /// Above this value the cell's figures are not what they seem, and why.
    pub(crate) suspect: Option<(f64, &'static str)>,
}

/// Which of two figures is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What a contender is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// `bingfa` itself: the ratio is about it.
    Subject,
    /// Another setting of bingfa: shown, but no peer.
    Variant,
    Peer,
    Floor,
}

/// Which program a contender is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    Bingfa,
    Peers,
    Go,
    Python,
}

/// The program that a name is a part of.
pub(crate) fn program(name: &str) -> Program {
    match role(name) {
        Role::Subject | Role::Variant => Program::Bingfa,
        _ if name == "go" => Program::Go,
        _ if PYTHONS.contains(&name) => Program::Python,
        _ => Program::Peers,
    }
}

/// The role that a name has.
pub(crate) fn role(name: &str) -> Role {
    match name {
        "bingfa" => Role::Subject,
        name if name.starts_with("bingfa-") => Role::Variant,
        name if FLOORS.contains(&name) => Role::Floor,
        _ => Role::Peer,
    }
}

impl Metric {
    pub(crate) const fn lower(name: &'static str) -> Self {
        Self {
            name,
            field: name,
            better: Some(Better::Lower),
            suspect: None,
        }
    }

    pub(crate) const fn higher(name: &'static str) -> Self {
        Self {
            name,
            field: name,
            better: Some(Better::Higher),
            suspect: None,
        }
    }

    pub(crate) const fn shown(name: &'static str) -> Self {
        Self {
            name,
            field: name,
            better: None,
            suspect: None,
        }
    }

    /// The same metric, with a note when a contender's value is above `limit`.
    pub(crate) const fn suspect_above(self, limit: f64, why: &'static str) -> Self {
        Self {
            suspect: Some((limit, why)),
            ..self
        }
    }

    /// The same metric, read from another field.
    pub(crate) const fn of(self, field: &'static str) -> Self {
        Self { field, ..self }
    }
}

impl Run {
    pub(crate) fn new(contender: &'static str, bench: &'static str, args: &[String]) -> Self {
        Self {
            contender,
            bench,
            args: args.to_vec(),
            workers: 1,
            cores: vec![0],
            load: None,
            expected: 1.0,
        }
    }

    /// Expected to be done after so many seconds.
    pub(crate) fn taking(self, expected: f64) -> Self {
        Self { expected, ..self }
    }

    /// For a contender that is given `seconds` to fill: what it does to warm up and to find out how much to do takes
    /// about as long again.
    pub(crate) fn filling(self, seconds: f64) -> Self {
        self.taking(2.0 * seconds + 0.1)
    }

    /// Two workers on two cores.
    pub(crate) fn on_both_cores(mut self) -> Self {
        self.workers = 2;
        self.cores = vec![0, 1];
        self
    }

    pub(crate) fn under(mut self, load: Load) -> Self {
        let (connections, seconds) = match load {
            Load::Closed {
                connections,
                warmup,
                seconds,
            } => (connections, warmup + seconds),
            Load::Fair {
                paced,
                busy,
                warmup,
                seconds,
            } => (paced + busy, warmup + seconds),
        };
        self.load = Some(load);
        self.taking(seconds + 0.2 + connections as f64 * 1e-4)
    }

    pub(crate) fn is_bingfa(&self) -> bool {
        matches!(role(self.contender), Role::Subject | Role::Variant)
    }
}

impl Cell {
    /// A cell in which every run of the group appears under its contender's name.
    pub(crate) fn of_all(name: impl Into<String>, runs: &[Run], metrics: &[Metric]) -> Self {
        let entries = runs
            .iter()
            .enumerate()
            .map(|(index, run)| (run.contender, index))
            .collect();
        Self {
            name: name.into(),
            metrics: metrics.to_vec(),
            entries,
            notes: Vec::new(),
        }
    }
}

impl Bench {
    /// About how long one round takes.
    pub(crate) fn round(&self) -> Duration {
        let runs = self.groups.iter().flat_map(|group| {
            let needed = group.needed();
            needed.into_iter().map(|run| group.runs[run].expected)
        });
        Duration::from_secs_f64(runs.sum())
    }

    /// About how long it takes: as many rounds as end within the budget, and one in any case.
    pub(crate) fn estimate(&self) -> Duration {
        let round = self.round();
        let fit = self.rounds.budget.as_secs_f64() / round.as_secs_f64().max(1e-3);
        round * (fit as u32).clamp(1, self.rounds.most as u32)
    }
    /// Every contender that takes part.
    pub(crate) fn contenders(&self) -> impl Iterator<Item = &'static str> {
        self.groups.iter().flat_map(|group| {
            let needed = group.needed();
            needed.into_iter().map(|run| group.runs[run].contender)
        })
    }

    /// Drops the cells and contenders that were not asked for.
    pub(crate) fn keep(&mut self, options: &Options) -> Result<(), String> {
        if let Some(part) = &options.cell {
            for group in &mut self.groups {
                group.cells.retain(|cell| cell.name.contains(part.as_str()));
            }
            self.groups.retain(|group| !group.cells.is_empty());
            if self.groups.is_empty() {
                return Err(format!(
                    "{}: no cell has {part:?} in its name; `list` shows the cells",
                    self.name
                ));
            }
        }
        for group in &mut self.groups {
            let wanted = |run: &Run| match role(run.contender) {
                Role::Subject | Role::Variant => !options.without_bingfa,
                Role::Floor => true,
                Role::Peer => options
                    .peers
                    .as_ref()
                    .is_none_or(|peers| peers.iter().any(|name| name == run.contender)),
            };
            let runs = &group.runs;
            for cell in &mut group.cells {
                cell.entries.retain(|&(_, run)| wanted(&runs[run]));
            }
        }
        Ok(())
    }
}

impl Group {
    /// The runs that some cell shows.
    pub(crate) fn needed(&self) -> Vec<usize> {
        let shown = |index: &usize| {
            self.cells
                .iter()
                .any(|cell| cell.entries.iter().any(|(_, run)| run == index))
        };
        (0..self.runs.len()).filter(shown).collect()
    }
}
