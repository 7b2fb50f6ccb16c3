//! `epoll(7)`, with waits finer than a millisecond where the kernel has them.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::errno;

pub(crate) use libc::epoll_event as Event;

pub(crate) const IN: u32 = libc::EPOLLIN as u32;
pub(crate) const OUT: u32 = libc::EPOLLOUT as u32;
pub(crate) const PRI: u32 = libc::EPOLLPRI as u32;
pub(crate) const ERR: u32 = libc::EPOLLERR as u32;
pub(crate) const HUP: u32 = libc::EPOLLHUP as u32;
pub(crate) const RDHUP: u32 = libc::EPOLLRDHUP as u32;
pub(crate) const EDGE: u32 = libc::EPOLLET as u32;
pub(crate) const ONESHOT: u32 = libc::EPOLLONESHOT as u32;

/// Set once `epoll_pwait2` (Linux 5.11) has turned out to be missing or forbidden.
static NO_PWAIT2: AtomicBool = AtomicBool::new(false);

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Poll(OwnedFd);

impl Poll {
    pub(crate) fn new() -> io::Result<Poll> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Poll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Registers `fd`, or changes its registration. `known` says which is likelier;
    /// a wrong guess costs one call more.
    pub(crate) fn set(&self, fd: RawFd, events: u32, token: u64, known: bool) -> Result<(), i32> {
        let mut event = Event { events, u64: token };
        let mut control = |operation| {
            // SAFETY: `event` outlives the call.
            let answer =
                unsafe { libc::epoll_ctl(self.as_raw_fd(), operation, fd, &raw mut event) };
            if answer == 0 {
                Ok(())
            } else {
                Err(errno::last())
            }
        };
        let (first, otherwise, mistaken) = if known {
            (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD, errno::ENOENT)
        } else {
            (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD, errno::EEXIST)
        };
        match control(first) {
            Err(e) if e == mistaken => control(otherwise),
            other => other,
        }
    }

    /// Waits for events: without a limit for `None`, not at all for zero.
    pub(crate) fn wait(
        &self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> Result<(), i32> {
        events.clear();
        let room = i32::try_from(events.capacity()).unwrap_or(i32::MAX);
        let whole_ms = timeout.is_none_or(|t| t.is_zero());
        let found = if whole_ms || NO_PWAIT2.load(Relaxed) {
            self.wait_ms(events, room, timeout)
        } else {
            match self.wait_ns(events, room, timeout) {
                // EPERM: a seccomp profile that is older than the call.
                Err(errno::ENOSYS | errno::EPERM) => {
                    // Relaxed: a hint; whoever misses it finds out for itself.
                    NO_PWAIT2.store(true, Relaxed);
                    self.wait_ms(events, room, timeout)
                }
                other => other,
            }
        }?;
        // SAFETY: the kernel has filled in the first `found` events, and `found` is
        // at most `room`, which is at most the capacity.
        unsafe { events.set_len(found) };
        Ok(())
    }

    fn wait_ms(
        &self,
        events: &mut Vec<Event>,
        room: i32,
        timeout: Option<Duration>,
    ) -> Result<usize, i32> {
        // Rounded up: a wait that ends before its time would spin.
        let ms = timeout.map_or(-1, |t| {
            i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: `events` has room for `room` events.
        let found = unsafe { libc::epoll_wait(self.as_raw_fd(), events.as_mut_ptr(), room, ms) };
        usize::try_from(found).map_err(|_| errno::last())
    }

    fn wait_ns(
        &self,
        events: &mut Vec<Event>,
        room: i32,
        timeout: Option<Duration>,
    ) -> Result<usize, i32> {
        let limit = timeout.map(|t| libc::timespec {
            tv_sec: t.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: `events` has room for `room` events, `limit` is null or a
        // timespec that outlives the call, and there is no signal mask.
        let found = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.as_raw_fd(),
                events.as_mut_ptr(),
                room,
                limit,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        usize::try_from(found).map_err(|_| errno::last())
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Removes `fd` from the epoll instance `poll`, if it is there.
pub(crate) fn remove(poll: RawFd, fd: RawFd) {
    // Errors mean that there is nothing to remove.
    // SAFETY: EPOLL_CTL_DEL reads no event (Linux 2.6.9 and later).
    unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) };
}
