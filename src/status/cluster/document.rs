//! What `/status` and `check` say of a cluster.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::{ClusterState, NodeState, Watch};
use crate::clock::Rfc3339;
use crate::counted::counted;
use crate::probe::{Failure, Role};
use crate::status::outcome::{FailureDocument, StepDocument, label, steps};
use crate::target::Endpoint;
use crate::topology::SlotSet;

/// A cluster.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterDocument {
    /// The numbers of slots and nodes. `None` if no topology was ever read.
    #[serde(flatten)]
    pub counts: Option<ClusterCounts>,
    /// The slots without an owner, as in `0-5460,5462`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncovered: Option<String>,
    /// Why the topology could not be read the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_failure: Option<NodeFailureDocument>,
    /// Why no replica is probed, although replicas should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_failure: Option<NodeFailureDocument>,
    /// The nodes that are probed or should be: by shard, each primary before its replicas.
    pub shards: Vec<NodeDocument>,
}

/// How many slots and nodes of a cluster there are, and how many are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterCounts {
    /// The number of slots that have an owner.
    pub slots_covered: u16,
    /// The number of slots of shards whose last probe succeeded.
    pub slots_available: u16,
    /// The number of nodes that are probed and have been reached.
    pub nodes_watched: usize,
    /// The number of nodes that were never reached.
    pub nodes_unwatched: usize,
    /// The number of nodes over `cluster.max_nodes`.
    pub nodes_skipped: usize,
}

/// The primary of a shard, or one of its replicas.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeDocument {
    /// The label `shard`.
    pub shard: String,
    /// The shard's slots, as in `0-5460,5462`.
    pub slots: String,
    /// The label `role`.
    #[serde(serialize_with = "label")]
    pub role: Role,
    /// The state.
    pub state: Watch,
    /// The start of this state.
    pub since: Rfc3339,
    /// The address at which it is reached.
    pub address: Option<String>,
    /// The steps of the last probe, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepDocument>,
    /// For how long a replica that was read last time has lacked a write of its primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness_seconds: Option<f64>,
    /// The last failure. Later successes do not remove it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<NodeFailureDocument>,
}

/// A failure and its time.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeFailureDocument {
    /// The time of the failure.
    pub time: Rfc3339,
    /// The failure.
    #[serde(flatten)]
    pub failure: FailureDocument,
}

impl ClusterDocument {
    pub(in crate::status) fn new(state: &ClusterState) -> Self {
        let listed = || state.nodes.iter().filter(|it| !it.node.is_absent);
        let count = |is_counted: fn(Watch) -> bool| listed().filter(|it| is_counted(it.watch)).count();
        let primaries = state.nodes.iter().filter(|it| it.node.replica.is_none());
        let counts = ClusterCounts {
            slots_covered: state.covered.len(),
            slots_available: primaries
                .filter(|it| it.watch == Watch::Up)
                .map(|it| it.node.slots.overlap(&state.covered))
                .sum(),
            nodes_watched: count(|watch| matches!(watch, Watch::Up | Watch::Down)),
            nodes_unwatched: count(|watch| watch == Watch::Unwatched),
            nodes_skipped: state.skipped,
        };
        let is_known = !state.is_unknown();
        let uncovered = Some(state.covered.complement()).filter(|slots| !slots.is_empty() && is_known);
        Self {
            counts: is_known.then_some(counts),
            uncovered: uncovered.as_ref().map(SlotSet::to_string),
            topology_failure: state.topology_failure.as_ref().map(NodeFailureDocument::new),
            replica_failure: state.replica_failure.as_ref().map(NodeFailureDocument::new),
            shards: state.nodes.iter().map(NodeDocument::new).collect(),
        }
    }
}

impl ClusterDocument {
    /// Iterates over every failure.
    pub fn failures_mut(&mut self) -> impl Iterator<Item = &mut FailureDocument> {
        let of_nodes = self.shards.iter_mut().filter_map(|node| node.last_failure.as_mut());
        of_nodes.chain(&mut self.topology_failure).chain(&mut self.replica_failure).map(|it| &mut it.failure)
    }
}

impl fmt::Display for ClusterDocument {
    /// Writes the numbers of slots and nodes in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(counts) = &self.counts else {
            return f.write_str("shards unknown, only one node is watched");
        };
        let ClusterCounts { slots_covered, slots_available, nodes_watched, nodes_unwatched, nodes_skipped } =
            counts;
        let watched = counted(*nodes_watched as u64, "node");
        write!(f, "{slots_covered} slots covered, {slots_available} available; {watched} watched")?;
        if *nodes_watched == 0 {
            f.write_str(" beside the configured host")?;
        }
        if *nodes_unwatched > 0 {
            // One that may not be read was reached.
            let why = if self.replica_failure.is_some() { "not watched" } else { "never reached" };
            write!(f, ", {nodes_unwatched} {why}")?;
        }
        if *nodes_skipped > 0 {
            write!(f, ", {nodes_skipped} over cluster.max_nodes")?;
        }
        self.uncovered.iter().try_for_each(|slots| write!(f, "; slots without an owner: {slots}"))?;
        self.replica_failure.iter().try_for_each(|_| f.write_str("; replicas not watched"))
    }
}

impl NodeDocument {
    fn new(NodeState { node, watch, since, failure, steps: found, staleness }: &NodeState) -> Self {
        // Nobody knows how far a replica is behind that does not answer.
        let staleness = staleness.filter(|_| *watch == Watch::Up);
        Self {
            shard: node.shard().to_string(),
            slots: node.slots.to_string(),
            role: node.role(),
            state: *watch,
            since: Rfc3339(*since),
            address: node.address.as_ref().map(Endpoint::to_string),
            steps: steps(found),
            staleness_seconds: staleness.map(|age| age.as_secs_f64()),
            last_failure: failure.as_ref().map(|failure| {
                let mut document = NodeFailureDocument::new(failure);
                if let Some(advice) = node.advice(&failure.1, *watch) {
                    document.failure.advice = advice;
                }
                document
            }),
        }
    }
}

impl NodeFailureDocument {
    fn new((at, failure): &(SystemTime, Arc<Failure>)) -> Self {
        Self { time: Rfc3339(*at), failure: FailureDocument::new(failure) }
    }
}

impl fmt::Display for NodeFailureDocument {
    /// Writes the failure with its time and advice in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.time, self.failure)
    }
}
