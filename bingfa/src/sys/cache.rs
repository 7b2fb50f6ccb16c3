//! Hints to the processor's caches.

#![allow(unsafe_code)]

/// Has the processor fetch the cache line of `address`, which need not be valid.
#[inline(always)]
pub(crate) fn fetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint that accepts any address and changes nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The same of this line and those that follow it.
#[inline(always)]
pub(crate) fn fetch_lines(address: *const u8, lines: usize) {
    for line in 0..lines {
        fetch(address.wrapping_add(line * 64));
    }
}

/// The same to write there: no other processor keeps a copy.
#[inline(always)]
pub(crate) fn claim_lines(address: *const u8, lines: usize) {
    for line in 0..lines {
        let address = address.wrapping_add(line * 64);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, too, which processors that do not know it ignore. (The intrinsic becomes
        // a fetch to read, unless it is compiled for those that do.)
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
}
