//! P54: an editor that saves by itself. Three tasks work on one text: one takes in the keys,
//! one shows the text, one saves it. They are threads or coroutines, and the very same
//! functions.

mod keys;
mod save;
mod screen;
mod state;
mod tasks;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bingfa_examples::{Carrier, Scale, Task, exit};
use clap::Parser;

use save::Document;
use screen::Screen;
use state::{End, Shared};

/// An editor that saves by itself
///
/// Three tasks work on one text: one takes in the keys, one shows the text, one saves it every
/// few seconds. A save replaces the file at once: whatever happens, and be it SIGKILL or a
/// power cut, the file is a whole former text, at most one interval old.
///
/// Keys: arrows, Home, End, Page Up and Down, Backspace, Delete and Enter as everywhere;
/// Ctrl-U undoes, Ctrl-R redoes; Ctrl-S saves at once; Ctrl-Q saves and leaves (and again, if
/// that failed: leaves without). F12 makes a task panic: the text is saved all the same.
#[derive(Parser)]
struct Cli {
    /// The text, made if it is not there
    file: PathBuf,
    /// Seconds between two saves of a text that changes
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    every: f64,
    #[command(flatten)]
    scale: Scale,
    /// What runs the three tasks
    #[arg(long, default_value_t = Carrier::Thread)]
    carrier: Carrier,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected a number above 0 and at most 3600".into()),
    }
}

fn main() -> ExitCode {
    exit(edit(Cli::parse()))
}

fn edit(cli: Cli) -> io::Result<()> {
    let (document, text) = Document::open(&cli.file)?;
    let signal = tasks::Signal::catch()?;
    let shared = Arc::new(Shared::new(&cli.file, &text));
    let screen = Screen::enter()?;

    let saved = run(&cli, document, signal, &shared);

    drop(screen);
    saved?;
    match shared.end() {
        Some(End::Wanted) => Ok(()),
        Some(End::Signal(number)) => signal_hook::low_level::emulate_default_handler(number),
        Some(End::Failed(why)) => Err(io::Error::other(why)),
        None => unreachable!("nobody ends without a reason"),
    }
}

/// Runs the tasks until one of them says why to end and the text is saved.
fn run(
    cli: &Cli,
    document: Document,
    signal: tasks::Signal,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let interval = cli.scale.seconds(cli.every);
    // Nobody waits for these two: they may wait for a key, or a signal, that never comes.
    start(cli.carrier, "keys", shared, tasks::take_keys)?;
    start(cli.carrier, "signals", shared, move |shared| {
        signal.wait(shared)
    })?;
    let display = start(cli.carrier, "display", shared, tasks::display)?;
    let saver = start(cli.carrier, "save", shared, move |shared| {
        tasks::save(shared, &document, interval)
    })?;
    let saved = saver.join();
    shared.close();
    let _ = display.join(); // what went wrong there is why we end
    saved.unwrap_or_else(|_| Err(io::Error::other("the task that saves has panicked")))
}

/// Starts a task whose failure ends the program, once the text is saved.
fn start<T: Send + 'static>(
    carrier: Carrier,
    name: &'static str,
    shared: &Arc<Shared>,
    task: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
) -> io::Result<Task<io::Result<T>>> {
    let shared = shared.clone();
    carrier.spawn(name.into(), move || {
        let result = catch_unwind(AssertUnwindSafe(|| task(&shared)))
            .unwrap_or_else(|_| Err(io::Error::other("it has panicked")));
        if let Err(error) = &result {
            shared.ask_to_end(End::Failed(format!("task {name}: {error}")));
        }
        result
    })
}
