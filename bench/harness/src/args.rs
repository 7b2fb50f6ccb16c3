//! The command line of a contender: `CONTENDER BENCH key=value ...`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// A contender's command line, taken apart.
#[derive(Debug)]
pub struct Args {
    /// Who runs, for example `tokio`.
    pub contender: String,
    /// What is measured, for example `switch`.
    pub bench: String,
    values: BTreeMap<String, String>,
}

impl Args {
    /// Reads the arguments of this process.
    ///
    /// # Panics
    /// If they do not have the form above: only the runner writes them.
    pub fn from_env() -> Self {
        let mut words = std::env::args().skip(1);
        let (Some(contender), Some(bench)) = (words.next(), words.next()) else {
            panic!("usage: CONTENDER BENCH key=value ... (started by the bench runner)");
        };
        let values = words
            .map(|word| match word.split_once('=') {
                Some((key, value)) => (key.to_string(), value.to_string()),
                None => panic!("argument {word:?} is not of the form key=value"),
            })
            .collect();
        Self {
            contender,
            bench,
            values,
        }
    }

    /// The text of an argument, if it was given.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A number that the bench needs.
    ///
    /// # Panics
    /// If it is missing or no such number.
    pub fn number<T: FromStr>(&self, key: &str) -> T {
        let text = self
            .text(key)
            .unwrap_or_else(|| panic!("{} needs {key}=NUMBER", self.bench));
        text.parse()
            .unwrap_or_else(|_| panic!("{key}={text} is not a number"))
    }

    /// Ends the process: this contender has no such bench.
    pub fn unknown(&self) -> ! {
        panic!("contender {} has no bench {}", self.contender, self.bench)
    }
}
