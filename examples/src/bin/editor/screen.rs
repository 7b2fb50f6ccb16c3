//! The terminal: taken over, and given back whatever happens.

use std::fs::File;
use std::io::{self, IsTerminal, Seek, Write, stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::stdio::dup2_stderr;

/// The terminal is ours; its drop gives it back.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Where standard error leads meanwhile: panics and other messages would spoil the
    /// screen, and would be gone with it.
    messages: File,
    /// Where it led before.
    stderr: OwnedFd,
}

impl Screen {
    /// Takes the terminal over. What is written to standard error appears when it is given
    /// back.
    ///
    /// # Errors
    /// If there is no terminal.
    pub(crate) fn enter() -> io::Result<Screen> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Err(io::Error::other(
                "standard input and output are not both a terminal: start the editor in one",
            ));
        }
        let screen = Screen {
            messages: memfd_create("stderr", MemfdFlags::CLOEXEC)?.into(),
            stderr: stderr().as_fd().try_clone_to_owned()?,
        };
        dup2_stderr(&screen.messages)?;
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
        Ok(screen)
    }

    fn show_messages(&mut self) -> io::Result<()> {
        dup2_stderr(&self.stderr)?;
        self.messages.rewind()?;
        io::copy(&mut self.messages, &mut stderr())?;
        stderr().flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // What fails, fails because the terminal is gone: there is nobody to tell.
        let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        let _ = self.show_messages();
    }
}
