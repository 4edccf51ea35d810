//! What becomes of outcomes: counted, shown, logged where the state changes, and the outage's time kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::outage::Outage;
use super::schedule::Tick;
use crate::clock::{Clock, seconds};
use crate::metrics::TargetMetrics;
use crate::probe::{FailureReason, Outcome};
use crate::status::TargetStatus;
use crate::target::TargetName;

/// The record of one target.
#[derive(Debug)]
pub(super) struct Record {
    target: TargetName,
    clock: Clock,
    metrics: Arc<TargetMetrics>,
    status: Arc<TargetStatus>,
    outage: Outage,
    /// How late the tick began that has no outcome yet.
    delay: Duration,
    /// Whether the last probe succeeded.
    is_available: bool,
    /// The reasons for which probes have failed since the last success. Each is logged once.
    logged: Vec<FailureReason>,
}

impl Record {
    pub(super) fn new(
        target: TargetName,
        clock: Clock,
        metrics: Arc<TargetMetrics>,
        status: Arc<TargetStatus>,
    ) -> Self {
        Self {
            target,
            clock,
            metrics,
            status,
            outage: Outage::default(),
            delay: Duration::ZERO,
            is_available: false,
            logged: Vec::new(),
        }
    }

    /// A tick has begun.
    pub(super) fn tick(&mut self, tick: Tick) {
        self.delay = tick.delay;
        self.metrics.tick(tick.delay, tick.late);
    }

    /// A tick has its outcome.
    pub(super) fn outcome(&mut self, outcome: &Outcome) {
        let at = self.clock.now();
        self.metrics.outcome(outcome, at);
        self.status.record(outcome, self.delay, at);
        match &outcome.result {
            Ok(()) => {
                let now = Instant::now();
                let outage_seconds = self.outage.length(now).map(seconds);
                self.metrics.unavailable(self.outage.end(now));
                let reason = self.logged.first().map(|reason| reason.as_str());
                if !std::mem::replace(&mut self.is_available, true) {
                    info!(target = %self.target, outage_seconds, reason, "cache available");
                }
                self.logged.clear();
            }
            Err(failure) => {
                self.outage.probe_failed();
                self.is_available = false;
                if !self.logged.contains(&failure.reason) {
                    self.logged.push(failure.reason);
                    warn!(
                        target = %self.target,
                        reason = failure.reason.as_str(),
                        stage = failure.stage.as_str(),
                        detail = %failure.detail,
                        "cache unavailable"
                    );
                }
            }
        }
    }

    /// The first sign of a failure, at `since`; later ones change nothing.
    pub(super) const fn outage_begins(&mut self, since: Instant) {
        self.outage.begin(since);
    }

    /// Counts what has passed of an outage, if there is one.
    pub(super) fn outage_lasts(&mut self) {
        self.metrics.unavailable(self.outage.elapsed(Instant::now()));
    }

    /// Whether there is an outage.
    pub(super) const fn is_outage(&self) -> bool {
        self.outage.is_running()
    }

    /// The connection was opened anew between ticks, and answers.
    pub(super) fn reopened(&mut self) {
        self.metrics.unavailable(self.outage.reopened(Instant::now()));
    }
}
