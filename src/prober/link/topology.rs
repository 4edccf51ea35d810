//! What a link has to do with the topology of a cluster: it asks its server for it, and goes where the coordinator or a
//! redirection sends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::Link;
use crate::connection::dialer::Dial;
use crate::probe::{Failure, FailureReason, Stage};
use crate::prober::directions::{Direction, Directions};
use crate::prober::ledger::Fact;
use crate::prober::shared::Shared;
use crate::prober::signals::Question;
use crate::target::{AddressMode, ClusterMode, Endpoint, Target};
use crate::topology::{Hosts, Redirect, RedirectKind, Topology};

/// How long a node that cannot be reached is taken for one that may just have been replaced.
const SETTLING: Duration = Duration::from_secs(60);
/// After that, it lets the topology be asked for less and less often: a failover may take minutes, and a firewall stays. The
/// pause is the time since it was tried first, divided by this.
const PATIENCE: u32 = 10;

impl<D: Dial> Link<D> {
    /// Answers the coordinator.
    pub(super) async fn answer(&mut self, question: Question) {
        let address = self.address();
        if let Some(result) = self.topology().await {
            question.answer((self.ticks.record().id(), address, result));
        }
    }

    /// Asks the server for the topology. `None` without a connection.
    pub(in crate::prober) async fn topology(&mut self) -> Option<Result<Topology, Failure>> {
        let Self { ticks, connection: Some(connection), opener, endpoint: Some(endpoint), .. } = self else {
            return None;
        };
        let target = Arc::clone(&opener.target);
        let began = Instant::now();
        let deadline = began + target.command_timeout;
        // Boxed: what is needed only for moments is not kept for each target.
        let mut asked = Box::pin(connection.session.cluster_slots(hosts(&target, &endpoint.host), deadline));
        let result = ticks.during(asked.as_mut()).await;
        drop(asked);
        let lost = result.as_ref().err().filter(|_| !connection.session.is_usable()).cloned();
        if let Some(failure) = lost {
            self.lost_since(began, failure);
        }
        Some(result)
    }

    /// Returns the address of the server that is connected.
    pub(in crate::prober) fn address(&self) -> Option<SocketAddr> {
        self.connection.as_ref()?.peer.address
    }

    /// The coordinator has sent the link elsewhere, or to other slots. Nobody but the server itself ends a connection on which
    /// it serves: what nodes announce may be out of reach.
    pub(super) fn direct(&mut self, Direction { endpoint, slots }: Direction) {
        self.rounds.place(slots);
        let Some(connection) = &self.connection else {
            if Some(&endpoint) != self.endpoint.as_ref() {
                self.lead_to(endpoint);
                self.ticks.note(Fact::Elsewhere);
                self.ticks.note(Fact::Renewed(Instant::now()));
            }
            return;
        };
        if Some(&endpoint) == self.endpoint.as_ref() {
            self.early.stay();
            if self.directions.as_ref().is_some_and(|it| it.take_renewal()) {
                self.early.renew(&self.opener);
            }
        } else if connection.server.is_replica() && !self.opener.is_to_replica {
            let failure = elsewhere(&endpoint);
            self.early.cancel();
            self.lead_to(endpoint);
            self.lost(failure);
        } else {
            self.early.lead(endpoint, &self.opener);
        }
    }

    pub(super) fn lead_to(&mut self, endpoint: Endpoint) {
        self.opener.dialer = self.opener.dialer.to(endpoint.clone());
        self.endpoint = Some(endpoint);
    }

    /// Something failed that may have to do with a change of the topology.
    pub(super) fn suspect_topology(&self) {
        if let Some(directions) = &self.directions {
            directions.failed();
            if !self.waits_for_failover() {
                self.shared.signals.is_stale();
            }
        }
    }

    /// Whether the node was never reached, and the topology has not named another one for so long that it need not be asked for
    /// again now.
    fn waits_for_failover(&self) -> bool {
        let Some(since) = self.unopened_since else { return false };
        let (now, waiting) = (Instant::now(), since.elapsed());
        waiting >= SETTLING && self.shared.signals.has_asked_since(now - waiting / PATIENCE)
    }

    /// The server of the configured host has named another node.
    pub(super) fn suspect_cluster(&self) {
        let is_off = self.opener.target.cluster.mode == ClusterMode::Off;
        if !is_off && self.directions.is_none() && self.endpoint.is_some() {
            self.shared.signals.names_cluster();
        }
    }

    /// The configured host cannot be connected to. Shards that are known from before may serve all the same.
    pub(super) fn miss_host(&self) {
        let Shared { signals, .. } = &*self.shared;
        let is_excused = || self.shared.note(|whole, _| whole.excuses_host());
        if self.directions.is_none() && !signals.knows_cluster() && is_excused() {
            signals.is_cluster();
        }
    }

    /// Follows the redirection in `failure`, and returns whether it is one. Where the target is probed as one node, that was
    /// demoted and names the new primary.
    pub(super) fn follow(&mut self, failure: &Failure) -> bool {
        let Some(to) = self.moved_to(failure) else { return false };
        if let Some(directions) = &self.directions {
            directions.redirected(to.clone());
        } else if self.log.take(Instant::now()) {
            info!(target = %self.opener.target.name, address = %to, "redirection followed");
        }
        // The server itself knows better than what it was said to be.
        self.early.cancel();
        self.lead_to(to);
        true
    }

    /// Returns the node that a server names by `failure` instead of itself.
    fn moved_to(&self, failure: &Failure) -> Option<Endpoint> {
        let (Some(endpoint), Some(connection)) = (&self.endpoint, &self.connection) else { return None };
        // A replica that was configured as the host is named as such. Keys of other nodes may be left to the links that lead
        // there.
        let was_demoted = || {
            let host = self.opener.target.server.host();
            host.is_some_and(|host| self.shared.memory.has_served(host))
                && !self.rounds.only_reads(&connection.server)
                && !self.shared.signals.finds_shards()
        };
        // A replica names its primary.
        if self.opener.is_to_replica || self.directions.is_none() && !was_demoted() {
            return None;
        }
        let redirect = Redirect::parse(&failure.detail).filter(|it| it.kind == RedirectKind::Moved)?;
        redirect.address(hosts(&self.opener.target, &endpoint.host))
    }

    /// The node that a redirection has named instead of the configured host fails, or takes our keys no more. The host may know
    /// another.
    pub(super) fn return_to_host(&mut self) {
        if self.is_redirected()
            && let Some(host) = self.opener.target.server.host().cloned()
        {
            self.lead_to(host);
        }
    }

    /// Whether the link leads elsewhere than to the configured host, where only redirections have led it.
    pub(super) fn is_redirected(&self) -> bool {
        self.directions.is_none() && self.endpoint.as_ref() != self.opener.target.server.host()
    }
}

/// Returns which hosts lead to the nodes that a server at `asked` announces.
pub(in crate::prober) const fn hosts<'a>(target: &'a Target, asked: &'a Arc<str>) -> Hosts<'a> {
    match (target.cluster.address, target.server.host()) {
        (AddressMode::Host, Some(endpoint)) => Hosts::One(&endpoint.host),
        _ => Hosts::Announced { asked },
    }
}

/// Returns the failure of a server that has another one's slots no more.
pub(super) fn elsewhere(endpoint: &Endpoint) -> Failure {
    Failure::new(FailureReason::WrongNode, Stage::Idle, format!("the node is now {endpoint}"))
}

pub(super) async fn next_direction(directions: Option<&Directions>) -> Direction {
    match directions {
        Some(directions) => directions.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_direction_from(
    directions: Option<&Directions>,
    endpoint: Option<&Endpoint>,
) -> Direction {
    match (directions, endpoint) {
        (Some(directions), Some(endpoint)) => directions.away_from(endpoint).await,
        _ => std::future::pending().await,
    }
}
