//! Twin of [`std::io`]: its traits and types, the standard input of the process,
//! and waiting for descriptors that others made.
//!
//! Everything that never waits is std's own item, so a `std::io::Read` bound and a
//! `bingfa::io::Read` bound are the same bound. Three things are new: [`stdin()`] and [`pipe()`],
//! whose users wait without holding their thread when they are coroutines, and
//! [`readable`]/[`writable`], which wait for a descriptor that is not one of
//! `bingfa`'s sockets.
//!
//! [`stdout`] and [`stderr`] are std's: they write at once, as `print!` does, and a
//! terminal or pipe that takes no more holds the thread.

pub(crate) mod connect;
pub(crate) mod file;
pub(crate) mod handle;
pub(crate) mod op;
#[cfg(feature = "process")]
pub(crate) mod packet;
pub(crate) mod pipe;
pub(crate) mod polled;
pub(crate) mod socket;

mod line_buffer;
mod pipe_ends;
mod ready;
mod stdin;
mod turns;

pub use std::io::{
    BufRead, BufReader, BufWriter, Bytes, Chain, Cursor, Empty, Error, ErrorKind, IntoInnerError,
    IoSlice, IoSliceMut, IsTerminal, LineWriter, Lines, Read, Repeat, Result, Seek, SeekFrom, Sink,
    Split, Stderr, StderrLock, Stdout, StdoutLock, Take, Write, WriterPanicked, copy, empty,
    read_to_string, repeat, sink, stderr, stdout,
};

pub use self::pipe_ends::{PipeReader, PipeWriter, pipe};
pub use self::ready::{readable, writable};
pub use self::stdin::{Stdin, StdinLock, stdin};

/// Twin of [`std::io::prelude`]: the I/O traits, by one glob import.
pub mod prelude {
    pub use std::io::{BufRead, Read, Seek, Write};
}
