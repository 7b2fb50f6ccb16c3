//! Where somebody waits for ever, as a snapshot shows it.

use bingfa::observe::{self, State};

/// Where the thread or coroutine with this id waits for `what` (or for what begins so), as in
/// `queue get at src/main.rs:12`; `None` if it does not, or if somebody still could end that
/// wait: only `helpless` knows.
pub fn blocked_at(id: u64, what: &str, helpless: impl Fn() -> bool) -> Option<String> {
    // In this order: who is still listed as waiting may have been woken by the last item, but not
    // if there was none before.
    let all = helpless().then(observe::snapshot)?;
    let of_it = all.into_iter().find(|one| one.info.id.get() == id)?;
    let wait = of_it.info.last_wait?;
    let waits = of_it.info.state == State::Blocked && wait.what.starts_with(what);
    waits.then(|| format!("{} at {}:{}", wait.what, wait.at.file(), wait.at.line()))
}
