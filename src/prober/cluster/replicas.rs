//! The replicas of a cluster's shards, where they are probed: which of them, and what became of their links.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::super::memory::KnownReplica;
use super::super::replicas::{Making, Replicas};
use super::super::schedule::offset;
use super::Coordinator;
use super::watched::Watched;
use crate::connection::dialer::Dial;
use crate::probe::Failure;
use crate::status::{ClusterNode, Watch};
use crate::target::ClusterMode;
use crate::topology::{Node, Shard};

impl<D: Dial<Stream: 'static> + 'static> Coordinator<D> {
    /// Whether replicas are to be probed.
    pub(super) fn wants_replicas(&self) -> bool {
        self.links.target.cluster.mode == ClusterMode::All
    }

    /// Lets links lead to the replicas of the shards. `known` are the ids of all nodes, `missing` the replicas beside them that
    /// an earlier prober has probed, and `room` is how many replicas may be probed.
    pub(super) fn follow_replicas(
        &mut self,
        known: &HashSet<Arc<str>>,
        missing: Vec<KnownReplica>,
        room: usize,
    ) {
        let now = Instant::now();
        if !self.wants_replicas() {
            // A later prober may probe them again.
            return self.links.shared.memory.lists(known, now);
        }
        let Self { links, host, grid, shards, tasks, .. } = self;
        for replica in missing {
            let mut replicas = shards
                .iter_mut()
                .filter(|watched| watched.shard.slots.contains(replica.lowest))
                .filter_map(|watched| watched.replicas.as_mut());
            if let Some(replicas) = replicas.next() {
                replicas.is_missing(replica);
            }
        }
        let chosen = {
            let replicas = shards.iter().map(|watched| {
                let is_watched = |node: &Node| watched.replicas.as_ref().is_some_and(|it| it.has(node));
                (&watched.shard, is_watched)
            });
            choose(replicas, room)
        };
        let count = chosen.iter().map(Vec::len).sum();
        let interval = grid.interval;
        let mut making = Making { links, tasks, grid: *grid, host };
        let mut place = 0;
        for (watched, wanted) in shards.iter_mut().zip(chosen) {
            let Some(replicas) = &mut watched.replicas else { continue };
            replicas.follow(&watched.shard, &wanted, known, &mut making, || {
                place += 1;
                now + offset(interval, place - 1, count)
            });
        }
        self.keep_replicas();
    }

    /// Lets later probers of the target know which replicas are probed.
    fn keep_replicas(&self) {
        let mut known = Vec::new();
        for Watched { shard, replicas, .. } in &self.shards {
            known.extend(replicas.iter().flat_map(|replicas| replicas.known(shard.lowest())));
        }
        self.links.shared.memory.probes(known);
    }

    /// Looks at what has become of the links to replicas. Returns how many were reached, and how many were not.
    pub(super) fn review_replicas(&mut self) -> (usize, usize) {
        let replicas = self.shards.iter_mut().filter_map(|watched| watched.replicas.as_mut());
        let denied: Vec<Failure> = replicas.flat_map(Replicas::deny).collect();
        if let Some(failure) = denied.first() {
            self.show_denied(failure);
        }
        let (mut reached, mut unreached, mut untried, mut is_stale) = (0, 0, 0, false);
        for replicas in self.shards.iter().filter_map(|watched| watched.replicas.as_ref()) {
            let counts = replicas.counts();
            reached += counts.reached;
            unreached += counts.unreached;
            untried += counts.untried;
            is_stale |= replicas.is_stale();
        }
        if is_stale {
            self.hurry();
        }
        if reached > 0 && unreached + untried == 0 && std::mem::take(&mut self.are_replicas_denied) {
            self.links.shared.record(|record| record.replicas_denied(None));
        }
        (reached, unreached)
    }

    /// Shows that the user may not say `READONLY` to a replica.
    fn show_denied(&mut self, failure: &Failure) {
        let is_new = !std::mem::replace(&mut self.are_replicas_denied, true);
        let (target, detail) = (&self.links.target.name, &failure.detail);
        if is_new {
            warn!(%target, %detail, "replicas not monitored; give the user the right `+readonly`");
        } else {
            debug!(%target, %detail, "replicas still not monitored");
        }
        self.links.shared.record(|record| record.replicas_denied(Some(failure)));
        self.show_nodes();
    }

    /// Returns the nodes that are probed or should be, and what is known of them.
    pub(super) fn nodes(&self) -> Vec<(ClusterNode, Watch)> {
        let mut nodes = Vec::new();
        for Watched { shard, id, replicas, .. } in &self.shards {
            let slots = &shard.slots;
            let watch = self.links.shared.watch_of(*id);
            // Not that of the configured host, where a node is looked for whose address is unknown.
            let address = shard.primary.address.clone();
            let node = ClusterNode { slots: slots.clone(), replica: None, address, is_absent: false };
            nodes.push((node, watch));
            let Some(replicas) = replicas else { continue };
            nodes.extend(replicas.nodes(slots));
        }
        nodes
    }

    /// Shows which nodes are probed.
    fn show_nodes(&self) {
        let nodes = self.nodes();
        self.links.shared.record(|record| record.nodes(&nodes));
    }

    /// When something about replicas changes by time alone.
    pub(super) fn next_change_of_replicas(&self) -> Option<Instant> {
        let now = Instant::now();
        let replicas = self.shards.iter().filter_map(|watched| watched.replicas.as_ref());
        replicas.filter_map(|replicas| replicas.next_change(now)).min()
    }

    /// Lets time pass for the replicas.
    pub(super) fn pass_replicas(&mut self) {
        let now = Instant::now();
        for replicas in self.shards.iter_mut().filter_map(|watched| watched.replicas.as_mut()) {
            replicas.pass(now);
        }
        self.keep_replicas();
        self.show_nodes();
    }
}

/// Chooses so many replicas of shards: those that are watched already, and then one of each shard before a second.
pub(in crate::prober) fn choose<'a, W: Fn(&Node) -> bool>(
    shards: impl Iterator<Item = (&'a Shard, W)>,
    room: usize,
) -> Vec<Vec<Node>> {
    let mut all = Vec::new();
    let mut chosen = Vec::new();
    for (place, (shard, is_watched)) in shards.enumerate() {
        chosen.push(Vec::new());
        for (index, node) in shard.replicas.iter().enumerate() {
            all.push((!is_watched(node), index, place, node));
        }
    }
    all.sort_unstable_by_key(|(is_new, index, place, _)| (*is_new, *index, *place));
    for (_, _, place, node) in all.into_iter().take(room) {
        chosen[place].push(node.clone());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Slot;

    fn shard(first: u16, replicas: &[&str]) -> Shard {
        let node = |id: &str| Node { id: id.into(), address: None };
        let slot = Slot::new(first).unwrap();
        Shard {
            slots: [slot..=slot].into_iter().collect(),
            primary: node("primary"),
            replicas: replicas.iter().copied().map(node).collect(),
        }
    }

    fn chosen(watched: &[&str], room: usize) -> Vec<Vec<String>> {
        let shards = [shard(0, &["a", "b"]), shard(1, &["c"]), shard(2, &["d", "e"])];
        let is_watched = |node: &Node| watched.contains(&&*node.id);
        let chosen = choose(shards.iter().map(|shard| (shard, is_watched)), room);
        chosen.iter().map(|nodes| nodes.iter().map(|node| node.id.to_string()).collect()).collect()
    }

    #[test]
    fn each_shard_has_a_replica_probed_before_another_has_a_second() {
        assert_eq!(chosen(&[], 9), [&["a", "b"][..], &["c"], &["d", "e"]]);
        assert_eq!(chosen(&[], 4), [&["a", "b"][..], &["c"], &["d"]]);
        assert_eq!(chosen(&[], 2), [&["a"][..], &["c"], &[]]);
        assert_eq!(chosen(&[], 0), [&[] as &[&str], &[], &[]]);
    }

    #[test]
    fn what_is_probed_already_stays() {
        assert_eq!(chosen(&["e", "b"], 3), [&["b", "a"][..], &[], &["e"]]);
    }
}
