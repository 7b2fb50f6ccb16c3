//! The command line of the runner.

use crate::benches;
use crate::plan::Rounds;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cargo run --release --manifest-path bench/Cargo.toml -- NAME... | all [options]
       cargo run --release --manifest-path bench/Cargo.toml -- list [NAME...]

  --json             one JSON object per cell and metric on standard output, nothing else
  --quick            few and short runs: within a minute per name, for a first look
  --rounds N         how often each contender runs
  --peers a,b,c      only these peers (bingfa and floors always run)
  --cell SUBSTRING   only cells whose name contains this
  --without-bingfa   peers alone; the library is not built";

/// So much for each of some fifteen names, and `all` ends within 10 minutes, or within an hour.
const QUICK_BUDGET: Duration = Duration::from_secs(32);
const FULL_BUDGET: Duration = Duration::from_secs(200);

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    List(Options),
    Run(Options),
}

/// What to run, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) names: Vec<String>,
    pub(crate) json: bool,
    pub(crate) quick: bool,
    pub(crate) rounds: Option<usize>,
    pub(crate) peers: Option<Vec<String>>,
    pub(crate) cell: Option<String>,
    pub(crate) without_bingfa: bool,
}

fn known_names() -> String {
    let names: Vec<_> = benches::names().collect();
    format!("{}, all", names.join(", "))
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Command, String> {
        let mut options = Self::default();
        let mut list = false;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .cloned()
                    .ok_or_else(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                "list" => list = true,
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--without-bingfa" => options.without_bingfa = true,
                "--cell" => options.cell = Some(value()?),
                "--peers" => {
                    options.peers = Some(value()?.split(',').map(str::to_string).collect())
                }
                "--rounds" => {
                    let text = value()?;
                    let rounds = text.parse().ok().filter(|&rounds| rounds > 0);
                    options.rounds = Some(
                        rounds.ok_or_else(|| format!("--rounds {text}: not a number above 0"))?,
                    );
                }
                "all" => options.names.extend(benches::names().map(str::to_string)),
                name if benches::names().any(|known| known == name) => {
                    options.names.push(name.to_string())
                }
                other => {
                    return Err(format!(
                        "{other:?} is neither an option nor a bench ({})",
                        known_names()
                    ));
                }
            }
        }
        if list {
            if options.names.is_empty() {
                options.names = benches::names().map(str::to_string).collect();
            }
            return Ok(Command::List(options));
        }
        if options.names.is_empty() {
            return Err(format!("which bench? ({})", known_names()));
        }
        Ok(Command::Run(options))
    }

    /// At most `full` rounds, or `quick` ones with `--quick`, in the usual time; `--rounds` overrides both.
    pub(crate) fn rounds(&self, full: usize, quick: usize) -> Rounds {
        self.rounds_within(full, quick, FULL_BUDGET)
    }

    /// The same, with a time budget of its own for the full run.
    pub(crate) fn rounds_within(&self, full: usize, quick: usize, budget: Duration) -> Rounds {
        Rounds {
            most: self.rounds.unwrap_or(if self.quick { quick } else { full }),
            budget: match (self.rounds, self.quick) {
                (Some(_), _) => Duration::MAX,
                (None, true) => QUICK_BUDGET,
                (None, false) => budget,
            },
        }
    }
}
