//! The main image of this process: where it lies, and what tells it from another.
//!
//! Two processes of the same executable file differ only in where the kernel has put it, so
//! the distance from its start names a function in both.
//!
//! # Invariants
//! 1. The first object that `dl_iterate_phdr(3)` reports is the main program, and its program
//!    headers and segments stay mapped for as long as the process lives.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// Where the main image lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    /// What addresses in the file are relative to.
    base: usize,
    start: usize,
    end: usize,
    /// A hash of the build id, and of the shape of the image (there may be no build id).
    pub(crate) fingerprint: u64,
}

impl Image {
    /// The image of this process.
    pub(crate) fn here() -> Image {
        static HERE: OnceLock<Image> = OnceLock::new();
        *HERE.get_or_init(look)
    }

    /// The distance of `address` from the start; `None` if it lies in a shared library.
    pub(crate) fn offset_of(&self, address: usize) -> Option<usize> {
        (self.start..self.end)
            .contains(&address)
            .then(|| address.wrapping_sub(self.base))
    }

    /// The inverse of [`offset_of`](Self::offset_of), with the same test.
    pub(crate) fn address_of(&self, offset: usize) -> Option<usize> {
        let address = self.base.wrapping_add(offset);
        (self.start..self.end).contains(&address).then_some(address)
    }
}

fn look() -> Image {
    let mut image = Image {
        base: 0,
        start: usize::MAX,
        end: 0,
        fingerprint: FNV_START,
    };
    // SAFETY: `first_object` matches the type that is called, and its data is an `Image`.
    unsafe { libc::dl_iterate_phdr(Some(first_object), (&raw mut image).cast()) };
    image
}

/// Looks at the main program and ends the iteration.
unsafe extern "C" fn first_object(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    image: *mut c_void,
) -> c_int {
    // SAFETY: `look` passes an `Image`, and libc a valid description for the call.
    let (image, info) = unsafe { (&mut *image.cast::<Image>(), &*info) };
    image.base = info.dlpi_addr as usize;
    for i in 0..usize::from(info.dlpi_phnum) {
        // SAFETY: there are `dlpi_phnum` headers (invariant 1).
        let header = unsafe { &*info.dlpi_phdr.add(i) };
        let from = image.base.wrapping_add(header.p_vaddr as usize);
        let len = header.p_memsz as usize;
        let shape = [
            u64::from(header.p_type),
            header.p_vaddr,
            header.p_filesz,
            header.p_memsz,
        ];
        for number in shape {
            image.fingerprint = fnv(image.fingerprint, &number.to_ne_bytes());
        }
        match header.p_type {
            libc::PT_LOAD => {
                image.start = image.start.min(from);
                image.end = image.end.max(from + len);
            }
            // The build id is a note; the others do not differ between runs either.
            libc::PT_NOTE => {
                // SAFETY: notes lie in a loaded, readable segment (invariant 1).
                let note = unsafe { std::slice::from_raw_parts(from as *const u8, len) };
                image.fingerprint = fnv(image.fingerprint, note);
            }
            _ => {}
        }
    }
    1
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a (Fowler, Noll, Vo).
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_this_program_are_found_and_those_of_libc_are_not() {
        let image = Image::here();
        let own = functions_of_this_program_are_found_and_those_of_libc_are_not as fn() as usize;
        let offset = image.offset_of(own).unwrap();
        assert_eq!(image.address_of(offset), Some(own));
        let on_heap = Box::new(0u8);
        assert_eq!(image.offset_of(&raw const *on_heap as usize), None);
        assert_eq!(image.address_of(usize::MAX / 2), None);
        assert_ne!(image.fingerprint, FNV_START);
    }
}
