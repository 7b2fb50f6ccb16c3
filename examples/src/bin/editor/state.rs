//! What the tasks share: the text, and what is to be said about it.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bingfa::sync::{Condvar, Mutex, MutexGuard};
use ratatui::style::Style;
use ratatui_textarea::{Input, TextArea};

/// Why the editor ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Wanted,
    Signal(i32),
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something has happened that the display or the saver wants to know.
    changed: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) area: TextArea<'static>,
    pub(crate) name: String,
    /// Goes up with every change of the text.
    revision: u64,
    saved_revision: u64,
    saved_at: Option<Instant>,
    /// Why the last save failed.
    pub(crate) trouble: Option<String>,
    /// Goes up with everything that is to be shown.
    ticks: u64,
    save_now: bool,
    end: Option<End>,
    /// The text is saved, and nothing more is to be done.
    closed: bool,
}

/// What the saver is to do.
pub(crate) struct Order {
    pub(crate) text: String,
    revision: u64,
}

impl Shared {
    pub(crate) fn new(path: &Path, text: &str) -> Shared {
        let mut area = TextArea::from(text.split('\n'));
        area.set_cursor_line_style(Style::default());
        Shared {
            state: Mutex::new(State {
                area,
                name: path.display().to_string(),
                revision: 0,
                saved_revision: 0,
                saved_at: None,
                trouble: None,
                ticks: 0,
                save_now: false,
                end: None,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// The text of a task that has panicked is still worth saving.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.ticks += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// A key that edits or moves.
    pub(crate) fn input(&self, input: Input) {
        self.change(|state| {
            if state.area.input(input) {
                state.revision += 1;
            }
        });
    }

    pub(crate) fn paste(&self, text: &str) {
        self.change(|state| {
            // What terminals send for the end of a line.
            if state
                .area
                .insert_str(text.replace("\r\n", "\n").replace('\r', "\n"))
            {
                state.revision += 1;
            }
        });
    }

    pub(crate) fn save_now(&self) {
        self.change(|state| state.save_now = true);
    }

    /// The first reason counts, unless a stronger one than a wish comes.
    pub(crate) fn ask_to_end(&self, end: End) {
        self.change(|state| {
            if matches!(state.end, None | Some(End::Wanted)) {
                state.end = Some(end);
            }
        });
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.lock().end.clone()
    }

    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Waits until there is something new to show since `seen`, or `limit` is over; false
    /// when nothing more is to be shown.
    pub(crate) fn wait_for_news(&self, seen: &mut u64, limit: Duration) -> bool {
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, limit, |state| state.ticks == *seen && !state.closed);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *seen = state.ticks;
        !state.closed
    }

    /// Looks at the text.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until the text is to be saved: at the latest after `interval`. `None` if it has
    /// not changed.
    pub(crate) fn wait_for_order(&self, interval: Duration) -> Option<Order> {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, interval, |state| {
            !state.save_now && state.end.is_none()
        });
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.save_now = false;
        (state.revision != state.saved_revision).then(|| Order {
            text: state.area.lines().join("\n"),
            revision: state.revision,
        })
    }

    pub(crate) fn saved(&self, order: &Order) {
        self.change(|state| {
            state.saved_revision = order.revision;
            state.saved_at = Some(Instant::now());
            state.trouble = None;
        });
    }

    pub(crate) fn not_saved(&self, why: String) {
        self.change(|state| state.trouble = Some(why));
    }

    /// Whether the saver's work is over: an end was asked for, and all is saved.
    pub(crate) fn may_close(&self) -> bool {
        let state = self.lock();
        state.end.is_some() && state.revision == state.saved_revision
    }

    /// A save has failed although the editor is to end. True if it ends all the same; a user
    /// may stay and help.
    pub(crate) fn ends_without_saving(&self, asked_before: &mut bool) -> bool {
        let mut state = self.lock();
        if !matches!(state.end, Some(End::Wanted)) {
            return state.end.is_some();
        }
        if std::mem::replace(asked_before, true) {
            return true;
        }
        state.end = None;
        false
    }
}

impl State {
    pub(crate) fn has_unsaved_changes(&self) -> bool {
        self.revision != self.saved_revision
    }

    /// How long ago the text was saved.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.saved_at.map(|at| at.elapsed())
    }
}
