//! Whether an answer is to be believed: slots that have no owner, or shards that have moved, as far as two nodes agree.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::answers::Asked;
use super::inquiry::Answered;
use super::watched::Watched;
use super::{Coordinator, Coverage};
use crate::connection::dialer::Dial;
use crate::counted::counted;
use crate::probe::{Failure, FailureReason, Stage};
use crate::status::Watch;
use crate::topology::{Shard, SlotSet, Topology};

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Compares an answer with that of a second node, if it takes away slots or shards, or gives back slots that had no
    /// owner, and with that of a third one if they disagree. Views of nodes differ for a while, and one that is cut off from
    /// the others keeps its own. Slots have no owner if two nodes say so. Returns the topology that takes least away: a shard
    /// that one node does not know, or knows elsewhere, is still there. A node that serves stays at its address unless two
    /// nodes name another: a node may name itself by one that nobody can reach. `None` if nobody else can say that shards are gone.
    /// Returns as well whether it is sure.
    pub(super) async fn check(&mut self, first: Answered) -> (Option<Topology>, bool) {
        let Answered { by, address, topology } = first;
        let displaced = self.displaced(&topology);
        if topology.covered().len() == SlotSet::all().len() && displaced == 0 && self.uncovered.is_none() {
            return (Some(topology), true);
        }
        // No other primary is known.
        let is_alone = topology.shards.len() == 1 && self.shards.len() <= 1;
        let (mut asked, mut addresses, mut views) = (vec![by], vec![address], vec![topology]);
        while views.len() < 3
            && let Some(view) = self.another(&mut asked, &mut addresses).await
        {
            views.push(view);
            if views.len() == 2 && views[0].covered() == views[1].covered() {
                break;
            }
        }
        let missing = match &*views {
            [view] => {
                let missing = view.covered().complement();
                if !is_alone && self.is_without_shards(&missing) {
                    return (None, false);
                }
                let is_known = is_alone || missing.is_empty();
                if !is_known && !self.are_tried() {
                    self.coverage = Coverage::Open;
                }
                if is_known { missing } else { self.uncovered.clone().unwrap_or_default() }
            }
            views => missing_in_two(views),
        };
        if views.len() == 1 && !is_alone && self.has_no_second() {
            self.coverage = Coverage::Unconfirmed;
        }
        let is_sure = views.iter().all(|view| self.displaced(view) == displaced)
            && (views.len() > 1
                || is_alone
                || self.coverage == Coverage::Unconfirmed
                || views[0].covered().len() == SlotSet::all().len());
        let rank = |view: &Topology| {
            let covered = view.covered();
            (self.displaced(view), covered.intersection(&missing).len(), Reverse(covered.len()))
        };
        let best = views.iter().min_by_key(|view| rank(view)).cloned();
        let best = best.map(|best| self.at_known_addresses(best, &views));
        self.set_uncovered((!missing.is_empty()).then_some(missing));
        (best, is_sure)
    }

    /// Returns `topology` with the nodes that serve at their known addresses, unless two of the `views` name another one.
    fn at_known_addresses(&self, mut topology: Topology, views: &[Topology]) -> Topology {
        for watched in &self.shards {
            let (known, lowest) = (&watched.shard.primary, watched.shard.lowest());
            let is_same = |shard: &&mut Shard| shard.slots.contains(lowest) && shard.primary.id == known.id;
            let Some(shard) = topology.shards.iter_mut().find(is_same) else { continue };
            let agrees =
                |view: &&Topology| view.shard_of(lowest).is_some_and(|other| other.primary == shard.primary);
            let is_up = self.links.shared.watch_of(watched.id) == Watch::Up;
            if is_up && views.iter().filter(agrees).count() < 2 {
                shard.primary = known.clone();
            }
        }
        topology
    }

    /// Whether a shard that was reached has none of its slots without `missing`.
    fn is_without_shards(&self, missing: &SlotSet) -> bool {
        self.shards.iter().any(|watched| {
            let is_reached = self.links.shared.is_reached(watched.id);
            is_reached && watched.shard.slots.intersection(missing) == watched.shard.slots
        })
    }

    /// Whether an attempt to connect to each shard has ended.
    fn are_tried(&self) -> bool {
        let is_tried = |watched: &Watched| self.links.shared.note(|whole, _| whole.is_tried(watched.id));
        !self.shards.is_empty() && self.shards.iter().all(is_tried)
    }

    /// Whether there is no second node to ask: of all that are probed, one at most was ever reached.
    pub(super) fn has_no_second(&self) -> bool {
        let is_reached = |watched: &&Watched| self.links.shared.is_reached(watched.id);
        self.are_tried() && self.shards.iter().filter(is_reached).count() <= 1
    }

    /// Returns the topology by another node than those that were `asked` at `addresses`, and adds it to them.
    async fn another(
        &mut self,
        asked: &mut Vec<Asked>,
        addresses: &mut Vec<Option<SocketAddr>>,
    ) -> Option<Topology> {
        while let Some((other, address, answer)) = self.ask(asked).await {
            asked.push(other);
            match answer {
                Ok(topology) => {
                    self.answers.answered(other);
                    if !addresses.contains(&address) {
                        addresses.push(address);
                        return Some(topology);
                    }
                }
                Err(failure) => {
                    self.answers.failed(other, &failure, Instant::now());
                }
            }
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

/// Returns the slots that have no owner by at least two of `views`.
pub(in crate::prober) fn missing_in_two(views: &[Topology]) -> SlotSet {
    let missing: Vec<SlotSet> = views.iter().map(|view| view.covered().complement()).collect();
    let pairs =
        missing.iter().enumerate().flat_map(|(at, one)| missing[..at].iter().map(move |it| (one, it)));
    pairs.fold(SlotSet::default(), |all, (one, other)| all.union(&one.intersection(other)))
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
