//! Who opens a target's connections: the seam between a prober and the network.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::connection::dial::{self, DialFailure, Stream};
use crate::connection::resolver::Resolver;
use crate::connection::tls::handshake::TlsInfo;
use crate::connection::tls::reload::ReloadedClient;
use crate::connection::trace::Trace;
use crate::descriptors::Purpose;
use crate::probe::{FailureReason, PhaseTimes};
use crate::target::Endpoint;

/// Opens streams to one endpoint. Clones lead to the same one.
pub trait Dial: Clone + Send {
    /// What is opened.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

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

    /// Waits until there are other certificates than those of the last [`Self::dial`]. Cancel safe.
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
}

/// Opens real connections.
#[derive(Clone, Debug)]
pub struct Dialer {
    endpoint: Endpoint,
    tls: Option<(ReloadedClient, Arc<str>)>,
    resolver: Resolver,
    trace: Trace,
}

impl Dialer {
    /// A dialer of `endpoint`; with `tls` over TLS, for the server name given there.
    #[must_use]
    pub fn new(endpoint: Endpoint, tls: Option<(ReloadedClient, Arc<str>)>, resolver: Resolver) -> Self {
        Self { endpoint, tls, resolver, trace: Trace::default() }
    }

    /// The same dialer, which notes in `trace` what it finds out.
    #[must_use]
    pub fn with_trace(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    async fn dial_once(&mut self, deadline: Instant) -> Result<dial::Dialed, DialFailure> {
        let tls = self.tls.as_mut().map(|(client, name)| (client.newest(), &**name));
        let tls = tls.as_ref().map(|(client, name)| (client, *name));
        dial::dial(&self.endpoint, tls, deadline, &self.resolver, Purpose::Target, &self.trace).await
    }

    /// Whether the files of certificates have changed, though no one has noticed it yet.
    async fn reload(&mut self) -> bool {
        match &mut self.tls {
            Some((client, _)) => client.reload().await,
            None => false,
        }
    }
}

fn concerns_certificates(failed: &DialFailure) -> bool {
    matches!(failed.failure.reason, FailureReason::TlsCertificate | FailureReason::TlsClientCertificate)
}

impl Dial for Dialer {
    type Stream = Stream;

    fn to(&self, endpoint: Endpoint) -> Self {
        Self { endpoint, ..self.clone() }
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<Stream>, DialFailure> {
        let dialed = match self.dial_once(deadline).await {
            // A server that has got other certificates may be faster than the look at our files.
            Err(failed) if concerns_certificates(&failed) && self.reload().await => {
                self.dial_once(deadline).await?
            }
            dialed => dialed?,
        };
        let peer = Peer {
            address: Some(dialed.peer),
            local_address: dialed.stream.local_address(),
            tls: dialed.tls,
        };
        Ok(Dialed { stream: dialed.stream, phases: dialed.phases, peer, deadline: dialed.deadline })
    }

    async fn leads_to(&self, address: SocketAddr, deadline: Instant) -> Option<bool> {
        self.resolver.leads_to(address, &self.endpoint, deadline).await
    }

    async fn renewed(&mut self) {
        match &mut self.tls {
            Some((client, _)) => client.renewed().await,
            None => std::future::pending().await,
        }
    }
}
