//! The companion of a prober: opens connections beside the one that is open.
//!
//! It probes whether new connections still succeed, and replaces the open connection when its host's name leads to
//! another address (`replacement.rs`). The prober never waits for it: a replacement comes through `handover.rs` once it has
//! answered PING.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::cluster::is_in_words;
use super::handover::{Handover, OpenConnection};
use super::link::hosts;
use super::links::FRONT;
use super::new_connections::NewConnections;
use super::opening::{Opened, Opener};
use super::replacement::Replacement;
use super::schedule::until;
use super::shared::Shared;
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::metrics::TargetMetrics;
use crate::probe::Failure;
use crate::target::Server;
use crate::topology::Slot;

/// The longest time from a failed probe of a new connection to the next.
const REPEAT: Duration = Duration::from_secs(30);

/// Opens connections beside the open one of one target.
#[derive(Debug)]
pub(super) struct Companion<D: Dial> {
    opener: Opener<D>,
    rng: fastrand::Rng,
    shared: Arc<Shared>,
    metrics: Arc<TargetMetrics>,
    new_connections: NewConnections,
    handover: Arc<Handover<D::Stream>>,
    replacement: Replacement,
    /// The lowest slot of the shard to which a new connection succeeded last.
    last_shard: Option<Slot>,
    next_probe: Option<Instant>,
    next_look_up: Option<Instant>,
}

impl<D: Dial> Companion<D> {
    pub(super) fn new(
        opener: Opener<D>,
        rng: fastrand::Rng,
        shared: &Arc<Shared>,
        handover: Arc<Handover<D::Stream>>,
    ) -> Self {
        Self {
            opener,
            rng,
            shared: Arc::clone(shared),
            metrics: shared.record(|record| record.metrics()),
            new_connections: shared.record(|record| record.new_connections()),
            handover,
            replacement: Replacement::default(),
            last_shard: None,
            next_probe: None,
            next_look_up: None,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self: Box<Self>) -> Infallible {
        let now = Instant::now();
        let target = &self.opener.target;
        let has_name = match &target.server {
            Server::Host(endpoint) => endpoint.host.parse::<IpAddr>().is_err(),
            // They may name hosts.
            Server::Sentinels(_) => true,
        };
        // Targets that start together are spread over the whole time.
        let mut first = |every: Duration| now + every.mul_f64(self.rng.f64());
        self.next_probe = target.new_connection_every.map(&mut first);
        self.next_look_up = target.dns_refresh.filter(|_| has_name).map(&mut first);
        loop {
            until(self.next()).await;
            let now = Instant::now();
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if is_due(self.next_probe) {
                self.probe().await;
            }
            if is_due(self.next_look_up) {
                self.look_up().await;
            }
            if let Some(open) = self.handover.open().filter(|open| self.replacement.is_due(*open, now)) {
                self.replace(open).await;
            }
            if let Some(last) = self.handover.retired().filter(|last| self.replacement.is_due(*last, now)) {
                // Boxed: most targets never get here.
                Box::pin(self.ask(last)).await;
            }
        }
    }

    /// Returns when something is due.
    fn next(&self) -> Option<Instant> {
        let replaces = self.known().and_then(|open| self.replacement.next(open));
        let times = [self.next_probe, self.next_look_up, replaces];
        times.into_iter().flatten().min()
    }

    /// Returns the open connection to the host, or if shards are watched instead, the last one.
    fn known(&self) -> Option<OpenConnection> {
        self.handover.open().or_else(|| self.handover.retired())
    }

    /// Opens a connection, signs in, runs `PING` and closes it. In a cluster, then does the same with one of the shards.
    async fn probe(&mut self) {
        let (phases, mut result) = match self.opener.open().await {
            Ok(Opened { connection, phases, refused, .. }) => {
                let expiry = connection.certificate_expiry();
                self.shared.record(|record| record.connections(|all| all.certificate_seen(FRONT, expiry)));
                (phases, refused.map_or(Ok(()), Err))
            }
            Err(DialFailure { failure, phases }) => (phases, Err(failure)),
        };
        // Clients of a cluster may know other nodes than the host's.
        // Boxed: most targets have none.
        result = result.and(Box::pin(self.probe_shard()).await);
        let pause = self
            .opener
            .target
            .new_connection_every
            .map(|every| if result.is_ok() { every } else { every.min(REPEAT) });
        self.new_connections.probed(phases, result);
        self.next_probe = pause.map(|pause| self.after(pause));
    }

    /// Does so with the next of the shards that were reached. One that fails stays the next.
    async fn probe_shard(&mut self) -> Result<(), Failure> {
        let Some((link, shard)) = self.shared.signals.shard_after(self.last_shard) else { return Ok(()) };
        let mut opener = self.opener.clone();
        opener.dialer = opener.dialer.to(shard.endpoint);
        let (phases, failure) = match opener.open().await {
            Ok(Opened { connection, phases, refused, .. }) => {
                let expiry = connection.certificate_expiry();
                self.shared.record(|record| record.connections(|all| all.certificate_seen(link, expiry)));
                (phases, refused)
            }
            Err(DialFailure { failure, phases }) => (phases, Some(failure)),
        };
        self.metrics.phases(&phases);
        if let Some(failure) = failure {
            return Err(Failure { slots: Some(shard.slots), ..failure });
        }
        self.last_shard = shard.slots.lowest();
        Ok(())
    }

    /// Compares the addresses of the host's name with that of the open connection. A failure changes nothing.
    async fn look_up(&mut self) {
        if let Some(open) = self.known()
            && let Some(address) = open.address
        {
            let deadline = Instant::now() + self.opener.target.connect_timeout;
            if let Some(leads_there) = Box::pin(self.opener.dialer.leads_to(address, deadline)).await {
                self.replacement.looked_up(open, leads_there);
            }
        }
        self.next_look_up = self.opener.target.dns_refresh.map(|pause| self.after(pause));
    }

    /// Opens a connection that takes over from `open` when it has answered PING.
    async fn replace(&mut self, open: OpenConnection) {
        let failed = match self.opener.open().await {
            Ok(Opened { refused: Some(failure), phases, .. }) => DialFailure { failure, phases },
            Ok(opened) => {
                self.replacement.opened(open, Instant::now());
                return self.handover.offer(open, Box::new(opened));
            }
            Err(failed) => failed,
        };
        self.metrics.connect_failed(&failed.phases);
        self.not_replaced(&failed.failure);
    }

    /// Asks for the topology where the host leads now, and lets the coordinator follow it. `last` is the last connection to
    /// the host.
    async fn ask(&mut self, last: OpenConnection) {
        let target = Arc::clone(&self.opener.target);
        let Some(host) = target.server.host() else { return };
        let failed = match self.opener.open().await {
            Ok(Opened { refused: Some(failure), phases, .. }) => DialFailure { failure, phases },
            Ok(Opened { mut connection, phases, .. }) => {
                let deadline = Instant::now() + target.command_timeout;
                let asked = connection.session.cluster_slots(hosts(&target, &host.host), deadline).await;
                match asked {
                    Err(failure) if !is_in_words(&failure) => DialFailure { failure, phases },
                    answer => {
                        self.replacement.opened(last, Instant::now());
                        self.handover.moved_to(connection.shown());
                        return self.shared.signals.host_moved(answer);
                    }
                }
            }
            Err(failed) => failed,
        };
        self.metrics.connect_failed(&failed.phases);
        self.not_replaced(&failed.failure);
    }

    fn not_replaced(&mut self, failure: &Failure) {
        if self.replacement.failed(Instant::now()) {
            warn!(
                target = %self.opener.target.name,
                reason = failure.reason.as_str(),
                stage = failure.stage.as_str(),
                detail = %failure.detail,
                "replacement of the connection failed; keeping the connection"
            );
        }
    }

    /// Returns the time after `pause` less up to a tenth of it, so that targets do not fall into step.
    fn after(&mut self, pause: Duration) -> Instant {
        Instant::now() + pause.mul_f64(1.0 - self.rng.f64() / 10.0)
    }
}
