//! Who opens a target's connections: the seam between a prober and the network.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::connection::dial::{self, DialFailure, Stream};
use crate::connection::handshake::Greeting;
use crate::connection::resolver::Resolver;
use crate::connection::sentinel::{Located, Locator};
use crate::connection::tls::PLAIN_TEXT;
use crate::connection::tls::handshake::TlsInfo;
use crate::connection::tls::reload::ReloadedClient;
use crate::connection::trace::Trace;
use crate::descriptors::Purpose;
use crate::probe::{Failure, FailureReason, Phase, PhaseTimes};
use crate::target::Endpoint;

/// The shortest time from one attempt to reach a primary to the next, where sentinels name another one, and the longest if
/// they go on so.
const MOVE_PAUSE: Duration = Duration::from_millis(100);
const MOVE_CAP: Duration = Duration::from_secs(5);

/// What to do if nothing listens at the address that sentinels name.
const NAMED_REFUSES: &str = "Nothing listens at the address that the sentinels name: the primary is down, and they have not \
     started another one yet; or the address is valid only where the servers run, as that of a container.";

/// What to do if the server there seems to speak plain text.
const NAMED_PLAIN_TEXT: &str = "Let the servers announce their port with TLS to the sentinels (`tls-replication yes`). Set \
     `tls: false` if they serve plain text and need not encrypt.";

/// What to do if the certificate of the server there is refused.
const NAMED_CERTIFICATE: &str = "Set `tls.server_name` to a name in the certificates of all servers of the service, or let the \
     sentinels announce host names (`announce-hostnames yes`), and check that no certificate has expired. For a private \
     certificate authority, set `tls.ca_file` to its root certificate.";

/// Opens streams to one endpoint. Clones lead to the same one.
pub trait Dial: Clone + Send + Sync + 'static {
    /// What is opened.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Returns a dialer of `endpoint`, which must still show a certificate for the name of this dialer's endpoint: a
    /// cache shows the same one on each of its nodes, whose addresses it doesn't name.
    #[must_use]
    fn to(&self, endpoint: Endpoint) -> Self;

    /// Resolves, connects and, where configured, does the TLS handshake.
    ///
    /// # Errors
    /// Why there is no connection, and which phases were completed.
    fn dial(
        &mut self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Dialed<Self::Stream>, DialFailure>> + Send;

    /// Returns whether the target's host has the address `address` now. `None` if that is not known by `deadline`.
    fn leads_to(&self, address: SocketAddr, deadline: Instant) -> impl Future<Output = Option<bool>> + Send;

    /// Waits until the connection to `peer` is to be left, because the server that is wanted is elsewhere now. Returns why.
    /// Cancel safe.
    fn moved_from(&self, peer: &Peer) -> impl Future<Output = Failure> + Send {
        let _ = peer;
        std::future::pending()
    }

    /// There was no greeting from the server that was dialed last.
    fn not_greeted(&self, failure: &Failure) {
        let _ = failure;
    }

    /// Judges the server that was dialed last by its greeting.
    ///
    /// # Errors
    /// Why it is not the server that is wanted.
    fn accept(&self, greeting: &Greeting) -> Result<(), Failure> {
        let _ = greeting;
        Ok(())
    }

    /// Waits until another [`Self::dial`] may do better than the last: there are other certificates, other credentials for
    /// those who name the server, or the server is elsewhere. Cancel safe.
    fn renewed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// A stream that was just opened.
#[derive(Debug)]
pub struct Dialed<S> {
    /// The stream.
    pub stream: S,
    /// How long its phases took.
    pub phases: PhaseTimes,
    /// Whom it leads to.
    pub peer: Peer,
    /// The deadline of opening it, which may be later than the one that was asked for: waiting for the agent itself does
    /// not count.
    pub deadline: Instant,
}

/// The two ends of a connection, as far as they have shown themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The cache's address.
    pub address: Option<SocketAddr>,
    /// Our own end.
    pub local_address: Option<SocketAddr>,
    /// The result of the TLS handshake.
    pub tls: Option<TlsInfo>,
    /// How often the server's place had changed when the connection was opened, where sentinels name it.
    pub epoch: u64,
}

/// Opens real connections.
#[derive(Clone, Debug)]
pub struct Dialer {
    way: Way,
    line: Line,
}

/// How the server is found.
#[derive(Clone, Debug)]
enum Way {
    Host(Endpoint),
    /// By asking sentinels. Boxed: most targets have none.
    Sentinels(Box<Primary>),
}

/// The primary that sentinels name.
#[derive(Clone, Debug)]
struct Primary {
    locator: Locator,
    tried: Tried,
}

/// The last attempt to reach the primary that sentinels name.
#[derive(Clone, Debug, Default)]
struct Tried {
    endpoint: Option<Endpoint>,
    /// In which epoch of the primary, and when the attempt ended.
    ended: Option<(u64, Instant)>,
    /// The attempts that have failed in a row, each in another epoch than the one before.
    moves: u32,
}

impl Tried {
    /// An attempt in `epoch` has ended.
    fn end(&mut self, epoch: u64, has_failed: bool) {
        let is_move = self.ended.is_some_and(|(previous, _)| previous != epoch);
        self.moves = if has_failed { self.moves.saturating_add(is_move.into()) } else { 0 };
        self.ended = Some((epoch, Instant::now()));
    }

    /// Returns the pause after the last attempt if the sentinels name another primary then. They are not obeyed without end.
    fn pause(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.moves).unwrap_or(u32::MAX);
        MOVE_PAUSE.saturating_mul(factor).min(MOVE_CAP)
    }
}

/// How the server is connected to, once its endpoint is known.
#[derive(Clone, Debug)]
struct Line {
    /// With the name for the certificate. `None` is the host of the endpoint.
    tls: Option<(ReloadedClient, Option<Arc<str>>)>,
    resolver: Resolver,
    trace: Trace,
}

impl Dialer {
    /// A dialer of `endpoint`; with `tls` over TLS, for the server name given there.
    #[must_use]
    pub fn new(endpoint: Endpoint, tls: Option<(ReloadedClient, Arc<str>)>, resolver: Resolver) -> Self {
        let tls = tls.map(|(client, name)| (client, Some(name)));
        Self { way: Way::Host(endpoint), line: Line { tls, resolver, trace: Trace::default() } }
    }

    /// A dialer of the primary that `locator` finds; with `tls` over TLS, for the server name given there, or else for the
    /// host that the sentinels name.
    #[must_use]
    pub fn of_primary(
        locator: Locator,
        tls: Option<(ReloadedClient, Option<Arc<str>>)>,
        resolver: Resolver,
    ) -> Self {
        Self {
            way: Way::Sentinels(Primary { locator, tried: Tried::default() }.into()),
            line: Line { tls, resolver, trace: Trace::default() },
        }
    }

    /// Returns what finds the primary, if sentinels name it.
    #[must_use]
    pub fn locator(&self) -> Option<&Locator> {
        match &self.way {
            Way::Host(_) => None,
            Way::Sentinels(primary) => Some(&primary.locator),
        }
    }

    /// The same dialer, which notes in `trace` what it finds out.
    #[must_use]
    pub fn with_trace(self, trace: Trace) -> Self {
        let way = match self.way {
            Way::Sentinels(primary) => {
                let Primary { locator, tried } = *primary;
                Way::Sentinels(Primary { locator: locator.with_trace(trace.clone()), tried }.into())
            }
            Way::Host(endpoint) => Way::Host(endpoint),
        };
        Self { way, line: Line { trace, ..self.line } }
    }
}

impl Primary {
    /// As [`Dial::renewed`], where `line` leads to it.
    async fn renewed(&mut self, line: &mut Line) {
        let mut knowledge = self.locator.knowledge();
        let (tried, pause) = (self.tried.ended, self.tried.pause());
        let moved = async move {
            let Some((epoch, ended)) = tried else { return std::future::pending().await };
            // The locator keeps the sender.
            let _ = knowledge.wait_for(|knowledge| !knowledge.stands(epoch)).await;
            sleep_until(ended + pause).await;
        };
        tokio::select! {
            () = line.renewed() => {}
            () = self.locator.renewed() => {}
            () = moved => {}
        }
    }
}

impl Line {
    async fn dial(&mut self, endpoint: &Endpoint, deadline: Instant) -> Result<dial::Dialed, DialFailure> {
        match self.dial_once(endpoint, deadline).await {
            // A server that has got other certificates may be faster than the look at our files.
            Err(failed) if concerns_certificates(&failed) && self.reload().await => {
                self.dial_once(endpoint, deadline).await
            }
            dialed => dialed,
        }
    }

    async fn dial_once(
        &mut self,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<dial::Dialed, DialFailure> {
        let tls = self.tls.as_mut().map(|(client, name)| (client.newest(), name.as_ref()));
        let tls = tls.as_ref().map(|(client, name)| (client, name.map_or(&*endpoint.host, |name| name)));
        dial::dial(endpoint, tls, deadline, &self.resolver, Purpose::Target, &self.trace).await
    }

    /// Whether the files of certificates have changed, though no one has noticed it yet.
    async fn reload(&mut self) -> bool {
        match &mut self.tls {
            Some((client, _)) => client.reload().await,
            None => false,
        }
    }

    async fn renewed(&mut self) {
        match &mut self.tls {
            Some((client, _)) => client.renewed().await,
            None => std::future::pending().await,
        }
    }
}

fn concerns_certificates(failed: &DialFailure) -> bool {
    matches!(failed.failure.reason, FailureReason::TlsCertificate | FailureReason::TlsClientCertificate)
}

/// Asks for the primary and dials it. Begins again if it moves meanwhile.
async fn dial_primary(
    Primary { locator, tried }: &mut Primary,
    line: &mut Line,
    mut deadline: Instant,
) -> Result<(dial::Dialed, u64), DialFailure> {
    let started = Instant::now();
    let mut epoch = locator.knowledge().borrow().epoch();
    loop {
        let located = match locator.locate(deadline).await {
            Ok(located) => located,
            Err(failure) => {
                tried.end(epoch, true);
                return Err(DialFailure { failure, phases: PhaseTimes::default() });
            }
        };
        let Located { endpoint, deadline: moved, .. } = located;
        epoch = located.epoch;
        deadline = moved;
        let mut phases = PhaseTimes::default();
        phases.set(Phase::Resolve, started.elapsed());
        let dialed = tokio::select! {
            biased;
            dialed = line.dial(&endpoint, deadline) => dialed,
            _ = locator.moved_since(epoch) => continue,
        };
        tried.end(epoch, dialed.is_err());
        let endpoint = tried.endpoint.insert(endpoint);
        return match dialed {
            Ok(mut dialed) => {
                phases.add(&dialed.phases);
                dialed.phases = phases;
                Ok((dialed, epoch))
            }
            Err(failed) => {
                locator.not_reached(endpoint, &failed.failure);
                phases.add(&failed.phases);
                Err(DialFailure { phases, failure: named_by_sentinels(failed.failure) })
            }
        };
    }
}

/// Returns the failure of a server whose address nobody has configured.
fn named_by_sentinels(failure: Failure) -> Failure {
    let advice = match failure.reason {
        FailureReason::ConnectRefused => Some(NAMED_REFUSES),
        FailureReason::TlsHandshake if failure.advice == Some(PLAIN_TEXT) => Some(NAMED_PLAIN_TEXT),
        FailureReason::TlsCertificate => Some(NAMED_CERTIFICATE),
        _ => failure.advice,
    };
    Failure { advice, ..failure }
}

impl Dial for Dialer {
    type Stream = Stream;

    fn to(&self, endpoint: Endpoint) -> Self {
        // What is traced is the way to the target.
        Self { way: Way::Host(endpoint), line: Line { trace: Trace::default(), ..self.line.clone() } }
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<Stream>, DialFailure> {
        let (dialed, epoch) = match &mut self.way {
            Way::Host(endpoint) => (self.line.dial(endpoint, deadline).await?, 0),
            Way::Sentinels(primary) => dial_primary(primary, &mut self.line, deadline).await?,
        };
        let peer = Peer {
            address: Some(dialed.peer),
            local_address: dialed.stream.local_address(),
            tls: dialed.tls,
            epoch,
        };
        Ok(Dialed { stream: dialed.stream, phases: dialed.phases, peer, deadline: dialed.deadline })
    }

    async fn leads_to(&self, address: SocketAddr, deadline: Instant) -> Option<bool> {
        let endpoint = match &self.way {
            Way::Host(endpoint) => endpoint.clone(),
            Way::Sentinels(primary) => primary.locator.knowledge().borrow().primary()?.clone(),
        };
        self.line.resolver.leads_to(address, &endpoint, deadline).await
    }

    async fn moved_from(&self, peer: &Peer) -> Failure {
        match &self.way {
            Way::Host(_) => std::future::pending().await,
            Way::Sentinels(primary) => primary.locator.moved_since(peer.epoch).await,
        }
    }

    fn not_greeted(&self, failure: &Failure) {
        if let Way::Sentinels(primary) = &self.way
            && let Some(endpoint) = &primary.tried.endpoint
        {
            primary.locator.not_reached(endpoint, failure);
        }
    }

    fn accept(&self, greeting: &Greeting) -> Result<(), Failure> {
        match &self.way {
            Way::Sentinels(primary) => match &primary.tried.endpoint {
                Some(endpoint) => primary.locator.accept(endpoint, greeting),
                None => Ok(()),
            },
            Way::Host(_) => Ok(()),
        }
    }

    async fn renewed(&mut self) {
        match &mut self.way {
            Way::Host(_) => self.line.renewed().await,
            // Boxed: without that, every prober has a place for it.
            Way::Sentinels(primary) => Box::pin(primary.renewed(&mut self.line)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Stage;

    #[test]
    fn the_advice_about_a_primary_names_no_key_that_a_target_behind_sentinels_lacks() {
        let failure = |reason| Failure::new(reason, Stage::Phase(Phase::Connect), "");
        let plain_text = Failure { advice: Some(PLAIN_TEXT), ..failure(FailureReason::TlsHandshake) };
        for failure in
            [failure(FailureReason::ConnectRefused), failure(FailureReason::TlsCertificate), plain_text]
        {
            let advice = named_by_sentinels(failure).advice();
            let names_host = ["`host`", "`port`"].iter().any(|key| advice.contains(key));
            assert!(!names_host && advice.contains("sentinels"), "{advice}");
        }
        let other = failure(FailureReason::ConnectTimeout);
        assert_eq!(named_by_sentinels(other.clone()), other);
    }
}
