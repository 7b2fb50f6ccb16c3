//! `bench`: runs bingfa and its peers side by side, each in a process of its own, and prints medians and ratios.
//!
//! See `bench/README.md` for the method. A file of `benches/` says which contenders and cells a bench has.

mod benches;
mod contenders;
mod execute;
mod load;
mod measure;
mod options;
mod plan;
mod report;
mod stats;

use options::{Command, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == load::SUBCOMMAND) {
        return load::main();
    }
    match Options::parse(&words) {
        Ok(Command::List(options)) => {
            print!("{}", report::list(&benches::chosen(&options)));
            ExitCode::SUCCESS
        }
        Ok(Command::Run(options)) => match run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("bench: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("bench: {error}\n{}", options::USAGE);
            ExitCode::from(2)
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
    let mut well = true;
    for bench in &chosen {
        let measured = measure::run(bench, &programs);
        well &= !measured.bingfa_failed;
        if options.json {
            print!("{}", report::json(&measured));
        } else {
            print!("{}", report::table(&measured));
        }
    }
    Ok(well)
}
