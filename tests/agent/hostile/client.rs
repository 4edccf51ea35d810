//! An HTTP client that sends any bytes, and reads only on request.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// The bytes that were read after the last response.
    read: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Returns the status code of a response that begins with `head`.
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

    /// Reads the next response, to HEAD or to another request. If the agent closes before the end, the error is
    /// `UnexpectedEof`, or a reset.
    pub(crate) async fn response(&mut self, to_head: bool) -> io::Result<Response> {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await?).unwrap();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let body = if to_head {
            Vec::new()
        } else if field("transfer-encoding") == Some("chunked") {
            self.chunks().await?
        } else {
            self.take(field("content-length").map_or(0, |length| length.parse().unwrap())).await?
        };
        Ok(Response { code: code(&head).unwrap_or_else(|| panic!("not a response: {head}")), head, body })
    }

    /// Reads a chunked body: each chunk follows its length in hexadecimal, and the last one is empty.
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

    /// Reads up to and including the first `end`.
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

    /// Closes the sending side and returns all further bytes until the agent closes.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        // Both fail if the agent has already closed.
        let _ = self.stream.shutdown().await;
        let _ = self.stream.read_to_end(&mut self.read).await;
        self.read
    }
}
