//! How the sender of a message in a pipe learns what has become of the shared objects in it.
//!
//! They count as sent until somebody has taken them out. A message that nobody reads goes without a
//! word: the last who have its end drop it, or are killed. So such a message takes along the writing
//! end of an ordinary pipe, which goes with it, and the keeper of its sender waits for that. Into it
//! a receiver writes that it begins, and at the end how many objects it has taken: those come first,
//! as a message is decoded from front to back. What was not taken the sender takes back.
//!
//! Of a receiver that was killed in between nobody knows what it took: then all stays as it was. And
//! nobody waits for the messages of a sender that has ended: its holds are nobody's, and count
//! as no holder of an object.

use std::cell::Cell;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};

use super::carry::Shared;
use crate::sys::fd;

/// A receiver's part; its drop is the end of the message.
#[derive(Debug)]
pub(super) struct Receipt {
    end: OwnedFd,
    taken: Cell<u32>,
}

const BEGUN: u8 = 1;

impl Receipt {
    /// The message that came with this is about to be decoded.
    pub(super) fn new(end: OwnedFd) -> Receipt {
        // So few bytes have room, and whoever sends something else here has no use for them. If
        // nobody wants to know, the sender has ended.
        let _ = fd::write_now(end.as_fd(), &[BEGUN]);
        Receipt {
            end,
            taken: Cell::new(0),
        }
    }

    /// The next object is about to be taken.
    pub(super) fn take(&self) {
        self.taken.set(self.taken.get() + 1);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let _ = fd::write_now(self.end.as_fd(), &self.taken.get().to_le_bytes()); // as above
    }
}

/// A sender's part: the message is gone.
pub(super) fn close(receipt: PipeReader, shared: Shared) {
    let mut told = Vec::new();
    let read: io::Result<_> = receipt.take(5).read_to_end(&mut told);
    match told[..] {
        [] if read.is_ok() => drop(shared),
        [BEGUN, ref taken @ ..] => match <[u8; 4]>::try_from(taken) {
            Ok(taken) => shared.sent_in_part(u32::from_le_bytes(taken) as usize),
            Err(_) => shared.sent(),
        },
        _ => shared.sent(),
    }
}
