//! Whether an answer is to be believed: slots that have no owner, or shards that have moved, as far as two nodes agree.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::Coordinator;
use super::answers::Asked;
use super::inquiry::Answered;
use super::watched::Watched;
use crate::connection::dialer::Dial;
use crate::counted::counted;
use crate::probe::{Failure, FailureReason, Stage};
use crate::status::Watch;
use crate::topology::{SlotSet, Topology};

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Compares an answer with that of a second node, if slots have no owner by it or shards that answer have moved. Views
    /// of nodes differ for a while, and one that is cut off from the others keeps its own. Returns the topology that takes
    /// less away: a shard that one node does not know, or knows elsewhere, is still there. Returns as well whether it is
    /// sure.
    pub(super) async fn check(&mut self, first: Answered) -> (Topology, bool) {
        let Answered { by, address, mut topology } = first;
        let mut missing = topology.covered().complement();
        let displaced = self.displaced(&topology);
        let mut is_sure = true;
        if !missing.is_empty() || displaced > 0 {
            let nodes = topology.shards.iter().map(|shard| 1 + shard.replicas.len()).sum::<usize>();
            match self.second(by, address).await {
                Some(second) => {
                    missing = missing.intersection(&second.covered().complement());
                    is_sure = self.displaced(&second) == displaced;
                    let rank = |it: &Topology| (self.displaced(it), Reverse(it.covered().len()));
                    if rank(&second) < rank(&topology) {
                        topology = second;
                    }
                }
                // Nobody else is there to ask.
                None if nodes == 1 || missing.is_empty() => {}
                None => {
                    is_sure = false;
                    missing = self.uncovered.clone().unwrap_or_default();
                }
            }
        }
        self.set_uncovered((!missing.is_empty()).then_some(missing));
        (topology, is_sure)
    }

    /// Returns the topology by another node than the one that has answered.
    async fn second(&mut self, by: Asked, address: Option<SocketAddr>) -> Option<Topology> {
        let mut asked = vec![by];
        while let Some((other, other_address, answer)) = self.ask(&asked).await {
            match answer {
                Ok(topology) if other_address != address && !topology.shards.is_empty() => {
                    self.answers.answered(other);
                    return Some(topology);
                }
                Ok(_) => self.answers.answered(other),
                Err(failure) => {
                    self.answers.failed(other, &failure, Instant::now());
                }
            }
            asked.push(other);
        }
        None
    }

    /// Returns how many shards answer where they are and are not there by `topology`.
    fn displaced(&self, topology: &Topology) -> usize {
        let shared = &self.links.shared;
        let is_displaced = |watched: &&Watched| {
            let there = topology.shard_of(watched.shard.lowest());
            there.is_none_or(|shard| shard.primary != watched.shard.primary)
                && shared.note(|whole, _| whole.watch_of(watched.id)) == Watch::Up
        };
        self.shards.iter().filter(is_displaced).count()
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
    let has = if slots.len() == 1 { "has" } else { "have" };
    let detail = format!("{} {has} no owner", counted(slots.len().into(), "slot"));
    Failure {
        slots: Some(Arc::new(slots.clone())),
        ..Failure::new(FailureReason::SlotsUncovered, Stage::Topology, detail)
    }
}
