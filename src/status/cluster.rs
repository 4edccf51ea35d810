//! The status of a target that is a cluster: its nodes, its slots, and what is not watched.

mod document;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use self::document::{ClusterCounts, ClusterDocument, NodeDocument, NodeFailureDocument};
use super::TargetStatus;
use crate::lock::lock;
use crate::probe::{Failure, FailureReason, Role, StepResults};
use crate::target::Endpoint;
use crate::topology::{Slot, SlotSet};

/// What is known of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct ClusterState {
    covered: SlotSet,
    skipped: usize,
    nodes: Vec<NodeState>,
    topology_failure: Option<(SystemTime, Arc<Failure>)>,
    replica_failure: Option<(SystemTime, Arc<Failure>)>,
}

#[derive(Clone, Debug)]
struct NodeState {
    node: ClusterNode,
    watch: Watch,
    since: SystemTime,
    failure: Option<(SystemTime, Arc<Failure>)>,
    /// Those of the last probe.
    steps: StepResults,
    /// For how long a replica has lacked a write.
    staleness: Option<Duration>,
}

/// A node of a cluster that is probed, or should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// The slots of its shard; never empty.
    pub slots: SlotSet,
    /// The id of a replica. `None` is the primary of the shard, whichever node that is.
    pub replica: Option<Arc<str>>,
    /// The address at which it is reached, if it has one.
    pub address: Option<Endpoint>,
    /// Whether it is a replica that the topology does not name any more.
    pub is_absent: bool,
}

impl ClusterNode {
    fn shard(&self) -> u16 {
        self.slots.lowest().map_or(0, Slot::number)
    }

    fn role(&self) -> Role {
        if self.replica.is_some() { Role::Replica } else { Role::Primary }
    }

    /// Returns what to do about a node that cannot be reached, where more is known than the reason of the failure.
    fn advice(&self, failure: &Failure, watch: Watch) -> Option<Cow<'static, str>> {
        match &self.address {
            Some(Endpoint { port, .. }) if watch == Watch::Unwatched => {
                failure.advice_on_unwatched_node(*port)
            }
            _ => failure.advice_on_node().map(Into::into),
        }
    }
}

/// Whether a node of a cluster is watched, and what it was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// It has not been tried yet.
    Unknown,
    /// It was never reached.
    Unwatched,
    /// The last probe succeeded.
    Up,
    /// The last probe failed, after earlier successes.
    Down,
}

impl Watch {
    /// Returns the word that the pages use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unwatched => "unwatched",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl ClusterState {
    /// Replaces the list of nodes. Those that are known keep their state.
    fn list(&mut self, nodes: Vec<ClusterNode>, at: SystemTime) {
        let nodes = nodes.into_iter().map(|node| match self.node(node.shard(), node.replica.as_deref()) {
            Some(known) => NodeState { node, ..known.clone() },
            None => NodeState {
                node,
                watch: Watch::Unknown,
                since: at,
                failure: None,
                steps: StepResults::default(),
                staleness: None,
            },
        });
        let mut nodes: Vec<NodeState> = nodes.collect();
        nodes.sort_by_key(|it| (it.node.shard(), it.node.replica.clone()));
        self.nodes = nodes;
    }

    /// Whether no topology was ever read.
    fn is_unknown(&self) -> bool {
        self.covered.is_empty() && self.nodes.is_empty()
    }

    fn node(&mut self, shard: u16, replica: Option<&str>) -> Option<&mut NodeState> {
        self.nodes.iter_mut().find(|it| it.node.shard() == shard && it.node.replica.as_deref() == replica)
    }
}

impl TargetStatus {
    /// Records the topology: the slots that have an owner, the nodes that are probed or should be, and how many are over
    /// `cluster.max_nodes`. A primary continues that of the same lowest slot, so that its state survives a failover; a
    /// replica continues itself.
    pub fn topology(&self, covered: SlotSet, nodes: Vec<ClusterNode>, skipped: usize, at: SystemTime) {
        let mut state = lock(&self.entry.state);
        let cluster = state.cluster.get_or_insert_default();
        cluster.list(nodes, at);
        (cluster.covered, cluster.skipped) = (covered, skipped);
        cluster.topology_failure = None;
    }

    /// Records which nodes are probed or should be, where the topology is the same.
    pub fn nodes(&self, nodes: Vec<ClusterNode>, at: SystemTime) {
        if let Some(cluster) = &mut lock(&self.entry.state).cluster {
            cluster.list(nodes, at);
        }
    }

    /// Records why no replica is probed although replicas should be; `None` once one is.
    pub fn replicas_denied(&self, failure: Option<&Failure>, at: SystemTime) {
        let mut state = lock(&self.entry.state);
        let Some(cluster) = &mut state.cluster else { return };
        cluster.replica_failure = failure.map(|failure| (at, Arc::new(failure.clone())));
        if failure.is_some() {
            // It is the same for each of those that may not be read.
            let is_same = |failure: &Failure| failure.reason == FailureReason::PermissionDenied;
            for node in cluster.nodes.iter_mut().filter(|it| it.node.replica.is_some()) {
                node.failure = node.failure.take().filter(|(_, failure)| !is_same(failure));
            }
        }
    }

    /// Records that the topology could not be read, so that only the known nodes are watched.
    pub fn topology_failed(&self, failure: &Failure, at: SystemTime) {
        let mut state = lock(&self.entry.state);
        state.cluster.get_or_insert_default().topology_failure = Some((at, Arc::new(failure.clone())));
    }

    /// Records that the target is no cluster, or no longer.
    pub fn no_cluster(&self) {
        lock(&self.entry.state).cluster = None;
    }

    /// Records what a node is since `at`: the primary of `shard`, or this replica. Ignores nodes that are not in the
    /// topology.
    pub fn node(&self, shard: u16, replica: Option<&str>, watch: Watch, at: SystemTime) {
        let mut state = lock(&self.entry.state);
        let node = state.cluster.as_mut().and_then(|cluster| cluster.node(shard, replica));
        if let Some(node) = node.filter(|node| node.watch != watch) {
            (node.watch, node.since) = (watch, at);
        }
    }

    /// Records what the last probe of this node has found.
    pub fn node_probed(&self, shard: u16, replica: Option<&str>, steps: &StepResults) {
        let mut state = lock(&self.entry.state);
        if let Some(node) = state.cluster.as_mut().and_then(|cluster| cluster.node(shard, replica)) {
            node.steps = *steps;
        }
    }

    /// Returns what the last probe of the primary of `shard` has found.
    #[must_use]
    pub fn steps_of(&self, shard: u16) -> Option<StepResults> {
        let mut state = lock(&self.entry.state);
        Some(state.cluster.as_mut()?.node(shard, None)?.steps)
    }

    /// Records for how long this replica has lacked a write.
    pub fn staleness(&self, shard: u16, replica: &str, age: Duration) {
        let mut state = lock(&self.entry.state);
        if let Some(node) = state.cluster.as_mut().and_then(|cluster| cluster.node(shard, Some(replica))) {
            node.staleness = Some(age);
        }
    }

    /// Records the failure at `at` of a node, which later successes do not remove.
    pub fn node_failed(&self, shard: u16, replica: Option<&str>, failure: &Failure, at: SystemTime) {
        let mut state = lock(&self.entry.state);
        if let Some(node) = state.cluster.as_mut().and_then(|cluster| cluster.node(shard, replica)) {
            node.failure = Some((at, Arc::new(failure.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;
    use crate::probe::{Phase, Stage, Step};
    use crate::status::Status;
    use crate::target::Target;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn range(first: u16, last: u16) -> SlotSet {
        [Slot::new(first).unwrap()..=Slot::new(last).unwrap()].into_iter().collect()
    }

    fn node(first: u16, last: u16, replica: Option<&str>, address: &str) -> ClusterNode {
        ClusterNode {
            slots: range(first, last),
            replica: replica.map(Into::into),
            address: Some(Endpoint {
                host: address.split_once(':').unwrap().0.into(),
                port: address.split_once(':').unwrap().1.parse().unwrap(),
            }),
            is_absent: false,
        }
    }

    fn target() -> (Status, TargetStatus) {
        let status = Status::new(Clock::from_tokio(at(1_000)));
        let handle = status.target(&Target::plain("orders"));
        (status, handle)
    }

    fn cluster(status: &Status) -> ClusterDocument {
        status.document().targets.remove(0).cluster.unwrap()
    }

    fn unreachable() -> Failure {
        Failure::new(FailureReason::ConnectTimeout, Stage::Phase(Phase::Connect), "10.0.0.5:8501")
    }

    #[tokio::test(start_paused = true)]
    async fn the_document_of_a_cluster_is_exactly_this_json() {
        let (status, handle) = target();
        let nodes = vec![
            node(8192, 16_382, None, "10.0.0.5:8501"),
            node(0, 8191, Some("b"), "10.0.0.6:8502"),
            node(0, 8191, None, "10.0.0.4:8500"),
        ];
        handle.topology(range(0, 16_382), nodes, 2, at(1_000));
        handle.node(0, None, Watch::Up, at(1_001));
        handle.node(0, Some("b"), Watch::Up, at(1_001));
        handle.staleness(0, "b", Duration::from_millis(250));
        handle.node(8192, None, Watch::Unwatched, at(1_006));
        handle.node_failed(8192, None, &unreachable(), at(1_006));
        let advice = "Open port 8501 to the addresses of the cache's nodes, unless this node is down. If they can only be \
                      reached at the configured host, set `cluster.address: host`; if this node need not be watched, \
                      `cluster.mode: off`.";
        assert_eq!(
            serde_json::to_value(cluster(&status)).unwrap(),
            json!({
                "slots_covered": 16383, "slots_available": 8192, "uncovered": "16383",
                "nodes_watched": 2, "nodes_unwatched": 1, "nodes_skipped": 2,
                "shards": [
                    {
                        "shard": "0", "slots": "0-8191", "role": "primary", "state": "up",
                        "since": "1970-01-01T00:16:41.000Z", "address": "10.0.0.4:8500",
                    },
                    {
                        "shard": "0", "slots": "0-8191", "role": "replica", "state": "up",
                        "since": "1970-01-01T00:16:41.000Z", "address": "10.0.0.6:8502",
                        "staleness_seconds": 0.25,
                    },
                    {
                        "shard": "8192", "slots": "8192-16382", "role": "primary", "state": "unwatched",
                        "since": "1970-01-01T00:16:46.000Z", "address": "10.0.0.5:8501",
                        "last_failure": {
                            "time": "1970-01-01T00:16:46.000Z", "reason": "connect_timeout", "stage": "connect",
                            "detail": "10.0.0.5:8501", "advice": advice,
                        },
                    },
                ],
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_state_of_a_shard_survives_a_failover_and_goes_with_its_slots() {
        let (status, handle) = target();
        handle.topology(SlotSet::all(), vec![node(0, 16_383, None, "a:1")], 0, at(1));
        handle.node(0, None, Watch::Up, at(2));
        handle.node(0, None, Watch::Up, at(3));
        handle.topology(SlotSet::all(), vec![node(0, 16_383, None, "b:1")], 0, at(4));
        let shown = |document: ClusterDocument| {
            let shard = document.shards.into_iter().next().unwrap();
            (shard.shard, shard.state, shard.since.0, shard.address)
        };
        assert_eq!(shown(cluster(&status)), ("0".to_owned(), Watch::Up, at(2), Some("b:1".to_owned())));
        handle.topology(range(1, 16_383), vec![node(1, 16_383, None, "b:1")], 0, at(5));
        assert_eq!(shown(cluster(&status)), ("1".to_owned(), Watch::Unknown, at(5), Some("b:1".to_owned())));
        handle.node(0, None, Watch::Down, at(6));
        assert_eq!(shown(cluster(&status)).1, Watch::Unknown, "an unknown shard is ignored");
        handle.no_cluster();
        assert!(status.document().targets[0].cluster.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_may_not_be_read_share_one_failure_until_one_is_read() {
        let (status, handle) = target();
        let nodes = || vec![node(0, 16_383, None, "a:1"), node(0, 16_383, Some("b"), "b:1")];
        handle.topology(SlotSet::all(), nodes(), 0, at(1));
        let refused = Failure::new(FailureReason::PermissionDenied, Stage::Step(Step::Get), "NOPERM");
        handle.node_failed(0, Some("b"), &refused, at(2));
        handle.replicas_denied(Some(&refused), at(2));
        handle.topology(SlotSet::all(), nodes(), 0, at(3));
        let shown = cluster(&status);
        assert_eq!(&*shown.replica_failure.unwrap().failure.detail, "NOPERM");
        assert!(shown.shards.iter().all(|node| node.last_failure.is_none()));
        handle.nodes(nodes()[..1].to_vec(), at(4));
        assert_eq!(cluster(&status).shards.len(), 1);
        handle.replicas_denied(None, at(5));
        assert!(cluster(&status).replica_failure.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_topology_that_may_not_be_read_names_the_missing_right_until_it_is_read() {
        let (status, handle) = target();
        let refused = Failure::new(FailureReason::PermissionDenied, Stage::Topology, "NOPERM");
        handle.topology_failed(&refused, at(1));
        let shown = serde_json::to_value(cluster(&status)).unwrap();
        assert!(shown.get("slots_covered").is_none() && shown.get("nodes_watched").is_none(), "{shown}");
        let advice = cluster(&status).topology_failure.unwrap().failure.advice;
        assert!(advice.contains("+cluster|slots"), "{advice}");
        handle.topology(SlotSet::all(), Vec::new(), 0, at(2));
        assert!(cluster(&status).topology_failure.is_none());
    }
}
