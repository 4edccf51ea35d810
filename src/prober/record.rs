//! The record of one target: what follows from its facts is counted, shown, and logged where the state changes.

use std::sync::Arc;
use std::time::Duration;

use tracing::field::display;
use tracing::{info, warn};

use super::connections::Connections;
use super::ledger::Effect;
use super::logged::Logged;
use super::new_connections::NewConnections;
use super::schedule::Tick;
use super::whole::LinkId;
use crate::clock::{Clock, seconds};
use crate::metrics::TargetMetrics;
use crate::probe::{Failure, FailureReason, Outcome, Role, ServerInfo, StepResults};
use crate::status::{ClusterNode, TargetStatus, Watch};
use crate::target::{Endpoint, TargetName};
use crate::topology::{Slot, SlotSet};

/// The record of one target.
#[derive(Debug)]
pub(super) struct Record {
    target: TargetName,
    clock: Clock,
    metrics: Arc<TargetMetrics>,
    status: Arc<TargetStatus>,
    /// How late the newest tick was noticed.
    delay: Duration,
    /// Kept for whoever waits for it. Boxed, as that is nobody in the daemon.
    last_outcome: Option<Box<Outcome>>,
    connections: Connections,
    /// The link whose server stands for the target.
    first: Option<LinkId>,
    /// The reasons for which the cache was down since the last success.
    logged: Logged,
    is_quiet: bool,
    is_up: Option<bool>,
}

impl Record {
    pub(super) fn new(
        target: TargetName,
        clock: Clock,
        metrics: TargetMetrics,
        status: TargetStatus,
    ) -> Self {
        Self {
            target,
            clock,
            metrics: Arc::new(metrics),
            status: Arc::new(status),
            delay: Duration::ZERO,
            last_outcome: None,
            connections: Connections::default(),
            first: None,
            logged: Logged::default(),
            is_quiet: false,
            is_up: None,
        }
    }

    /// Returns the status, for what links enter in it themselves.
    pub(super) fn status(&self) -> Arc<TargetStatus> {
        Arc::clone(&self.status)
    }

    /// Returns the metrics, for what links and connections beside them enter in them themselves.
    pub(super) fn metrics(&self) -> Arc<TargetMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Returns the wall clock.
    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the record of the target's new connections.
    pub(super) fn new_connections(&self) -> NewConnections {
        let (metrics, status) = (self.metrics(), Arc::clone(&self.status));
        NewConnections::new(self.target.clone(), self.clock.clone(), metrics, status)
    }

    /// The connections of links have changed.
    pub(super) fn connections(&mut self, change: impl FnOnce(&mut Connections)) {
        change(&mut self.connections);
        self.status.connection(self.connections.state());
        self.status.connection_info(self.connections.info());
        self.metrics.protocol(self.connections.protocol());
        if let Some(expiry) = self.connections.certificate_expiry() {
            self.metrics.certificate_expiry(expiry);
            self.status.certificate_expiry(expiry);
        }
    }

    /// The primary of the shard with this lowest slot, or this replica, is in this state, and may just have failed.
    pub(super) fn node(&self, lowest: u16, replica: Option<&str>, watch: Watch, failure: Option<&Failure>) {
        let at = self.clock.now();
        if let Some(failure) = failure {
            self.status.node_failed(lowest, replica, failure, at);
        }
        self.status.node(lowest, replica, watch, at);
    }

    /// A replica of the shard with this lowest slot has lacked a write for so long.
    pub(super) fn staleness(&self, lowest: Slot, replica: &str, age: Duration) {
        self.status.staleness(lowest.number(), replica, age);
    }

    /// The first attempt to reach the primary of a shard, or a replica, has failed.
    pub(super) fn node_not_reached(
        &self,
        slots: &SlotSet,
        is_replica: bool,
        address: &Endpoint,
        failure: &Failure,
    ) {
        if self.is_quiet {
            return;
        }
        let (target, reason, detail) = (&self.target, failure.reason.as_str(), &failure.detail);
        let advice = failure.advice_on_unwatched_node(address.port);
        let advice = advice.as_deref().unwrap_or(failure.advice());
        if is_replica {
            warn!(%target, %slots, %address, reason, %detail, advice, "replica not reached");
        } else {
            warn!(%target, %slots, %address, reason, %detail, advice, "shard not reached");
        }
    }

    /// The primary of a shard, or a replica, was reached for the first time, after failures.
    pub(super) fn node_reached(&self, slots: &SlotSet, is_replica: bool) {
        let target = &self.target;
        match (self.is_quiet, is_replica) {
            (true, _) => {}
            (false, true) => info!(%target, %slots, "replica reached"),
            (false, false) => info!(%target, %slots, "shard reached"),
        }
    }

    /// The last probe of the primary of the shard with this lowest slot, or of this replica, has found this.
    pub(super) fn node_probed(&self, lowest: Slot, replica: Option<&str>, steps: &StepResults) {
        self.status.node_probed(lowest.number(), replica, steps);
    }

    /// The primary of a shard at this address, or a replica, is down, for a reason that is new.
    pub(super) fn node_down(
        &self,
        slots: &SlotSet,
        is_replica: bool,
        address: Option<&Endpoint>,
        failure: &Failure,
    ) {
        // For lack of the agent's own resources the cache is not to blame.
        if self.is_quiet || failure.reason.is_local() {
            return;
        }
        let (target, address, detail) = (&self.target, address.map(display), &failure.detail);
        let (reason, stage) = (failure.reason.as_str(), failure.stage.as_str());
        if is_replica {
            warn!(%target, %slots, address, reason, stage, %detail, "replica unavailable");
        } else {
            warn!(%target, %slots, address, reason, stage, %detail, "shard unavailable");
        }
    }

    /// The primary of a shard at this address, or a replica, is up again.
    pub(super) fn node_up(
        &self,
        slots: &SlotSet,
        is_replica: bool,
        address: Option<&Endpoint>,
        outage: Option<Duration>,
        reason: FailureReason,
    ) {
        if self.is_quiet {
            return;
        }
        let (target, address, reason) = (&self.target, address.map(display), reason.as_str());
        let outage_seconds = outage.map(seconds);
        if is_replica {
            info!(%target, %slots, address, outage_seconds, reason, "replica available");
        } else {
            info!(%target, %slots, address, outage_seconds, reason, "shard available");
        }
    }

    /// The topology is this: the slots with an owner, the nodes that are probed, and how many are not.
    pub(super) fn topology(&self, covered: SlotSet, nodes: &[(ClusterNode, Watch)], skipped: usize) {
        self.status.topology(covered, listed(nodes), skipped, self.clock.now());
        self.states(nodes);
    }

    /// Other nodes are probed, in the same topology.
    pub(super) fn nodes(&self, nodes: &[(ClusterNode, Watch)]) {
        self.status.nodes(listed(nodes), self.clock.now());
        self.states(nodes);
    }

    fn states(&self, nodes: &[(ClusterNode, Watch)]) {
        for (node, watch) in nodes {
            let lowest = node.slots.lowest().map_or(0, Slot::number);
            self.node(lowest, node.replica.as_deref(), *watch, None);
        }
    }

    /// No replica may be read; or one was read again.
    pub(super) fn replicas_denied(&self, failure: Option<&Failure>) {
        self.status.replicas_denied(failure, self.clock.now());
    }

    /// The topology could not be read.
    pub(super) fn topology_failed(&self, failure: &Failure) {
        self.status.topology_failed(failure, self.clock.now());
    }

    /// The target is one node, as far as is known.
    pub(super) fn no_cluster(&self) {
        self.status.no_cluster();
    }

    /// Logs no change of state from now on, and keeps the last outcome: somebody waits for it.
    pub(super) const fn quiet(&mut self) {
        self.is_quiet = true;
    }

    /// Probing begins, with a tick every `interval`.
    pub(super) fn started(&self, interval: Duration) {
        self.metrics.started(interval);
    }

    /// A tick was noticed.
    pub(super) fn tick(&mut self, tick: Tick) {
        self.delay = tick.delay;
        self.metrics.tick(tick.delay, tick.late);
    }

    /// Something follows for the target.
    pub(super) fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Settled { ticks, outcome } => {
                let at = self.clock.now();
                // A tick of several links may succeed after a later one has failed.
                let is_up = outcome.result.is_ok() && self.is_up != Some(false);
                self.metrics.outcome(&outcome, ticks, is_up, at);
                self.status.record(&outcome, ticks, self.delay, is_up, at);
                if self.is_quiet {
                    self.last_outcome = Some(outcome.into());
                }
            }
            Effect::FailedBetweenTicks(outcome) => self.status.failed(&outcome, self.clock.now()),
            Effect::Up { outage } => self.up(outage),
            Effect::Down(failure) => self.down(&failure),
            Effect::Unavailable(span) => {
                self.metrics.unavailable(span.length());
                self.status.unavailable(span.from, span.until, self.clock.now());
            }
            Effect::Lost(_) | Effect::Reopened(_) if self.is_quiet => {}
            Effect::Lost(failure) => info!(
                target = %self.target,
                slots = failure.slots.as_deref().map(display),
                reason = failure.reason.as_str(),
                detail = %failure.detail,
                "connection lost"
            ),
            Effect::Reopened(slots) => {
                info!(target = %self.target, slots = slots.as_deref().map(display), "connection reopened");
            }
        }
    }

    fn up(&mut self, outage: Option<Duration>) {
        self.verdict(true);
        let (outage_seconds, reason) =
            (outage.map(seconds), self.logged.succeeded().map(FailureReason::as_str));
        if !self.is_quiet {
            info!(target = %self.target, outage_seconds, reason, "cache available");
        }
    }

    fn down(&mut self, failure: &Failure) {
        self.verdict(false);
        if !self.is_quiet && self.logged.is_new(failure.reason) {
            let (reason, stage, slots) =
                (failure.reason.as_str(), failure.stage.as_str(), failure.slots.as_deref().map(display));
            if failure.reason.is_local() {
                // The cache is not to blame.
                warn!(target = %self.target, slots, reason, stage, detail = %failure.detail, "cache not monitored");
            } else {
                warn!(target = %self.target, slots, reason, stage, detail = %failure.detail, "cache unavailable");
            }
        }
    }

    fn verdict(&mut self, is_up: bool) {
        self.is_up = Some(is_up);
        let at = self.clock.now();
        self.metrics.verdict(is_up, at);
        self.status.verdict(is_up, at);
    }

    /// The server that is connected says this of itself.
    pub(super) fn server(&self, server: &ServerInfo) {
        self.status.server(server);
        self.metrics.server_info(server);
    }

    /// The link is the first of those that decide from now on: its server stands for the target.
    pub(super) fn server_of(&mut self, first: LinkId) {
        if self.first.replace(first) != Some(first)
            && let Some(server) = self.connections.server_of(first)
        {
            self.server(server);
        }
    }

    /// The role of a server has changed; it had the `previous` one.
    pub(super) fn role_changed(&self, server: &ServerInfo, previous: Role) {
        self.metrics.role_changed();
        if !self.is_quiet {
            info!(target = %self.target, role = server.role(), previous = previous.as_str(), "server role changed");
        }
    }

    /// A replica has become the primary of its shard, or sentinels name another primary.
    pub(super) fn failed_over(&self) {
        self.metrics.role_changed();
    }

    /// Takes the last outcome since [`Self::quiet`].
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        self.last_outcome.take().map(|outcome| *outcome)
    }
}

fn listed(nodes: &[(ClusterNode, Watch)]) -> Vec<ClusterNode> {
    nodes.iter().map(|(node, _)| node.clone()).collect()
}
