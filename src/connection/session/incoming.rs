//! What has come on a connection and is still to be used. The work is linear in the bytes, whatever pieces they come in:
//! no peer may hold up the probes of others.

use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::pin::pin;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::connection::buffers;
use crate::connection::reply::{Limits, Malformed, Scan, Skip};

/// How much room is made for a read. Nearly all replies fit; a long list of clients is read piece by piece, on TLS without
/// more system calls.
pub(super) const READ_SIZE: usize = 1024;

/// The bytes that are still to be used, as a slice.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    /// How many of them are used already.
    used: usize,
    /// How far the frame at hand is measured.
    scan: Scan,
    /// A frame that is skipped while it comes.
    skip: Option<Skip>,
}

impl Incoming {
    /// Reads once, and returns how many bytes came. May be dropped without harm.
    pub(super) async fn read_from(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        let Self { bytes, used, .. } = self;
        bytes.drain(..std::mem::take(used));
        poll_fn(|context| {
            buffers::borrow(bytes);
            bytes.reserve(READ_SIZE);
            // It takes bytes only when it completes.
            let poll = pin!(stream.read_buf(bytes)).poll(context);
            buffers::give_back(bytes);
            poll
        })
        .await
    }

    /// The length of the frame at hand, if it is whole.
    pub(super) fn frame(&mut self, limits: Limits) -> Result<Option<usize>, Malformed> {
        self.scan.length(&self.bytes[self.used..], limits)
    }

    /// Marks the first `length` bytes as used.
    pub(super) fn discard(&mut self, length: usize) {
        self.scan = Scan::default();
        self.used += length;
        if self.is_empty() {
            self.used = 0;
            self.bytes.clear();
            buffers::give_back(&mut self.bytes);
        }
    }

    /// Skips the frame at hand, whatever its length.
    pub(super) fn begin_to_skip(&mut self) {
        self.skip = Some(Skip::default());
    }

    /// Whether the bytes at hand are within a frame that is skipped.
    pub(super) const fn is_skipping(&self) -> bool {
        self.skip.is_some()
    }

    /// Marks the bytes at hand as used as far as they belong to the frame that is skipped. Returns whether it has ended.
    pub(super) fn skip(&mut self) -> Result<bool, Malformed> {
        let Some(skip) = &mut self.skip else { return Ok(true) };
        let (length, has_ended) = skip.step(&self.bytes[self.used..])?;
        if has_ended {
            self.skip = None;
        }
        self.discard(length);
        Ok(has_ended)
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Deref for Incoming {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.used..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn discarding_a_frame_moves_none_of_the_bytes_after_it() {
        let mut incoming = Incoming::default();
        incoming.read_from(&mut &b">0\r\n>0\r\n+PONG\r\n+"[..]).await.unwrap();
        let start = incoming.as_ptr();
        for frame in [">0\r\n", ">0\r\n", "+PONG\r\n"] {
            assert!(incoming.starts_with(frame.as_bytes()));
            assert_eq!(incoming.frame(Limits::of_probe(1000)), Ok(Some(frame.len())));
            incoming.discard(frame.len());
        }
        assert_eq!(incoming.as_ptr(), start.wrapping_add(15));
        incoming.read_from(&mut &b"OK\r\n"[..]).await.unwrap();
        assert_eq!(&*incoming, b"+OK\r\n");
        assert_eq!(incoming.frame(Limits::of_probe(1000)), Ok(Some(5)));
    }
}
