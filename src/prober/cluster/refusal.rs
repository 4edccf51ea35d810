//! A topology that may not be read, or that does not exist: the target goes on as one node.

use tokio::time::Instant;
use tracing::{info, warn};

use super::Coordinator;
use super::counted::Counted;
use crate::connection::dialer::Dial;
use crate::probe::{Failure, FailureReason, StepResult};
use crate::prober::whole::Deciding;
use crate::target::Target;

/// What follows where the server does not list its shards, and `keys` is set.
const KEYS_ARE_SPREAD: &str = "The server does not list its shards, as behind a proxy or with the Enterprise policy of Azure \
     Managed Redis. `keys` spreads the probes over the hash slots: one part in each tick.";

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// The topology may not be asked for, or there is none. The target is probed as one node.
    pub(super) fn refused(&mut self, result: StepResult, failure: &Failure) {
        let is_new = self.refused.replace(result) != Some(result);
        if is_new {
            self.log_refusal(result, failure);
            if self.are_slots_known() {
                // The gauges of before are not true any more.
                self.metrics = None;
            }
            self.set_uncovered(None);
            self.bring_front();
            let shared = &self.links.shared;
            shared.memory.forget_shards();
            if is_standalone(failure) {
                (self.metrics, self.readings) = (None, Counted::default());
                shared.signals.is_no_cluster();
            } else {
                self.metrics.get_or_insert_with(|| shared.record(|record| record.metrics().cluster()));
            }
            shared.record(|record| record.no_cluster());
        }
        if !is_standalone(failure) {
            self.show_failure(failure);
        }
    }

    fn log_refusal(&self, result: StepResult, failure: &Failure) {
        let (target, detail) = (&self.links.target.name, &failure.detail);
        match result {
            // It may pass, and is logged when it does not.
            StepResult::Failure => {}
            StepResult::Denied => {
                warn!(%target, %detail, "shards not monitored; give the user the right `+cluster|slots`");
            }
            _ if !is_standalone(failure) => {
                info!(%target, %detail, "shards not monitored; the server does not list them");
            }
            _ if !self.shards.is_empty() => info!(%target, %detail, "not a cluster any more"),
            _ => {}
        }
    }

    /// Shows that shards are not watched, or not where they are now.
    pub(super) fn show_failure(&self, failure: &Failure) {
        let failure = explained(failure, &self.links.target);
        self.links.shared.record(|record| record.topology_failed(&failure));
    }

    /// Lets the link to the configured host decide again.
    fn bring_front(&mut self) {
        if std::mem::take(&mut self.is_front_retired) {
            self.links.shared.signals.retire_front(false);
        }
        let (shared, now) = (&self.links.shared, Instant::now());
        shared.note(|whole, out| whole.decide_by(Deciding::Front, now, out));
        for shard in self.shards.drain(..) {
            shared.leave(shard.id, now);
        }
    }
}

/// Whether a server has said by `failure` that it belongs to no cluster; others hide theirs.
pub(in crate::prober) fn is_standalone(failure: &Failure) -> bool {
    failure.detail.contains("cluster support disabled")
}

/// Returns `failure` with what is left to do about it for `target`.
pub(in crate::prober) fn explained(failure: &Failure, target: &Target) -> Failure {
    let is_hidden = failure.reason == FailureReason::ServerError;
    let advice = (is_hidden && target.keys.get() > 1).then_some(KEYS_ARE_SPREAD);
    Failure { advice: failure.advice.or(advice), ..failure.clone() }
}
