//! Content that is written piece by piece while it is read, so that a long one is never in memory as a whole.

use std::io::{self, BufRead, Read};

use crate::buffer::Buffer;

/// How many bytes are written ahead of the reader, or slightly more.
const AHEAD: usize = 32 * 1024;

/// How many bytes are reserved for them, so that the buffer need not grow: each size up to here would be a mapping of its
/// own with musl's allocator.
const CAPACITY: usize = AHEAD + AHEAD / 2;

/// The pieces of a content.
pub(crate) trait Pieces {
    /// Appends the next piece to `out`. Returns false if it was the last one.
    ///
    /// # Errors
    /// If it cannot be written.
    fn write(&mut self, out: &mut Buffer) -> io::Result<bool>;

    /// Makes what has been written fit for being sent before the next piece.
    fn pause(&mut self, out: &mut Buffer) {
        let _ = out;
    }
}

/// The content that consists of `pieces`.
#[derive(Debug)]
pub(crate) struct Piecewise<P> {
    pieces: P,
    bytes: Buffer,
    /// How many of the bytes have been read.
    read: usize,
    is_complete: bool,
}

impl<P: Pieces> Piecewise<P> {
    pub(crate) fn new(pieces: P) -> Self {
        Self { pieces, bytes: Buffer::with_capacity(CAPACITY), read: 0, is_complete: false }
    }

    fn write_ahead(&mut self) -> io::Result<()> {
        self.bytes.clear();
        self.read = 0;
        if self.is_complete {
            return Ok(());
        }
        while self.bytes.len() < AHEAD && !self.is_complete {
            self.is_complete = !self.pieces.write(&mut self.bytes)?;
        }
        self.pieces.pause(&mut self.bytes);
        Ok(())
    }
}

impl<P: Pieces> BufRead for Piecewise<P> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read == self.bytes.len() {
            self.write_ahead()?;
        }
        Ok(&self.bytes.as_bytes()[self.read..])
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }
}

impl<P: Pieces> Read for Piecewise<P> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(bytes)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers from 1 to 10,000, each followed by a stroke.
    struct Numbers(u32);

    impl Pieces for Numbers {
        fn write(&mut self, out: &mut Buffer) -> io::Result<bool> {
            self.0 += 1;
            out.put(format!("{}/", self.0).as_bytes());
            Ok(self.0 < 10_000)
        }

        fn pause(&mut self, out: &mut Buffer) {
            out.push(b'!');
        }
    }

    #[test]
    fn every_piece_is_read_once_and_only_some_are_written_ahead() {
        let (mut content, mut whole) = (Piecewise::new(Numbers(0)), Vec::new());
        loop {
            let bytes = content.fill_buf().unwrap();
            if bytes.is_empty() {
                break;
            }
            // Slightly less than what is there, as a reader with a buffer of its own does.
            let count = bytes.len().min(1000);
            whole.extend_from_slice(&bytes[..count]);
            content.consume(count);
            assert!(content.bytes.len() < CAPACITY);
        }
        let whole = String::from_utf8(whole).unwrap();
        assert_eq!(
            whole.replace('!', ""),
            (1..=10_000).map(|number| format!("{number}/")).collect::<Vec<_>>().concat()
        );
        assert_eq!(whole.matches('!').count(), whole.len().div_ceil(AHEAD));
    }
}
