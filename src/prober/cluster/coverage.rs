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
    /// Compares an answer with that of a second node, if it takes away slots or shards. Views of nodes differ for a while,
    /// and one that is cut off from the others keeps its own. Returns the topology that takes less away: a shard that one
    /// node does not know, or knows elsewhere, is still there. `None` if nobody else can say that shards are gone. Returns as
    /// well whether it is sure.
    pub(super) async fn check(&mut self, first: Answered) -> (Option<Topology>, bool) {
        let Answered { by, address, mut topology } = first;
        let mut missing = topology.covered().complement();
        let displaced = self.displaced(&topology);
        let mut is_sure = true;
        if !missing.is_empty() || displaced > 0 {
            // No other primary is known.
            let is_alone = topology.shards.len() == 1 && self.shards.len() <= 1;
            match self.second(by, address).await {
                Some(second) => {
                    missing = missing.intersection(&second.covered().complement());
                    is_sure = self.displaced(&second) == displaced;
                    let rank = |it: &Topology| (self.displaced(it), Reverse(it.covered().len()));
                    if rank(&second) < rank(&topology) {
                        topology = second;
                    }
                }
                None if missing.is_empty() || is_alone => {}
                None if self.is_without_shards(&missing) => return (None, false),
                None => {
                    is_sure = false;
                    missing = self.uncovered.clone().unwrap_or_default();
                }
            }
        }
        self.set_uncovered((!missing.is_empty()).then_some(missing));
        (Some(topology), is_sure)
    }

    /// Whether a shard that was reached has none of its slots without `missing`.
    fn is_without_shards(&self, missing: &SlotSet) -> bool {
        self.shards.iter().any(|watched| {
            let is_reached = self.links.shared.note(|whole, _| whole.is_reached(watched.id));
            is_reached && watched.shard.slots.intersection(missing) == watched.shard.slots
        })
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

    /// Returns how many shards `topology` takes away from where they are known: those that answer there, and those that are
    /// down and have lost their slots to the primary of another shard. A shard that is down may well have moved to another
    /// node, which is then tried; but no single node can tell that there is nothing left to watch.
    fn displaced(&self, topology: &Topology) -> usize {
        let is_displaced = |watched: &&Watched| {
            let now = topology.shard_of(watched.shard.lowest()).map(|shard| &shard.primary);
            if now.is_some_and(|now| *now == watched.shard.primary) {
                return false;
            }
            let (is_up, is_reached) = self
                .links
                .shared
                .note(|whole, _| (whole.watch_of(watched.id) == Watch::Up, whole.is_reached(watched.id)));
            let is_with_another = |now: &_| self.shards.iter().any(|other| other.shard.primary == *now);
            is_up || is_reached && now.is_some_and(is_with_another)
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
