//! The record of one link: its connections and steps are counted here, and what follows from its facts for the target in
//! the whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::ledger::Effect;
use super::schedule::Tick;
use super::shared::Shared;
use super::whole::LinkId;
use crate::metrics::TargetMetrics;
use crate::probe::{FailureReason, PhaseTimes, Role, ServerInfo};
use crate::status::{ConnectionState, TargetStatus};
use crate::target::Protocol;

/// The record of one link.
#[derive(Debug)]
pub(super) struct LinkRecord {
    id: LinkId,
    shared: Arc<Shared>,
    metrics: Arc<TargetMetrics>,
    status: Arc<TargetStatus>,
    /// The numbers of the ticks that have come due and are not settled.
    due: VecDeque<u64>,
}

impl LinkRecord {
    /// Creates the record of the link `id`, which has joined the whole of `shared`.
    pub(super) fn new(id: LinkId, shared: Arc<Shared>) -> Self {
        let (metrics, status) = shared.record(|record| (record.metrics(), record.status()));
        Self { id, shared, metrics, status, due: VecDeque::new() }
    }

    /// Returns what the links of the target share.
    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether a tick waits for its outcome.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// A tick was noticed at `at`.
    pub(super) fn tick(&mut self, at: Instant, tick: Tick) {
        self.due.push_back(tick.number);
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
        let ticks = &self.due.make_contiguous()[..settled];
        self.shared.note(|whole, out| whole.effect(self.id, at, effect, ticks, out));
        self.due.drain(..settled);
    }

    /// The connection is being opened.
    pub(super) fn opening(&self) {
        self.status.connection(ConnectionState::Connecting);
    }

    /// The connection is open and signed in.
    pub(super) fn opened(
        &self,
        phases: &PhaseTimes,
        certificate_expiry: Option<SystemTime>,
        protocol: Protocol,
    ) {
        self.metrics.connected(phases, certificate_expiry, protocol);
        self.status.connection(ConnectionState::Connected);
        self.shared.note(|whole, _| whole.reached(self.id));
    }

    /// A connection that was to replace the open one could not be opened, or not signed in.
    pub(super) fn not_replaced(&self, phases: &PhaseTimes) {
        self.metrics.connect_failed(phases);
    }

    /// The connection could not be opened, or not signed in.
    pub(super) fn not_opened(&self, phases: &PhaseTimes) {
        self.metrics.connect_failed(phases);
        self.status.connection(ConnectionState::Disconnected);
        self.shared.note(|whole, _| whole.tried(self.id));
    }

    /// An open connection has ended.
    pub(super) fn disconnected(&self, reason: FailureReason) {
        self.metrics.disconnected(reason);
        self.status.connection(ConnectionState::Disconnected);
    }

    /// The server that is connected says this of itself. If its role has changed, it had the `previous` one.
    pub(super) fn server(&self, server: &ServerInfo, previous: Option<Role>) {
        self.shared.record(|record| record.server(server, previous));
    }

    /// The cache took renewed credentials on the live connection, or did not.
    pub(super) fn reauthenticated(&self, result: Result<(), ()>) {
        match result {
            Ok(()) => self.metrics.reauthenticated(),
            Err(()) => self.metrics.reauthentication_failed(),
        }
    }
}
