//! A read buffer from which nothing is lost when a wait is cancelled.
//!
//! std's `read_line` moves a partial line out of the buffer before it waits for the rest;
//! an unwinding wait would drop that part. Here the buffer grows until the whole answer
//! is in it, and only then is anything consumed.

use std::io::{self, ErrorKind, Read};

/// An input, and the bytes that were read from it and not yet consumed.
#[derive(Debug)]
pub(crate) struct LineBuffer<R> {
    input: R,
    bytes: Vec<u8>,
    /// Where the unread part of `bytes` starts.
    start: usize,
    /// What one read fills; kept apart so that `bytes` holds nothing but input, even if
    /// the read unwinds.
    chunk: Vec<u8>,
}

/// What one read asks for, as std's standard input does.
const CHUNK: usize = 8 * 1024;

impl<R: Read> LineBuffer<R> {
    pub(crate) const fn new(input: R) -> LineBuffer<R> {
        LineBuffer {
            input,
            bytes: Vec::new(),
            start: 0,
            chunk: Vec::new(),
        }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Makes sure that something is unread, unless the input is at its end.
    #[track_caller]
    pub(crate) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.unread().is_empty() {
            self.grow()?;
        }
        Ok(self.unread())
    }

    /// Reads once and adds what came; 0 is the end of the input.
    #[track_caller]
    fn grow(&mut self) -> io::Result<usize> {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.chunk.resize(CHUNK, 0);
        let n = self.input.read(&mut self.chunk)?;
        self.bytes.extend_from_slice(&self.chunk[..n]);
        Ok(n)
    }

    /// Reads until `delimiter` is in the buffer, or the input ends, and returns the length
    /// of the unread part up to there.
    #[track_caller]
    pub(crate) fn through(&mut self, delimiter: u8) -> io::Result<usize> {
        self.through_first(|bytes| bytes.iter().position(|&b| b == delimiter))
    }

    /// Reads until the input ends, and returns the length of the unread part.
    #[track_caller]
    pub(crate) fn through_end(&mut self) -> io::Result<usize> {
        self.through_first(|_| None)
    }

    #[track_caller]
    fn through_first(&mut self, find: impl Fn(&[u8]) -> Option<usize>) -> io::Result<usize> {
        let mut searched = 0;
        loop {
            if let Some(i) = find(&self.unread()[searched..]) {
                return Ok(searched + i + 1);
            }
            searched = self.unread().len();
            match self.grow() {
                Ok(0) => return Ok(searched),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Moves the next `n` unread bytes to the end of `text`.
    ///
    /// Bytes that are not UTF-8 are consumed and refused, as std does.
    pub(crate) fn move_text(&mut self, n: usize, text: &mut String) -> io::Result<usize> {
        let valid = std::str::from_utf8(&self.unread()[..n]).map(|line| text.push_str(line));
        self.consume(n);
        match valid {
            Ok(()) => Ok(n),
            Err(_) => Err(io::Error::new(
                ErrorKind::InvalidData,
                "stream did not contain valid UTF-8",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// An input whose reads have these outcomes, then only the end.
    struct Script(VecDeque<Step>);

    enum Step {
        Bytes(&'static [u8]),
        Fails(ErrorKind),
        Unwinds,
    }
    use Step::{Bytes, Fails, Unwinds};

    impl Read for Script {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.pop_front() {
                None => Ok(0),
                Some(Bytes(bytes)) => {
                    buf[..bytes.len()].copy_from_slice(bytes);
                    Ok(bytes.len())
                }
                Some(Fails(kind)) => Err(kind.into()),
                Some(Unwinds) => std::panic::resume_unwind(Box::new("cancelled")),
            }
        }
    }

    fn buffer(steps: impl IntoIterator<Item = Step>) -> LineBuffer<Script> {
        LineBuffer::new(Script(steps.into_iter().collect()))
    }

    fn line(buffer: &mut LineBuffer<Script>) -> String {
        let n = buffer.through(b'\n').unwrap();
        let mut line = String::new();
        assert_eq!(buffer.move_text(n, &mut line).unwrap(), line.len());
        line
    }

    #[test]
    fn a_line_may_come_in_pieces_and_with_the_next_one() {
        let mut buffer = buffer([Bytes(b"on"), Bytes(b"e\ntw"), Bytes(b"o\n\nend")]);
        for expected in ["one\n", "two\n", "\n", "end", ""] {
            assert_eq!(line(&mut buffer), expected);
        }
    }

    #[test]
    fn a_read_that_unwinds_loses_nothing() {
        let mut buffer = buffer([Bytes(b"half a "), Unwinds, Bytes(b"line\nrest")]);
        let cancelled = catch_unwind(AssertUnwindSafe(|| buffer.through(b'\n')));
        assert!(cancelled.is_err());
        assert_eq!(line(&mut buffer), "half a line\n");
        assert_eq!(buffer.unread(), b"rest");
    }

    #[test]
    fn an_error_loses_nothing_and_a_signal_is_not_one() {
        let mut buffer = buffer([
            Bytes(b"a"),
            Fails(ErrorKind::Interrupted),
            Bytes(b"b"),
            Fails(ErrorKind::ConnectionReset),
        ]);
        let failed = buffer.through_end().unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::ConnectionReset);
        assert_eq!(buffer.unread(), b"ab");
    }

    #[test]
    fn bytes_that_are_not_text_are_consumed_and_refused() {
        let mut buffer = buffer([Bytes(b"\xff")]);
        let n = buffer.through_end().unwrap();
        let mut text = String::from("kept");
        let refused = buffer.move_text(n, &mut text).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        assert_eq!((text.as_str(), buffer.unread()), ("kept", &b""[..]));
    }
}
