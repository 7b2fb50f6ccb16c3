//! Plain data that processes share without a lock.
//!
//! # Invariants
//! 1. The payload is values of a `Pod` type, which every pattern of bytes is. It is read and
//!    written by atomic accesses only, as wide as the type's alignment allows, so that others
//!    who do the same at the same time are no data race: a value may be torn, and is
//!    a value all the same.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Pod;
use super::shared::{Shared, can_be_sent};
use crate::shm::kind::Kind;

/// Copies `count` bytes, each by one access of its kind.
macro_rules! by {
    ($atomic:ty, $from:expr, $to:expr, $count:expr, $load:ident) => {{
        let width = size_of::<$atomic>();
        for at in (0..$count).step_by(width) {
            // SAFETY: inside both, and aligned (caller); the shared one is only ever accessed
            // atomically (invariant 1).
            unsafe { by!($load, $atomic, $from.add(at), $to.add(at)) };
        }
    }};
    (load, $atomic:ty, $from:expr, $to:expr) => {
        $to.cast()
            .write($from.cast::<$atomic>().as_ref().load(Relaxed))
    };
    (store, $atomic:ty, $from:expr, $to:expr) => {
        $to.cast::<$atomic>()
            .as_ref()
            .store($from.cast().read(), Relaxed)
    };
}

/// Reads a value from shared memory.
///
/// # Safety
/// `at` is aligned for a `T` and inside the payload.
unsafe fn load<T: Pod>(at: NonNull<T>) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let to = NonNull::from(&mut value).cast::<u8>();
    let (from, len) = (at.cast::<u8>(), size_of::<T>());
    match align_of::<T>() {
        1 => by!(AtomicU8, from, to, len, load),
        2 => by!(AtomicU16, from, to, len, load),
        4 => by!(AtomicU32, from, to, len, load),
        _ => by!(AtomicU64, from, to, len, load),
    }
    // SAFETY: all its bytes were written, and any bytes are a value.
    unsafe { value.assume_init() }
}

/// Writes a value to shared memory.
///
/// # Safety
/// As for [`load`].
unsafe fn store<T: Pod>(at: NonNull<T>, value: T) {
    let from = NonNull::from(&value).cast::<u8>();
    let (to, len) = (at.cast::<u8>(), size_of::<T>());
    match align_of::<T>() {
        1 => by!(AtomicU8, from, to, len, store),
        2 => by!(AtomicU16, from, to, len, store),
        4 => by!(AtomicU32, from, to, len, store),
        _ => by!(AtomicU64, from, to, len, store),
    }
}

fn create<T: 'static, E: Pod>(values: &[E]) -> io::Result<Shared> {
    const { assert!(align_of::<E>() <= 64, "an alignment above 64") };
    Shared::create::<T>(Kind::Memory, size_of_val(values) as u64, |payload| {
        // SAFETY: the payload has room for it, and is nobody else's yet.
        unsafe {
            let from = NonNull::from(values).cast();
            payload
                .cast::<E>()
                .copy_from_nonoverlapping(from, values.len());
        }
        Ok(())
    })
}

/// Plain data that processes share, without a lock.
///
/// Readers and writers may meet: then a value larger than its alignment (and than 8 bytes)
/// may be torn, half old and half new. Nothing is ordered by it. With a lock:
/// [`Value`](super::Value).
///
/// A handle: clones are the same value, and so is what arrives in another process.
///
/// # Examples
/// ```
/// use bingfa::process::{self, RawValue};
///
/// let progress = RawValue::new(0u32)?;
/// let child = process::spawn(progress.clone(), |progress: RawValue<u32>| progress.set(100));
/// child.join().unwrap();
/// assert_eq!(progress.get(), 100);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RawValue<T: Pod> {
    shared: Shared,
    data: PhantomData<T>,
}

impl<T: Pod> RawValue<T> {
    /// Makes one with this value.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new(value: T) -> io::Result<Self> {
        create::<Self, T>(&[value]).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        let data = PhantomData;
        Self { shared, data }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> T {
        // SAFETY: the payload is one `T`.
        unsafe { load(self.shared.payload().cast()) }
    }

    /// Sets the value.
    pub fn set(&self, value: T) {
        // SAFETY: the payload is one `T`.
        unsafe { store(self.shared.payload().cast(), value) };
    }
}

/// A row of plain data that processes share, without a lock: its length is fixed.
///
/// Each of its values is as a [`RawValue`]. With a lock: [`Array`](super::Array).
///
/// # Examples
/// ```
/// use bingfa::process::{self, RawArray};
///
/// let marks = RawArray::new(&[0u8; 3])?;
/// let child = process::spawn(marks.clone(), |marks: RawArray<u8>| marks.set(1, 7));
/// child.join().unwrap();
/// assert_eq!(marks.to_vec(), [0, 7, 0]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RawArray<T: Pod> {
    shared: Shared,
    data: PhantomData<T>,
}

impl<T: Pod> RawArray<T> {
    /// Makes one with these values.
    ///
    /// # Errors
    /// If there is no memory, or no descriptor for the first of a family's shared objects.
    pub fn new(values: &[T]) -> io::Result<Self> {
        create::<Self, T>(values).map(Self::over)
    }

    fn over(shared: Shared) -> Self {
        let data = PhantomData;
        Self { shared, data }
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> usize {
        let bytes = self.shared.len() as usize;
        bytes.checked_div(size_of::<T>()).unwrap_or(0)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[track_caller]
    fn at(&self, index: usize) -> NonNull<T> {
        let len = self.len();
        assert!(
            index < len,
            "index {index} of a shared array of {len} values"
        );
        // SAFETY: inside the payload.
        unsafe { self.shared.payload().cast::<T>().add(index) }
    }

    /// The value at `index`.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn get(&self, index: usize) -> T {
        // SAFETY: inside, as `at` says.
        unsafe { load(self.at(index)) }
    }

    /// Sets the value at `index`.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn set(&self, index: usize, value: T) {
        // SAFETY: inside, as `at` says.
        unsafe { store(self.at(index), value) };
    }

    /// All values, one after the other.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        (0..self.len()).map(|index| self.get(index)).collect()
    }
}

can_be_sent!(RawValue<T>: Kind::Memory, RawArray<T>: Kind::Memory);

impl<T: Pod> Clone for RawValue<T> {
    fn clone(&self) -> Self {
        Self::over(self.shared.clone())
    }
}

impl<T: Pod> Clone for RawArray<T> {
    fn clone(&self) -> Self {
        Self::over(self.shared.clone())
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawValue").field(&self.get()).finish()
    }
}

impl<T: Pod> fmt::Debug for RawArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawArray")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
