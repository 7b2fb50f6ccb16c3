//! The limit on open files: every connection is one.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Makes sure that this process may have `needed` descriptors open at once, by raising its
/// own soft limit as far as the hard one.
///
/// # Errors
/// If the hard limit is too low; the message says what to do.
pub fn need_descriptors(needed: u64) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let suffices = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if suffices(current) {
        return Ok(());
    }
    if !suffices(maximum) {
        let maximum = maximum.unwrap_or(u64::MAX);
        return Err(io::Error::other(format!(
            "this needs {needed} open files, and the hard limit is {maximum}: run \
             `ulimit -n {needed}` as root and start it from that shell, or use fewer clients"
        )));
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| {
        io::Error::other(format!(
            "could not raise the limit on open files: {error}; run `ulimit -n {needed}` first"
        ))
    })
}
