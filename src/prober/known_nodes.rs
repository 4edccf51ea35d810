//! The nodes of a cluster that the probers of one target have reached, and the replicas that the last one has probed.
//! Outlives each prober: a reload during an outage must not turn a dead node into one that was never reached, and must not
//! let a dead replica be forgotten.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::replicas::Absence;
use crate::target::Endpoint;
use crate::topology::{Shard, Slot, Topology};

/// The number of nodes that are remembered: twice the greatest `cluster.max_nodes`, for failovers and new addresses.
const KEPT: usize = 2000;

/// The nodes that were reached. Clones share them.
///
/// A node is known by where it was connected to, not by its id: that a server takes connections at one address says
/// nothing about a firewall in front of another.
#[derive(Clone, Debug, Default)]
pub struct KnownNodes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    reached: VecDeque<Endpoint>,
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

impl KnownNodes {
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

    /// Whether no server was ever reached.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().reached.is_empty()
    }

    /// Whether the server at `endpoint` has ever taken a connection.
    pub(super) fn contains(&self, endpoint: &Endpoint) -> bool {
        self.lock().reached.contains(endpoint)
    }

    /// These are all replicas that are probed now.
    pub(super) fn probes(&self, replicas: Vec<KnownReplica>) {
        self.lock().replicas = replicas;
    }

    /// Returns the replicas that were probed last and reached, and that `topology` does not name. None if it is another
    /// cluster's.
    pub(super) fn missing_in(&self, topology: &Topology) -> Vec<KnownReplica> {
        let State { reached, replicas } = &*self.lock();
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
        // Every change leaves a valid state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let nodes = KnownNodes::default();
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
        let nodes = KnownNodes::default();
        nodes.probes([1, 2, 3].map(replica).into());
        (0..3).for_each(|number| nodes.reached(&endpoint(number)));
        assert_eq!(nodes.missing_in(&topology(&[0, 1])), [replica(2)]);
        assert_eq!(nodes.missing_in(&topology(&[0, 1, 2, 3])), []);
        assert_eq!(nodes.missing_in(&topology(&[7, 8])), [], "another cluster");
    }
}
