//! Thread-locals whose initialiser may wait.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;

/// A value of a thread-local cannot be reached any more: its thread is ending and has
/// dropped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError(());

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("already destroyed")
    }
}

impl std::error::Error for AccessError {}

impl From<std::thread::AccessError> for AccessError {
    fn from(_: std::thread::AccessError) -> Self {
        Self(())
    }
}

type Slot<T> = std::thread::LocalKey<OnceCell<T>>;

/// A key to a value that every operating-system thread has one of its own of; made by
/// [`thread_local!`](crate::thread_local).
///
/// All coroutines of a worker share its value; for one per coroutine there is
/// [`coroutine_local!`](crate::coroutine_local). The value is made on first use and dropped
/// when the thread ends.
pub struct LocalKey<T: 'static> {
    slot: fn() -> &'static Slot<T>,
    init: fn() -> T,
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(slot: fn() -> &'static Slot<T>, init: fn() -> T) -> Self {
        Self { slot, init }
    }

    /// Calls `f` with the thread's value. Both the initialiser and `f` may wait.
    ///
    /// The value is made before it is put in place: if another coroutine of the thread has
    /// put one there while this one's initialiser waited, that one stays and ours is dropped.
    /// So is ours if the initialiser itself uses the key; if it always does, it never ends.
    ///
    /// # Panics
    /// If the thread is ending and has dropped the value; see [`try_with`](Self::try_with).
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.try_with(f).unwrap_or_else(|error| destroyed(error))
    }

    /// As [`with`](Self::with).
    ///
    /// # Errors
    /// [`AccessError`] if the thread is ending and has dropped the value.
    pub fn try_with<F, R>(&'static self, f: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        let result = (self.slot)().try_with(|slot| {
            if slot.get().is_none() {
                let ours = (self.init)();
                drop(slot.set(ours)); // gives it back if somebody was faster
            }
            f(slot.get().expect("never taken out"))
        })?;
        Ok(result)
    }

    /// Makes `value` the first one, or gives it back if there is one already.
    fn start_with(&'static self, value: T) -> Option<T> {
        let result = (self.slot)().try_with(|slot| slot.set(value).err());
        result.unwrap_or_else(|error| destroyed(error.into()))
    }
}

#[cold]
fn destroyed(error: AccessError) -> ! {
    panic!("cannot access a thread-local during or after its destruction: {error}")
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value. If there is none yet, the initialiser is not run.
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn set(&'static self, value: T) {
        if let Some(value) = self.start_with(Cell::new(value)) {
            self.with(|cell| cell.swap(&value));
        }
    }

    /// A copy of the value.
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves `T::default()`.
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the value and gives back the one before.
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Borrows the value. Other coroutines of the thread find it borrowed while `f` waits.
    ///
    /// # Panics
    /// If it is mutably borrowed; and as [`with`](Self::with).
    pub fn with_borrow<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Mutably borrows the value. Other coroutines of the thread find it borrowed while `f`
    /// waits.
    ///
    /// # Panics
    /// If it is borrowed; and as [`with`](Self::with).
    pub fn with_borrow_mut<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&mut T) -> R,
    {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value. If there is none yet, the initialiser is not run.
    ///
    /// # Panics
    /// If it is borrowed; and as [`with`](Self::with).
    pub fn set(&'static self, value: T) {
        if let Some(value) = self.start_with(RefCell::new(value)) {
            self.with(|cell| drop(cell.replace(value.into_inner())));
        }
    }

    /// Takes the value and leaves `T::default()`.
    ///
    /// # Panics
    /// If it is borrowed; and as [`with`](Self::with).
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the value and gives back the one before.
    ///
    /// # Panics
    /// If it is borrowed; and as [`with`](Self::with).
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

/// Declares thread-locals whose initialiser may wait, with the syntax of
/// [`std::thread_local!`].
///
/// While the initialiser of std's lazy ones runs, its thread must not do anything else: a
/// coroutine must not wait in it. Here it may.
///
/// # Examples
/// ```
/// use std::cell::{Cell, RefCell};
///
/// bingfa::thread_local! {
///     static COUNT: Cell<u32> = const { Cell::new(1) };
///     pub static CONFIG: RefCell<String> = RefCell::new(load());
/// }
///
/// fn load() -> String {
///     bingfa::thread::sleep(std::time::Duration::from_millis(1));
///     "loaded".into()
/// }
///
/// COUNT.set(2);
/// CONFIG.with_borrow(|config| assert_eq!(config, "loaded"));
/// let other = bingfa::thread::spawn(|| COUNT.get());
/// assert_eq!((other.join().unwrap(), COUNT.get()), (1, 2));
/// ```
#[macro_export]
macro_rules! thread_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr; $($rest:tt)*) => {
        $crate::thread_local!($(#[$attr])* $vis static $name: $t = $init);
        $crate::thread_local!($($rest)*);
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr) => {
        $(#[$attr])*
        // Closures, not functions: names in `$init` must not find items of this macro.
        $vis static $name: $crate::thread::LocalKey<$t> = $crate::thread::LocalKey::new(
            || {
                ::std::thread_local! {
                    static SLOT: ::std::cell::OnceCell<$t> = const { ::std::cell::OnceCell::new() };
                }
                &SLOT
            },
            || $init,
        );
    };
}
