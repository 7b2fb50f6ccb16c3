//! What the tests of processes share: children made in each way, a desk for the notes that
//! processes leave each other, and a look at who there is.

use std::fs;
use std::path::{Path, PathBuf};

use bingfa::coroutine;
use bingfa::process::{Builder, JoinHandle, RawValue, StartMethod, Stdio};

use super::{LONG, assert_well, in_child, until, until_in};

pub const METHODS: [StartMethod; 2] = [StartMethod::Zygote, StartMethod::Exec];

pub fn spawning(method: StartMethod) -> Builder {
    let builder = Builder::new().start_method(method);
    builder.env("RUST_BACKTRACE", "0")
}

/// Runs for ever.
pub fn idle((): ()) {
    std::thread::sleep(LONG);
}

/// A test in a process of its own.
#[track_caller]
pub fn child(name: &str, test: impl FnOnce()) {
    if let Some(output) = in_child(name, &[], test) {
        assert_well(&output);
    }
}

/// A child that panics on purpose.
pub fn quiet() -> Builder {
    Builder::new()
        .env("RUST_BACKTRACE", "0")
        .stderr(Stdio::null())
}

/// Says that it has come here, and waits to be killed.
pub fn stay(here: &RawValue<u32>) {
    here.set(1);
    loop {
        std::thread::park();
    }
}

/// Waits in a coroutine for `what`, says so, and goes on waiting.
pub fn wait_here(here: &RawValue<u32>, what: &str, wait: impl FnOnce() + Send + 'static) {
    let waiter = coroutine::spawn(wait);
    until_in(&waiter, what);
    here.set(1);
    waiter.join().unwrap();
}

/// Gives back whom it killed.
#[track_caller]
pub fn kill_and_join<T>(child: JoinHandle<T>) -> u32 {
    let pid = child.pid();
    child.kill().unwrap();
    assert!(child.join().is_err());
    pid
}

pub fn flag() -> RawValue<u32> {
    RawValue::new(0).unwrap()
}

/// A directory for files through which processes tell each other what they have done.
pub struct Desk(pub PathBuf);

impl Desk {
    pub fn new(name: &str) -> Desk {
        let path = std::env::temp_dir().join(format!("bingfa-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Desk(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Waits for a note and reads it.
    pub fn read(&self, name: &str) -> String {
        let path = self.file(name);
        until(|| path.exists());
        fs::read_to_string(path).unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Leaves a note; whoever sees it sees all of it.
pub fn leave(path: &Path, note: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, note).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// All children of this process, with their names as `ps` shows them and their states.
pub fn children() -> Vec<(i32, String, char)> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let list = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        for pid in list.split_whitespace() {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            let (head, tail) = stat.rsplit_once(") ").unwrap();
            let name = head.split_once('(').unwrap().1.to_owned();
            all.push((pid.parse().unwrap(), name, tail.chars().next().unwrap()));
        }
    }
    all
}

pub fn zygote() -> Option<i32> {
    let found = children().into_iter().find(|c| c.1 == "bingfa-zygote");
    found.map(|(pid, ..)| pid)
}

pub fn kill(pid: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}
