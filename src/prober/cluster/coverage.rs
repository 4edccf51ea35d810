//! Slots that have no owner, as far as two nodes agree.

use std::sync::Arc;

use tokio::time::Instant;

use super::Coordinator;
use crate::connection::dialer::Dial;
use crate::probe::{Failure, FailureReason, Stage};
use crate::prober::links::FRONT;
use crate::prober::whole::LinkId;
use crate::topology::{SlotSet, Topology};

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Sees whether slots have no owner. Views of nodes differ for a while, so two must agree. Returns the topology that
    /// covers more: a shard that one node does not know is still there.
    pub(super) async fn check_coverage(&mut self, by: Option<LinkId>, mut topology: Topology) -> Topology {
        let mut missing = topology.covered().complement();
        if !missing.is_empty() {
            let nodes = topology.shards.iter().map(|shard| 1 + shard.replicas.len()).sum::<usize>();
            match self.ask(by.or(Some(FRONT))).await {
                Ok((other, second)) if other != by || nodes == 1 => {
                    missing = missing.intersection(&second.covered().complement());
                    if second.covered().len() > topology.covered().len() {
                        topology = second;
                    }
                }
                // Nobody else is there to ask.
                _ if nodes == 1 => {}
                _ => missing = self.uncovered.clone().unwrap_or_default(),
            }
        }
        self.set_uncovered((!missing.is_empty()).then_some(missing));
        topology
    }

    pub(super) fn set_uncovered(&mut self, slots: Option<SlotSet>) {
        if self.uncovered == slots {
            return;
        }
        self.uncovered = slots;
        let failure = self.uncovered.as_ref().map(uncovered);
        let now = Instant::now();
        self.links.shared.note(|whole, out| whole.uncover(failure, now, out));
    }
}

/// Returns the failure of a cluster in which nobody has `slots`.
pub(in crate::prober) fn uncovered(slots: &SlotSet) -> Failure {
    let detail = format!("{} slots have no owner", slots.len());
    Failure {
        slots: Some(Arc::new(slots.clone())),
        ..Failure::new(FailureReason::SlotsUncovered, Stage::Topology, detail)
    }
}
