//! What is sent: every message differs from every other, so that a mixed-up answer is seen.

use std::io;

/// Bytes of a request.
pub(super) const MESSAGE: usize = 64;

/// Message `sequence` of connection `connection`.
pub(super) fn message(connection: u64, sequence: u64) -> [u8; MESSAGE] {
    let mut bytes = [0; MESSAGE];
    let mut word = connection << 40 ^ sequence;
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    }
    bytes
}

/// Compares an answer, or the part of it from `offset` on, with the request.
pub(super) fn check(connection: u64, sequence: u64, offset: usize, part: &[u8]) -> io::Result<()> {
    let request = message(connection, sequence);
    if request.get(offset..offset + part.len()) == Some(part) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "connection {connection}: the answer to message {sequence} is not what was sent"
    )))
}
