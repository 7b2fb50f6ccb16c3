//! What the example programs share: sleeps that can be scaled, one accept loop for threads,
//! coroutines and processes, what becomes of children, and the limit on open files.

#![forbid(unsafe_code)]

mod any;
mod blocked;
mod children;
mod limits;
mod scale;
mod serve;
mod task;

pub use any::{Any, joined};
pub use blocked::blocked_at;
pub use children::{all_ended, ended, must};
pub use limits::need_descriptors;
pub use scale::Scale;
pub use serve::{accept_loop, converse, listen, not_listening, report, serve, upper_case};
pub use task::{Carrier, Task, finish};

use std::io;
use std::process::ExitCode;

/// Turns what a program returned into its exit status, with the reason on standard error.
pub fn exit(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
