//! The record of one link: its connections and steps are counted here, and what follows from its facts for the target in
//! the whole.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::ledger::{Effect, Out};
use super::links::FRONT;
use super::logged::Logged;
use super::opening::Connection;
use super::replicas::Group;
use super::schedule::Tick;
use super::shared::Shared;
use super::whole::{LinkId, Reach, Whole};
use crate::lock::lock;
use crate::metrics::{ShardMetrics, TargetMetrics};
use crate::probe::{Failure, FailureReason, Outcome, Phase, PhaseTimes, Role, ServerInfo};
use crate::target::Endpoint;
use crate::topology::SlotSet;

/// The series of a link's shard. None for the link to the configured host, and before a shard was reached.
pub(super) type Series = Arc<Mutex<Option<ShardMetrics>>>;

/// The record of one link.
#[derive(Debug)]
pub(super) struct LinkRecord {
    id: LinkId,
    shared: Arc<Shared>,
    metrics: Arc<TargetMetrics>,
    /// Those of its shard, if it leads to a primary.
    series: Series,
    /// The replica that it leads to. Boxed: few links do.
    replica: Option<Box<Replica>>,
    /// The numbers of the ticks that have come due and are not settled.
    due: VecDeque<u64>,
    /// The reasons for which the node was down since its last success.
    logged: Logged,
    /// Where the newest connection leads to, or was to lead to.
    endpoint: Option<Endpoint>,
}

/// A replica that a link leads to.
#[derive(Debug)]
struct Replica {
    /// Its id in the cluster.
    node: Arc<str>,
    /// All replicas of its shard.
    group: Arc<Group>,
}

impl LinkRecord {
    /// Creates the record of the link `id`, which has joined the whole of `shared`.
    pub(super) fn new(id: LinkId, shared: Arc<Shared>, series: Series) -> Self {
        let metrics = shared.record(|record| record.metrics());
        let (due, logged) = (VecDeque::new(), Logged::default());
        Self { id, shared, metrics, series, replica: None, due, logged, endpoint: None }
    }

    /// Creates the record of a link to the replica `node`, which has joined the whole of `group`.
    pub(super) fn of_replica(id: LinkId, shared: Arc<Shared>, node: Arc<str>, group: Arc<Group>) -> Self {
        Self { replica: Some(Box::new(Replica { node, group })), ..Self::new(id, shared, Series::default()) }
    }

    fn group(&self) -> Option<&Arc<Group>> {
        self.replica.as_ref().map(|replica| &replica.group)
    }

    /// Lets `note` enter something in the whole that the link belongs to.
    fn note<T>(&self, note: impl FnOnce(&mut Whole, Out<'_>) -> T) -> T {
        match self.group() {
            Some(group) => group.note(note),
            None => self.shared.note(note),
        }
    }

    /// Returns the name of the link.
    pub(super) const fn id(&self) -> LinkId {
        self.id
    }

    /// Returns what the links of the target share.
    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the slots of the shard that the link leads to; none for the configured host.
    pub(super) fn slots(&self) -> Option<Arc<SlotSet>> {
        self.note(|whole, _| whole.slots_of(self.id).cloned())
    }

    /// Whether a tick waits for its outcome.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// A tick was noticed at `at`.
    pub(super) fn tick(&mut self, at: Instant, tick: Tick) {
        self.due.push_back(tick.number);
        if let Some(group) = self.group() {
            group.note(|whole, out| whole.tick(tick.number, at, out));
            return;
        }
        self.shared.with(|whole, record| {
            if whole.tick(tick.number, at, &mut |effect| record.effect(effect)) {
                record.tick(tick);
            }
        });
    }

    /// Something follows from a fact of `at`.
    pub(super) fn effect(&mut self, at: Instant, effect: Effect) {
        let mut settled = 0;
        if let Effect::Settled { ticks, outcome } = &effect {
            settled = usize::try_from(*ticks).map_or(self.due.len(), |ticks| ticks.min(self.due.len()));
            self.metrics.steps(&outcome.steps);
        }
        if let Effect::Settled { outcome, .. } | Effect::FailedBetweenTicks(outcome) = &effect {
            self.show_steps(outcome);
        }
        if !matches!(effect, Effect::Unavailable(_) | Effect::Lost(_) | Effect::Reopened(_)) {
            self.note(|whole, _| whole.shown(self.id));
        }
        let is_news = matches!(effect, Effect::Up { .. } | Effect::Down(_));
        self.of_shard(&effect);
        self.log(&effect);
        let failure = match &effect {
            Effect::Settled { outcome, .. } | Effect::FailedBetweenTicks(outcome) => {
                outcome.result.clone().err()
            }
            Effect::Down(failure) => Some(failure.clone()),
            _ => None,
        };
        self.due.make_contiguous();
        let ticks = &self.due.as_slices().0[..settled];
        self.note(|whole, out| whole.effect(self.id, at, effect, ticks, out));
        self.due.drain(..settled);
        if is_news || failure.is_some() {
            self.show(failure.as_ref());
            self.has_news();
        }
        if settled > 0 {
            self.show_staleness();
        }
    }

    /// Enters an effect in the series of the shard.
    fn of_shard(&self, effect: &Effect) {
        let series = lock(&self.series);
        let Some(series) = &*series else { return };
        match effect {
            Effect::Settled { ticks, outcome } => {
                series.probe(Role::Primary, outcome.result.as_ref().map_or(Err(()), |()| Ok(())), *ticks);
                for (step, _, duration) in outcome.steps.iter() {
                    series.step(step, duration);
                }
            }
            Effect::Up { .. } => series.verdict(Role::Primary, true),
            Effect::Down(_) => series.verdict(Role::Primary, false),
            Effect::Unavailable(span) => series.unavailable(Role::Primary, span.length()),
            Effect::FailedBetweenTicks(_) | Effect::Lost(_) | Effect::Reopened(_) => {}
        }
    }

    /// Logs that the node of a cluster goes down or comes back. One that was never reached is logged as such.
    fn log(&mut self, effect: &Effect) {
        if !self.is_shard() {
            return;
        }
        let (id, is_replica, address) = (self.id, self.replica.is_some(), self.endpoint.clone());
        let reached = |whole: &Whole| whole.slots_of(id).filter(|_| whole.is_reached(id)).cloned();
        match effect {
            Effect::Down(failure) => {
                // No right to read replicas is one fact about all of them.
                let is_forbidden = is_replica && failure.reason == FailureReason::PermissionDenied;
                if let Some(slots) = self.note(|whole, _| reached(whole))
                    && !is_forbidden
                    && self.logged.is_new(failure.reason)
                {
                    self.shared
                        .record(|record| record.node_down(&slots, is_replica, address.as_ref(), failure));
                }
            }
            Effect::Up { outage } => {
                if let Some(reason) = self.logged.succeeded()
                    && let Some(slots) = self.note(|whole, _| reached(whole))
                {
                    self.shared.record(|record| {
                        record.node_up(&slots, is_replica, address.as_ref(), *outage, reason);
                    });
                }
            }
            _ => {}
        }
    }

    /// Shows the state of the node, and how it has `failed`.
    fn show(&self, failed: Option<&Failure>) {
        if !self.is_shard() {
            return;
        }
        let state = self.note(|whole, _| {
            let shard = whole.slots_of(self.id)?.lowest()?.number();
            Some((shard, whole.watch_of(self.id)))
        });
        if let Some((shard, watch)) = state {
            let replica = self.replica.as_ref().map(|replica| &*replica.node);
            self.shared.record(|record| record.node(shard, replica, watch, failed));
        }
    }

    /// Shows what the probe of a node has found. Where it failed before the first step, steps of before say nothing any more.
    fn show_steps(&self, Outcome { result, steps, .. }: &Outcome) {
        if !self.is_shard() || (result.is_ok() && steps.iter().next().is_none()) {
            return;
        }
        let replica = self.replica.as_ref().map(|replica| &*replica.node);
        if let Some(shard) = self.note(|whole, _| whole.slots_of(self.id)?.lowest()) {
            self.shared.record(|record| record.node_probed(shard, replica, steps));
        }
    }

    /// Shows how far the replica is behind.
    fn show_staleness(&self) {
        let Some(Replica { node, group }) = self.replica.as_deref() else { return };
        let shard = group.note(|whole, _| whole.slots_of(self.id)?.lowest());
        if let Some((shard, age)) = shard.zip(group.staleness(self.id)) {
            self.shared.record(|record| record.staleness(shard, node, age));
        }
    }

    fn is_shard(&self) -> bool {
        self.id != FRONT
    }

    /// Something happened that the coordinator looks at.
    fn has_news(&self) {
        if self.is_shard() {
            self.shared.signals.has_news();
        }
    }

    /// The connection is being opened to `endpoint`.
    pub(super) fn opening(&mut self, endpoint: Option<&Endpoint>) {
        self.endpoint = endpoint.filter(|_| self.is_shard()).cloned();
        if self.endpoint.as_ref().is_some_and(|endpoint| self.shared.memory.contains(endpoint)) {
            self.note(|whole, out| whole.known(self.id, Instant::now(), out));
        }
        self.shared.record(|record| record.connections(|all| all.opening(self.id)));
    }

    /// The connection is open and signed in, to a server that may have `refused` to serve. Returns whether that is reached for
    /// the first time, after failures.
    pub(super) fn opened<S>(
        &self,
        phases: &PhaseTimes,
        connection: &Connection<S>,
        refused: Option<&Failure>,
    ) -> bool {
        self.metrics.connected(phases);
        let is_late = self.arrived(if refused.is_some() { Whole::refused } else { Whole::reached });
        self.shared.record(|record| {
            record.connections(|all| {
                all.opened(self.id, connection.protocol, connection.certificate_expiry());
                all.known(self.id, connection.info());
            });
        });
        self.has_news();
        is_late
    }

    /// The server has taken a connection. Returns whether that is the first one, after failures, as `note` says.
    fn arrived(&self, note: fn(&mut Whole, LinkId) -> bool) -> bool {
        let late = self.note(|whole, _| {
            let is_late = note(whole, self.id);
            whole.slots_of(self.id).filter(|_| is_late).cloned()
        });
        if let Some(slots) = &late {
            self.shared.record(|record| record.node_reached(slots, self.replica.is_some()));
        }
        late.is_some()
    }

    /// A connection that was to replace the open one could not be opened, or not signed in.
    pub(super) fn not_replaced(&self, phases: &PhaseTimes) {
        self.metrics.connect_failed(phases);
    }

    /// The connection to `endpoint` could not be opened, or not signed in. Returns whether the server took it, for the first time
    /// after failures.
    pub(super) fn not_opened(
        &self,
        phases: &PhaseTimes,
        failure: &Failure,
        endpoint: Option<&Endpoint>,
    ) -> bool {
        self.metrics.connect_failed(phases);
        // A replica that may not be read is there, and nobody knows how it does.
        let is_unreadable = self.replica.is_some() && failure.reason == FailureReason::PermissionDenied;
        let is_local = failure.reason.is_local();
        let is_taken = phases.get(Phase::Connect).is_some() && !is_unreadable && !is_local;
        let is_late = is_taken && self.arrived(Whole::refused);
        if is_taken {
            self.reached(endpoint);
        } else {
            let reach = if is_local { Reach::Local } else { Reach::Nowhere };
            let unreached = self.note(|whole, _| {
                let is_unreached = whole.tried(self.id, reach);
                whole.slots_of(self.id).filter(|_| is_unreached).cloned()
            });
            if let (Some(slots), Some(endpoint), false) = (unreached, endpoint, is_unreadable) {
                let is_replica = self.replica.is_some();
                self.shared.record(|record| record.node_not_reached(&slots, is_replica, endpoint, failure));
            }
        }
        self.shared.record(|record| record.connections(|all| all.closed(self.id)));
        self.show(Some(failure));
        self.has_news();
        is_late
    }

    /// The node at `endpoint` has taken a connection, which later probers of the target are to know.
    pub(super) fn reached(&self, endpoint: Option<&Endpoint>) {
        if let Some(endpoint) = endpoint.filter(|_| self.is_shard()) {
            self.shared.memory.reached(endpoint);
        }
    }

    /// An open connection has ended.
    pub(super) fn disconnected(&self, reason: FailureReason) {
        self.metrics.disconnected(reason);
        self.shared.record(|record| record.connections(|all| all.closed(self.id)));
    }

    /// The server that is connected says this of itself. If its role has changed, it had the `previous` one.
    pub(super) fn server(&self, server: &ServerInfo, previous: Option<Role>) {
        // Each change concerns a primary, which counts it.
        if self.replica.is_some() {
            return;
        }
        self.shared.with(|whole, record| {
            record.connections(|all| all.serves(self.id, server));
            // Each node has something else to say.
            if whole.first() == Some(self.id) {
                record.server(server);
            }
            // In a cluster, the topology shows it.
            if let Some(previous) = previous
                && !whole.has_shards()
            {
                record.role_changed(server, previous);
            }
        });
    }

    /// Reading the replica is forbidden.
    pub(super) fn denied(&self, failure: &Failure) {
        if let Some(group) = self.group() {
            group.denied(self.id, failure.clone());
            self.has_news();
        }
    }

    /// The cache took renewed credentials on the live connection, or did not.
    pub(super) fn reauthenticated(&self, result: Result<(), ()>) {
        match result {
            Ok(()) => self.metrics.reauthenticated(),
            Err(()) => self.metrics.reauthentication_failed(),
        }
    }
}
