//! What a key means.

use ratatui_textarea::{Input, Key};
use termina::event::{KeyCode, KeyEvent, Modifiers};

/// What to do about a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Edit(Input),
    Save,
    Leave,
    Panic,
    Nothing,
}

pub(crate) fn command(event: KeyEvent) -> Command {
    let ctrl = event.modifiers.contains(Modifiers::CONTROL);
    match event.code {
        KeyCode::Char('s') if ctrl => Command::Save,
        KeyCode::Char('q') if ctrl => Command::Leave,
        KeyCode::Function(12) => Command::Panic,
        code => match key(code) {
            Some(key) => Command::Edit(Input {
                key,
                ctrl,
                alt: event.modifiers.contains(Modifiers::ALT),
                shift: event.modifiers.contains(Modifiers::SHIFT),
            }),
            None => Command::Nothing,
        },
    }
}

fn key(code: KeyCode) -> Option<Key> {
    Some(match code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Delete => Key::Delete,
        KeyCode::Tab => Key::Tab,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        _ => return None,
    })
}
