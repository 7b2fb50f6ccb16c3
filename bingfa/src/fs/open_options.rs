//! Twin of [`std::fs::OpenOptions`].

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::File;
use crate::io::op;
use crate::sched::blocking;

/// How a file is to be opened.
///
/// The twin of [`std::fs::OpenOptions`]. `mode` and `custom_flags` are set by std's own
/// [`OpenOptionsExt`](crate::os::unix::fs::OpenOptionsExt).
///
/// # Examples
/// ```
/// use bingfa::fs::{self, OpenOptions};
/// use bingfa::io::{ErrorKind, Write};
///
/// let path = std::env::temp_dir().join(format!("bingfa-log-{}", std::process::id()));
/// for line in ["first\n", "second\n"] {
///     let mut log = OpenOptions::new().append(true).create(true).open(&path)?;
///     log.write_all(line.as_bytes())?;
/// }
/// assert_eq!(fs::read_to_string(&path)?, "first\nsecond\n");
///
/// let taken = OpenOptions::new().write(true).create_new(true).open(&path);
/// assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
/// fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions(std::fs::OpenOptions);

impl OpenOptions {
    /// Options that allow nothing yet.
    #[allow(clippy::new_without_default, reason = "as in std")]
    pub fn new() -> OpenOptions {
        OpenOptions(std::fs::OpenOptions::new())
    }

    /// For reading.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.0.read(read);
        self
    }

    /// For writing, over what is there.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.0.write(write);
        self
    }

    /// For writing at the end, wherever that is by then.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.0.append(append);
        self
    }

    /// Emptied first.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.0.truncate(truncate);
        self
    }

    /// Made if it is not there.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.0.create(create);
        self
    }

    /// Made, and an error if there is something of that name.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.0.create_new(create_new);
        self
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound), [`AlreadyExists`](io::ErrorKind::AlreadyExists),
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied),
    /// [`IsADirectory`](io::ErrorKind::IsADirectory) for writing,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for options that contradict each other,
    /// and the others of `open(2)`.
    ///
    /// # Cancellation
    /// Before it begins, or after it is done, which for a FIFO is when the other end is
    /// opened.
    #[track_caller]
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        if op::kernel_may_block() {
            return self.0.open(path).map(File::from);
        }
        blocking::complete(&"open", || self.0.open(path).map(File::examined))
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.0.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.0.custom_flags(flags);
        self
    }
}
