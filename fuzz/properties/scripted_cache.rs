//! A cache that sends a script in pieces, whatever the session sends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A cache that closes the connection at the end of its script, or never if it is endless.
#[derive(Debug)]
pub(crate) struct ScriptedCache<'a> {
    script: &'a [u8],
    /// The sizes of the pieces, in turn; empty for pieces as large as the reads.
    sizes: &'a [u8],
    turn: usize,
    /// Whether it repeats the script.
    pub(crate) endless: bool,
    /// How many bytes it has sent.
    pub(crate) sent: usize,
    /// The largest memory of the session, in bytes: the bytes that were sent, and the free space of its buffer.
    pub(crate) room: usize,
}

impl<'a> ScriptedCache<'a> {
    /// Returns a cache that sends `script` in pieces of `sizes`.
    pub(crate) const fn new(script: &'a [u8], sizes: &'a [u8]) -> Self {
        Self { script, sizes, turn: 0, endless: false, sent: 0, room: 0 }
    }

    fn piece(&mut self) -> usize {
        let Some(turn) = self.turn.checked_rem(self.sizes.len()) else { return usize::MAX };
        self.turn += 1;
        usize::from(self.sizes[turn]).max(1)
    }
}

impl AsyncRead for ScriptedCache<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.room = self.room.max(self.sent + buffer.remaining());
        let mut left = self.piece().min(buffer.remaining());
        while left > 0 && !self.script.is_empty() {
            let start = if self.endless { self.sent % self.script.len() } else { self.sent };
            let rest = &self.script[start..];
            let now = left.min(rest.len());
            if now == 0 {
                break;
            }
            buffer.put_slice(&rest[..now]);
            self.sent += now;
            left -= now;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ScriptedCache<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
