//! Twin of [`std::fs::read_dir`].

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use crate::sched::blocking;

/// How many entries a coroutine takes in for one wait.
const BATCH: usize = 128;

/// Lists what is in a directory, in no particular order, without `.` and `..`.
///
/// The twin of [`std::fs::read_dir`].
///
/// # Errors
/// [`NotFound`](io::ErrorKind::NotFound), [`NotADirectory`](io::ErrorKind::NotADirectory),
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied), and the others of `opendir(3)`.
///
/// # Cancellation
/// Before it begins, or after it is done.
///
/// # Examples
/// ```
/// use bingfa::fs;
///
/// let mut names = Vec::new();
/// for entry in fs::read_dir("/proc/self")? {
///     names.push(entry?.file_name());
/// }
/// assert!(names.iter().any(|name| name == "status"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    let path = path.as_ref();
    let std = blocking::complete(&"readdir", || std::fs::read_dir(path))?;
    Ok(ReadDir {
        std,
        taken: VecDeque::new(),
    })
}

/// The entries of a directory.
///
/// The twin of [`std::fs::ReadDir`]; made by [`read_dir`].
#[derive(Debug)]
pub struct ReadDir {
    std: std::fs::ReadDir,
    taken: VecDeque<io::Result<DirEntry>>,
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    /// Returns the next entry, or an error of `readdir(3)`.
    ///
    /// # Cancellation
    /// A cancelled call has taken nothing.
    #[track_caller]
    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.taken.is_empty() {
            let std = &mut self.std;
            self.taken = blocking::complete(&"readdir", || {
                let batch = std.take(BATCH);
                batch.map(|entry| entry.map(DirEntry::new)).collect()
            });
        }
        self.taken.pop_front()
    }
}

/// Something in a directory.
///
/// The twin of [`std::fs::DirEntry`]; its number is told by std's own
/// [`DirEntryExt`](crate::os::unix::fs::DirEntryExt).
#[derive(Debug)]
pub struct DirEntry {
    std: std::fs::DirEntry,
    /// Asked for where the entry was read, as directories mostly say it.
    file_type: Option<FileType>,
}

impl DirEntry {
    fn new(std: std::fs::DirEntry) -> DirEntry {
        let file_type = std.file_type().ok();
        DirEntry { std, file_type }
    }

    /// The path that was given to [`read_dir`], and the name.
    pub fn path(&self) -> PathBuf {
        self.std.path()
    }

    /// The name.
    pub fn file_name(&self) -> OsString {
        self.std.file_name()
    }

    /// Says what the file system knows of it; links are not followed.
    ///
    /// # Errors
    /// Those of `lstat(2)`.
    ///
    /// # Cancellation
    /// Before it begins, or after it is done.
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking::complete(&"stat", || self.std.metadata())
    }

    /// Says what it is; links are not followed.
    ///
    /// # Errors
    /// Those of `lstat(2)`, on file systems whose directories do not say it.
    ///
    /// # Cancellation
    /// Before it begins, or after it is done.
    #[track_caller]
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => blocking::complete(&"stat", || self.std.file_type()),
        }
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.std.ino()
    }
}
