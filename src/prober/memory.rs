//! What the probers of one target know of its cluster. Outlives each of them: a reload during an outage must not turn a dead
//! shard into one that was never reached, and must not let a dead replica be forgotten.
//!
//! Pure: no I/O and no clock.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use super::replicas::Absence;
use crate::lock::lock;
use crate::target::Endpoint;
use crate::topology::{Shard, Slot, Topology, continued};

/// The number of nodes that are remembered: twice the greatest `cluster.max_nodes`, for failovers and new addresses.
const KEPT: usize = 2000;

/// What is remembered of a target from one reload to the next. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TargetMemory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Where nodes were connected to. Their ids are not enough: that a server takes connections at one address says nothing
    /// about a firewall in front of another.
    reached: VecDeque<Endpoint>,
    /// The shards that were reached, without common slots. One stays what it is wherever its nodes are.
    shards: Vec<Shard>,
    /// The configured host that has led to them.
    host: Option<Endpoint>,
    /// The configured host that has taken the keys of a target that is one node, and the slot of the last one if it is a
    /// node of a cluster.
    served: Option<(Endpoint, Option<Slot>)>,
    /// The replicas that a prober has probed last.
    replicas: Vec<KnownReplica>,
}

/// A replica that was probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownReplica {
    /// Its id in the cluster.
    pub(super) node: Arc<str>,
    pub(super) endpoint: Endpoint,
    /// The lowest slot of its shard.
    pub(super) lowest: Slot,
    /// Since when the topology does not name it.
    pub(super) absence: Absence,
}

impl TargetMemory {
    /// The server at `endpoint` has taken a connection. Beyond [`KEPT`], the node that was found first is forgotten.
    pub(super) fn reached(&self, endpoint: &Endpoint) {
        let State { reached, .. } = &mut *self.lock();
        if !reached.contains(endpoint) {
            if reached.len() == KEPT {
                reached.pop_front();
            }
            reached.push_back(endpoint.clone());
        }
    }

    /// The server at the configured `host`, or the node that it has named instead of itself, has taken a key in `slot`; `None`
    /// if it is no node of a cluster.
    pub(super) fn served(&self, host: &Endpoint, slot: Option<Slot>) {
        match &mut self.lock().served {
            Some((known, last)) if known == host => *last = slot,
            served => *served = Some((host.clone(), slot)),
        }
    }

    /// Whether the server at the configured `host` has ever taken a key.
    pub(super) fn has_served(&self, host: &Endpoint) -> bool {
        self.lock().served.as_ref().is_some_and(|(served, _)| served == host)
    }

    /// Returns the slot of the key that was taken last where the target is one node of the cluster at `host`. A key in
    /// another slot may lie on a node that was never probed.
    pub(super) fn slot_at(&self, host: &Endpoint) -> Option<Slot> {
        self.lock().served.as_ref().filter(|(served, _)| served == host)?.1
    }

    /// Whether no server was ever reached.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().reached.is_empty()
    }

    /// Whether the server at `endpoint` has ever taken a connection.
    pub(super) fn contains(&self, endpoint: &Endpoint) -> bool {
        self.lock().reached.contains(endpoint)
    }

    /// These `shards` of the cluster at `host` have been reached, now or by an earlier prober. Others of the same cluster stay
    /// remembered as long as their slots are not in these.
    pub(super) fn watches(&self, host: &Endpoint, shards: &[&Shard]) {
        if shards.is_empty() {
            return;
        }
        let State { shards: known, host: known_host, .. } = &mut *self.lock();
        if known_host.as_ref() != Some(host) {
            *known_host = Some(host.clone());
        }
        let is_known =
            shards.len() <= known.len() && known.iter().zip(shards).all(|(known, shard)| known == *shard);
        if is_known {
            return;
        }
        let is_same = is_same_cluster(known, shards.iter().copied());
        known.retain(|old| is_same && shards.iter().all(|shard| old.slots.overlap(&shard.slots) == 0));
        known.splice(..0, shards.iter().copied().cloned());
    }

    /// Returns the shards that were reached, if `host` has led to them.
    pub(super) fn shards_at(&self, host: &Endpoint) -> Vec<Shard> {
        let State { shards, host: known, .. } = &*self.lock();
        if known.as_ref() == Some(host) { shards.clone() } else { Vec::new() }
    }

    /// The target is probed as one node.
    pub(super) fn forget_shards(&self) {
        self.lock().shards.clear();
    }

    /// Returns for each of the `shards` whether it continues one that was reached, whatever its nodes and addresses are now.
    pub(super) fn have_reached(&self, shards: &[Shard]) -> Vec<bool> {
        let State { shards: known, .. } = &*self.lock();
        if !is_same_cluster(known, shards) {
            return vec![false; shards.len()];
        }
        continued(known, shards).into_iter().map(|place| place.is_some()).collect()
    }

    /// These are all replicas that are probed now.
    pub(super) fn probes(&self, replicas: Vec<KnownReplica>) {
        self.lock().replicas = replicas;
    }

    /// The topology of `now` lists these nodes, whose replicas are not probed. Those of before that it does not list are absent
    /// all the same, and forgotten at last.
    pub(super) fn lists(&self, nodes: &HashSet<Arc<str>>, now: Instant) {
        self.lock().replicas.retain_mut(|replica| {
            if nodes.contains(&replica.node) {
                replica.absence = Absence::default();
            } else {
                replica.absence.begin(now);
            }
            !replica.absence.is_over(now)
        });
    }

    /// Returns the replicas that were probed last and reached, and that `topology` does not name. None if it is another
    /// cluster's.
    pub(super) fn missing_in(&self, topology: &Topology) -> Vec<KnownReplica> {
        let State { reached, replicas, .. } = &*self.lock();
        let nodes = || topology.shards.iter().flat_map(Shard::nodes);
        let is_known = |endpoint: &Endpoint| reached.contains(endpoint);
        if replicas.is_empty() || !nodes().any(|node| node.address.as_ref().is_some_and(is_known)) {
            return Vec::new();
        }
        let listed: HashSet<&str> = nodes().map(|node| &*node.id).collect();
        let is_missing = |it: &&KnownReplica| !listed.contains(&*it.node) && is_known(&it.endpoint);
        replicas.iter().filter(is_missing).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// Whether a node is in both: ids do not change. A cluster of other nodes is another one.
fn is_same_cluster<'a>(known: &[Shard], shards: impl IntoIterator<Item = &'a Shard>) -> bool {
    let ids: HashSet<&str> = known.iter().flat_map(Shard::nodes).map(|node| &*node.id).collect();
    shards.into_iter().flat_map(Shard::nodes).any(|node| ids.contains(&*node.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Node, SlotSet};

    fn endpoint(number: usize) -> Endpoint {
        Endpoint { host: format!("node-{number}").into(), port: 6379 }
    }

    #[test]
    fn nodes_are_remembered_up_to_a_limit() {
        let nodes = TargetMemory::default();
        (0..2).for_each(|_| (0..KEPT).for_each(|number| nodes.reached(&endpoint(number))));
        assert!(nodes.contains(&endpoint(0)), "those that are reached again take no other's place");
        nodes.clone().reached(&endpoint(KEPT));
        assert!(
            !nodes.contains(&endpoint(0)) && nodes.contains(&endpoint(1)) && nodes.contains(&endpoint(KEPT))
        );
        assert_eq!(nodes.lock().reached.len(), KEPT);
    }

    fn replica(number: usize) -> KnownReplica {
        let (node, absence) = (format!("id-{number}").into(), Absence::default());
        KnownReplica { node, endpoint: endpoint(number), lowest: Slot::new(0).unwrap(), absence }
    }

    /// A shard whose primary is the first of these nodes.
    fn topology(nodes: &[usize]) -> Topology {
        let node = |&number: &usize| {
            let KnownReplica { node, endpoint, .. } = replica(number);
            Node { id: node, address: Some(endpoint) }
        };
        let (primary, replicas) = (node(&nodes[0]), nodes[1..].iter().map(node).collect());
        Topology { shards: vec![Shard { slots: SlotSet::all(), primary, replicas }] }
    }

    #[test]
    fn a_replica_is_missing_if_it_was_reached_and_the_same_cluster_does_not_name_it() {
        let nodes = TargetMemory::default();
        nodes.probes([1, 2, 3].map(replica).into());
        (0..3).for_each(|number| nodes.reached(&endpoint(number)));
        assert_eq!(nodes.missing_in(&topology(&[0, 1])), [replica(2)]);
        assert_eq!(nodes.missing_in(&topology(&[0, 1, 2, 3])), []);
        assert_eq!(nodes.missing_in(&topology(&[7, 8])), [], "another cluster");
    }

    fn shard(ranges: (u16, u16), nodes: &[usize]) -> Shard {
        let slots = [Slot::new(ranges.0).unwrap()..=Slot::new(ranges.1).unwrap()].into_iter().collect();
        Shard { slots, ..topology(nodes).shards.remove(0) }
    }

    #[test]
    fn a_shard_was_reached_if_it_continues_one_that_was_wherever_its_primary_is_now() {
        let memory = TargetMemory::default();
        let (first, second) = (shard((0, 99), &[1, 2]), shard((100, 199), &[3, 4]));
        assert_eq!(memory.have_reached(std::slice::from_ref(&first)), [false]);
        memory.watches(&endpoint(0), &[&first]);
        let mut moved = shard((0, 89), &[2, 1]);
        moved.primary.address = Some(endpoint(7));
        assert_eq!(memory.have_reached(&[moved, second.clone()]), [true, false]);
        assert_eq!(memory.have_reached(&[shard((0, 99), &[8, 9])]), [false], "another cluster");
    }

    #[test]
    fn only_the_host_that_has_led_to_the_shards_leads_there_again() {
        let memory = TargetMemory::default();
        let shard = shard((0, 99), &[1, 2]);
        memory.watches(&endpoint(0), &[&shard]);
        assert_eq!(memory.shards_at(&endpoint(0)), std::slice::from_ref(&shard));
        assert_eq!(memory.shards_at(&endpoint(9)), []);
        memory.watches(&endpoint(9), &[]);
        memory.watches(&endpoint(9), &[&shard]);
        assert_eq!((memory.shards_at(&endpoint(0)), memory.shards_at(&endpoint(9))), (vec![], vec![shard]));
        memory.forget_shards();
        assert_eq!(memory.shards_at(&endpoint(9)), []);
    }

    #[test]
    fn a_shard_is_remembered_until_another_one_of_its_cluster_has_its_slots() {
        let memory = TargetMemory::default();
        let (first, second) = (shard((0, 99), &[1, 2]), shard((100, 199), &[3, 4]));
        memory.watches(&endpoint(0), &[&first, &second]);
        // Nobody owns the slots of the second one for a while.
        memory.watches(&endpoint(0), &[&first]);
        memory.watches(&endpoint(0), &[&shard((0, 98), &[1, 2])]);
        assert_eq!(memory.have_reached(&[first.clone(), second.clone()]), [true, true]);
        let all = shard((0, 199), &[1, 2]);
        memory.watches(&endpoint(0), &[&all]);
        assert_eq!(memory.lock().shards, [all]);
        let other = shard((500, 599), &[8, 9]);
        memory.watches(&endpoint(0), &[&other]);
        assert_eq!(memory.lock().shards, [other], "another cluster");
    }
}
