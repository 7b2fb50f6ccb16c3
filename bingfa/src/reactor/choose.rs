//! Which I/O backend the process uses, and why.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::OnceLock;

use crate::sys::errno;
use crate::sys::uring::{self, Abilities, Missing, Setup};

const VARIABLE: &str = "BINGFA_IO";

/// What performs the I/O of coroutines.
///
/// Programs behave the same on either; io_uring takes fewer system calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IoBackend {
    /// io_uring where the kernel offers it and the environment permits it, else epoll.
    ///
    /// The environment variable `BINGFA_IO` (`uring`, `epoll` or `auto`) decides
    /// instead, where it is set and not empty.
    #[default]
    Auto,
    /// io_uring, or an error where there is none (Linux before 5.11, and most
    /// container profiles).
    Uring,
    /// epoll, which every Linux has.
    Epoll,
}

/// A backend that works here, and how to set it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Uring(Abilities),
    Epoll,
}

/// The backend for `requested`, and the reason in words.
///
/// # Errors
/// `InvalidInput` if `BINGFA_IO` counts and is none of its values; the kernel's refusal
/// if io_uring is demanded and cannot be had.
pub(crate) fn choose(requested: IoBackend) -> io::Result<(Kind, String)> {
    static PROBED: OnceLock<Result<Abilities, Missing>> = OnceLock::new();
    decide(requested, std::env::var_os(VARIABLE), || {
        *PROBED.get_or_init(uring::probe)
    })
}

fn decide(
    requested: IoBackend,
    variable: Option<OsString>,
    probe: impl FnOnce() -> Result<Abilities, Missing>,
) -> io::Result<(Kind, String)> {
    let from_variable = match requested {
        IoBackend::Auto => parse(variable.as_deref())?,
        _ => None,
    };
    let (wanted, demand) = match from_variable {
        Some((backend, value)) => (backend, format!("{VARIABLE}={value}")),
        None => (requested, format!("IoBackend::{requested:?}")),
    };
    match wanted {
        IoBackend::Epoll => Ok((Kind::Epoll, demand)),
        IoBackend::Uring => match probe() {
            Ok(abilities) => Ok((
                Kind::Uring(abilities),
                format!("{demand}: {}", describe(abilities)),
            )),
            Err(missing) => Err(demand_failed(&demand, missing)),
        },
        IoBackend::Auto => Ok(match probe() {
            Ok(abilities) => (Kind::Uring(abilities), describe(abilities)),
            Err(missing) => (Kind::Epoll, format!("{}; using epoll", explain(missing))),
        }),
    }
}

/// The backend that `BINGFA_IO` names; `None` if it is not set, or empty.
fn parse(variable: Option<&OsStr>) -> io::Result<Option<(IoBackend, &str)>> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let backend = match value.to_str() {
        Some("uring") => IoBackend::Uring,
        Some("epoll") => IoBackend::Epoll,
        Some("auto") => IoBackend::Auto,
        _ => {
            let message = format!("{VARIABLE}={value:?} is none of \"uring\", \"epoll\", \"auto\"");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    };
    Ok(Some((backend, value.to_str().unwrap_or_default())))
}

fn describe(abilities: Abilities) -> String {
    let setup = match abilities.setup {
        Setup::Defer => "io_uring with DEFER_TASKRUN",
        Setup::Coop => "io_uring with COOP_TASKRUN",
        Setup::Plain => "io_uring",
    };
    let bell = if abilities.futex {
        ""
    } else {
        ", woken by eventfd"
    };
    format!("{setup}{bell}, kernel {}", uring::kernel_release())
}

fn explain(missing: Missing) -> String {
    match missing {
        Missing::Lacks(what) => {
            format!(
                "io_uring of kernel {} is too old: it lacks {what}",
                uring::kernel_release()
            )
        }
        Missing::Refused(errno::ENOSYS) => {
            format!("kernel {} has no io_uring", uring::kernel_release())
        }
        Missing::Refused(error) => {
            let cause = plain(error);
            match error {
                errno::EPERM => {
                    format!("io_uring is denied: {cause} (seccomp? kernel.io_uring_disabled?)")
                }
                errno::ENOMEM => format!("io_uring is denied: {cause} (RLIMIT_MEMLOCK?)"),
                _ => format!("io_uring is denied: {cause}"),
            }
        }
    }
}

/// The message of an error number, without the number.
fn plain(error: i32) -> String {
    let message = io::Error::from_raw_os_error(error).to_string();
    match message.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => message,
    }
}

fn demand_failed(demand: &str, missing: Missing) -> io::Error {
    let kind = match missing {
        Missing::Refused(error) => io::Error::from_raw_os_error(error).kind(),
        Missing::Lacks(_) => io::ErrorKind::Unsupported,
    };
    let why = explain(missing);
    let remedy = "permit the io_uring system calls, or choose \"auto\" or \"epoll\"";
    io::Error::new(kind, format!("{demand}: {why}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFER: Abilities = Abilities {
        setup: Setup::Defer,
        futex: true,
    };

    fn with(requested: IoBackend, value: &str) -> io::Result<(Kind, String)> {
        decide(requested, Some(value.into()), || Ok(DEFER))
    }

    #[test]
    fn the_variable_overrides_auto_only() {
        assert_eq!(
            with(IoBackend::Auto, "epoll").unwrap(),
            (Kind::Epoll, "BINGFA_IO=epoll".into())
        );
        let (kind, reason) = with(IoBackend::Auto, "uring").unwrap();
        assert_eq!(kind, Kind::Uring(DEFER));
        assert!(reason.starts_with("BINGFA_IO=uring: io_uring with DEFER_TASKRUN, kernel "));
        assert_eq!(
            with(IoBackend::Uring, "epoll").unwrap().0,
            Kind::Uring(DEFER)
        );
        assert_eq!(with(IoBackend::Epoll, "uring").unwrap().0, Kind::Epoll);
        for unset in ["auto", ""] {
            assert_eq!(with(IoBackend::Auto, unset).unwrap().0, Kind::Uring(DEFER));
        }
    }

    #[test]
    fn nonsense_in_the_variable_is_named_with_the_choices() {
        let error = with(IoBackend::Auto, "nonsense").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let message = error.to_string();
        for word in ["BINGFA_IO", "nonsense", "uring", "epoll", "auto"] {
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let refused = || Err(Missing::Refused(errno::EPERM));
        let (kind, reason) = decide(IoBackend::Auto, None, refused).unwrap();
        assert_eq!(kind, Kind::Epoll);
        assert_eq!(
            reason,
            "io_uring is denied: Operation not permitted (seccomp? kernel.io_uring_disabled?); \
             using epoll"
        );
        let error = decide(IoBackend::Uring, None, refused).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(
            error
                .to_string()
                .contains("or choose \"auto\" or \"epoll\""),
            "{error}"
        );

        let old = || Err(Missing::Lacks("the operation RECV"));
        let (kind, reason) = decide(IoBackend::Auto, None, old).unwrap();
        assert_eq!(kind, Kind::Epoll);
        assert!(reason.contains("lacks the operation RECV"), "{reason}");
    }
}
