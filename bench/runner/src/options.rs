//! The command line of the runner.

use crate::benches;
use crate::plan::Rounds;
use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "\
usage: cargo run --release --manifest-path bench/Cargo.toml -- NAME... | all [options]
       cargo run --release --manifest-path bench/Cargo.toml -- list [NAME...]
       cargo run --release --manifest-path bench/Cargo.toml -- guard [--write]
       cargo run --release --manifest-path bench/Cargo.toml -- compare A/results.json B/results.json

  guard              counts instructions of single operations and compares them with bench/guard.json
  compare            names the ratios of two runs that differ by more than 15 %, and why that may be

  --json             one JSON object per cell and metric on standard output, nothing else
  --quick            few and short runs: within a minute per name, for a first look
  --out DIR          also writes DIR/index.html (a report with a chart per name), DIR/NAME.svg, DIR/results.json
  --rounds N         how often each contender runs
  --peers a,b,c      only these peers (bingfa and floors always run)
  --cell SUBSTRING   only cells whose name contains this
  --without-bingfa   peers alone; the library is not built
  -h, --help         this";

/// For everything that was asked for, beginning after the build.
const QUICK_LIMIT: Duration = Duration::from_secs(10 * 60);
const FULL_LIMIT: Duration = Duration::from_secs(60 * 60);

/// For one name, if the bench has no budget of its own.
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
    pub(crate) out: Option<PathBuf>,
    pub(crate) rounds: Option<usize>,
    pub(crate) peers: Option<Vec<String>>,
    pub(crate) cell: Option<String>,
    pub(crate) without_bingfa: bool,
}

/// Whether any of these words asks how to call the program.
pub(crate) fn ask_for_help(words: &[String]) -> bool {
    words.iter().any(|word| word == "--help" || word == "-h")
}

/// How to call the program, and the names that it knows.
pub(crate) fn usage() -> String {
    format!("{USAGE}\n\nNAME: {}", known_names())
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
                "--out" => options.out = Some(value()?.into()),
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

    /// When all of it has to be done.
    pub(crate) fn limit(&self) -> Duration {
        match (self.rounds, self.quick) {
            (Some(_), _) => Duration::MAX,
            (None, true) => QUICK_LIMIT,
            (None, false) => FULL_LIMIT,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Options::parse(&words)
    }

    #[test]
    fn all_means_every_name() {
        let Ok(Command::Run(options)) = parse("all --quick --out report") else {
            panic!("not understood");
        };
        assert_eq!(options.names.len(), benches::names().count());
        assert!(options.quick);
        assert_eq!(options.out, Some(PathBuf::from("report")));
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert!(parse("swich").unwrap_err().contains("swich"));
        assert!(parse("switch --rounds 0").is_err());
        assert!(parse("switch --out").unwrap_err().contains("--out"));
        assert!(parse("--quick").unwrap_err().contains("which bench"));
    }

    #[test]
    fn rounds_that_were_asked_for_have_no_budget() {
        let Ok(Command::Run(options)) = parse("switch --rounds 40 --quick") else {
            panic!("not understood");
        };
        let rounds = options.rounds(7, 1);
        assert_eq!((rounds.most, rounds.budget), (40, Duration::MAX));
    }
}
