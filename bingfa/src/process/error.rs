//! Why a child has no result.

use std::fmt;
use std::process::ExitStatus;

use super::child::FAILED;
use super::wire::Panic;

/// Why [`join`](super::JoinHandle::join) has no result: the child panicked, was killed, called
/// `exit`, or a value could not be sent.
///
/// Its text names the child and what happened to it.
///
/// # Examples
/// ```
/// use bingfa::process;
///
/// let child = process::spawn((), |()| -> u32 { panic!("no luck") });
/// let error = child.join().unwrap_err();
/// assert_eq!(error.panic_message(), Some("no luck"));
/// assert_eq!(error.exit_status().unwrap().code(), Some(101));
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "ProcessError")]
pub struct JoinError {
    pub(super) name: String,
    pub(super) pid: i32,
    pub(super) status: Option<ExitStatus>,
    pub(super) cause: Cause,
}

#[derive(Clone, Debug)]
pub(super) enum Cause {
    Panicked(Panic),
    /// A value that could not be encoded or decoded, or an attribute that could not be set.
    Refused(String),
    /// It ended without a word.
    Ended,
}

impl JoinError {
    /// The name of the child.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number that the child had.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// How the process ended; `None` if something else in this program has reaped it
    /// (`waitpid(-1)`, or SIGCHLD is ignored).
    #[must_use]
    #[doc(alias = "exitcode")]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Whether the child's function panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked(_))
    }

    /// The message of the panic, if it was one.
    #[must_use]
    pub fn panic_message(&self) -> Option<&str> {
        match &self.cause {
            Cause::Panicked(panic) => Some(&panic.message),
            _ => None,
        }
    }

    /// The file, line and column of the panic, if it was one.
    #[must_use]
    pub fn panic_location(&self) -> Option<&str> {
        match &self.cause {
            Cause::Panicked(panic) => panic.location.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (pid {}) ", self.name, self.pid)?;
        match (&self.cause, self.status) {
            (Cause::Panicked(panic), _) => {
                f.write_str("panicked")?;
                if let Some(location) = &panic.location {
                    write!(f, " at {location}")?;
                }
                write!(f, ": {}", panic.message)
            }
            (Cause::Refused(why), _) => write!(f, "has no result: {why}"),
            (Cause::Ended, Some(status)) if status.code() == Some(FAILED) => write!(
                f,
                "ended without a result: {status} (it may have closed all descriptors, also that \
                 for its result; then it has said so on its standard error)"
            ),
            (Cause::Ended, Some(status)) => write!(f, "ended without a result: {status}"),
            (Cause::Ended, None) => f.write_str(
                "ended without a result; something else in this program has taken its exit \
                 status (waitpid(-1), or SIGCHLD is ignored)",
            ),
        }
    }
}

impl std::error::Error for JoinError {}
