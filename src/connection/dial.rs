//! Opening a connection, each phase timed apart: resolve, connect, TLS. Signing in is left to whoever speaks the
//! protocol above.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connect::connect;
use super::resolver::Resolver;
use super::tls::handshake::TlsInfo;
use super::tls::{TlsClient, TlsStream};
use super::trace::{Findings, Trace};
use crate::descriptors::Purpose;
use crate::probe::{Failure, Phase, PhaseTimes};
use crate::target::Endpoint;

/// An open connection.
#[derive(Debug)]
pub struct Dialed {
    /// The connection.
    pub stream: Stream,
    /// How long each phase took.
    pub phases: PhaseTimes,
    /// The address that answered.
    pub peer: SocketAddr,
    /// The result of the TLS handshake; `None` in plaintext.
    pub tls: Option<TlsInfo>,
    /// The deadline, moved by the time for which a lookup waited for its turn or the agent did not run.
    pub deadline: Instant,
}

/// No connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialFailure {
    /// Why, and in which phase.
    pub failure: Failure,
    /// The phases that were completed before.
    pub phases: PhaseTimes,
}

/// Opens a connection to `endpoint` before `deadline`; with `tls` over TLS, for the server name given there. Waiting for
/// one of the few lookups that may run moves the deadline. Uses descriptors for `purpose`. Notes in `trace` what it finds out on the way.
///
/// # Errors
/// [`DialFailure`], with the phase's own reason also where `deadline` passed.
pub async fn dial(
    endpoint: &Endpoint,
    tls: Option<(&TlsClient, &str)>,
    deadline: Instant,
    resolver: &Resolver,
    purpose: Purpose,
    trace: &Trace,
) -> Result<Dialed, DialFailure> {
    let mut phases = PhaseTimes::default();
    trace.note(|findings| {
        let sentinels = std::mem::take(&mut findings.sentinels);
        *findings = Findings { sentinels, ..Findings::default() };
    });
    let addresses = timed(Phase::Resolve, &mut phases, resolver.resolve(endpoint, deadline)).await?;
    trace.note(|findings| findings.addresses.clone_from(&addresses.known));
    let mut deadline = addresses.deadline;
    let (stream, peer) =
        timed(Phase::Connect, &mut phases, connect(addresses, &mut deadline, purpose, trace)).await?;
    trace.note(|findings| findings.connected = Some(peer));
    let Some((client, server_name)) = tls else {
        return Ok(Dialed { stream: Stream::Plain(stream), phases, peer, tls: None, deadline });
    };
    let handshake = client.handshake(server_name, stream, Some(peer), &mut deadline, trace);
    let (stream, info) = timed(Phase::Tls, &mut phases, handshake).await?;
    trace.note(|findings| findings.tls_version = Some(info.version));
    Ok(Dialed { stream: Stream::Tls(Box::new(stream)), phases, peer, tls: Some(info), deadline })
}

async fn timed<T>(
    phase: Phase,
    phases: &mut PhaseTimes,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, DialFailure> {
    let started = Instant::now();
    match work.await {
        Ok(done) => {
            phases.set(phase, started.elapsed());
            Ok(done)
        }
        Err(failure) => Err(DialFailure { failure, phases: *phases }),
    }
}

/// A connection, encrypted or not.
#[derive(Debug)]
pub enum Stream {
    /// Plaintext.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Our own end of the connection; `None` if it is already gone.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.local_addr().ok(),
            Self::Tls(stream) => stream.get_ref().local_addr().ok(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connection::testing::{Authority, LAST_YEAR, resolver};
    use crate::connection::tls::roots::Roots;
    use crate::probe::FailureReason;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// Long enough for a busy machine.
    fn patient() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    async fn listen() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, Endpoint { host: "127.0.0.1".into(), port })
    }

    /// Dials a TLS server that uses `acceptor`, as `cache.test`.
    async fn dial_tls(acceptor: TlsAcceptor, roots: &Roots) -> Result<Dialed, DialFailure> {
        let (listener, endpoint) = listen().await;
        let server = async move {
            let (stream, _) = listener.accept().await.unwrap();
            // The server's view of a refused certificate is not what is tested here.
            acceptor.accept(stream).await.ok()
        };
        let client = TlsClient::new(roots, None);
        let (resolver, trace) = (resolver(), Trace::default());
        let dialing =
            dial(&endpoint, Some((&client, "cache.test")), patient(), &resolver, Purpose::Target, &trace);
        tokio::join!(dialing, server).0
    }

    #[tokio::test]
    async fn a_good_handshake_tells_its_phases_version_and_the_certificates_end() {
        let authority = Authority::new();
        let dialed = dial_tls(authority.server("cache.test"), &authority.roots()).await.unwrap();
        let phases: Vec<Phase> = dialed.phases.iter().map(|(phase, _)| phase).collect();
        assert_eq!(phases, [Phase::Resolve, Phase::Connect, Phase::Tls]);
        let end = rcgen::date_time_ymd(LAST_YEAR, 1, 1).into();
        assert_eq!(dialed.tls, Some(TlsInfo { version: "1.3", certificate_expiry: Some(end) }));
    }

    #[tokio::test]
    async fn a_plaintext_connection_carries_bytes_both_ways() {
        let (listener, endpoint) = listen().await;
        let echo = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        };
        let client = async {
            let mut dialed =
                dial(&endpoint, None, patient(), &resolver(), Purpose::Target, &Trace::default())
                    .await
                    .unwrap();
            dialed.stream.write_all(b"PING").await.unwrap();
            let mut bytes = [0; 4];
            dialed.stream.read_exact(&mut bytes).await.unwrap();
            (bytes, dialed)
        };
        let ((bytes, dialed), ()) = tokio::join!(client, echo);
        assert_eq!(&bytes, b"PING");
        assert_eq!(dialed.tls, None);
        assert_eq!(dialed.phases.get(Phase::Tls), None);
    }

    #[tokio::test]
    async fn a_closed_port_is_connect_refused() {
        let (listener, endpoint) = listen().await;
        drop(listener);
        let failure = dial(&endpoint, None, patient(), &resolver(), Purpose::Target, &Trace::default())
            .await
            .unwrap_err();
        assert_eq!(failure.failure.reason, FailureReason::ConnectRefused);
        assert!(failure.failure.detail.starts_with(&format!("{endpoint}: ")), "{failure:?}");
        assert_eq!(failure.phases.iter().map(|(phase, _)| phase).collect::<Vec<_>>(), [Phase::Resolve]);
    }
}
