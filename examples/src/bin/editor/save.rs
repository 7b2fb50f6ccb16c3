//! The file: read once, then replaced as a whole.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use bingfa::fs::{self, File, TryLockError};

/// A text on disk, which no other editor has.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    /// In the same directory, so that a rename can put it in place.
    new: PathBuf,
    lock: PathBuf,
    /// Held, by its lock, as long as we live; the kernel frees it when we are killed.
    _held: File,
}

impl Document {
    /// Reads the text at `path`, which is empty if there is none.
    ///
    /// # Errors
    /// If it is no text in a directory, or another editor has it.
    pub(crate) fn open(path: &Path) -> io::Result<(Document, String)> {
        let named = |error: io::Error| {
            let message = format!("{}: {error}", path.display());
            io::Error::new(error.kind(), message)
        };
        // A link's file is replaced, not the link.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => std::path::absolute(path)?,
            Err(error) => return Err(named(error)),
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(named(error)),
        };
        let beside = |ending: &str| {
            let mut name = OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(ending);
            path.with_file_name(name)
        };
        let (new, lock) = (beside(".new"), beside(".lock"));
        let held = File::create(&lock).map_err(named)?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(named(io::Error::other("another editor has it open")));
            }
            Err(TryLockError::Error(error)) => return Err(named(error)),
        }
        let document = Document {
            path,
            new,
            lock,
            _held: held,
        };
        Ok((document, text))
    }

    /// Makes `text` the content of the file: at one moment it is the old, at the next the
    /// new, and once this returns it stays so through a power cut.
    ///
    /// The new file has one name, so that those who were killed leave one at most. (The crate
    /// `tempfile` would take a new name each time.)
    ///
    /// # Errors
    /// Those of the system, such as a full disk; the file is as it was.
    pub(crate) fn save(&self, text: &str) -> io::Result<()> {
        match fs::remove_file(&self.new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A new one: it must not be a link that somebody has put there.
        let mut file = File::create_new(&self.new)?;
        let replaced = self.replace_by(&mut file, text);
        if replaced.is_err() {
            let _ = fs::remove_file(&self.new); // on a full disk, room is welcome
        }
        replaced
    }

    fn replace_by(&self, new: &mut File, text: &str) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(old) => new.set_permissions(old.permissions())?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&self.new, &self.path)?;
        let directory = self.path.parent().expect("it is absolute, and a file");
        File::open(directory)?.sync_all()
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.lock);
    }
}
