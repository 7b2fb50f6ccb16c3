//! Twin of [`std::fs::File`].

use std::fs::{FileTimes, Metadata, Permissions, TryLockError};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::SystemTime;

use super::OpenOptions;
use crate::io::op::{self, Backoff, Wait};
use crate::io::{file, polled};
use crate::sched::blocking;
use crate::sys::{fd, socket};

/// An open file.
///
/// The twin of [`std::fs::File`]. Several carriers may use one `File` by reference, or
/// clones of it; they share its position, and each read or write moves it on as a whole. The
/// file is closed when the last clone is dropped, and errors of that are ignored:
/// [`sync_all`](Self::sync_all) reports them.
///
/// # Cancellation
/// An operation under way completes first; see the [module](crate::fs).
///
/// # Examples
/// ```
/// use bingfa::fs::{self, File};
/// use bingfa::io::{Read, Write};
///
/// let path = std::env::temp_dir().join(format!("bingfa-file-{}", std::process::id()));
/// let mut file = File::create(&path)?;
/// file.write_all(b"hello")?;
/// file.sync_all()?;
///
/// let mut text = String::new();
/// File::open(&path)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct File {
    pub(super) std: std::fs::File,
    /// A [`Nature`], or 0 as long as nobody has asked.
    nature: AtomicU8,
}

/// How the transfers of a file wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Nature {
    /// Not for readiness: the file is stored somewhere.
    Stored = 1,
    /// Until there is something, or room: a FIFO.
    Streamed,
    /// The same, but there is no write that is sure not to wait: a terminal, a device, an
    /// eventfd.
    Device,
    /// One of these that is `O_NONBLOCK`: not at all.
    NeverWaits,
}

impl Nature {
    /// The one of `file`; may block the thread.
    fn of(file: &std::fs::File) -> Nature {
        let Ok(kind) = file.metadata().map(|metadata| metadata.file_type()) else {
            return Nature::Stored;
        };
        let stored = kind.is_file() || kind.is_dir() || kind.is_block_device();
        match kind.is_fifo() || kind.is_socket() {
            _ if stored => Nature::Stored,
            _ if fd::is_nonblocking(file.as_fd()) => Nature::NeverWaits,
            true => Nature::Streamed,
            // Of no kind at all: an eventfd, a timer, an inotify instance.
            false => Nature::Device,
        }
    }
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As for [`OpenOptions::open`].
    #[track_caller]
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing, which is made if it is not there and else emptied.
    ///
    /// # Errors
    /// As for [`OpenOptions::open`].
    #[track_caller]
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
    }

    /// Makes a file, for reading and writing.
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is something of that name, and
    /// those of [`OpenOptions::open`].
    #[track_caller]
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
    }

    /// Options to open a file with: [`OpenOptions::new`].
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until all of the file, its length and times included, is on its device.
    ///
    /// # Errors
    /// Those of `fsync(2)`: what was written before may not have arrived, and this is told
    /// once.
    #[track_caller]
    #[doc(alias = "fsync")]
    pub fn sync_all(&self) -> io::Result<()> {
        file::sync(&self.std, false)
    }

    /// Waits until the file's data are on its device, and what is needed to read them.
    ///
    /// # Errors
    /// As for [`sync_all`](Self::sync_all).
    #[track_caller]
    #[doc(alias = "fdatasync")]
    pub fn sync_data(&self) -> io::Result<()> {
        file::sync(&self.std, true)
    }

    /// Cuts the file off at `size` bytes, or lets it grow by zeros.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is not open for writing or is no
    /// file that has a size, and the others of `ftruncate(2)`.
    #[track_caller]
    #[doc(alias = "truncate")]
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        blocking::complete(&"truncate", || self.std.set_len(size))
    }

    /// Says what the file system knows of the file.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking::complete(&"stat", || self.std.metadata())
    }

    /// Makes a second handle of the same open file, with one position for both.
    ///
    /// # Errors
    /// When no more descriptors can be opened.
    pub fn try_clone(&self) -> io::Result<File> {
        Ok(File {
            std: self.std.try_clone()?,
            // Relaxed: as in `nature`.
            nature: AtomicU8::new(self.nature.load(Relaxed)),
        })
    }

    /// Changes who may do what with the file.
    ///
    /// # Errors
    /// Those of `fchmod(2)`.
    #[track_caller]
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        blocking::complete(&"chmod", || self.std.set_permissions(permissions))
    }

    /// Sets when the file was last read and changed.
    ///
    /// # Errors
    /// Those of `futimens(2)`.
    #[track_caller]
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        blocking::complete(&"utimens", || self.std.set_times(times))
    }

    /// Sets when the file was last changed.
    ///
    /// # Errors
    /// As for [`set_times`](Self::set_times).
    #[track_caller]
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    /// Waits for the advisory lock on the file and takes it, alone.
    ///
    /// The lock belongs to the open file, so clones share it, and two carriers exclude each
    /// other only if each has opened the file. It ends by [`unlock`](Self::unlock), or when
    /// the last clone is closed, also by the death of the process. The kernel tells no
    /// coroutine when the lock is free: one asks again, every 32 ms after a while.
    ///
    /// # Errors
    /// Those of `flock(2)`.
    ///
    /// # Cancellation
    /// A cancelled wait ends at once and has no lock.
    ///
    /// # Examples
    /// ```
    /// use bingfa::fs::{self, File, TryLockError};
    ///
    /// let path = std::env::temp_dir().join(format!("bingfa-lock-{}", std::process::id()));
    /// let (mine, theirs) = (File::create(&path)?, File::create(&path)?);
    /// mine.lock()?;
    /// assert!(matches!(theirs.try_lock(), Err(TryLockError::WouldBlock)));
    /// mine.unlock()?;
    /// theirs.lock()?;
    /// fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "flock")]
    pub fn lock(&self) -> io::Result<()> {
        lock(|| self.std.lock(), || self.try_lock())
    }

    /// Waits for the advisory lock on the file and takes it, together with others that do.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    ///
    /// # Cancellation
    /// As for [`lock`](Self::lock).
    #[track_caller]
    pub fn lock_shared(&self) -> io::Result<()> {
        lock(|| self.std.lock_shared(), || self.try_lock_shared())
    }

    /// Takes the lock of [`lock`](Self::lock) if it is free.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if it is not, and those of `flock(2)`.
    #[track_caller]
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        blocking::complete(&"flock", || self.std.try_lock())
    }

    /// Takes the lock of [`lock_shared`](Self::lock_shared) if it is free.
    ///
    /// # Errors
    /// As for [`try_lock`](Self::try_lock).
    #[track_caller]
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        blocking::complete(&"flock", || self.std.try_lock_shared())
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// Those of `flock(2)`.
    #[track_caller]
    pub fn unlock(&self) -> io::Result<()> {
        blocking::complete(&"flock", || self.std.unlock())
    }

    /// One whose nature is asked for at once, where that may block.
    pub(super) fn examined(std: std::fs::File) -> File {
        let nature = AtomicU8::new(Nature::of(&std) as u8);
        File { std, nature }
    }

    /// How transfers wait, asked for when that matters.
    #[track_caller]
    fn nature(&self) -> Nature {
        // Relaxed: the answer is the same whoever finds it, and nothing goes with it.
        match self.nature.load(Relaxed) {
            0 => {
                let nature = blocking::complete(&"stat", || Nature::of(&self.std));
                self.nature.store(nature as u8, Relaxed);
                nature
            }
            n if n == Nature::Stored as u8 => Nature::Stored,
            n if n == Nature::Streamed as u8 => Nature::Streamed,
            n if n == Nature::Device as u8 => Nature::Device,
            _ => Nature::NeverWaits,
        }
    }

    #[track_caller]
    pub(super) fn read_some(&self, buf: &mut [u8]) -> io::Result<usize> {
        if op::kernel_may_block() {
            return (&self.std).read(buf);
        }
        match self.nature() {
            Nature::Stored => file::read(&self.std, buf),
            Nature::Streamed | Nature::Device => polled::read(self.as_fd(), buf),
            Nature::NeverWaits => (&self.std).read(buf),
        }
    }

    #[track_caller]
    pub(super) fn write_some(&self, buf: &[u8]) -> io::Result<usize> {
        if op::kernel_may_block() {
            return (&self.std).write(buf);
        }
        match self.nature() {
            Nature::Stored => file::write(&self.std, buf),
            Nature::Streamed => polled::write(self.as_fd(), buf),
            Nature::Device => {
                op::wait_for(self.as_fd(), None, socket::POLLOUT, Wait::Forever)?;
                blocking::complete(&"write", || (&self.std).write(buf))
            }
            Nature::NeverWaits => (&self.std).write(buf),
        }
    }

    #[track_caller]
    pub(super) fn read_parts(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if op::kernel_may_block() {
            return (&self.std).read_vectored(bufs);
        }
        match self.nature() {
            Nature::Stored => blocking::complete(&"read", || (&self.std).read_vectored(bufs)),
            Nature::Streamed | Nature::Device | Nature::NeverWaits => {
                let first = bufs.iter_mut().find(|buf| !buf.is_empty());
                self.read_some(first.map_or(&mut [], |buf| &mut **buf))
            }
        }
    }

    #[track_caller]
    pub(super) fn write_parts(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if op::kernel_may_block() {
            return (&self.std).write_vectored(bufs);
        }
        match self.nature() {
            Nature::Stored => blocking::complete(&"write", || (&self.std).write_vectored(bufs)),
            Nature::Streamed | Nature::Device | Nature::NeverWaits => {
                let first = bufs.iter().find(|buf| !buf.is_empty());
                self.write_some(first.map_or(&[], |buf| &**buf))
            }
        }
    }

    #[track_caller]
    pub(super) fn seek_to(&self, to: SeekFrom) -> io::Result<u64> {
        let mut std = &self.std;
        match to {
            // Only the position changes.
            SeekFrom::Start(_) | SeekFrom::Current(_) => std.seek(to),
            // Where the end is, the server of a network file system may have to say.
            SeekFrom::End(_) => blocking::complete(&"seek", || std.seek(to)),
        }
    }

    #[track_caller]
    pub(super) fn read_some_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        if op::kernel_may_block() || self.nature() != Nature::Stored {
            return blocking::complete(&"read", || self.std.read_at(buf, offset));
        }
        file::read_at(&self.std, buf, offset)
    }

    #[track_caller]
    pub(super) fn write_some_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        if op::kernel_may_block() || self.nature() != Nature::Stored {
            return blocking::complete(&"write", || self.std.write_at(buf, offset));
        }
        file::write_at(&self.std, buf, offset)
    }
}

/// Waits for an advisory lock.
#[track_caller]
fn lock(
    in_the_kernel: impl FnOnce() -> io::Result<()>,
    at_once: impl Fn() -> Result<(), TryLockError>,
) -> io::Result<()> {
    if op::kernel_may_block() {
        return in_the_kernel();
    }
    let mut backoff = Backoff::new(Wait::Forever);
    loop {
        match at_once() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => backoff.pause()?,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}

impl From<std::fs::File> for File {
    fn from(std: std::fs::File) -> File {
        File {
            std,
            nature: AtomicU8::new(0),
        }
    }
}

impl From<File> for std::fs::File {
    fn from(file: File) -> std::fs::File {
        file.std
    }
}
