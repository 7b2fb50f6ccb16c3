//! Error numbers, so that callers of raw results need not name `libc`.

pub(crate) use libc::{
    EAGAIN, EBADF, EBADR, EBUSY, ECANCELED, EEXIST, EINTR, EINVAL, ENOENT, ENOMEM, ENOSYS, EPERM,
    ETIME,
};

#[cfg(feature = "process")]
pub(crate) use libc::{EMFILE, ESRCH};

/// The calling thread's `errno`.
pub(crate) fn last() -> i32 {
    std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}
