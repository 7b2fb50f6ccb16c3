//! Other programs: twins of [`std::process::Command`] and [`std::process::Child`].
//!
//! They are std's, except that waiting for the child and for its pipes suspends a coroutine
//! instead of blocking its thread.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::{CommandArgs, CommandEnvs, ExitStatus, Output};
use std::time::Duration;

use super::stdio::{ChildStderr, ChildStdin, ChildStdout, Kind, Stdio};
use crate::io::op::{self, Wait};
use crate::sys::epoll::{self, Poll};
use crate::sys::{pidfd, socket};

/// A program to be run; twin of [`std::process::Command`].
///
/// The start itself is std's, and holds the thread for the half millisecond that it takes.
///
/// # Examples
/// ```
/// use bingfa::process::Command;
///
/// let output = Command::new("echo").arg("hello").output()?;
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "Popen")]
#[doc(alias = "subprocess")]
pub struct Command {
    std: std::process::Command,
    /// Whether standard input, output and error were set: `output` has other defaults.
    set: [bool; 3],
}

impl Command {
    /// See [`std::process::Command::new`].
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        std::process::Command::new(program).into()
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, argument: S) -> &mut Command {
        self.std.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, arguments: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.std.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, key: K, value: V) -> &mut Command {
        self.std.env(key, value);
        self
    }

    /// Sets variables of its environment.
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(variables);
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Gives it an empty environment, but for what is set here.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// Its working directory.
    pub fn current_dir<P: AsRef<Path>>(&mut self, directory: P) -> &mut Command {
        self.std.current_dir(directory);
        self
    }

    /// Its standard input. Default: this process's; for [`output`](Self::output) none.
    pub fn stdin<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.set[0] = true;
        self.std.stdin(stdio.into());
        self
    }

    /// Its standard output. Default: this process's; for [`output`](Self::output) a pipe.
    pub fn stdout<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.set[1] = true;
        self.std.stdout(stdio.into());
        self
    }

    /// Its standard error. Default: this process's; for [`output`](Self::output) a pipe.
    pub fn stderr<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.set[2] = true;
        self.std.stderr(stdio.into());
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    /// As of [`std::process::Command::spawn`].
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.std.spawn().map(Child::from)
    }

    /// Runs the program and collects what it prints.
    ///
    /// # Errors
    /// If it cannot be started, or reading fails.
    ///
    /// # Cancellation
    /// What was read is lost, and the program runs on.
    #[track_caller]
    pub fn output(&mut self) -> io::Result<Output> {
        let defaults = [Kind::Null, Kind::Piped, Kind::Piped].map(Stdio);
        for (number, default) in defaults.into_iter().enumerate() {
            if !self.set[number] {
                self.set_std(number, default);
            }
        }
        let child = self.spawn();
        for number in 0..3 {
            if !self.set[number] {
                self.set_std(number, Stdio::inherit());
            }
        }
        child?.wait_with_output()
    }

    fn set_std(&mut self, number: usize, stdio: Stdio) {
        match number {
            0 => self.std.stdin(stdio),
            1 => self.std.stdout(stdio),
            _ => self.std.stderr(stdio),
        };
    }

    /// Runs the program and waits for its end.
    ///
    /// # Errors
    /// If it cannot be started.
    ///
    /// # Cancellation
    /// The program runs on.
    #[track_caller]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// The program.
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        self.std.get_program()
    }

    /// The arguments.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.std.get_args()
    }

    /// The variables that were set or removed.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.std.get_envs()
    }

    /// The working directory, if it was set.
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.std.get_current_dir()
    }

    /// std's command in it, for its extensions
    /// ([`CommandExt`](std::os::unix::process::CommandExt)).
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }
}

/// What was set in it counts, but for [`output`](Command::output), which does not know of
/// standard streams that were set before.
impl From<std::process::Command> for Command {
    fn from(std: std::process::Command) -> Command {
        Command {
            std,
            set: [false; 3],
        }
    }
}

/// A program that was started; twin of [`std::process::Child`].
///
/// As there, dropping it neither kills nor waits: until it is waited for, a child that has
/// ended is a zombie.
#[derive(Debug)]
pub struct Child {
    /// This end of its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// This end of its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// This end of its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    std: std::process::Child,
}

impl From<std::process::Child> for Child {
    fn from(mut std: std::process::Child) -> Child {
        Child {
            stdin: std.stdin.take().map(ChildStdin::from),
            stdout: std.stdout.take().map(ChildStdout::from),
            stderr: std.stderr.take().map(ChildStderr::from),
            std,
        }
    }
}

impl Child {
    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.std.id()
    }

    /// Ends it at once, by SIGKILL.
    ///
    /// # Errors
    /// As of [`std::process::Child::kill`].
    pub fn kill(&mut self) -> io::Result<()> {
        self.std.kill()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// As of [`std::process::Child::try_wait`].
    #[doc(alias = "poll")]
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.std.try_wait()
    }

    /// Closes its standard input, if that is a pipe, and waits until it has ended.
    ///
    /// Suspends only the caller: a coroutine gives its worker back meanwhile.
    ///
    /// # Errors
    /// As of [`std::process::Child::wait`].
    ///
    /// # Cancellation
    /// The child runs on, and can be waited for again.
    ///
    /// # Examples
    /// ```
    /// let mut child = bingfa::process::Command::new("true").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        if op::kernel_may_block() {
            return self.std.wait();
        }
        loop {
            if let Some(status) = self.std.try_wait()? {
                return Ok(status);
            }
            // Not reaped yet, so the number is its own.
            let process = pidfd::open(self.std.id() as i32)?;
            wait_readable(process.as_fd())?;
        }
    }

    /// Closes its standard input, reads its standard output and error to their ends, as far as
    /// they are pipes, and waits until it has ended.
    ///
    /// # Errors
    /// If reading or waiting fails.
    ///
    /// # Cancellation
    /// What was read is lost, and the child runs on.
    #[track_caller]
    #[doc(alias = "communicate")]
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        match (self.stdout.take(), self.stderr.take()) {
            (Some(out), Some(err)) => read_both((out, &mut stdout), (err, &mut stderr))?,
            (Some(mut out), None) => {
                out.read_to_end(&mut stdout)?;
            }
            (None, Some(mut err)) => {
                err.read_to_end(&mut stderr)?;
            }
            (None, None) => {}
        }
        Ok(Output {
            status: self.wait()?,
            stdout,
            stderr,
        })
    }
}

/// Waits until `fd` is readable, on any carrier.
#[track_caller]
fn wait_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    op::wait_for(fd, None, socket::POLLIN, Wait::Forever)?;
    Ok(())
}

/// Reads two pipes to their ends, whichever has something, so that neither fills up.
#[track_caller]
fn read_both(
    (mut out, stdout): (ChildStdout, &mut Vec<u8>),
    (mut err, stderr): (ChildStderr, &mut Vec<u8>),
) -> io::Result<()> {
    let os = io::Error::from_raw_os_error;
    let poll = Poll::new()?;
    poll.set(out.as_raw_fd(), epoll::IN, 0, false).map_err(os)?;
    poll.set(err.as_raw_fd(), epoll::IN, 1, false).map_err(os)?;
    let mut events = Vec::with_capacity(2);
    let mut buffer = vec![0; 64 << 10];
    let mut open = 2;
    while open > 0 {
        wait_readable(poll.as_fd())?;
        poll.wait(&mut events, Some(Duration::ZERO)).map_err(os)?;
        for event in &events {
            // Readable, so this does not wait.
            let (fd, read) = match event.u64 {
                0 => (out.as_raw_fd(), append(&mut out, &mut buffer, stdout)?),
                _ => (err.as_raw_fd(), append(&mut err, &mut buffer, stderr)?),
            };
            if read == 0 {
                epoll::remove(poll.as_raw_fd(), fd);
                open -= 1;
            }
        }
    }
    Ok(())
}

/// One read, to the end of `text`.
fn append(pipe: &mut impl Read, buffer: &mut [u8], text: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        match pipe.read(buffer) {
            Ok(n) => {
                text.extend_from_slice(&buffer[..n]);
                return Ok(n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
