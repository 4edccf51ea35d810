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
use super::tls::TlsClient;
use super::tls::handshake::TlsInfo;
use super::trace::{Findings, Trace};
use crate::error::is_local;
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
    /// The result of the TLS handshake; `None` in plaintext.
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

/// Opens a connection to `endpoint` before `deadline`; with `tls` over TLS, for the server name given there. Notes in
/// `trace` what it finds out on the way.
///
/// # Errors
/// [`DialFailure`], with the phase's own reason also where `deadline` passed.
pub async fn dial(
    endpoint: &Endpoint,
    tls: Option<(&TlsClient, &str)>,
    deadline: Instant,
    resolver: &Resolver,
    trace: &Trace,
) -> Result<Dialed, DialFailure> {
    let mut phases = PhaseTimes::default();
    trace.note(|findings| *findings = Findings::default());
    let addresses = timed(Phase::Resolve, &mut phases, resolver.resolve(endpoint, deadline)).await?;
    trace.note(|findings| findings.addresses.clone_from(&addresses));
    let (stream, peer) = timed(Phase::Connect, &mut phases, connect(&addresses, deadline, trace)).await?;
    trace.note(|findings| findings.connected = Some(peer));
    let Some((client, server_name)) = tls else {
        return Ok(Dialed { stream: Stream::Plain(stream), phases, peer, tls: None });
    };
    let handshake = client.handshake(server_name, stream, deadline);
    let (stream, info) = timed(Phase::Tls, &mut phases, handshake).await?;
    trace.note(|findings| findings.tls_version = Some(info.version));
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
async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
    trace: &Trace,
) -> Result<(TcpStream, SocketAddr), Failure> {
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
        trace.note(|findings| findings.refused.push((address, error.to_string())));
        reasons.push(connect_reason(address, &error));
        let separator = if details.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(details, "{separator}{address}: {error}");
    }
    // The most telling one: a refusal shows that a machine is there, silence that packets vanish on the way. An
    // address family without a route is common and says nothing where another family got further. The agent's own
    // limits are the cause only if nothing came of the network.
    let reason =
        [FailureReason::ConnectRefused, FailureReason::ConnectTimeout, FailureReason::ConnectUnreachable]
            .into_iter()
            .find(|reason| reasons.contains(reason))
            .unwrap_or(FailureReason::LocalResource);
    Err(Failure::new(reason, Stage::Phase(Phase::Connect), excerpt(&details, 300)))
}

fn connect_reason(address: SocketAddr, error: &io::Error) -> FailureReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => FailureReason::ConnectRefused,
        io::ErrorKind::TimedOut => FailureReason::ConnectTimeout,
        // No local port is left; or the machine has no address from which this one could be reached.
        io::ErrorKind::AddrNotAvailable if has_route(address) => FailureReason::LocalResource,
        _ if is_local(error) => FailureReason::LocalResource,
        // No route, no address of that family, a local firewall: the packets never left.
        _ => FailureReason::ConnectUnreachable,
    }
}

/// Whether this machine has an address from which `address` can be reached. Sends nothing.
fn has_route(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    std::net::UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
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
            tracing::debug!(option, %error, "socket option not set");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing::{Authority, LAST_YEAR};
    use crate::connection::tls::Roots;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    fn later(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    /// Long enough for a busy machine.
    fn patient() -> Instant {
        later(20_000)
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
        let client = TlsClient::new(roots);
        let (resolver, trace) = (Resolver::system(), Trace::default());
        let dialing = dial(&endpoint, Some((&client, "cache.test")), patient(), &resolver, &trace);
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
                dial(&endpoint, None, patient(), &Resolver::system(), &Trace::default()).await.unwrap();
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
        let failure =
            dial(&endpoint, None, patient(), &Resolver::system(), &Trace::default()).await.unwrap_err();
        assert_eq!(failure.failure.reason, FailureReason::ConnectRefused);
        assert!(failure.failure.detail.starts_with(&format!("{endpoint}: ")), "{failure:?}");
        assert_eq!(failure.phases.iter().map(|(phase, _)| phase).collect::<Vec<_>>(), [Phase::Resolve]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_leaves_the_next_one() {
        let (dead, dead_endpoint) = listen().await;
        drop(dead);
        let (alive, alive_endpoint) = listen().await;
        let addresses = [dead_endpoint, alive_endpoint].map(|endpoint| endpoint.to_string().parse().unwrap());
        let (_, peer) = connect(&addresses, patient(), &Trace::default()).await.unwrap();
        assert_eq!(peer, alive.local_addr().unwrap());
    }

    /// A listener whose queue is full: the kernel drops further handshakes, as a firewall would.
    async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
        }
        (listener, queued, address)
    }

    #[tokio::test]
    async fn an_address_that_is_silent_leaves_time_for_the_next_one() {
        let (_listener, _queued, silent) = silent().await;
        let (alive, _) = listen().await;
        let alive = alive.local_addr().unwrap();
        let (_, peer) = connect(&[silent, alive], later(2_000), &Trace::default()).await.unwrap();
        assert_eq!(peer, alive);
        let failure = connect(&[silent], later(100), &Trace::default()).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::ConnectTimeout);
        assert_eq!(*failure.detail, *format!("{silent}: no answer in time"));
    }

    #[test]
    fn every_way_a_connect_can_fail_has_its_reason() {
        let address = "127.0.0.1:6380".parse().unwrap();
        let reason = |kind| connect_reason(address, &io::Error::from(kind));
        assert_eq!(reason(io::ErrorKind::ConnectionRefused), FailureReason::ConnectRefused);
        assert_eq!(reason(io::ErrorKind::TimedOut), FailureReason::ConnectTimeout);
        for kind in [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable] {
            assert_eq!(reason(kind), FailureReason::ConnectUnreachable);
        }
        // 24 is EMFILE, as in `ulimit -n`.
        let no_descriptor = io::Error::from_raw_os_error(24);
        assert_eq!(connect_reason(address, &no_descriptor), FailureReason::LocalResource);
        assert_eq!(reason(io::ErrorKind::AddrNotAvailable), FailureReason::LocalResource, "no port is left");
        // Documentation addresses (RFC 3849) have no route where there is no IPv6 but the loopback.
        let far: SocketAddr = "[2001:db8::1]:6380".parse().unwrap();
        if !has_route(far) {
            let error = io::Error::from(io::ErrorKind::AddrNotAvailable);
            assert_eq!(connect_reason(far, &error), FailureReason::ConnectUnreachable);
        }
    }
}
