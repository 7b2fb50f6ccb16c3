//! What all guards are: pointers to what their lock protects, shown as it.
//!
//! Implementations of foreign traits for several types, which only a macro writes once. Each
//! guard names its lock by a field, whose `data` is an `UnsafeCell`; the files that use these
//! state the invariant 1 that makes it right: what a guard is for is nobody else's to write, or,
//! for [`guards_that_change`], nobody else's at all.

/// Guards through which the data are read.
macro_rules! guards {
    ($lock:ident: $($guard:ty),+) => {$(
        impl<T: ?Sized> std::ops::Deref for $guard {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                // SAFETY: nobody else writes while the guard lives (invariant 1).
                unsafe { &*self.$lock.data.get() }
            }
        }

        impl<T: ?Sized + std::fmt::Debug> std::fmt::Debug for $guard {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: ?Sized + std::fmt::Display> std::fmt::Display for $guard {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }
    )+};
}

/// Guards through which the data are read and written.
macro_rules! guards_that_change {
    ($lock:ident: $($guard:ty),+) => {
        $crate::sync::guard::guards!($lock: $($guard),+);
        $(
            impl<T: ?Sized> std::ops::DerefMut for $guard {
                #[inline]
                fn deref_mut(&mut self) -> &mut T {
                    // SAFETY: ours while the guard lives (invariant 1).
                    unsafe { &mut *self.$lock.data.get() }
                }
            }
        )+
    };
}

pub(super) use {guards, guards_that_change};
