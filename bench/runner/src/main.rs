//! `bench`: runs bingfa and its peers side by side, each in a process of its own, and prints medians and ratios.
//!
//! See `bench/README.md` for the method. A file of `benches/` says which contenders and cells a bench has.

mod benches;
mod compare;
mod contenders;
mod execute;
mod guard;
mod headroom;
mod load;
mod measure;
mod options;
mod plan;
mod progress;
mod report;
mod stats;
mod system;

use options::{Command, Options};
use plan::Bench;
use progress::Progress;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use system::System;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == load::SUBCOMMAND) {
        return load::main();
    }
    if options::ask_for_help(&words) {
        println!("{}", options::usage());
        return ExitCode::SUCCESS;
    }
    if words.first().is_some_and(|word| word == guard::SUBCOMMAND) {
        return exit(guard::main(&words[1..]));
    }
    if words
        .first()
        .is_some_and(|word| word == compare::SUBCOMMAND)
    {
        return exit(compare::main(&words[1..]));
    }
    match Options::parse(&words) {
        Ok(Command::List(options)) => {
            print!("{}", report::list(&benches::chosen(&options)));
            ExitCode::SUCCESS
        }
        Ok(Command::Run(options)) => exit(run(&options)),
        Err(error) => {
            eprintln!("bench: {error}\n{}", options::usage());
            ExitCode::from(2)
        }
    }
}

fn exit(well: Result<bool, String>) -> ExitCode {
    match well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the chosen benches. `false` if a run of bingfa failed.
fn run(options: &Options) -> Result<bool, String> {
    execute::check_machine()?;
    let mut chosen = benches::chosen(options);
    for bench in &mut chosen {
        bench.keep(options)?;
    }
    let programs = contenders::build(&chosen)?;
    let system = System::look(&programs);
    let mut progress = Progress::new(chosen.len());
    let mut all = Vec::new();
    let (start, limit) = (Instant::now(), options.limit());
    let estimate: Duration = chosen.iter().map(Bench::estimate).sum();
    eprintln!(
        "bench: about {} if nothing disturbs it",
        minutes(estimate.min(limit))
    );
    for index in 0..chosen.len() {
        // What the rest needs for a round each is theirs.
        let rest: Duration = chosen[index + 1..].iter().map(Bench::round).sum();
        let left = limit.saturating_sub(start.elapsed() + rest);
        let bench = &mut chosen[index];
        bench.rounds.budget = bench.rounds.budget.min(left);
        let measured = measure::run(bench, &programs, &mut progress);
        if options.json {
            for note in &measured.notes {
                eprintln!("bench: {}: {note}", measured.name);
            }
            print!("{}", report::json(&measured));
        } else {
            print!("{}", report::table(&measured));
        }
        all.push(measured);
        // After each of them: what has been measured is not lost if the rest is interrupted.
        if let Some(directory) = &options.out {
            report::write(directory, &all, &system, &command_line())?;
        }
    }
    eprintln!("bench: it took {}", minutes(start.elapsed()));
    if let Some(directory) = &options.out {
        eprintln!(
            "bench: the report is {}",
            directory.join("index.html").display()
        );
    }
    Ok(!all.iter().any(|measured| measured.bingfa_failed))
}

/// A length of time as one says it.
fn minutes(length: Duration) -> String {
    let seconds = length.as_secs();
    format!("{} min {} s", seconds / 60, seconds % 60)
}

/// The command that repeats this run.
fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "cargo run --release --manifest-path bench/Cargo.toml -- {}",
        words.join(" ")
    )
}
