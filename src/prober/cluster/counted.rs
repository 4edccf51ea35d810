//! Readings of the topology that are not counted yet: a target that may turn out to be no cluster has no series of one.

use super::Coordinator;
use crate::connection::dialer::Dial;
use crate::probe::StepResult;

/// How often the topology was asked for, by [`StepResult`].
#[derive(Debug, Default)]
pub(super) struct Counted([u64; StepResult::ALL.len()]);

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Counts that the topology was asked for, and before, if it is known by now that the target is a cluster.
    pub(super) fn count(&mut self, result: StepResult) {
        self.readings.0[result as usize] += 1;
        let shared = &self.links.shared;
        if self.metrics.is_none() && shared.signals.is_named_cluster() {
            self.metrics = Some(shared.record(|record| record.metrics().cluster()));
        }
        let Some(metrics) = &self.metrics else { return };
        for (result, times) in StepResult::ALL.into_iter().zip(std::mem::take(&mut self.readings).0) {
            metrics.topology_refreshed(result, times);
        }
    }
}
