//! Who opens a target's connections: the seam between a prober and the network.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::connection::dial::{self, DialFailure, Stream};
use crate::connection::resolver::{Addresses, Resolver};
use crate::connection::tls::TlsClient;
use crate::connection::tls::handshake::TlsInfo;
use crate::connection::trace::Trace;
use crate::probe::PhaseTimes;
use crate::target::Endpoint;

/// Opens streams to one target. Clones lead to the same target.
pub trait Dial: Clone + Send {
    /// What is opened.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Resolves, connects and, where configured, does the TLS handshake.
    ///
    /// # Errors
    /// Why there is no connection, and which phases were completed.
    fn dial(
        &mut self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Dialed<Self::Stream>, DialFailure>> + Send;

    /// Looks up the addresses that the target's host has now. `None` if they are not known by `deadline`.
    fn look_up(&self, deadline: Instant) -> impl Future<Output = Option<Vec<SocketAddr>>> + Send;
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
    tls: Option<(TlsClient, Arc<str>)>,
    resolver: Resolver,
    trace: Trace,
}

impl Dialer {
    /// A dialer of `endpoint`; with `tls` over TLS, for the server name given there.
    #[must_use]
    pub fn new(endpoint: Endpoint, tls: Option<(TlsClient, Arc<str>)>, resolver: Resolver) -> Self {
        Self { endpoint, tls, resolver, trace: Trace::default() }
    }

    /// The same dialer, which notes in `trace` what it finds out.
    #[must_use]
    pub fn with_trace(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }
}

impl Dial for Dialer {
    type Stream = Stream;

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<Stream>, DialFailure> {
        let tls = self.tls.as_ref().map(|(client, name)| (client, &**name));
        let dialed = dial::dial(&self.endpoint, tls, deadline, &self.resolver, &self.trace).await?;
        let peer = Peer {
            address: Some(dialed.peer),
            local_address: dialed.stream.local_address(),
            tls: dialed.tls,
        };
        Ok(Dialed { stream: dialed.stream, phases: dialed.phases, peer, deadline: dialed.deadline })
    }

    async fn look_up(&self, deadline: Instant) -> Option<Vec<SocketAddr>> {
        let Addresses { mut known, late, deadline } =
            self.resolver.resolve(&self.endpoint, deadline).await.ok()?;
        if let Some(mut late) = late {
            known.extend(timeout_at(deadline, late.addresses()).await.ok()?);
        }
        Some(known)
    }
}
