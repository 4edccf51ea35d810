//! An encrypted stream: its records are made in `records.rs`. A server's refusal of the client certificate, which comes after
//! the handshake in TLS 1.3, is an error of its own.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::diagnosis::name_of_alert;
use super::records::{MOST_WRITTEN, Progress, Records};
use super::witness::{Answer, Seen, watch};

/// How much room is made for a read. Nearly all replies fit.
const READ_SIZE: usize = 4096;

/// An encrypted stream over `S`.
#[derive(Debug)]
pub struct TlsStream<S> {
    stream: S,
    records: Records,
    /// How the server's request for a client certificate was answered, until the server has accepted the answer.
    answer: Option<Answer>,
}

impl<S> TlsStream<S> {
    /// Returns the stream below.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    pub(super) const fn connection(&self) -> &UnbufferedClientConnection {
        self.records.connection()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands over `stream` with the server `name`. Notes in `seen` what the server shows.
    pub(super) async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        stream: S,
        seen: &mut Seen,
    ) -> io::Result<Self> {
        let mut this = Self { stream, records: Records::new(config, name)?, answer: None };
        loop {
            let progress = match watch(seen, || this.records.shake()) {
                Ok(progress) => progress,
                Err(error) => {
                    this.send_alert().await;
                    return Err(error);
                }
            };
            this.flush().await?;
            match progress {
                Progress::Handshaking => {}
                Progress::Open | Progress::Closed => {
                    this.answer = seen.answer;
                    return Ok(this);
                }
            }
            if poll_fn(|context| this.poll_receive(context, |new| seen.received(new))).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends the alert about an error, if there is room for it.
    async fn send_alert(&mut self) {
        poll_fn(|context| {
            let _ = self.poll_send(context);
            Poll::Ready(())
        })
        .await;
    }

    /// Reads once from the stream below, shows `note` what came, and returns how much that is: nothing at its end.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        note: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let Self { stream, records, .. } = self;
        let incoming = records.incoming()?;
        let buffer = incoming.buffer();
        let start = buffer.len();
        buffer.reserve(READ_SIZE);
        // It takes bytes only when it completes.
        let poll = pin!(stream.read_buf(buffer)).poll(context);
        note(&buffer[start..]);
        incoming.discard(0);
        poll
    }

    /// Sends what is to be sent.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outgoing = self.records.outgoing();
        while !outgoing.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, outgoing.as_slice()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => outgoing.discard(length),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_data(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        loop {
            let progress = self.records.read(buffer);
            // rustls answers some messages.
            let _ = self.poll_send(context)?;
            let progress = progress?;
            if buffer.filled().len() > start || buffer.remaining() == 0 || progress == Progress::Closed {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(context, |_| {}))? == 0 {
                // It did not say that nothing more comes: some may be missing.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        let poll = self.poll_data(context, buffer);
        let Some(answer) = self.answer else { return poll };
        if buffer.filled().len() > start {
            self.answer = None;
        }
        poll.map_err(|error| match ClientCertificateRefused::from_alert(&error, answer) {
            Some(refused) => io::Error::new(io::ErrorKind::InvalidData, refused),
            None => error,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A peer that reads nothing gets nothing more.
        ready!(self.poll_send(context))?;
        let length = data.len().min(MOST_WRITTEN);
        let written = self.records.write(&data[..length]);
        // What does not go at once goes with the next call.
        let _ = self.poll_send(context)?;
        Poll::Ready(written.map(|_| length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // rustls tells it once.
        self.records.close()?;
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The server asked for a client certificate and did not accept the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificateRefused {
    answer: Answer,
    alert: AlertDescription,
}

impl ClientCertificateRefused {
    /// Whether `error` is one.
    pub(crate) fn is_in(error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some()
    }

    /// Returns the refusal that `error` means once the server's request was answered with `answer`; `None` if it means
    /// something else.
    pub(super) fn from_alert(error: &io::Error, answer: Answer) -> Option<Self> {
        use AlertDescription as Alert;
        match error.get_ref()?.downcast_ref()? {
            &rustls::Error::AlertReceived(
                alert @ (Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError
                // TLS 1.2 has no alert for a certificate that is missing. Servers ask for one after the negotiation
                // of everything else.
                | Alert::HandshakeFailure),
            ) => Some(Self { answer, alert }),
            _ => None,
        }
    }
}

impl fmt::Display for ClientCertificateRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.answer {
            Answer::Nothing => f.write_str("the server requires a client certificate, and none is configured")?,
            Answer::UnfitKey => f.write_str(
                "the server requires a client certificate, and accepts no signature of the configured key's type",
            )?,
            Answer::Certificate => f.write_str("the server refused the client certificate")?,
        }
        write!(f, " (alert {})", name_of_alert(self.alert))
    }
}

impl std::error::Error for ClientCertificateRefused {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::version::{TLS12, TLS13};
    use tokio::io::{DuplexStream, duplex};
    use tokio_rustls::server;

    use super::*;
    use crate::connection::testing::self_signed;
    use crate::connection::tls::TlsClient;
    use crate::connection::tls::roots::Roots;

    type Server = server::TlsStream<DuplexStream>;

    /// Connects a client and a server over a pipe for `room` bytes, in this version of TLS.
    async fn connected(
        version: &'static rustls::SupportedProtocolVersion,
        room: usize,
    ) -> (TlsStream<DuplexStream>, Server) {
        let params = rcgen::CertificateParams::new(["cache.test".to_owned()]).unwrap();
        let (acceptor, pem) = self_signed(&params, &[version]);
        let client = TlsClient::new(&Roots::none().with_pem(pem.as_bytes()).unwrap(), None);
        let (ours, theirs) = duplex(room);
        let mut seen = Seen::default();
        let name = "cache.test".try_into().unwrap();
        let connecting = TlsStream::connect(Arc::clone(&client.config), name, ours, &mut seen);
        let (client, server) = tokio::join!(connecting, acceptor.accept(theirs));
        (client.unwrap(), server.unwrap())
    }

    fn capacity<S>(stream: &TlsStream<S>) -> usize {
        stream.records.capacity()
    }

    #[tokio::test]
    async fn data_of_any_length_goes_both_ways_through_any_pipe() {
        // At the end of a handshake, servers send tickets that nobody reads yet.
        for (version, room) in [(&TLS12, 1), (&TLS12, 64 * 1024), (&TLS13, 2000), (&TLS13, 64 * 1024)] {
            let (client, server) = connected(version, room).await;
            let sent: Vec<u8> = (0..50_000_u32).map(|it| it.to_le_bytes()[0]).collect();
            let (mut from_server, mut to_server) = tokio::io::split(client);
            let (mut from_client, mut to_client) = tokio::io::split(server);
            let (mut at_client, mut at_server) = (vec![0; sent.len()], vec![0; sent.len()]);
            let there = async {
                to_server.write_all(&sent).await.unwrap();
                to_server.flush().await.unwrap();
            };
            let back = async {
                to_client.write_all(&sent).await.unwrap();
                to_client.flush().await.unwrap();
            };
            let (.., here, away) = tokio::join!(
                there,
                back,
                from_server.read_exact(&mut at_client),
                from_client.read_exact(&mut at_server)
            );
            assert_eq!((here.unwrap(), away.unwrap()), (sent.len(), sent.len()));
            assert!(at_client == sent && at_server == sent, "{room}");
        }
    }

    #[tokio::test]
    async fn an_idle_connection_holds_no_buffer() {
        for version in [&TLS12, &TLS13] {
            let (mut client, mut server) = connected(version, 64 * 1024).await;
            client.write_all(b"PING\r\n").await.unwrap();
            client.flush().await.unwrap();
            let mut command = [0; 6];
            server.read_exact(&mut command).await.unwrap();
            server.write_all(b"+PONG\r\n").await.unwrap();
            let mut reply = [0; 7];
            client.read_exact(&mut reply).await.unwrap();
            assert_eq!((&command, &reply), (b"PING\r\n", b"+PONG\r\n"));
            // Also while it waits.
            let wait = client.read(&mut reply);
            assert!(tokio::time::timeout(Duration::from_millis(1), wait).await.is_err());
            assert_eq!(capacity(&client), 0);
        }
    }

    #[tokio::test]
    async fn a_record_is_read_in_pieces_as_small_as_the_reader_asks_for() {
        let (mut client, mut server) = connected(&TLS13, 64 * 1024).await;
        server.write_all(b"0123456789").await.unwrap();
        server.write_all(b"abc").await.unwrap();
        let mut all = Vec::<u8>::new();
        while all.len() < 13 {
            let mut piece = [0; 4];
            let length = client.read(&mut piece).await.unwrap();
            all.extend(&piece[..length]);
        }
        assert_eq!(all, b"0123456789abc");
        assert_eq!(capacity(&client), 0);
    }

    #[tokio::test]
    async fn only_a_peer_that_says_so_has_sent_everything() {
        for version in [&TLS12, &TLS13] {
            let (mut client, mut server) = connected(version, 64 * 1024).await;
            server.write_all(b"last words").await.unwrap();
            server.shutdown().await.unwrap();
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"last words");

            let (mut client, mut server) = connected(version, 64 * 1024).await;
            server.write_all(b"cut").await.unwrap();
            server.flush().await.unwrap();
            drop(server.into_inner());
            let mut all = Vec::new();
            let error = client.read_to_end(&mut all).await.unwrap_err();
            assert_eq!((&*all, error.kind()), (&b"cut"[..], io::ErrorKind::UnexpectedEof));
        }
    }

    #[tokio::test]
    async fn shutting_down_tells_the_peer() {
        for version in [&TLS12, &TLS13] {
            let (mut client, mut server) = connected(version, 64 * 1024).await;
            client.write_all(b"bye").await.unwrap();
            client.shutdown().await.unwrap();
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"bye");
        }
    }

    #[tokio::test]
    async fn what_came_before_an_error_is_read_first_and_the_error_stays_and_is_told() {
        for version in [&TLS12, &TLS13] {
            let (mut client, mut server) = connected(version, 64 * 1024).await;
            server.write_all(b"-ERR first\r\n").await.unwrap();
            server.flush().await.unwrap();
            let (io, mut connection) = server.into_inner();
            // A record that nobody has encrypted, and a good one after it.
            let mut pipe = io;
            pipe.write_all(b"\x17\x03\x03\x00\x20a record of nobody's, of 32 bytes").await.unwrap();
            io::Write::write_all(&mut connection.writer(), b"too late").unwrap();
            let mut late = Vec::new();
            connection.write_tls(&mut late).unwrap();
            pipe.write_all(&late).await.unwrap();

            let mut buffer = [0; 100];
            let length = client.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"-ERR first\r\n");
            for _ in 0..2 {
                let error = client.read(&mut buffer).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
                let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                assert_eq!(cause, Some(&rustls::Error::DecryptError));
            }
            assert!(client.write(b"PING\r\n").await.is_err(), "nothing is sent any more");
            let length = pipe.read(&mut buffer).await.unwrap();
            connection.read_tls(&mut &buffer[..length]).unwrap();
            let told = connection.process_new_packets().unwrap_err();
            assert_eq!(told, rustls::Error::AlertReceived(AlertDescription::BadRecordMac));
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_trusted_is_told_so() {
        let params = rcgen::CertificateParams::new(["cache.test".to_owned()]).unwrap();
        let (acceptor, _) = self_signed(&params, &[&TLS13]);
        let client = TlsClient::new(&Roots::none(), None);
        let (ours, theirs) = duplex(64 * 1024);
        let mut seen = Seen::default();
        let name = "cache.test".try_into().unwrap();
        let connecting = TlsStream::connect(Arc::clone(&client.config), name, ours, &mut seen);
        let (client, server) = tokio::join!(connecting, acceptor.accept(theirs));
        assert_eq!(client.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let told = server.unwrap_err().to_string();
        assert!(told.contains("UnknownCA"), "{told}");
        assert!(seen.certificate.is_some() && !seen.first_bytes.is_empty(), "{seen:?}");
    }

    #[tokio::test]
    async fn a_handshake_message_without_an_end_is_an_error() {
        let client = TlsClient::new(&Roots::none(), None);
        let (ours, theirs) = duplex(64 * 1024);
        let (mut from_client, mut to_client) = tokio::io::split(theirs);
        let server = async {
            // A ServerHello of 16 MB, in records of 16 KiB.
            let mut record = vec![22, 3, 3, 0x40, 0];
            record.resize(5 + 0x4000, 0);
            record[5..9].copy_from_slice(&[2, 0xff, 0xff, 0xff]);
            while to_client.write_all(&record).await.is_ok() {
                record[5..9].fill(0);
            }
        };
        let mut seen = Seen::default();
        let name = "cache.test".try_into().unwrap();
        let connecting = async {
            let connecting = TlsStream::connect(Arc::clone(&client.config), name, ours, &mut seen);
            connecting.await.unwrap_err()
        };
        let drain = async { while from_client.read(&mut [0; 1000]).await.is_ok_and(|it| it > 0) {} };
        let (error, ..) = tokio::join!(connecting, server, drain);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }
}
