//! From a call of `spawn` to a running child.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::child::{self, Role};
use super::family::Seat;
use super::record::{Link, Record};
use super::stdio::{Kind, Stdio};
use super::wire::{self, Encoded, Orders};
use super::zygote::{CopyError, Zygote};
use super::{JoinHandle, StartMethod, identity, keeper};
use crate::sched::{blocking, exit};
use crate::shm::object::Destination;
use crate::sys::attributes::{self, Cpus, Privileges};
use crate::sys::image::Image;
use crate::sys::launch::Made;
use crate::sys::{fd, pass, pidfd};

/// Runs `f(args)` in a process of its own, and gives its result back.
///
/// The child is this very program, also when its file has been replaced meanwhile. `f` is a
/// function, or a closure that captures nothing: what it needs travels in `args`, by `serde`.
/// The child has its parent's working directory, environment, umask, limits, CPU affinity and
/// descriptors 0 to 2 as they are at this moment, and nothing of its memory: statics are as at
/// the start of the program. It has no other descriptors than those among its arguments:
/// `bingfa`'s sockets, and [`Fd`](super::Fd)s.
///
/// It is not a daemon: the process waits for it at normal exit. See [`Builder`].
///
/// # Panics
/// If the arguments cannot be encoded, or the operating system makes no process;
/// [`Builder::spawn`] gives an error instead.
///
/// # Cancellation
/// A coroutine that is cancelled while it waits for the start may leave the child running, as
/// if its handle had been dropped.
///
/// # Examples
/// ```
/// use bingfa::process;
///
/// fn sum(range: (u64, u64)) -> u64 {
///     (range.0..=range.1).sum()
/// }
///
/// let child = process::spawn((1, 100), sum);
/// assert_eq!(child.join().unwrap(), 5050);
/// ```
///
/// What it would capture does not cross to another process:
/// ```compile_fail,E0308
/// let n = 5;
/// bingfa::process::spawn((), move |()| n + 1);
/// ```
#[doc(alias = "Process")]
#[doc(alias = "multiprocessing")]
#[doc(alias = "fork")]
#[track_caller]
pub fn spawn<A, T>(args: A, f: fn(A) -> T) -> JoinHandle<T>
where
    A: Serialize + DeserializeOwned,
    T: Serialize + DeserializeOwned,
{
    Builder::new()
        .spawn(args, f)
        .unwrap_or_else(|error| panic!("failed to spawn process: {error}"))
}

/// How a process is to be spawned.
///
/// # Examples
/// ```
/// use bingfa::process::Builder;
///
/// let child = Builder::new()
///     .name("greeter".into())
///     .env("GREETING", "hello")
///     .spawn("world".to_string(), |whom: String| {
///         format!("{}, {whom}", std::env::var("GREETING").unwrap())
///     })?;
/// assert_eq!(child.name(), "greeter");
/// assert_eq!(child.join().unwrap(), "hello, world");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing happens until spawn() is called"]
pub struct Builder {
    name: Option<String>,
    daemon: bool,
    method: StartMethod,
    environment: Vec<Change>,
    directory: Option<PathBuf>,
    affinity: Option<Vec<usize>>,
    limits: Vec<(u32, (u64, u64))>,
    standard: [Option<Stdio>; 3],
}

/// A change of the environment, in the order of the calls.
#[derive(Debug)]
enum Change {
    Set(OsString, OsString),
    Remove(OsString),
    Clear,
}

impl Builder {
    /// A process with the name "Process-1" and so on, that is not a daemon.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name that messages and [`current`](super::current) show; `ps` shows its first 15
    /// bytes.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Whether it is killed when this process ends, however that ends. Default: false.
    ///
    /// What is not a daemon is waited for when `main` returns or `exit` is called; after an
    /// abort or a signal it runs on. Not inherited by processes that it spawns.
    #[doc(alias = "daemonic")]
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// How it is made. Default: by the zygote.
    #[doc(alias = "set_start_method")]
    #[doc(alias = "get_context")]
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let set = Change::Set(key.as_ref().into(), value.as_ref().into());
        self.environment.push(set);
        self
    }

    /// Sets variables of its environment.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        for (key, value) in variables {
            self = self.env(key, value);
        }
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.environment.push(Change::Remove(key.as_ref().into()));
        self
    }

    /// Gives it an empty environment, but for what is set afterwards.
    pub fn env_clear(mut self) -> Self {
        self.environment.push(Change::Clear);
        self
    }

    /// Its working directory; a relative one is relative to this process's.
    ///
    /// If it cannot be changed to, that is the error of [`join`](JoinHandle::join).
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().into());
        self
    }

    /// Its standard input. Default: this process's.
    pub fn stdin(mut self, stdio: impl Into<Stdio>) -> Self {
        self.standard[0] = Some(stdio.into());
        self
    }

    /// Its standard output. Default: this process's.
    ///
    /// # Examples
    /// ```
    /// use bingfa::io::Read;
    /// use bingfa::process::{Builder, Stdio};
    ///
    /// let quiet = Builder::new().stdout(Stdio::piped());
    /// let mut child = quiet.spawn((), |()| println!("heard"))?;
    /// let mut text = String::new();
    /// child.stdout.take().unwrap().read_to_string(&mut text)?;
    /// assert_eq!(text, "heard\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdout(mut self, stdio: impl Into<Stdio>) -> Self {
        self.standard[1] = Some(stdio.into());
        self
    }

    /// Its standard error. Default: this process's.
    pub fn stderr(mut self, stdio: impl Into<Stdio>) -> Self {
        self.standard[2] = Some(stdio.into());
        self
    }

    /// The CPUs, by number, on which it may run.
    ///
    /// If none of them can be used, that is the error of [`join`](JoinHandle::join).
    #[doc(alias = "sched_setaffinity")]
    pub fn affinity(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.affinity = Some(cpus.into_iter().collect());
        self
    }

    /// The most address space it may have, in bytes (`RLIMIT_AS`). An allocation beyond it
    /// fails, which aborts a Rust program.
    ///
    /// Address space is more than memory: the program itself, its libraries and every thread's
    /// stack count in full, and the stacks of coroutines are reserved generously.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.limits.push((attributes::RLIMIT_AS, (bytes, bytes)));
        self
    }

    /// The most CPU time it may use, in whole seconds, rounded up (`RLIMIT_CPU`). Beyond it the
    /// child gets SIGXCPU, and a second later SIGKILL.
    pub fn cpu_limit(mut self, time: Duration) -> Self {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let limits = (seconds, seconds.saturating_add(1));
        self.limits.push((attributes::RLIMIT_CPU, limits));
        self
    }

    /// Spawns the process; see [`spawn`].
    ///
    /// # Errors
    /// `InvalidInput` if the arguments cannot be encoded (it names their type), if the function
    /// lies in a shared library, or a variable or CPU is impossible; else the operating
    /// system's, if it makes no process or no more descriptors.
    ///
    /// # Cancellation
    /// As for [`spawn`].
    pub fn spawn<A, T>(self, args: A, f: fn(A) -> T) -> io::Result<JoinHandle<T>>
    where
        A: Serialize + DeserializeOwned,
        T: Serialize + DeserializeOwned,
    {
        child::check_not_pending()?;
        let seat = Seat::reserve()?;
        let to = seat.as_ref().map(|seat| Destination::Peer(seat.peer()));
        let arguments = wire::encode_for(to.unwrap_or(Destination::Anyone), &args)
            .map_err(|error| invalid(format!("bingfa: the arguments: {error}")))?;
        drop(args);
        let thunk: child::Thunk = child::call::<A, T>;
        let (plan, ends) = self.plan(thunk as usize, f as usize, arguments, seat)?;
        let record = blocking::run(&"spawn", move || start(plan))?;
        Ok(JoinHandle::new(record, wire::decode::<T>, ends))
    }

    /// Everything that the caller's own thread must say.
    fn plan(
        self,
        thunk: usize,
        function: usize,
        arguments: Encoded,
        seat: Option<Seat>,
    ) -> io::Result<(Plan, Ends)> {
        if attributes::is_privileged() {
            let why = "bingfa: a program with raised privileges (set-user-ID) spawns no processes";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let image = Image::here();
        let offset = |address| {
            let offset = image.offset_of(address).map(|offset| offset as u64);
            offset.ok_or_else(|| {
                invalid("bingfa: the function lies in a shared library, not in the program".into())
            })
        };
        let affinity = match &self.affinity {
            Some(cpus) => cpu_mask(cpus)?,
            None => attributes::affinity()?,
        };
        let identity = identity::current();
        let orders = Orders {
            fingerprint: image.fingerprint,
            thunk: offset(thunk)?,
            function: offset(function)?,
            name: self.name.unwrap_or_else(identity::next_name),
            daemon: self.daemon,
            parent: std::process::id() as i32,
            parent_name: identity.name.clone(),
            group: attributes::process_group(),
            family: seat.as_ref().map(|seat| (seat.peer(), seat.family().me())),
            no_new_privileges: attributes::no_new_privileges(),
            environment: None,
            directory: self.directory.map(|d| d.into_os_string().into_vec()),
            affinity,
            limits: Vec::new(),
        };
        let (standard, ends) = standard(self.standard)?;
        let plan = Plan {
            orders,
            arguments,
            method: self.method,
            environment: environment(self.environment)?,
            limits: self.limits,
            privileges: attributes::privileges(),
            standard,
            seat,
        };
        Ok((plan, ends))
    }
}

/// This process's ends of the pipes to the child's descriptors 0 to 2.
pub(super) type Ends = [Option<OwnedFd>; 3];

/// The child's ends, and ours.
fn standard(wanted: [Option<Stdio>; 3]) -> io::Result<([Option<Standard>; 3], Ends)> {
    let (mut theirs, mut ours) = ([const { None }; 3], [const { None }; 3]);
    for (number, stdio) in wanted.into_iter().enumerate() {
        let own = number as RawFd;
        theirs[number] = match stdio.map_or(Kind::Inherit, |stdio| stdio.0) {
            Kind::Inherit => fd::is_open(own).then_some(Standard::Own(own)),
            Kind::Null => Some(Standard::Given(super::zygote::null()?.into())),
            Kind::Given(fd) => Some(Standard::Given(fd)),
            Kind::Piped => {
                let (reader, writer) = io::pipe()?;
                let (child, parent): (OwnedFd, OwnedFd) = if number == 0 {
                    (reader.into(), writer.into())
                } else {
                    (writer.into(), reader.into())
                };
                ours[number] = Some(parent);
                Some(Standard::Given(child))
            }
        };
    }
    Ok((theirs, ours))
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn cpu_mask(cpus: &[usize]) -> io::Result<Cpus> {
    let mut mask: Cpus = [0; 16];
    for &cpu in cpus {
        let word = mask
            .get_mut(cpu / 64)
            .ok_or_else(|| invalid(format!("bingfa: there is no CPU {cpu}")))?;
        *word |= 1 << (cpu % 64);
    }
    Ok(mask)
}

/// The child's variables.
fn environment(changes: Vec<Change>) -> io::Result<Vec<(OsString, OsString)>> {
    let mut variables: Vec<_> = std::env::vars_os().collect();
    for change in changes {
        match change {
            Change::Clear => variables.clear(),
            Change::Remove(key) => variables.retain(|(name, _)| *name != key),
            Change::Set(key, value) => {
                let bytes = key.as_bytes();
                let impossible = bytes.is_empty()
                    || bytes.contains(&b'=')
                    || bytes.contains(&0)
                    || value.as_bytes().contains(&0);
                if impossible {
                    return Err(invalid(format!(
                        "bingfa: no environment variable can be {key:?}={value:?}"
                    )));
                }
                variables.retain(|(name, _)| *name != key);
                variables.push((key, value));
            }
        }
    }
    Ok(variables)
}

/// A child to be: what is known before there is a process.
struct Plan {
    orders: Orders,
    arguments: Encoded,
    method: StartMethod,
    environment: Vec<(OsString, OsString)>,
    limits: Vec<(u32, (u64, u64))>,
    privileges: Privileges,
    standard: [Option<Standard>; 3],
    seat: Option<Seat>,
}

/// What becomes one of the descriptors 0 to 2.
enum Standard {
    /// This process's own of this number.
    Own(RawFd),
    Given(OwnedFd),
}

impl Standard {
    fn raw(&self) -> RawFd {
        match self {
            Standard::Own(number) => *number,
            Standard::Given(fd) => fd.as_raw_fd(),
        }
    }
}

/// Whether copies can be had, and from whom.
enum Nursery {
    Empty,
    Zygote(Box<Zygote>),
    /// Never: this C library or kernel, or other threads before `main`.
    Impossible,
}

/// Held from before a child is made until the keeper knows it, so that at most one child is
/// ever unknown.
static NURSERY: Mutex<Nursery> = Mutex::new(Nursery::Empty);

fn nursery() -> MutexGuard<'static, Nursery> {
    NURSERY.lock().unwrap_or_else(PoisonError::into_inner) // each step leaves it whole
}

/// Makes the child, on a plain thread.
fn start(plan: Plan) -> io::Result<Arc<Record>> {
    keeper::check()?;
    let mut nursery = nursery();
    if plan.privileges.seccomp != 0 && keeper::seccomp()? != plan.privileges.seccomp {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "bingfa: this thread's system calls are filtered (seccomp), the keeper thread's are \
             not, and a child must not have more rights than its spawner; filter all threads \
             (SECCOMP_FILTER_FLAG_TSYNC), or before the first spawn",
        ));
    }
    if plan.method == StartMethod::Zygote {
        prepare(&mut nursery, &plan.privileges)?;
    }
    let Plan {
        mut orders,
        arguments,
        method,
        environment,
        limits,
        privileges,
        standard,
        mut seat,
    } = plan;
    let method = match (&*nursery, method) {
        (Nursery::Zygote(_), StartMethod::Zygote) => StartMethod::Zygote,
        _ => StartMethod::Exec,
    };
    if let (Nursery::Zygote(zygote), StartMethod::Zygote) = (&*nursery, method) {
        let now = attributes::limits();
        for (resource, (now, then)) in now.iter().zip(&zygote.limits).enumerate() {
            if now != then {
                orders.limits.push((resource as u32, now.0, now.1));
            }
        }
        if environment != zygote.environment {
            let bytes = |(name, value): &(OsString, OsString)| {
                (name.as_bytes().to_vec(), value.as_bytes().to_vec())
            };
            orders.environment = Some(environment.iter().map(bytes).collect());
        }
    }
    let limits = limits
        .into_iter()
        .map(|(what, (soft, hard))| (what, soft, hard));
    orders.limits.extend(limits);

    let (ours, theirs) = pass::pair(true)?;
    let job = wire::job(&orders, &arguments.bytes)?;
    // What fits is there before the child looks.
    let mut fds = arguments.fds;
    if let Some(seat) = &seat {
        let file = seat.family().arena().file()?;
        fds.insert(0, file.try_clone_to_owned()?);
    }
    let link = Link::new(ours, job, fds)?;
    let numbers = standard
        .each_ref()
        .map(|given| given.as_ref().map(Standard::raw));
    let made = match method {
        StartMethod::Zygote => copy(&mut nursery, &privileges, numbers, &theirs)?,
        StartMethod::Exec => exec(&environment, numbers, theirs)?,
    };
    drop(standard); // the child has them
    arguments.shared.sent();
    if let Some(seat) = &mut seat {
        seat.take(made.pid);
    }
    let keep_alive = (!orders.daemon).then(exit::keep_alive);
    let record = Record::new(
        keeper::next_id(),
        made,
        orders.name,
        method,
        link,
        seat,
        keep_alive,
    );
    let record = Arc::new(record);
    if let Err(error) = keeper::watch(&record) {
        record.end();
        return Err(error);
    }
    Ok(record)
}

/// Makes sure that there is a zygote, unless there cannot be one.
fn prepare(nursery: &mut Nursery, privileges: &Privileges) -> io::Result<()> {
    if let Nursery::Zygote(zygote) = nursery
        && !zygote.is_fit_for(privileges)
    {
        // Privileges were given up, or taken: nobody may have those of before.
        if let Nursery::Zygote(zygote) = std::mem::replace(nursery, Nursery::Empty) {
            zygote.end();
        }
    }
    if !matches!(nursery, Nursery::Empty) {
        return Ok(());
    }
    let environment: Vec<_> = std::env::vars_os().collect();
    let (ours, theirs) = pass::pair(false)?;
    let null = super::zygote::null()?;
    let made = keeper::exec(keeper::Order {
        environment: strings(&environment, Role::Zygote)?,
        descriptors: vec![
            Some(null.try_clone()?.into()),
            Some(null.try_clone()?.into()),
            Some(null.into()),
            Some(theirs),
        ],
        share_directories: true,
    })?;
    *nursery = match Zygote::new(made, ours, environment, privileges.clone()) {
        Ok(zygote) => Nursery::Zygote(Box::new(zygote)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Nursery::Impossible,
        Err(error) => return Err(error),
    };
    Ok(())
}

/// Has the zygote copy itself; one that has died is replaced.
fn copy(
    nursery: &mut Nursery,
    privileges: &Privileges,
    standard: [Option<RawFd>; 3],
    job: &OwnedFd,
) -> io::Result<Made> {
    for _ in 0..2 {
        let Nursery::Zygote(zygote) = &*nursery else {
            break;
        };
        match zygote.copy(standard, job) {
            Ok(made) => return Ok(made),
            Err(CopyError::Refused(error)) => return Err(error),
            Err(CopyError::Died) => {}
        }
        let pid = zygote.pid();
        if let Nursery::Zygote(zygote) = std::mem::replace(nursery, Nursery::Empty) {
            zygote.end();
        }
        // It may have made the copy before it died: then that one has the job.
        if let Some(pid) = keeper::unknown_child(pid)? {
            return Ok(Made {
                pid,
                pidfd: pidfd::open(pid)?,
            });
        }
        prepare(nursery, privileges)?;
    }
    Err(io::Error::other(
        "bingfa: the zygote was killed, or did not answer, twice while it made this process",
    ))
}

fn exec(
    environment: &[(OsString, OsString)],
    standard: [Option<RawFd>; 3],
    job: OwnedFd,
) -> io::Result<Made> {
    let mut descriptors = Vec::with_capacity(4);
    for number in standard {
        descriptors.push(number.map(fd::duplicate).transpose()?);
    }
    descriptors.push(Some(job));
    keeper::exec(keeper::Order {
        environment: strings(environment, Role::Job)?,
        descriptors,
        share_directories: false,
    })
}

/// The environment of a new image that has this role.
fn strings(environment: &[(OsString, OsString)], role: Role) -> io::Result<Vec<CString>> {
    let told = child::variable(role, std::process::id() as i32);
    let own = (OsStr::new(child::VARIABLE), OsStr::new(&told));
    let all = environment.iter().map(|(n, v)| (&**n, &**v)).chain([own]);
    all.map(|(name, value)| {
        let bytes = [name.as_bytes(), b"=", value.as_bytes()].concat();
        CString::new(bytes).map_err(|error| invalid(error.to_string()))
    })
    .collect()
}
