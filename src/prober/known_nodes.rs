//! The nodes of a cluster that the probers of one target have reached. Outlives each prober: a reload during an outage must
//! not turn a dead node into one that was never reached.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::target::Endpoint;

/// The number of nodes that are remembered: twice the greatest `cluster.max_nodes`, for failovers and new addresses.
const KEPT: usize = 2000;

/// The nodes that were reached. Clones share them.
///
/// A node is known by where it was connected to, not by its id: that a server takes connections at one address says
/// nothing about a firewall in front of another.
#[derive(Clone, Debug, Default)]
pub struct KnownNodes(Arc<Mutex<VecDeque<Endpoint>>>);

impl KnownNodes {
    /// The server at `endpoint` has taken a connection. Beyond [`KEPT`], the node that was found first is forgotten.
    pub(super) fn reached(&self, endpoint: &Endpoint) {
        let mut nodes = self.lock();
        if !nodes.contains(endpoint) {
            if nodes.len() == KEPT {
                nodes.pop_front();
            }
            nodes.push_back(endpoint.clone());
        }
    }

    /// Whether no server was ever reached.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether the server at `endpoint` has ever taken a connection.
    pub(super) fn contains(&self, endpoint: &Endpoint) -> bool {
        self.lock().contains(endpoint)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Endpoint>> {
        // Every change leaves a valid state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(nodes.lock().len(), KEPT);
    }
}
