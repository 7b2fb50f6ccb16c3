//! The functions that take paths.
//!
//! Each is std's function of the same name, made where it blocks no worker.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use super::DirBuilder;
use crate::sched::blocking;

/// Reads a whole file.
///
/// The twin of [`std::fs::read`].
///
/// # Errors
/// Those of opening and reading it: [`NotFound`](io::ErrorKind::NotFound) if it is not there,
/// [`IsADirectory`](io::ErrorKind::IsADirectory) if it is a directory.
///
/// # Cancellation
/// Before it begins, or after it is done.
///
/// # Examples
/// ```
/// use bingfa::fs;
///
/// let program = fs::read(std::env::current_exe()?)?;
/// assert_eq!(program[..4], *b"\x7fELF");
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    blocking::complete(&"read", || fs::read(path))
}

/// Reads a whole file as text.
///
/// The twin of [`std::fs::read_to_string`].
///
/// # Errors
/// Those of [`read`], and [`InvalidData`](io::ErrorKind::InvalidData) if it is not UTF-8.
///
/// # Cancellation
/// As for [`read`].
///
/// # Examples
/// ```
/// use bingfa::fs;
///
/// let status = fs::read_to_string("/proc/self/status")?;
/// assert!(status.starts_with("Name:"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    let path = path.as_ref();
    blocking::complete(&"read", || fs::read_to_string(path))
}

/// Writes `contents` as the whole of a file, which is made or emptied first.
///
/// The twin of [`std::fs::write`]. A crash in between leaves a part; the example of this
/// [module](crate::fs) shows how to replace a file at once.
///
/// # Errors
/// Those of opening and writing it: [`NotFound`](io::ErrorKind::NotFound) if its directory is
/// not there, [`StorageFull`](io::ErrorKind::StorageFull) if the device is full,
/// [`FileTooLarge`](io::ErrorKind::FileTooLarge) past `RLIMIT_FSIZE` (with `SIGXFSZ` ignored).
///
/// # Cancellation
/// As for [`read`].
///
/// # Examples
/// ```
/// use bingfa::fs;
///
/// let path = std::env::temp_dir().join(format!("bingfa-write-{}", std::process::id()));
/// fs::write(&path, "text")?;
/// assert_eq!(fs::read(&path)?, b"text");
/// fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    blocking::complete(&"write", || fs::write(path, contents))
}

/// Copies a file and its permissions; returns how many bytes it has.
///
/// The twin of [`std::fs::copy`].
///
/// # Errors
/// Those of reading the one and writing the other;
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if `from` is not a file.
///
/// # Cancellation
/// As for [`read`]: a long copy is not cut short. [`io::copy`] between two
/// [`File`](super::File)s is.
#[track_caller]
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    blocking::complete(&"copy", || fs::copy(from, to))
}

/// Gives a file or directory the name `to`, whose former file, if any, is replaced at that
/// moment.
///
/// The twin of [`std::fs::rename`].
///
/// # Errors
/// [`NotFound`](io::ErrorKind::NotFound) if `from` is not there,
/// [`CrossesDevices`](io::ErrorKind::CrossesDevices) if `to` is on another file system, and
/// the others of `rename(2)`.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
pub fn rename<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    blocking::complete(&"rename", || fs::rename(from, to))
}

/// Gives a file a second name, `link`.
///
/// The twin of [`std::fs::hard_link`].
///
/// # Errors
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is something of that name, and the
/// others of `link(2)`.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
pub fn hard_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    blocking::complete(&"link", || fs::hard_link(original, link))
}

/// Says where a symbolic link leads.
///
/// The twin of [`std::fs::read_link`].
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is no link, and the others of
/// `readlink(2)`.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
pub fn read_link<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking::complete(&"readlink", || fs::read_link(path))
}

/// Returns the absolute path without links and dots.
///
/// The twin of [`std::fs::canonicalize`].
///
/// # Errors
/// [`NotFound`](io::ErrorKind::NotFound) if a part is not there, and the others of
/// `realpath(3)`.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
pub fn canonicalize<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking::complete(&"realpath", || fs::canonicalize(path))
}

/// Whether there is something of that name; links are followed.
///
/// The twin of [`std::fs::exists`].
///
/// # Errors
/// If that cannot be known, as in a directory that may not be read.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
pub fn exists<P: AsRef<Path>>(path: P) -> io::Result<bool> {
    let path = path.as_ref();
    blocking::complete(&"stat", || fs::exists(path))
}

/// Says what the file system knows of a file or directory; links are followed.
///
/// The twin of [`std::fs::metadata`].
///
/// # Errors
/// [`NotFound`](io::ErrorKind::NotFound) if it is not there, and the others of `stat(2)`.
///
/// # Cancellation
/// As for [`read`].
///
/// # Examples
/// ```
/// assert!(bingfa::fs::metadata("/")?.is_dir());
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking::complete(&"stat", || fs::metadata(path))
}

/// The same of a link itself.
///
/// The twin of [`std::fs::symlink_metadata`].
///
/// # Errors
/// As for [`metadata`].
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
pub fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking::complete(&"stat", || fs::symlink_metadata(path))
}

/// Changes who may do what with a file or directory.
///
/// The twin of [`std::fs::set_permissions`].
///
/// # Errors
/// Those of `chmod(2)`.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
pub fn set_permissions<P: AsRef<Path>>(path: P, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    blocking::complete(&"chmod", || fs::set_permissions(path, permissions))
}

/// Removes a file's name, and the file with its last name and last descriptor.
///
/// The twin of [`std::fs::remove_file`].
///
/// # Errors
/// [`NotFound`](io::ErrorKind::NotFound) if it is not there,
/// [`IsADirectory`](io::ErrorKind::IsADirectory) if it is a directory, and the others of
/// `unlink(2)`.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
#[doc(alias = "unlink")]
pub fn remove_file<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    blocking::complete(&"unlink", || fs::remove_file(path))
}

/// Makes a directory.
///
/// The twin of [`std::fs::create_dir`].
///
/// # Errors
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is something of that name, and the
/// others of `mkdir(2)`.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
#[doc(alias = "mkdir")]
pub fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Makes a directory and those above it that are missing.
///
/// The twin of [`std::fs::create_dir_all`].
///
/// # Errors
/// As for [`create_dir`], except that directories may be there already.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
#[doc(alias = "makedirs")]
pub fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// Removes an empty directory.
///
/// The twin of [`std::fs::remove_dir`].
///
/// # Errors
/// [`DirectoryNotEmpty`](io::ErrorKind::DirectoryNotEmpty), and the others of `rmdir(2)`.
///
/// # Cancellation
/// As for [`read`].
#[track_caller]
#[doc(alias = "rmdir")]
pub fn remove_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    blocking::complete(&"rmdir", || fs::remove_dir(path))
}

/// Removes a directory with all that is in it. Links are removed, not followed.
///
/// The twin of [`std::fs::remove_dir_all`].
///
/// # Errors
/// The first that occurs; what was removed by then is gone.
///
/// # Cancellation
/// As for [`read`]: it is not cut short.
#[track_caller]
#[doc(alias = "rmtree")]
pub fn remove_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    blocking::complete(&"rmdir", || fs::remove_dir_all(path))
}
