//! The stream of a client, plain or encrypted, and the answer to one that should encrypt it and does not.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::connections::MAX_REQUEST_HEADER;
use super::stream::Stream;
use crate::guard::Tls;

/// The first byte of a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// The answer to plain HTTP, that of servers in Go.
const NOT_ENCRYPTED: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// How many bytes of a response are encrypted ahead of a client that does not read.
const AHEAD: usize = 16 * 1024;

/// Reads and writes bytes.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A client's stream: one type for both kinds, so that the code of the connection exists once.
pub(super) type ClientStream = Box<dyn Duplex>;

/// Shakes hands over `stream`.
///
/// # Errors
/// If the client does not speak TLS, is refused, or disconnects.
pub(super) async fn encrypted(mut stream: Stream, tls: &Tls) -> io::Result<ClientStream> {
    if stream.first_byte().await? != Some(HANDSHAKE) {
        refuse(&mut stream).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS"));
    }
    let acceptor = TlsAcceptor::from(tls.config());
    let stream = acceptor.accept_with(stream, |connection| connection.set_buffer_limit(Some(AHEAD))).await?;
    Ok(Box::new(stream))
}

/// Answers a request over plain HTTP.
async fn refuse(stream: &mut Stream) -> io::Result<()> {
    // A socket that is closed with unread bytes resets the connection, and the answer is lost.
    let mut request = vec![0; MAX_REQUEST_HEADER];
    let length = stream.read(&mut request).await?;
    // Methods are written in capitals.
    if request[..length].first().is_some_and(u8::is_ascii_uppercase) {
        stream.write_all(NOT_ENCRYPTED).await?;
        stream.shutdown().await?;
    }
    Ok(())
}
