//! The tasks. Each waits by `bingfa`'s calls alone, so it may be a thread or a coroutine.

use std::io::{self, BufWriter, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bingfa::fs::File;
use bingfa::os::unix::net::UnixStream;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style};
use ratatui::text::Line;
use ratatui::{Frame, Terminal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use termina::{Event, Parser};

use crate::keys::{Command, command};
use crate::save::Document;
use crate::state::{End, Shared, State};

/// A second descriptor of what one of the standard streams is.
fn own(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// Takes in what is typed.
pub(crate) fn take_keys(shared: &Shared) -> io::Result<()> {
    let mut terminal = own(io::stdin())?;
    let mut parser = Parser::default();
    let mut buffer = [0; 4096];
    loop {
        let n = match terminal.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the terminal is gone")),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // A full buffer may end in the middle of what a key has sent.
        parser.parse(&buffer[..n], n == buffer.len());
        while let Some(event) = parser.pop() {
            match event {
                Event::Paste(text) => shared.paste(&text),
                Event::Key(key) => match command(key) {
                    Command::Edit(input) => shared.input(input),
                    Command::Save => shared.save_now(),
                    Command::Leave => shared.ask_to_end(End::Wanted),
                    Command::Panic => panic!("F12 was pressed"),
                    Command::Nothing => {}
                },
                _ => {}
            }
        }
    }
}

/// Shows the text and what is to be said about it.
pub(crate) fn display(shared: &Shared) -> io::Result<()> {
    /// Ages are shown in seconds, and a window may have got another size.
    const TICK: Duration = Duration::from_millis(500);

    let terminal = BufWriter::with_capacity(64 << 10, own(io::stdout())?);
    let mut terminal = Terminal::new(CrosstermBackend::new(terminal))?;
    let mut seen = 0;
    loop {
        // The lock is not held while the terminal takes in what was drawn.
        terminal.draw(|frame| shared.look(|state| draw(state, frame)))?;
        if !shared.wait_for_news(&mut seen, TICK) {
            return Ok(());
        }
    }
}

fn draw(state: &State, frame: &mut Frame<'_>) {
    let rows = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).split(frame.area());
    frame.render_widget(&state.area, rows[0]);
    let (color, what) = match (&state.trouble, state.has_unsaved_changes(), state.age()) {
        (Some(why), _, _) => (Color::Red, format!("NOT SAVED: {why} (trying again)")),
        (None, true, None) => (Color::Yellow, "unsaved changes, never saved".into()),
        (None, true, Some(age)) => {
            let age = age.as_secs();
            (Color::Yellow, format!("unsaved changes, saved {age} s ago"))
        }
        (None, false, None) => (Color::Green, "no changes".into()),
        (None, false, Some(age)) => (Color::Green, format!("all saved, {} s ago", age.as_secs())),
    };
    let cursor = state.area.cursor();
    let text = format!(
        " {what} | {}:{} | {} | Ctrl-Q leaves",
        cursor.0 + 1,
        cursor.1 + 1,
        state.name
    );
    let line = Line::from(text).style(Style::default().fg(Color::Black).bg(color));
    frame.render_widget(line, rows[1]);
}

/// Saves the text: every `interval` if it has changed, when asked to, and at the end.
pub(crate) fn save(shared: &Shared, document: &Document, interval: Duration) -> io::Result<()> {
    let mut asked_to_leave = false;
    loop {
        if let Some(order) = shared.wait_for_order(interval) {
            match document.save(&order.text) {
                Ok(()) => {
                    shared.saved(&order);
                    asked_to_leave = false;
                }
                Err(error) => {
                    shared.not_saved(error.to_string());
                    if shared.ends_without_saving(&mut asked_to_leave) {
                        let message = format!("the last text is not saved: {error}");
                        return Err(io::Error::other(message));
                    }
                }
            }
        }
        if shared.may_close() {
            return Ok(());
        }
    }
}

/// The signals that ask a program to end.
#[derive(Debug)]
pub(crate) struct Signal {
    came: UnixStream,
    number: Arc<AtomicUsize>,
}

impl Signal {
    /// Catches them from now on.
    pub(crate) fn catch() -> io::Result<Signal> {
        let (came, comes) = StdStream::pair()?;
        let number = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] {
            // The number is there before the byte that tells of it.
            signal_hook::flag::register_usize(signal, number.clone(), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, comes.try_clone()?)?;
        }
        Ok(Signal {
            came: came.into(),
            number,
        })
    }

    /// Waits for one.
    pub(crate) fn wait(mut self, shared: &Shared) -> io::Result<()> {
        self.came.read_exact(&mut [0])?;
        shared.ask_to_end(End::Signal(self.number.load(SeqCst) as i32));
        Ok(())
    }
}
