//! How a contender speaks: lines of JSON on standard output.

use crate::Memory;
use std::io::{Read, Write};

/// The figures of one run, printed as one line of JSON.
#[derive(Debug, Default)]
pub struct Figures(Vec<(String, f64)>);

impl Figures {
    /// No figures yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a figure.
    pub fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        self.0.push((name.into(), value));
        self
    }

    /// Adds what `count` parked tasks have added to `before`.
    pub fn with_memory_per_task(self, before: Memory, count: usize) -> Self {
        let now = Memory::now();
        self.with(
            "bytes_per_task",
            (now.resident - before.resident) / count as f64,
        )
        .with(
            "page_table_bytes_per_task",
            (now.page_tables - before.page_tables) / count as f64,
        )
        .with("tasks", count as f64)
    }

    /// Prints the line.
    pub fn print(&self) {
        let fields: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        print_line(&format!("{{{}}}", fields.join(", ")));
    }
}

/// Says on which port this contender serves, and starts a thread that ends the process when standard input ends.
/// `at_end` gives the figures to print then.
pub fn serve_until_stdin_ends(port: u16, at_end: impl FnOnce() -> Figures + Send + 'static) {
    std::thread::spawn(move || {
        let mut ignored = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut ignored);
        at_end().print();
        std::process::exit(0);
    });
    print_line(&format!("{{\"port\": {port}}}"));
}

fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    // A runner that has gone away wants no figures: nothing is left to do.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
