//! How many round trips a cold connection takes until it is ready.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio::time::Instant;

use super::tests::{HELLO, password};
use crate::connection::session::Session;
use crate::connection::testing::Authority;
use crate::connection::tls::TlsClient;
use crate::connection::trace::Trace;

/// Our end of a connection. Counts how often we wait for the peer after we have written something.
struct Counted {
    stream: DuplexStream,
    has_written: bool,
    trips: u32,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() && std::mem::replace(&mut self.has_written, false) {
            self.trips += 1;
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tokio::test]
async fn a_connection_is_ready_one_round_trip_after_tls_which_takes_another() {
    let authority = Authority::new();
    let (near, far) = duplex(64 * 1024);
    let server = async {
        let mut stream = authority.server("cache.test").accept(far).await.unwrap();
        let mut bytes = [0; 1024];
        let length = stream.read(&mut bytes).await.unwrap();
        assert!(bytes[..length].ends_with(b"PING\r\n"), "all is written at once");
        stream.write_all(format!("{HELLO}+PONG\r\n").as_bytes()).await.unwrap();
        stream
    };
    let client = async {
        let mut deadline = Instant::now() + Duration::from_secs(20);
        let stream = Counted { stream: near, has_written: false, trips: 0 };
        let tls = TlsClient::new(&authority.roots(), None);
        let (mut stream, _) =
            tls.handshake("cache.test", stream, None, &mut deadline, &Trace::default()).await.unwrap();
        assert_eq!(stream.get_ref().trips, 1, "TLS 1.3");
        let greeting =
            Session::new(&mut stream, 10_000, None).greet(&password(), None, &mut deadline).await.unwrap();
        assert_eq!(greeting.refused, None, "it has answered PING");
        stream.get_ref().trips
    };
    let (_stream, trips) = tokio::join!(server, client);
    assert_eq!(trips, 2);
}
