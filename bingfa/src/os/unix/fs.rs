//! Twin of [`std::os::unix::fs`].
//!
//! The extension traits are std's own; [`File`](crate::fs::File),
//! [`OpenOptions`](crate::fs::OpenOptions), [`DirBuilder`](crate::fs::DirBuilder) and
//! [`DirEntry`](crate::fs::DirEntry) implement them.

use std::io;
use std::os::unix::fs as std_fs;
use std::path::Path;

use crate::io::file::complete;

pub use std::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};

/// Makes a symbolic link to `original`.
///
/// The twin of [`std::os::unix::fs::symlink`].
///
/// # Errors
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is something of that name, and the
/// others of `symlink(2)`.
///
/// # Cancellation
/// Before it begins, or after it is done.
#[track_caller]
pub fn symlink<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    complete(&"symlink", || std_fs::symlink(original, link))
}

/// Changes the owner and the group of a file; links are followed.
///
/// The twin of [`std::os::unix::fs::chown`].
///
/// # Errors
/// Those of `chown(2)`.
///
/// # Cancellation
/// Before it begins, or after it is done.
#[track_caller]
pub fn chown<P: AsRef<Path>>(path: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let path = path.as_ref();
    complete(&"chown", || std_fs::chown(path, uid, gid))
}

/// The same of a link itself.
///
/// The twin of [`std::os::unix::fs::lchown`].
///
/// # Errors
/// Those of `lchown(2)`.
///
/// # Cancellation
/// Before it begins, or after it is done.
#[track_caller]
pub fn lchown<P: AsRef<Path>>(path: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let path = path.as_ref();
    complete(&"chown", || std_fs::lchown(path, uid, gid))
}
