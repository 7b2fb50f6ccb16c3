//! Progress on standard error: a bar on a terminal, a line per run elsewhere.

use crate::plan::Bench;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Instant;

/// How far the benches have come.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    bench: &'static str,
    /// Benches begun, and how many there are.
    begun: usize,
    benches: usize,
    start: Instant,
}

impl Progress {
    pub(crate) fn new(benches: usize) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            bench: "",
            begun: 0,
            benches,
            start: Instant::now(),
        }
    }

    /// The rounds of `bench` begin.
    pub(crate) fn begin(&mut self, bench: &Bench) {
        self.begun += 1;
        self.bench = bench.name;
        let per_round: usize = bench.groups.iter().map(|group| group.needed().len()).sum();
        self.bar = ProgressBar::new((per_round * bench.rounds.most) as u64);
        let style = "{prefix:>14} {bar:32.cyan/dim} {pos}/{len} runs, {elapsed}  {msg}";
        self.bar.set_style(
            ProgressStyle::with_template(style).expect("the template names only known fields"),
        );
        self.bar
            .set_prefix(format!("{} {}/{}", bench.name, self.begun, self.benches));
    }

    /// A run begins.
    pub(crate) fn step(&self, contender: &str, what: &str) {
        self.bar.inc(1);
        self.bar.set_message(format!("{contender} {what}"));
        if self.bar.is_hidden() && !contender.is_empty() {
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let seconds = self.start.elapsed().as_secs();
            eprintln!(
                "[{done}/{total} {seconds} s] {} {contender} {what}",
                self.bench
            );
        }
    }

    /// Something that is to stay on the screen.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("bench: {text}"));
    }

    /// The rounds of this bench have ended.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
