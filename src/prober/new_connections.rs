//! The record of the probes of new connections: counted, shown, and logged where the state changes.

use std::sync::Arc;

use tracing::{info, warn};

use super::logged::Logged;
use crate::clock::Clock;
use crate::metrics::TargetMetrics;
use crate::probe::{Failure, PhaseTimes};
use crate::status::TargetStatus;
use crate::target::TargetName;

/// The record of one target's new connections.
#[derive(Debug)]
pub(super) struct NewConnections {
    target: TargetName,
    clock: Clock,
    metrics: Arc<TargetMetrics>,
    status: Arc<TargetStatus>,
    /// How many failed in a row, without those that failed for want of the agent's own resources.
    failed_in_a_row: u32,
    /// The reasons of the failures since the last success.
    logged: Logged,
}

impl NewConnections {
    pub(super) fn new(
        target: TargetName,
        clock: Clock,
        metrics: Arc<TargetMetrics>,
        status: Arc<TargetStatus>,
    ) -> Self {
        Self { target, clock, metrics, status, failed_in_a_row: 0, logged: Logged::default() }
    }

    /// A new connection was probed. `phases` are those that completed.
    pub(super) fn probed(&mut self, phases: PhaseTimes, result: Result<(), Failure>) {
        match &result {
            Ok(()) => self.succeeded(),
            Err(failure) => self.failed(failure),
        }
        let reason = result.as_ref().map_err(|failure| failure.reason).copied();
        self.metrics.new_connection(reason, self.failed_in_a_row, &phases);
        self.status.new_connection(result, self.failed_in_a_row, phases, self.clock.now());
    }

    fn succeeded(&mut self) {
        self.failed_in_a_row = 0;
        if let Some(reason) = self.logged.succeeded() {
            info!(target = %self.target, reason = reason.as_str(), "new connections succeed again");
        }
    }

    fn failed(&mut self, failure: &Failure) {
        if !failure.reason.is_local() {
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        }
        if self.logged.is_new(failure.reason) {
            warn!(
                target = %self.target,
                slots = failure.slots.as_deref().map(display),
                reason = failure.reason.as_str(),
                stage = failure.stage.as_str(),
                detail = %failure.detail,
                "new connection failed"
            );
        }
    }
}
