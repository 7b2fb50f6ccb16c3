//! The report of a stack overflow.
//!
//! `report_overflow` runs in a signal handler: a fixed buffer, one `write`, `abort`.
#![allow(unsafe_code)]

use std::process::abort;
use std::sync::Once;

use super::directory::SLABS;
use crate::sys::signal::{self, Fault};

/// From now on the overflow of a coroutine's stack is reported with the coroutine's name,
/// and aborts. All other faults go where they went before. Installed once per process.
pub(crate) fn install_overflow_handler() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        signal::handle_faults(report_overflow).expect("SIGSEGV and SIGBUS can be handled");
    });
}

fn report_overflow(fault: Fault) {
    // SAFETY: we are in the handler of that fault, on its thread.
    let Some(overflow) = (unsafe { SLABS.overflow(fault) }) else {
        return;
    };
    let mut line = Line::new();
    line.text(b"\nbingfa: coroutine '");
    line.text(if overflow.name.is_empty() {
        b"<unnamed>"
    } else {
        // The rest of the line is worth more than the end of a very long name.
        &overflow.name[..overflow.name.len().min(128)]
    });
    line.text(b"' ");
    if let Some(id) = overflow.id {
        line.text(b"(id ");
        line.number(id);
        line.text(b") ");
    }
    line.text(b"overflowed its ");
    line.number((overflow.slot_size / 1024) as u64);
    line.text(
        b" KiB stack; give it more with coroutine::Builder::stack_size or \
          Runtime::builder().stack_size\n",
    );
    signal::write_stderr(line.as_bytes());
    abort();
}

/// Text in a fixed buffer; what does not fit is cut off.
struct Line {
    bytes: [u8; 384],
    len: usize,
}

impl Line {
    fn new() -> Line {
        Line {
            bytes: [0; 384],
            len: 0,
        }
    }

    fn text(&mut self, text: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let fitting = text.len().min(room.len());
        room[..fitting].copy_from_slice(&text[..fitting]);
        self.len += fitting;
    }

    fn number(&mut self, mut number: u64) {
        let mut digits = [0u8; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.text(&digits[first..]);
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests;
