//! Twin of [`std::fs::DirBuilder`].

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::sched::blocking;

/// Makes directories in various manners.
///
/// The twin of [`std::fs::DirBuilder`]. `mode` is set by std's own
/// [`DirBuilderExt`](crate::os::unix::fs::DirBuilderExt).
///
/// # Examples
/// ```
/// use bingfa::fs::{self, DirBuilder};
///
/// let top = std::env::temp_dir().join(format!("bingfa-dirs-{}", std::process::id()));
/// DirBuilder::new().recursive(true).create(top.join("a/b"))?;
/// assert!(fs::metadata(top.join("a/b"))?.is_dir());
/// fs::remove_dir_all(&top)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct DirBuilder(std::fs::DirBuilder);

impl DirBuilder {
    /// Makes one directory, with what the process's umask leaves of mode 0o777.
    #[allow(clippy::new_without_default, reason = "as in std")]
    pub fn new() -> DirBuilder {
        DirBuilder(std::fs::DirBuilder::new())
    }

    /// Says whether missing directories above are made as well, and those that are there
    /// already are no error.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.0.recursive(recursive);
        self
    }

    /// Makes the directory.
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) unless recursive, and the others of
    /// `mkdir(2)`.
    ///
    /// # Cancellation
    /// Before it begins, or after it is done.
    #[track_caller]
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        blocking::complete(&"mkdir", || self.0.create(path))
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.0.mode(mode);
        self
    }
}
