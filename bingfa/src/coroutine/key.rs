//! Values that each coroutine has for itself.

use std::rc::Rc;

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
    /// If the initialiser asks for the value that it makes and does not stop on its own.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let id = std::ptr::from_ref(self) as usize;
        let value = locals::with(|locals| locals.get(id)).unwrap_or_else(|| {
            let value: Rc<dyn std::any::Any> = Rc::new((self.init)());
            locals::with(|locals| locals.insert(id, value.clone()));
            value
        });
        f(value
            .downcast_ref::<T>()
            .expect("the key's address names its type"))
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
///     DEPTH.with(|depth| depth.set(5));
///     let other = coroutine::spawn_local(|| DEPTH.with(Cell::get));
///     assert_eq!(other.join().unwrap(), 0);
///     assert_eq!(DEPTH.with(Cell::get), 5);
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
