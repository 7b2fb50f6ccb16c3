//! The path at which a manager listens, and what is left there.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::os::unix::net::{UnixListener, UnixStream};

/// A socket at a path, which is removed in the end, if it still is the same: once its listener
/// is gone, another manager may put its own there.
#[derive(Debug)]
pub(super) struct Bound {
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from one that comes later, even if the filesystem uses its number again.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
}

/// A listener that only this user can connect to. What somebody has left behind there whose
/// listener is gone is replaced.
///
/// # Errors
/// `AddrInUse` if somebody listens there; the filesystem's.
pub(super) fn bind(path: PathBuf) -> io::Result<(UnixListener, Bound)> {
    let listener = match UnixListener::bind(&path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let connected = UnixStream::connect(&path).map_err(|error| error.kind());
            if !matches!(connected, Err(ErrorKind::ConnectionRefused)) {
                return Err(error);
            }
            fs::remove_file(&path)?;
            UnixListener::bind(&path)?
        }
        bound => bound?,
    };
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let identity = identity(&path)?;
    Ok((listener, Bound { path, identity }))
}

impl Drop for Bound {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path); // somebody may have done so meanwhile
        }
    }
}
