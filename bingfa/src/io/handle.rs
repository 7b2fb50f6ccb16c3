//! The trait impls that all socket types have in common.
//!
//! Each type is a tuple struct around [`Socket`](super::socket::Socket). The impls of
//! foreign traits for several types cannot be written once in any other way than by a
//! macro.

/// Conversions of a socket type to and from descriptors and std's own type.
macro_rules! descriptor_conversions {
    ($ours:ident, $std:ty, $kind:expr) => {
        impl std::os::fd::AsFd for $ours {
            #[inline]
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $ours {
            #[inline]
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&self.0))
            }
        }

        #[allow(unsafe_code)]
        impl std::os::fd::FromRawFd for $ours {
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> Self {
                // SAFETY: the caller hands over an open descriptor that it owns.
                Self::from(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
            }
        }

        impl std::os::fd::IntoRawFd for $ours {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                self.0.into_fd().into_raw_fd()
            }
        }

        impl From<std::os::fd::OwnedFd> for $ours {
            fn from(fd: std::os::fd::OwnedFd) -> Self {
                $ours($crate::io::socket::Socket::adopt(fd, $kind))
            }
        }

        impl From<$ours> for std::os::fd::OwnedFd {
            fn from(socket: $ours) -> Self {
                socket.0.into_fd()
            }
        }

        impl From<$std> for $ours {
            fn from(socket: $std) -> Self {
                Self::from(std::os::fd::OwnedFd::from(socket))
            }
        }

        impl From<$ours> for $std {
            fn from(socket: $ours) -> Self {
                Self::from(std::os::fd::OwnedFd::from(socket))
            }
        }

        impl std::fmt::Debug for $ours {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&*self.0.lent::<$std>(), f)
            }
        }
    };
}

/// `Read` and `Write` of a stream type, for the type and for a reference to it.
macro_rules! stream_transfers {
    ($ours:ident) => {
        $crate::io::handle::stream_transfers!(@impls $ours, $ours);
        $crate::io::handle::stream_transfers!(@impls $ours, &$ours);
    };
    (@impls $ours:ident, $target:ty) => {
        impl std::io::Read for $target {
            #[inline]
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.0.recv(buf, 0)
            }

            #[track_caller]
            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.0.recv_vectored(bufs)
            }

            #[track_caller]
            fn read_exact(&mut self, buf: &mut [u8]) -> std::io::Result<()> {
                self.0.recv_exact(buf)
            }
        }

        impl std::io::Write for $target {
            #[inline]
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.0.send(buf)
            }

            #[track_caller]
            fn write_vectored(
                &mut self,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<usize> {
                self.0.send_vectored(bufs)
            }

            #[track_caller]
            fn write_all(&mut self, buf: &[u8]) -> std::io::Result<()> {
                self.0.send_all(buf)
            }

            #[inline]
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

pub(crate) use {descriptor_conversions, stream_transfers};
