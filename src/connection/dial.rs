//! Opening a connection, each phase timed apart: resolve, connect, TLS. Signing in is left to whoever speaks the
//! protocol above.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::resolver::Resolver;
use super::tls::{TlsClient, TlsInfo};
use crate::excerpt::excerpt;
use crate::probe::{Failure, FailureReason, Phase, PhaseTimes, Stage};
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
    /// What the handshake told; `None` in plaintext.
    pub tls: Option<TlsInfo>,
}

/// No connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialFailure {
    /// Why, and in which phase.
    pub failure: Failure,
    /// The phases that were completed before.
    pub phases: PhaseTimes,
}

/// Opens a connection to `endpoint` before `deadline`; with `tls` over TLS, for the server name given there.
///
/// # Errors
/// [`DialFailure`], with the phase's own reason also where `deadline` passed.
pub async fn dial(
    endpoint: &Endpoint,
    tls: Option<(&TlsClient, &str)>,
    deadline: Instant,
    resolver: &Resolver,
) -> Result<Dialed, DialFailure> {
    let mut phases = PhaseTimes::default();
    let addresses = timed(Phase::Resolve, &mut phases, resolver.resolve(endpoint, deadline)).await?;
    let (stream, peer) = timed(Phase::Connect, &mut phases, connect(&addresses, deadline)).await?;
    let Some((client, server_name)) = tls else {
        return Ok(Dialed { stream: Stream::Plain(stream), phases, peer, tls: None });
    };
    let handshake = client.handshake(server_name, stream, deadline);
    let (stream, info) = timed(Phase::Tls, &mut phases, handshake).await?;
    Ok(Dialed { stream: Stream::Tls(Box::new(stream)), phases, peer, tls: Some(info) })
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

/// Tries the addresses in order. Each gets an equal share of the time that is left, so that a dead one leaves time
/// for those after it.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut reasons = Vec::new();
    let mut details = String::new();
    for (&address, remaining) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(remaining).unwrap_or(u32::MAX);
        let error = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                tune(&stream);
                return Ok((stream, address));
            }
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        };
        reasons.push(connect_reason(&error));
        let separator = if details.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(details, "{separator}{address}: {error}");
    }
    // The most telling one: a refusal shows that a machine is there, silence that packets vanish on the way. An
    // address family without a route is common and says nothing where another family got further.
    let reason = [FailureReason::ConnectRefused, FailureReason::ConnectTimeout]
        .into_iter()
        .find(|reason| reasons.contains(reason))
        .unwrap_or(FailureReason::ConnectUnreachable);
    Err(Failure::new(reason, Stage::Phase(Phase::Connect), excerpt(&details, 300)))
}

fn connect_reason(error: &io::Error) -> FailureReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => FailureReason::ConnectRefused,
        io::ErrorKind::TimedOut => FailureReason::ConnectTimeout,
        // No route, no address of that family, a local firewall: the packets never left.
        _ => FailureReason::ConnectUnreachable,
    }
}

/// Makes a connection that went dead without a word end soon. The kernel alone resends into the void for some 15
/// minutes before it gives up. Our own time limits come first where a reply is awaited; these are for the rest.
fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    let socket = SockRef::from(stream);
    let set = |option: &str, result: io::Result<()>| {
        // Some sandboxes lack one or the other; that is no reason not to probe.
        if let Err(error) = result {
            tracing::debug!(option, %error, "a socket option could not be set");
        }
    };
    set("TCP_NODELAY", stream.set_nodelay(true));
    set("SO_KEEPALIVE", socket.set_tcp_keepalive(&keepalive));
    #[cfg(target_os = "linux")]
    set("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(Some(Duration::from_secs(20))));
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
            Self::Tls(stream) => stream.get_ref().0.local_addr().ok(),
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
