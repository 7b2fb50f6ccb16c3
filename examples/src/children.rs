//! Children: a failure in one is the program's.

use std::io;

use bingfa::process::JoinHandle;

/// Waits for a child.
///
/// # Errors
/// If it has died, with what it died of.
pub fn ended<T>(child: JoinHandle<T>) -> io::Result<T> {
    child.join().map_err(io::Error::other)
}

/// Waits for children, in their order.
///
/// # Errors
/// If one has died.
pub fn all_ended<T>(children: impl IntoIterator<Item = JoinHandle<T>>) -> io::Result<Vec<T>> {
    children.into_iter().map(ended).collect()
}

/// What a child that cannot go on does: it ends with a message, which its parent gets.
#[track_caller]
pub fn must<T>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
