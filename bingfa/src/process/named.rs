//! Memory with a name: a file in `/dev/shm` that nobody leaves behind.
//!
//! Every handle keeps the file open, with a shared lock on it (`flock(2)`), which the kernel
//! takes away with the last descriptor, however its process ends. So whoever gets the file's
//! exclusive lock knows that nobody has a handle, and removes its name. A name is given
//! to a file that is locked already, and taken away only with a lock, shared (by its owner) or
//! exclusive; hence it does not change its file in between.
//!
//! # Invariants
//! 1. The mapping is as long as the file was when it was mapped, and is taken away when the
//!    last handle of this process goes. Files here only ever have one size.
#![allow(unsafe_code)]

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Once;

use crate::sys::memfd;

const DIRECTORY: &str = "/dev/shm";
const PREFIX: &str = "bingfa.";

/// One process's part in named memory.
#[derive(Debug)]
pub(super) struct Named {
    file: File,
    name: String,
    start: NonNull<u8>,
    len: usize,
    /// In the process that has created it: its number (a fork is not the owner).
    owner: Option<u32>,
}

// SAFETY: what it points to is shared memory, accessed as its user says.
unsafe impl Send for Named {}
// SAFETY: as above.
unsafe impl Sync for Named {}

fn path(name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name.len() > 200 || name.contains(['/', '\0']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("bingfa: {name:?} cannot be a name of shared memory: 1 to 200 bytes, no slash"),
        ));
    }
    Ok(Path::new(DIRECTORY).join(format!("{PREFIX}{name}")))
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("bingfa: there is no shared memory of the name {name:?}, or nobody has it open"),
    )
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        // A link in a directory that everybody can write to is not to be followed.
        .custom_flags(memfd::NOFOLLOW)
        .open(path)?;
    // Nor is what somebody else has put there: he could shorten it under our hands (SIGBUS), and
    // he reads what is written to it.
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != memfd::effective_user() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "bingfa: {} is no shared memory of this user: no regular file, or another's",
                path.display()
            ),
        ));
    }
    Ok(file)
}

/// Whether `file` is what the path names.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    Ok(fs::symlink_metadata(path).is_ok_and(|seen| seen.ino() == own.ino()))
}

/// Removes the name if nobody has a handle. False: somebody has.
fn remove_if_left(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if is_named(file, path)? {
        fs::remove_file(path)?;
    }
    Ok(true)
}

/// Removes all names that killed processes have left, once in each process.
fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(entries) = fs::read_dir(DIRECTORY) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
                // Another user's cannot be opened.
                && let Ok(file) = open(&entry.path())
            {
                let _ = remove_if_left(&file, &entry.path());
            }
        }
    });
}

impl Named {
    pub(super) fn create(name: &str, len: usize) -> io::Result<Named> {
        let path = path(name)?;
        sweep();
        let file = File::options()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(memfd::WITHOUT_A_NAME)
            .open(DIRECTORY)?;
        if len > 0 {
            memfd::commit(file.as_fd(), 0, len as u64)?;
        }
        file.lock_shared()?;
        loop {
            match memfd::give_name(file.as_fd(), &path) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            match open(&path) {
                Ok(other) if remove_if_left(&other, &path)? => {}
                Ok(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::AlreadyExists,
                        format!("bingfa: there is shared memory of the name {name:?}, in use"),
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // just removed
                Err(error) => return Err(error),
            }
        }
        let mut named = Named::over(file, name.to_owned())?;
        named.owner = Some(std::process::id());
        Ok(named)
    }

    pub(super) fn open(name: &str) -> io::Result<Named> {
        let path = path(name)?;
        sweep();
        let file = open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_found(name),
            _ => error,
        })?;
        if remove_if_left(&file, &path)? {
            return Err(not_found(name));
        }
        // Waits at most for one who is just looking whether it is left.
        file.lock_shared()?;
        if !is_named(&file, &path)? {
            return Err(not_found(name));
        }
        Named::over(file, name.to_owned())
    }

    /// A handle of a file that is locked, by this descriptor or the one it was copied from.
    pub(super) fn over(file: File, name: String) -> io::Result<Named> {
        let len = file.metadata()?.len() as usize;
        // Nothing cannot be mapped.
        let start = memfd::map(file.as_fd(), 0, len.max(1))?;
        Ok(Named {
            file,
            name,
            start,
            len,
            owner: None,
        })
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.owner == Some(std::process::id())
            && let Ok(path) = path(&self.name)
            && is_named(&self.file, &path).unwrap_or(false)
        {
            let _ = fs::remove_file(path); // somebody else has removed it
        }
        // SAFETY: mapped with this length, and the last handle goes (invariant 1).
        unsafe { memfd::unmap(self.start, self.len.max(1)) };
    }
}
