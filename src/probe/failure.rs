//! One failure: its reason, where it happened, and the text of the server or the system.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{FailureReason, Phase, Step};
use crate::topology::SlotSet;

/// What to do about a replica that answers `MASTERDOWN`.
const PRIMARY_LOST: &str = "This server is a replica that has lost its primary: check that the primary runs, and the \
     network between. Expected for a few seconds during a failover.";
/// What to do if the user may not read the topology.
const TOPOLOGY_DENIED: &str = "Grant the user `+cluster|slots`, so that every shard is watched and not only one node, \
     or set `cluster.mode: off`. A changed right is noticed within an hour, or after a restart.";
/// What to do if the server does not know the command.
const TOPOLOGY_UNSUPPORTED: &str = "The server does not list its shards, as behind a proxy or with the Enterprise \
     policy of Azure Managed Redis. Set `keys` to write to every part of the hash slots, or `cluster.mode: off`.";

/// What to do if nothing answers at the address of a node, if something refuses the connection, if there is no way to it, and
/// if what takes the connection speaks no TLS.
const NODE_SILENT: &str = "Nothing answers at the address that the cluster announces: the node is down, or a firewall drops \
     packets to its port. Azure Cache for Redis uses 15000-15999 (13000-13999 without TLS), Azure Managed Redis 8500-8599. \
     If nodes can only be reached at the configured host, set `cluster.address: host`.";
const NODE_REFUSES: &str = "Nothing listens at the address that the cluster announces: the node is down, or the address is \
     valid only where the cluster runs, as that of a container. If nodes can be reached at the configured host, set \
     `cluster.address: host`.";
const NODE_UNROUTED: &str = "There is no way to the address that the cluster announces: its host is down, or the networks are \
     not connected. If nodes can be reached at the configured host, set `cluster.address: host`.";
const NODE_WITHOUT_TLS: &str = "The node takes the connection and completes no TLS handshake: it hangs, or the cluster \
     announces its port without TLS. Set `tls-cluster yes` on each node of a cluster that serves TLS.";
/// What to do if the name of a node has no address.
const NODE_UNRESOLVED: &str = "The cluster announces this name. Add it to the DNS that this machine uses, or let the \
     nodes announce their addresses. If they can be reached at the configured host, set `cluster.address: host`.";

/// Where in a probe something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// While opening the connection.
    Phase(Phase),
    /// In a command.
    Step(Step),
    /// In the command that lists the nodes of a cluster.
    Topology,
    /// Between probes, on the idle connection.
    Idle,
}

impl Stage {
    /// Returns the phase's or step's label; `cluster_slots` or `idle` between probes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phase(phase) => phase.as_str(),
            Self::Step(step) => step.as_str(),
            Self::Topology => "cluster_slots",
            Self::Idle => "idle",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure: its reason, where it happened, and the text of the server or the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason, as counted.
    pub reason: FailureReason,
    /// The phase or step that failed.
    pub stage: Stage,
    /// The text of the server or the system: one line, bounded, without secrets. May be empty.
    pub detail: Box<str>,
    /// What to do about this failure, where more is known than its reason.
    pub advice: Option<&'static str>,
    /// The slots of the shard that failed, if the target is a cluster.
    pub slots: Option<Arc<SlotSet>>,
}

impl Failure {
    /// Creates a failure at `stage`. `detail` must already be free of secrets (see [`crate::secret::Secret::redact`]).
    #[must_use]
    pub fn new(reason: FailureReason, stage: Stage, detail: impl Into<Box<str>>) -> Self {
        Self { reason, stage, detail: detail.into(), advice: None, slots: None }
    }

    /// Returns the failure; if the user lacks a right, with `advice` that names it.
    #[must_use]
    pub fn naming_right(self, advice: &'static str) -> Self {
        let is_denied = self.reason == FailureReason::PermissionDenied;
        Self { advice: if is_denied { Some(advice) } else { self.advice }, ..self }
    }

    /// Returns what the operator can do about it. Nobody has configured the address of a node that has slots.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        let of_node = self.slots.as_ref().and_then(|_| self.advice_on_node());
        let of_stage = match (self.stage, self.reason) {
            (Stage::Topology, FailureReason::PermissionDenied) => Some(TOPOLOGY_DENIED),
            (Stage::Topology, FailureReason::ServerError) => Some(TOPOLOGY_UNSUPPORTED),
            (_, FailureReason::ClusterDown) if self.detail.starts_with("MASTERDOWN") => Some(PRIMARY_LOST),
            _ => None,
        };
        self.advice.or(of_node).or(of_stage).unwrap_or(self.reason.advice())
    }

    /// Returns what the operator can do about a node that cannot be reached at the address which its cluster announces.
    #[must_use]
    pub const fn advice_on_node(&self) -> Option<&'static str> {
        match self.reason {
            FailureReason::Resolve => Some(NODE_UNRESOLVED),
            FailureReason::ConnectTimeout => Some(NODE_SILENT),
            FailureReason::ConnectRefused => Some(NODE_REFUSES),
            FailureReason::ConnectUnreachable => Some(NODE_UNROUTED),
            FailureReason::TlsHandshake => Some(NODE_WITHOUT_TLS),
            _ => None,
        }
    }

    /// Returns the same about a node that was never reached at this `port`.
    #[must_use]
    pub fn advice_on_unwatched_node(&self, port: u16) -> Option<Cow<'static, str>> {
        if self.reason != FailureReason::ConnectTimeout {
            return self.advice_on_node().map(Into::into);
        }
        let advice = format!(
            "Open port {port} to the addresses of the cache's nodes, unless this node is down. If they can only be reached at \
             the configured host, set `cluster.address: host`; if this node need not be watched, `cluster.mode: off`."
        );
        Some(advice.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.reason, self.stage)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_reason_stage_and_detail_in_one_line() {
        let failure = Failure::new(FailureReason::ReadOnly, Stage::Step(Step::Set), "READONLY You can't");
        assert_eq!(failure.to_string(), "read_only at set: READONLY You can't");
        let bare = Failure::new(FailureReason::Closed, Stage::Idle, "");
        assert_eq!(bare.to_string(), "closed at idle");
    }

    #[test]
    fn the_advice_about_a_node_of_a_cluster_names_nothing_that_nobody_has_configured() {
        use FailureReason::{ConnectRefused, ConnectTimeout, ConnectUnreachable, Resolve};
        for reason in [ConnectRefused, ConnectTimeout, ConnectUnreachable, Resolve] {
            let host = Failure::new(reason, Stage::Phase(Phase::Connect), "");
            let node = Failure { slots: Some(Arc::new(SlotSet::all())), ..host.clone() };
            assert_eq!(host.advice(), reason.advice());
            assert!(node.advice().contains("`cluster.address: host`"), "{}", node.advice());
            assert!(
                !node.advice().contains("`host`") && !node.advice().contains("`port`"),
                "{}",
                node.advice()
            );
        }
    }

    #[test]
    fn a_replica_that_has_lost_its_primary_is_not_called_a_shard() {
        let failure = |text| Failure::new(FailureReason::ClusterDown, Stage::Step(Step::Get), text);
        let lost = failure("MASTERDOWN Link with MASTER is down");
        assert!(lost.advice().contains("replica") && !lost.advice().contains("shard"), "{}", lost.advice());
        assert!(failure("CLUSTERDOWN The cluster is down").advice().contains("shard"));
    }

    #[test]
    fn only_a_node_that_does_not_answer_at_all_may_need_an_open_port() {
        for reason in FailureReason::ALL {
            let failure = Failure::new(reason, Stage::Phase(Phase::Connect), "");
            let advice = failure.advice_on_unwatched_node(8501).unwrap_or_default();
            assert_eq!(
                advice.contains("Open port 8501"),
                reason == FailureReason::ConnectTimeout,
                "{reason}"
            );
        }
    }
}
