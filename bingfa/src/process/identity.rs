//! Who this process is: the first one, or a child of another.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a child knows of itself and its parent.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) daemon: bool,
    /// Name and pid, in a child of ours.
    pub(super) parent: Option<(String, i32)>,
}

static SELF: OnceLock<Identity> = OnceLock::new();

/// The identity of this process. One that is no child of ours is "main".
pub(super) fn current() -> &'static Identity {
    SELF.get_or_init(|| Identity {
        name: "main".into(),
        daemon: false,
        parent: None,
    })
}

/// This process was spawned: called once, before it does anything else.
pub(super) fn become_child(name: String, daemon: bool, parent: i32, parent_name: String) {
    let _ = SELF.set(Identity {
        name,
        daemon,
        parent: Some((parent_name, parent)),
    });
}

/// A name for a child that was given none: Process-1, Process-2, and for their children
/// Process-1:1 and so on.
pub(super) fn next_name() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // Relaxed: the number itself is all that counts.
    let number = LAST.fetch_add(1, Relaxed) + 1;
    let current = current();
    match current.parent {
        None => format!("Process-{number}"),
        Some(_) => format!("{}:{number}", current.name),
    }
}
