//! An HTTP client that can be as rude as it likes: it sends bytes as they stand, and reads when it wants to.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// What was read beyond the last answer.
    read: Vec<u8>,
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// The code of an answer that begins with `head`.
pub(crate) fn code(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?;
    rest.split(' ').next()?.parse().ok()
}

impl Client {
    pub(crate) async fn connect(agent: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(agent).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next answer, to HEAD or to another request. An error where the agent closes before it is whole, of the
    /// kind `UnexpectedEof` unless with a reset.
    pub(crate) async fn answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await?).unwrap();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let body = if to_head {
            Vec::new()
        } else if field("transfer-encoding") == Some("chunked") {
            self.chunks().await?
        } else {
            self.take(field("content-length").map_or(0, |length| length.parse().unwrap())).await?
        };
        Ok(Answer { code: code(&head).unwrap_or_else(|| panic!("no answer: {head}")), head, body })
    }

    /// Chunks up to the empty one, each after its length in hexadecimal.
    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n").await?).unwrap();
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let chunk = self.take(length + 2).await?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    /// What comes up to the first `end`, and that.
    async fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            match self.read.windows(end.len()).position(|window| window == end) {
                Some(at) => return self.take(at + end.len()).await,
                None => self.more().await?,
            }
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.read.len() < length {
            self.more().await?;
        }
        let rest = self.read.split_off(length);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Says that nothing more will be sent, and returns what comes until the agent closes.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        // Where the agent has closed already, neither can be done.
        let _ = self.stream.shutdown().await;
        let _ = self.stream.read_to_end(&mut self.read).await;
        self.read
    }
}
