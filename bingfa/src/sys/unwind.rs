//! Whether the code that calls may unwind: what the unwinder would meet on its way.
//!
//! A panic that leaves a destructor while another unwinds the stack aborts the program. How
//! that is brought about can be read off the stack: a call made from a landing pad is listed
//! in its function's exception table with a *filter* that lets nothing through (so is the
//! body of an `extern "C"` function), or is not listed, which the personality routine
//! takes for the same. `std::thread::panicking` answers for the thread; this answers for one
//! stack of several on it.
//!
//! Formats: Itanium C++ ABI, Exception Handling, and LLVM's "Itanium ABI Zero-cost Exception
//! Handling"; read in the same way as in std's `sys/personality/dwarf/eh.rs`.
//!
//! # Invariants
//! 1. An exception table that `_Unwind_GetLanguageSpecificData` gives belongs to loaded code
//!    and is well-formed, or that code could not be unwound either.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ops::{ControlFlow, Range};

/// `_Unwind_Context`.
type Context = *mut c_void;

const URC_NO_REASON: c_int = 0;
const URC_END_OF_STACK: c_int = 5;

// "C-unwind": they do not unwind, but callers are to be listed in exception tables as if
// they did, or a call of ours would look like one from a landing pad.
unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(
        each: extern "C-unwind" fn(Context, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetCFA(context: Context) -> usize;
    fn _Unwind_GetIPInfo(context: Context, before: *mut c_int) -> usize;
    fn _Unwind_GetRegionStart(context: Context) -> usize;
    fn _Unwind_GetLanguageSpecificData(context: Context) -> *const u8;
}

struct Walk {
    stack: Range<usize>,
    held: bool,
}

/// True if a panic out of the calling function could not reach the end of `stack`, on
/// which it runs: some frame there is running destructors for an unwind, or may not be
/// unwound at all.
#[cold]
#[inline(never)]
pub(crate) fn is_held(stack: Range<usize>) -> bool {
    let mut walk = Walk { stack, held: false };
    // SAFETY: the argument is a `Walk`, which `each` takes it for, and outlives the call.
    unsafe { _Unwind_Backtrace(each, (&raw mut walk).cast()) };
    walk.held
}

extern "C-unwind" fn each(context: Context, argument: *mut c_void) -> c_int {
    // SAFETY: `is_held` passes it, and does not touch it meanwhile.
    let walk = unsafe { &mut *argument.cast::<Walk>() };
    // SAFETY: the context is valid during this call.
    let cfa = unsafe { _Unwind_GetCFA(context) };
    if !walk.stack.contains(&cfa) {
        return URC_END_OF_STACK; // the worker's own frames
    }
    // SAFETY: as above.
    match unsafe { judge(context) } {
        ControlFlow::Continue(()) => URC_NO_REASON,
        ControlFlow::Break(()) => {
            walk.held = true;
            URC_END_OF_STACK
        }
    }
}

/// Breaks if the frame lets no panic through.
///
/// # Safety
/// `context` is one that the unwinder has given, and valid.
unsafe fn judge(context: Context) -> ControlFlow<()> {
    let mut before = 0;
    // SAFETY: the caller's duty.
    let (table, start, mut ip) = unsafe {
        (
            _Unwind_GetLanguageSpecificData(context),
            _Unwind_GetRegionStart(context),
            _Unwind_GetIPInfo(context, &raw mut before),
        )
    };
    if table.is_null() {
        return ControlFlow::Continue(()); // nothing to clean up, nothing in the way
    }
    if before == 0 {
        ip -= 1; // a return address: the call is before it
    }
    // SAFETY: invariant 1.
    match unsafe { call_site(&mut Reader(table), ip.wrapping_sub(start)) } {
        Some(CallSite::Open) => ControlFlow::Continue(()),
        Some(CallSite::Filter) | None => ControlFlow::Break(()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum CallSite {
    /// Unwound, cleaned up or caught.
    Open,
    /// Stopped.
    Filter,
}

/// How an exception table that is cut short by nothing says "no such field".
const OMIT: u8 = 0xff;

/// Looks up the call at `offset` in its function; `None` if it is not listed, or in
/// a format that only other languages use.
///
/// # Safety
/// `table` is at the beginning of a well-formed exception table.
unsafe fn call_site(table: &mut Reader, offset: usize) -> Option<CallSite> {
    // SAFETY: the caller's duty; each step reads what the format has at that place.
    unsafe {
        let pads_encoding = table.byte();
        if pads_encoding != OMIT {
            table.encoded(pads_encoding)?;
        }
        let types_encoding = table.byte();
        if types_encoding != OMIT {
            table.unsigned();
        }
        let encoding = table.byte();
        let length = table.unsigned();
        let actions = table.0.add(length);
        while table.0 < actions {
            let start = table.encoded(encoding)?;
            let length = table.encoded(encoding)?;
            let pad = table.encoded(encoding)?;
            let action = table.unsigned();
            if offset < start {
                break; // they are sorted
            }
            if offset < start + length {
                if pad == 0 || action == 0 {
                    return Some(CallSite::Open);
                }
                let kind = Reader(actions.add(action - 1)).signed();
                return Some(if kind < 0 {
                    CallSite::Filter
                } else {
                    CallSite::Open
                });
            }
        }
        None
    }
}

/// Reads a table from front to end.
struct Reader(*const u8);

impl Reader {
    /// # Safety
    /// As much as is read is there; so for the others.
    unsafe fn take<const N: usize>(&mut self) -> [u8; N] {
        // SAFETY: the caller's duty; bytes need no alignment.
        unsafe {
            let bytes = self.0.cast::<[u8; N]>().read();
            self.0 = self.0.add(N);
            bytes
        }
    }

    unsafe fn byte(&mut self) -> u8 {
        // SAFETY: the caller's duty.
        unsafe { self.take::<1>()[0] }
    }

    /// ULEB128 (DWARF 5, 7.6).
    unsafe fn unsigned(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            // SAFETY: the caller's duty.
            let byte = unsafe { self.byte() };
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    /// SLEB128.
    unsafe fn signed(&mut self) -> i64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            // SAFETY: the caller's duty.
            let byte = unsafe { self.byte() };
            value |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                let unused = 64_u32.saturating_sub(shift);
                return value << unused >> unused;
            }
        }
    }

    /// A `DW_EH_PE` value without a base; `None` if it is of another kind.
    unsafe fn encoded(&mut self, encoding: u8) -> Option<usize> {
        // SAFETY: the caller's duty.
        unsafe {
            Some(match encoding {
                0x00 => usize::from_ne_bytes(self.take()),
                0x01 => self.unsigned(),
                0x02 => usize::from(u16::from_ne_bytes(self.take())),
                0x03 => u32::from_ne_bytes(self.take()) as usize,
                0x04 => u64::from_ne_bytes(self.take()) as usize,
                _ => return None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    /// Looks at the frames below that of `top`.
    fn held_below(top: &u8) -> bool {
        is_held(0..std::ptr::from_ref(top).addr())
    }

    struct Look<'a>(&'a mut Vec<bool>, *const u8);

    impl Drop for Look<'_> {
        fn drop(&mut self) {
            // SAFETY: a local of the test, which is still running.
            self.0.push(held_below(unsafe { &*self.1 }));
        }
    }

    #[test]
    fn a_destructor_is_held_in_an_unwind_and_not_at_a_return() {
        let top = 0_u8;
        let mut seen = Vec::new();
        drop(Look(&mut seen, &raw const top));
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _look = Look(&mut seen, &raw const top);
            resume_unwind(Box::new(()));
        }));
        {
            let _look = Look(&mut seen, &raw const top);
        }
        assert_eq!(seen, [false, true, false]);
        assert!(!held_below(&top));
    }

    #[test]
    fn what_a_destructor_catches_is_held_all_the_same() {
        struct Deep<'a>(&'a mut Vec<bool>, *const u8);
        impl Drop for Deep<'_> {
            fn drop(&mut self) {
                let (seen, top) = (&mut *self.0, self.1);
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let look = Look(seen, top);
                    std::hint::black_box(&look);
                }));
            }
        }
        let top = 0_u8;
        let mut seen = Vec::new();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _deep = Deep(&mut seen, &raw const top);
            resume_unwind(Box::new(()));
        }));
        drop(Deep(&mut seen, &raw const top));
        assert_eq!(seen, [true, false]);
    }

    #[test]
    fn a_function_of_c_may_not_be_unwound() {
        extern "C" fn callback(top: *const u8, held: &mut bool) {
            // SAFETY: a local of the test, which is still running.
            *held = held_below(unsafe { &*top });
        }
        let top = 0_u8;
        let mut held = false;
        callback(&raw const top, &mut held);
        assert!(held);
    }
}
