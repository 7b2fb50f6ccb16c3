//! `SharedMemory`: bytes that processes share.
//!
//! # Invariants
//! 1. The bytes from `start` on, `len` of them, are mapped as long as the handle exists.
//! 2. This module accesses them atomically only.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::carry::{self, Place};
use super::named::Named;
use super::shared::Shared;
use crate::shm::kind::Kind;
use crate::shm::object::Token;

/// Bytes that processes share.
///
/// A handle: clones are the same memory, and so is what arrives in another process, as an
/// argument or a result of [`spawn`](super::spawn()) or in another message of this module.
///
/// - [Anonymous](Self::new) memory goes with its last handle, however the processes that have
///   them end.
/// - [Named](Self::create) memory can be [opened](Self::open) by programs that have nothing in
///   common with this one but the user. Its name goes when the handles of the process that
///   has created it do. If that one is killed, the name stays as long as anybody has a
///   handle; after that, whoever next creates or opens named memory removes it.
///
/// Nobody keeps processes from writing at the same time; what [`read_at`](Self::read_at) gives
/// may then be partly old and partly new.
///
/// # Examples
/// ```
/// use bingfa::process::{self, SharedMemory};
///
/// let memory = SharedMemory::new(1 << 20)?;
/// let child = process::spawn(memory.clone(), |memory: SharedMemory| {
///     memory.write_at(4096, b"hello from afar");
/// });
/// child.join().unwrap();
/// let mut text = [0; 15];
/// memory.read_at(4096, &mut text);
/// assert_eq!(&text, b"hello from afar");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "shared_memory")]
#[doc(alias = "mmap")]
pub struct SharedMemory(Memory);

#[derive(Clone)]
enum Memory {
    Anonymous(Shared),
    Named(Arc<Named>),
}

impl SharedMemory {
    /// Makes memory without a name, `len` bytes, all zero.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new(len: usize) -> io::Result<Self> {
        let shared = Shared::create::<Self>(Kind::Memory, len as u64, |_| Ok(()))?;
        Ok(Self(Memory::Anonymous(shared)))
    }

    /// Makes memory with a name, `len` bytes, all zero.
    ///
    /// # Errors
    /// `AlreadyExists` if there is memory of this name that a process has a handle of;
    /// `InvalidInput` if the name is empty, longer than 200 bytes or has a slash; else if there
    /// is no memory or no descriptor.
    ///
    /// # Examples
    /// ```
    /// use bingfa::process::SharedMemory;
    ///
    /// let name = format!("doc-{}", std::process::id());
    /// let memory = SharedMemory::create(&name, 100)?;
    /// SharedMemory::open(&name)?.write_at(0, b"x");
    /// let mut byte = [0];
    /// memory.read_at(0, &mut byte);
    /// assert_eq!(byte, *b"x");
    /// drop(memory);
    /// assert!(SharedMemory::open(&name).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "shm_open")]
    pub fn create(name: &str, len: usize) -> io::Result<Self> {
        let named = Named::create(name, len)?;
        Ok(Self(Memory::Named(Arc::new(named))))
    }

    /// Opens the memory that another process, or this one, has created by this name.
    ///
    /// # Errors
    /// `NotFound` if there is none, or all who had a handle have ended; else if there is no
    /// descriptor or no address space.
    pub fn open(name: &str) -> io::Result<Self> {
        let named = Named::open(name)?;
        Ok(Self(Memory::Named(Arc::new(named))))
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Memory::Anonymous(_) => None,
            Memory::Named(named) => Some(named.name()),
        }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Memory::Anonymous(shared) => shared.len() as usize,
            Memory::Named(named) => named.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it begins in this process, aligned to 64 bytes; valid as long as a handle exists.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        match &self.0 {
            Memory::Anonymous(shared) => shared.payload().as_ptr(),
            Memory::Named(named) => named.start().as_ptr(),
        }
    }

    /// All of it.
    ///
    /// # Safety
    /// No process writes to it as long as the slice is used.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped (invariant 1); the rest is the caller's word.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// All of it.
    ///
    /// # Safety
    /// Nobody else, in any process, reads or writes it as long as the slice is used.
    #[must_use]
    #[expect(clippy::mut_from_ref, reason = "unique by the caller's word")]
    pub unsafe fn as_mut_slice(&self) -> &mut [u8] {
        // SAFETY: mapped (invariant 1); the rest is the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.len()) }
    }

    /// Reads as many bytes as `buf` has, from `offset` on.
    ///
    /// # Panics
    /// If they are not all inside.
    #[track_caller]
    pub fn read_at(&self, offset: usize, buf: &mut [u8]) {
        let from = self.range(offset, buf.len());
        let mut at = 0;
        for (width, len) in steps(from, buf.len()) {
            let end = at + len;
            while at < end {
                // SAFETY: inside (`range`), and aligned to its width (`steps`).
                unsafe {
                    let place = from.add(at);
                    if width == 8 {
                        let word = place.cast::<AtomicU64>().as_ref().load(Relaxed);
                        buf[at..at + 8].copy_from_slice(&word.to_ne_bytes());
                    } else {
                        buf[at] = place.cast::<AtomicU8>().as_ref().load(Relaxed);
                    }
                }
                at += width;
            }
        }
    }

    /// Writes `bytes`, from `offset` on.
    ///
    /// # Panics
    /// If there is no room for all of them.
    #[track_caller]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) {
        let to = self.range(offset, bytes.len());
        let mut at = 0;
        for (width, len) in steps(to, bytes.len()) {
            let end = at + len;
            while at < end {
                // SAFETY: as in `read_at`.
                unsafe {
                    let place = to.add(at);
                    if width == 8 {
                        let word = bytes[at..at + 8].try_into().expect("8 bytes");
                        let place = place.cast::<AtomicU64>();
                        place.as_ref().store(u64::from_ne_bytes(word), Relaxed);
                    } else {
                        place.cast::<AtomicU8>().as_ref().store(bytes[at], Relaxed);
                    }
                }
                at += width;
            }
        }
    }

    #[track_caller]
    fn range(&self, offset: usize, len: usize) -> NonNull<u8> {
        let own = self.len();
        let inside = offset.checked_add(len).is_some_and(|end| end <= own);
        assert!(
            inside,
            "{len} bytes at {offset} of shared memory of {own} bytes"
        );
        let start = NonNull::new(self.as_ptr()).expect("nothing is mapped at null");
        // SAFETY: inside.
        unsafe { start.add(offset) }
    }
}

/// How to cross `len` bytes from `at` on: a width, and for how many bytes.
fn steps(at: NonNull<u8>, len: usize) -> [(usize, usize); 3] {
    let head = at.as_ptr().align_offset(8).min(len);
    let middle = (len - head) / 8 * 8;
    [(1, head), (8, middle), (1, len - head - middle)]
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("name", &self.name())
            .field("len", &self.len())
            .finish()
    }
}

/// How it travels.
#[derive(Serialize, Deserialize)]
enum Travelling {
    Anonymous(Token),
    /// By its descriptor.
    Named(Place, String),
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Memory::Anonymous(shared) => Travelling::Anonymous(shared.export::<Self, _>()?),
            Memory::Named(named) => {
                let place = carry::attach::<Self, _>(named.file())?;
                Travelling::Named(place, named.name().into())
            }
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Travelling::deserialize(deserializer)? {
            Travelling::Anonymous(token) => {
                Memory::Anonymous(Shared::import::<Self, _>(Kind::Memory, token)?)
            }
            Travelling::Named(place, name) => {
                let file = carry::take::<Self, _>(place)?;
                let named = Named::over(file.into(), name).map_err(de::Error::custom)?;
                Memory::Named(Arc::new(named))
            }
        }))
    }
}
