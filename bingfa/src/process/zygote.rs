//! The zygote: a child of one thread, started once, that makes copies of itself.
//!
//! A copy costs a quarter of a new image. The zygote makes each a child of its own parent
//! ([`launch::Copier`]), so that it is the spawner's child in every respect. It shares the
//! spawner's working directory, root and umask (`CLONE_FS`), and a copy has them as they are
//! at that moment; descriptors 0 to 2 come with each request; the rest is in the orders.
//!
//! Over the control socket goes one message per copy, a byte that says which of descriptors
//! 0 to 2 are open, with the job's socket and those descriptors; and one message back, the
//! pid and the pidfd, or a negated `errno`. The first message from the zygote is empty text if
//! it is ready, else the reason why it cannot work.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::child;
use crate::sys::attributes::{self, Limits, Privileges};
use crate::sys::launch::{self, Copied, Copier, Made};
use crate::sys::{errno, pass, pidfd};

/// How long a zygote may take to become ready: it is a new image of the program.
const READY: Duration = Duration::from_secs(60);
/// How long it may take for a copy, which is a matter of microseconds. One that takes longer is
/// stopped, or as good as that, and is replaced.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running zygote, as its parent sees it.
#[derive(Debug)]
pub(super) struct Zygote {
    control: OwnedFd,
    process: Made,
    /// What it was started with, and copies have unless they are told otherwise.
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) limits: Limits,
    privileges: Privileges,
}

/// Why there is no copy.
#[derive(Debug)]
pub(super) enum CopyError {
    /// It lives, and says that there can be none.
    Refused(io::Error),
    /// It has died, or does not answer. Whether there is a copy is not known.
    Died,
}

impl Zygote {
    /// Takes over a new image that is to be a zygote, and waits until it is ready.
    ///
    /// # Errors
    /// `Unsupported` if copies are impossible here for good; `TimedOut` if it does not become
    /// ready.
    pub(super) fn new(
        process: Made,
        control: OwnedFd,
        environment: Vec<(OsString, OsString)>,
        privileges: Privileges,
    ) -> io::Result<Zygote> {
        let mut answer = [0; 256];
        set_patience(&control, READY)?;
        let (len, _) = pass::receive(control.as_fd(), &mut answer).map_err(|error| {
            let _ = pidfd::send_signal(process.pidfd.as_fd(), pidfd::SIGKILL);
            wait_for_end(&process);
            let (pid, took) = (process.pid, READY.as_secs());
            if error.kind() == io::ErrorKind::WouldBlock {
                let why = format!("bingfa: the zygote (pid {pid}) is not ready after {took} s");
                return io::Error::new(io::ErrorKind::TimedOut, why);
            }
            io::Error::new(error.kind(), format!("bingfa: the zygote: {error}"))
        })?;
        let Some(text) = answer[..len].strip_prefix(b":") else {
            let _ = pidfd::send_signal(process.pidfd.as_fd(), pidfd::SIGKILL);
            wait_for_end(&process);
            return Err(io::Error::other(
                "bingfa: the zygote ended, or did something else, before it was ready; \
                 if this program calls process::init(), it must do so first in main",
            ));
        };
        if !text.is_empty() {
            wait_for_end(&process);
            let why = String::from_utf8_lossy(text).into_owned();
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        set_patience(&control, PATIENCE)?;
        Ok(Zygote {
            control,
            process,
            environment,
            limits: attributes::limits(),
            privileges,
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Whether copies would be allowed to do what a spawner may, no more and no less.
    pub(super) fn is_fit_for(&self, privileges: &Privileges) -> bool {
        *privileges == self.privileges
    }

    /// Makes a copy that will find its job on `job`.
    pub(super) fn copy(
        &self,
        standard: [Option<RawFd>; 3],
        job: &OwnedFd,
    ) -> Result<Made, CopyError> {
        let mut open = 0u8;
        let mut fds = vec![job.as_raw_fd()];
        for (number, fd) in standard.into_iter().enumerate() {
            if let Some(fd) = fd {
                open |= 1 << number;
                fds.push(fd);
            }
        }
        // A place for the pidfd, so that a full table is an error now, when there is no child.
        let place = self.control.try_clone().map_err(CopyError::Refused)?;
        match pass::send(self.control.as_fd(), &[open], &fds) {
            Ok(()) => {}
            Err(error) if is_death(&error) => return Err(CopyError::Died),
            Err(error) => return Err(CopyError::Refused(error)),
        }
        drop(place);
        let mut answer = [0; 4];
        let (len, mut fds) = match pass::receive(self.control.as_fd(), &mut answer) {
            Ok(answer) => answer,
            Err(error) if is_death(&error) => return Err(CopyError::Died),
            Err(error) => return Err(CopyError::Refused(error)),
        };
        let pid = i32::from_le_bytes(answer);
        match (len, fds.pop()) {
            (4, Some(pidfd)) => Ok(Made { pid, pidfd }),
            (4, None) if pid < 0 => Err(CopyError::Refused(io::Error::from_raw_os_error(-pid))),
            // Another thread has taken the place, and the pidfd was lost on the way.
            (4, None) => match pidfd::open(pid) {
                Ok(pidfd) => Ok(Made { pid, pidfd }),
                Err(error) => {
                    pidfd::kill_unseen(pid);
                    Err(CopyError::Refused(error))
                }
            },
            _ => Err(CopyError::Died),
        }
    }

    /// Ends it and waits until it is gone, so that it makes no more copies.
    pub(super) fn end(self) {
        let Zygote {
            control, process, ..
        } = self;
        // One that has more rights than we now have cannot be killed, but sees this.
        drop(control);
        let _ = pidfd::send_signal(process.pidfd.as_fd(), pidfd::SIGKILL);
        wait_for_end(&process);
    }
}

/// Also that it does not answer for so long.
fn is_death(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, WouldBlock};
    let kind = error.kind();
    matches!(
        kind,
        BrokenPipe | ConnectionReset | NotConnected | WouldBlock
    )
}

/// From now on calls on the socket end after so long, with `WouldBlock`.
fn set_patience(control: &OwnedFd, limit: Duration) -> io::Result<()> {
    let control = UnixStream::from(control.try_clone()?);
    control.set_read_timeout(Some(limit))?;
    control.set_write_timeout(Some(limit))
}

fn wait_for_end(process: &Made) {
    pidfd::wait(process.pidfd.as_fd());
    pidfd::reap(process.pidfd.as_fd());
}

/// The zygote's own life.
///
/// # Safety
/// The process has one thread, and holds no locks.
#[allow(unsafe_code)]
pub(super) unsafe fn serve(control: OwnedFd, parent: i32) -> ! {
    launch::block_signals(); // Ctrl-C is for the parent; copies unblock them
    attributes::set_title("bingfa-zygote");
    if !attributes::die_with_parent(parent) {
        std::process::exit(0);
    }
    let copier = match Copier::new() {
        Ok(copier) => copier,
        Err(error) => {
            let _ = pass::send(control.as_fd(), format!(":{error}").as_bytes(), &[]);
            std::process::exit(1);
        }
    };
    child::prepare();
    let _ = child::rehearse(); // only a matter of time
    if pass::send(control.as_fd(), b":", &[]).is_err() {
        std::process::exit(0);
    }
    let mut open = [0];
    loop {
        let (1, fds) = pass::receive(control.as_fd(), &mut open).unwrap_or_default() else {
            std::process::exit(0); // the parent is gone
        };
        let mut fds = fds.into_iter();
        let Some(job) = fds.next() else {
            answer(&control, -errno::EMFILE, &[]);
            continue;
        };
        let standard =
            std::array::from_fn(|number| (open[0] & 1 << number != 0).then(|| fds.next())?);
        // SAFETY: one thread (caller), no locks.
        match unsafe { copier.copy_as_sibling() } {
            // SAFETY: it has just begun, and all else in it is the zygote's, which never
            // comes back to it.
            Ok(Copied::Copy) => unsafe { child::begin(standard, job) },
            Ok(Copied::Original(made)) => answer(&control, made.pid, &[made.pidfd.as_raw_fd()]),
            Err(error) => answer(
                &control,
                -error.raw_os_error().unwrap_or(errno::EAGAIN),
                &[],
            ),
        }
    }
}

fn answer(control: &OwnedFd, number: i32, fds: &[RawFd]) {
    // If the parent is gone, so is the next request.
    let _ = pass::send(control.as_fd(), &number.to_le_bytes(), fds);
}

/// Nothing to read from, nothing written is kept.
pub(super) fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is no zygote, and says nothing.
    fn silent() -> (Zygote, OwnedFd) {
        let child = std::process::Command::new("/bin/sleep").arg("3600").spawn();
        let pid = child.unwrap().id() as i32;
        let (control, theirs) = pass::pair(false).unwrap();
        let pidfd = pidfd::open(pid).unwrap();
        let zygote = Zygote {
            control,
            process: Made { pid, pidfd },
            environment: Vec::new(),
            limits: attributes::limits(),
            privileges: attributes::privileges(),
        };
        (zygote, theirs)
    }

    #[test]
    fn one_that_does_not_answer_counts_as_dead() {
        let (zygote, _theirs) = silent();
        set_patience(&zygote.control, Duration::from_millis(5)).unwrap();
        let (_, job) = pass::pair(true).unwrap();
        let copy = zygote.copy([None; 3], &job);
        assert!(matches!(copy, Err(CopyError::Died)), "{copy:?}");
        zygote.end();
    }
}
