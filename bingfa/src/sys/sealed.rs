//! Bytes in memory files that nobody can change any more (`memfd_create(2)`, `F_ADD_SEALS`).
//!
//! # Invariants
//! 1. A file that has the seals [`SEALS`] has its size and contents for ever, so a mapping of
//!    it is a `[u8]`, and no access to it can fail.
//! 2. A [`Sealed`] owns its mapping until it is dropped.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// A sealed file with these bytes.
///
/// # Errors
/// If there is not so much memory, or no more descriptors.
pub(crate) fn file_of(bytes: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: the name is a string; the new descriptor is ours.
    let mut file = unsafe {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        let fd = libc::memfd_create(c"bingfa-message".as_ptr(), flags);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        File::from_raw_fd(fd)
    };
    file.write_all(bytes)?;
    // SAFETY: takes no pointers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}

/// The bytes of a sealed file.
#[derive(Debug)]
pub(crate) struct Sealed {
    start: NonNull<u8>,
    len: usize,
}

impl Sealed {
    /// Maps a file that somebody else has made.
    ///
    /// # Errors
    /// `InvalidData` if it is not sealed, is empty, or is longer than `longest`; the kernel's
    /// if it cannot be mapped.
    pub(crate) fn map(fd: BorrowedFd<'_>, longest: u64) -> io::Result<Sealed> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        // SAFETY: takes no pointers; of what has no seals it says so.
        let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & SEALS != SEALS {
            return Err(invalid("its file is not sealed".into()));
        }
        let size = File::from(fd.try_clone_to_owned()?).metadata()?.len();
        let len = usize::try_from(size)
            .ok()
            .filter(|&len| len > 0 && size <= longest)
            .ok_or_else(|| invalid(format!("it has {size} bytes; at most {longest} are taken")))?;
        // SAFETY: a new mapping, placed by the kernel.
        let start = unsafe {
            let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
            libc::mmap(ptr::null_mut(), len, protection, flags, fd.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("the kernel never maps at null");
        Ok(Sealed { start, len })
    }
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped, readable and constant (invariants 1, 2).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // SAFETY: ours (invariant 2), and nobody borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn bytes_arrive_and_stay() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let file = file_of(&bytes).unwrap();
        let sealed = Sealed::map(file.as_fd(), 100_000).unwrap();
        let mut writer = File::from(file.try_clone().unwrap());
        assert!(writer.write_all(b"x").is_err());
        assert!(writer.set_len(1).is_err());
        drop(file);
        assert_eq!(&sealed[..], bytes);
    }

    #[test]
    fn what_could_change_or_is_too_long_is_refused() {
        let file = file_of(b"long").unwrap();
        let error = Sealed::map(file.as_fd(), 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let empty = file_of(b"").unwrap();
        assert!(Sealed::map(empty.as_fd(), 3).is_err());
        let plain = File::open("/proc/self/exe").unwrap();
        let error = Sealed::map(plain.as_fd(), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("not sealed"), "{error}");
    }
}
