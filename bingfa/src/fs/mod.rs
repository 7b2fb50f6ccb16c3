//! Twin of [`std::fs`]: files and directories, for plain threads and coroutines alike.
//!
//! The names, signatures, error kinds and semantics are std's; replacing `std::fs` by
//! `bingfa::fs` ports a program. On a plain thread each call is std's. In a coroutine it
//! does not hold the worker: what the page cache has, or has room for, is copied at once;
//! other transfers at a given offset and `sync_all` go through io_uring where that is the
//! backend; the rest is done by a small pool of threads.
//!
//! A [`File`] that is no stored file but a FIFO, a terminal or another device is waited for
//! as a pipe is. (A terminal may promise room and have less: the rest of such a write is a
//! thread's of the pool.)
//!
//! # Differences from std
//! - Methods of [`std::path::Path`] that ask the file system, such as `Path::exists`, are
//!   std's and hold the worker; [`exists`] and [`metadata`] do not.
//! - Closing a file, in its destructor, is done in place.
//! - `File` does not implement `IsTerminal`, which is sealed; its descriptor does:
//!   `file.as_fd().is_terminal()`.
//! - `Arc<File>` does not implement `Read`, `Write` and `Seek`; `&File` does.
//! - The unstable and the deprecated parts of std are absent.
//!
//! # Cancellation
//! An operation on a file that has begun completes first: a cancel, or an enclosing
//! timeout, acts before an operation that would wait, or at the next wait. So a file is
//! never left in the middle of a call; `write_all`, `copy` between readers and writers and
//! [`read_to_string`](std::io::Read::read_to_string) are several calls, and end between
//! two. Waits for a FIFO, terminal or [lock](File::lock) end at once. Opening a FIFO waits
//! for its other end and cannot be cut short.
//!
//! # Examples
//! Replacing a file so that whoever reads it, and whoever finds it after a crash, has
//! either the old text or the new one:
//! ```
//! use bingfa::fs::{self, File};
//! use bingfa::io::{self, Write};
//! use std::path::Path;
//!
//! fn save(path: &Path, text: &str) -> io::Result<()> {
//!     let directory = path.parent().expect("a file is in a directory");
//!     let new = path.with_extension("new");
//!     let mut file = File::create(&new)?;
//!     file.write_all(text.as_bytes())?;
//!     file.sync_all()?;
//!     fs::rename(&new, path)?;
//!     File::open(directory)?.sync_all()
//! }
//!
//! let path = std::env::temp_dir().join(format!("bingfa-save-{}", std::process::id()));
//! save(&path, "first")?;
//! save(&path, "second")?;
//! assert_eq!(fs::read_to_string(&path)?, "second");
//! # fs::remove_file(&path)?;
//! # Ok::<(), io::Error>(())
//! ```

mod dir_builder;
mod file;
mod file_impls;
mod open_options;
mod paths;
mod read_dir;

pub use std::fs::{FileTimes, FileType, Metadata, Permissions, TryLockError};

pub use self::dir_builder::DirBuilder;
pub use self::file::File;
pub use self::open_options::OpenOptions;
pub use self::paths::{
    canonicalize, copy, create_dir, create_dir_all, exists, hard_link, metadata, read, read_link,
    read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions,
    symlink_metadata, write,
};
pub use self::read_dir::{DirEntry, ReadDir, read_dir};
