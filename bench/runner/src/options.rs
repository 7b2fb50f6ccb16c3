//! The command line of the runner.

use crate::benches;

pub(crate) const USAGE: &str = "\
usage: cargo run --release --manifest-path bench/Cargo.toml -- NAME... [options]
       cargo run --release --manifest-path bench/Cargo.toml -- list

  --json             one JSON object per cell and metric on standard output, nothing else
  --quick            few and short runs: within a minute per name, for a first look
  --rounds N         how often each contender runs
  --peers a,b,c      only these peers (bingfa and floors always run)
  --cell SUBSTRING   only cells whose name contains this
  --without-bingfa   peers alone; the library is not built";

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    List,
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

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Command, String> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .cloned()
                    .ok_or_else(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                "list" => return Ok(Command::List),
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
                name if benches::NAMES.contains(&name) => options.names.push(name.to_string()),
                other => {
                    return Err(format!(
                        "{other:?} is neither an option nor a bench ({})",
                        benches::NAMES.join(", ")
                    ));
                }
            }
        }
        if options.names.is_empty() {
            return Err(format!("which bench? ({})", benches::NAMES.join(", ")));
        }
        Ok(Command::Run(options))
    }

    /// `full` rounds, or `quick` ones with `--quick`, unless `--rounds` says otherwise.
    pub(crate) fn rounds(&self, full: usize, quick: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { quick } else { full })
    }
}
