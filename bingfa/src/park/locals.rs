//! Values that belong to one coroutine, made on first use and dropped at its end.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::thread::AccessError;

/// Identifies a coroutine-local by the address of its static.
pub(crate) type LocalId = usize;

type Values = Vec<(LocalId, Rc<dyn Any>)>;

#[derive(Default)]
pub(crate) struct Locals(RefCell<Values>);

impl std::fmt::Debug for Locals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Locals")
            .field(&self.0.borrow().len())
            .finish()
    }
}

impl Locals {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    pub(crate) fn get(&self, id: LocalId) -> Option<Rc<dyn Any>> {
        self.0
            .borrow()
            .iter()
            .find(|(key, _)| *key == id)
            .map(|(_, value)| value.clone())
    }

    pub(crate) fn insert(&self, id: LocalId, value: Rc<dyn Any>) {
        self.0.borrow_mut().push((id, value));
    }

    /// Drops all values, in the order they were made, and those that their destructors
    /// make. If a destructor panics, the rest is still there.
    pub(crate) fn clear(&self) {
        while let Some(value) = self.take_first() {
            drop(value);
        }
    }

    fn take_first(&self) -> Option<Rc<dyn Any>> {
        let mut values = self.0.borrow_mut();
        (!values.is_empty()).then(|| values.remove(0).1)
    }
}

thread_local! {
    static OF_THREAD: Locals = const { Locals::new() };
}

/// The values of the calling carrier.
///
/// # Errors
/// The calling thread is ending, and has dropped them.
pub(crate) fn try_with<R>(f: impl FnOnce(&Locals) -> R) -> Result<R, AccessError> {
    match super::local::frame() {
        Some(frame) => Ok(f(&frame.locals)),
        None => OF_THREAD.try_with(f),
    }
}
