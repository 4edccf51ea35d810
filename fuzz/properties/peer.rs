//! The other end of a session: says what it was told to, in pieces, whatever it is asked.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A server that closes the connection when it has said everything, or, endless, never.
#[derive(Debug)]
pub(crate) struct Peer<'a> {
    said: &'a [u8],
    /// The sizes of the pieces, in turn; none for as much as is taken.
    sizes: &'a [u8],
    turn: usize,
    /// Whether it says it again and again.
    pub(crate) endless: bool,
    /// How many bytes it could say.
    pub(crate) taken: usize,
    /// The most memory that was ever held for what it says, in bytes: what was taken, and the room for more.
    pub(crate) room: usize,
}

impl<'a> Peer<'a> {
    /// Says `said` in pieces of `sizes`.
    pub(crate) const fn new(said: &'a [u8], sizes: &'a [u8]) -> Self {
        Self { said, sizes, turn: 0, endless: false, taken: 0, room: 0 }
    }

    fn piece(&mut self) -> usize {
        let Some(turn) = self.turn.checked_rem(self.sizes.len()) else { return usize::MAX };
        self.turn += 1;
        usize::from(self.sizes[turn]).max(1)
    }
}

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.room = self.room.max(self.taken + buffer.remaining());
        let mut left = self.piece().min(buffer.remaining());
        while left > 0 && !self.said.is_empty() {
            let start = if self.endless { self.taken % self.said.len() } else { self.taken };
            let rest = &self.said[start..];
            let now = left.min(rest.len());
            if now == 0 {
                break;
            }
            buffer.put_slice(&rest[..now]);
            self.taken += now;
            left -= now;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
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
