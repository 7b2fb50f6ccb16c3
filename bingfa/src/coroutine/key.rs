//! Values that each coroutine has for itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::AccessError;

use crate::park::locals;

/// A key to a value that every coroutine (and every plain thread) has one of its own of;
/// made by [`coroutine_local!`](crate::coroutine_local).
///
/// The value is made on first use and dropped when the coroutine ends, on its stack.
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
}

impl<T> std::fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> Self {
        Self { init }
    }

    /// Calls `f` with the calling carrier's value. Both the initialiser and `f` may wait.
    ///
    /// # Panics
    /// If the initialiser asks for the value that it makes and does not stop on its own; on a
    /// plain thread that is ending and has dropped its values (see [`try_with`](Self::try_with)).
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f)
            .expect("cannot access a coroutine-local of a thread that has dropped it")
    }

    /// As [`with`](Self::with).
    ///
    /// # Errors
    /// [`AccessError`] on a plain thread that is ending and has dropped its values; never in a
    /// coroutine.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let id = std::ptr::from_ref(self) as usize;
        let value = match locals::try_with(|locals| locals.get(id))? {
            Some(value) => value,
            None => {
                let value: Rc<dyn std::any::Any> = Rc::new((self.init)());
                locals::try_with(|locals| locals.insert(id, value.clone()))?;
                value
            }
        };
        Ok(f(value
            .downcast_ref::<T>()
            .expect("the key's address names its type")))
    }
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value.
    pub fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    /// A copy of the value.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves `T::default()`.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the value and gives back the one before.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Borrows the value, also while `f` waits: nobody else has it.
    ///
    /// # Panics
    /// If it is mutably borrowed.
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Mutably borrows the value, also while `f` waits: nobody else has it.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn set(&'static self, value: T) {
        self.with(|cell| drop(cell.replace(value)));
    }

    /// Takes the value and leaves `T::default()`.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the value and gives back the one before.
    ///
    /// # Panics
    /// If it is borrowed.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

/// Declares coroutine-local values, with the syntax of [`std::thread_local!`].
///
/// # Examples
/// ```
/// use std::cell::Cell;
/// use bingfa::coroutine;
///
/// bingfa::coroutine_local! {
///     static DEPTH: Cell<u32> = Cell::new(0);
/// }
///
/// bingfa::run(|| {
///     DEPTH.set(5);
///     let other = coroutine::spawn_local(|| DEPTH.get());
///     assert_eq!(other.join().unwrap(), 0);
///     assert_eq!(DEPTH.get(), 5);
/// });
/// ```
#[macro_export]
macro_rules! coroutine_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr; $($rest:tt)*) => {
        $crate::coroutine_local!($(#[$attr])* $vis static $name: $t = $init);
        $crate::coroutine_local!($($rest)*);
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr) => {
        $(#[$attr])*
        // A closure, not a function: a name in `$init` must not find an item of this macro.
        $vis static $name: $crate::coroutine::LocalKey<$t> =
            $crate::coroutine::LocalKey::new(|| $init);
    };
}
