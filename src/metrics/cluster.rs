//! The series of a target that is a cluster.

use std::sync::Arc;

use super::definition as define;
use super::definition::Definition;
use super::label::{ROLE, TARGET, TOPOLOGY_RESULT};
use super::shard::{ShardMetrics, ShardName};
use super::value::{Counter, Gauge};
use super::{Metrics, Registration, Series, Write};
use crate::probe::{Role, StepResult};

/// The values of one cluster.
#[derive(Debug, Default)]
pub(super) struct ClusterSeries {
    slots_covered: Gauge,
    slots_available: Gauge,
    /// By [`Role`].
    nodes: [Gauge; Role::ALL.len()],
    nodes_watched: Gauge,
    nodes_unwatched: Gauge,
    nodes_skipped: Gauge,
    topology_changes: Counter,
    /// By [`StepResult`].
    topology_refreshes: [Counter; StepResult::ALL.len()],
}

impl Series for ClusterSeries {
    type Name = Arc<str>;
    const OWNER: &'static str = TARGET.name;
    const FAMILIES: &'static [(Definition, Write<Self>)] = &[
        (define::CLUSTER_SLOTS_COVERED, |it, target, family| family.gauge(&[target], &it.slots_covered)),
        (define::CLUSTER_SLOTS_AVAILABLE, |it, target, family| family.gauge(&[target], &it.slots_available)),
        (define::CLUSTER_NODES, |it, target, family| {
            for role in Role::ALL {
                family.gauge(&[(ROLE.name, role.as_str()), target], &it.nodes[role as usize]);
            }
        }),
        (define::CLUSTER_NODES_WATCHED, |it, target, family| family.gauge(&[target], &it.nodes_watched)),
        (define::CLUSTER_NODES_UNWATCHED, |it, target, family| family.gauge(&[target], &it.nodes_unwatched)),
        (define::CLUSTER_NODES_SKIPPED, |it, target, family| family.gauge(&[target], &it.nodes_skipped)),
        (define::TOPOLOGY_CHANGES, |it, target, family| family.counter(&[target], &it.topology_changes)),
        (define::TOPOLOGY_REFRESHES, |it, target, family| {
            for result in StepResult::ALL {
                let labels = [(TOPOLOGY_RESULT.name, result.as_str()), target];
                family.counter(&labels, &it.topology_refreshes[result as usize]);
            }
        }),
    ];

    fn new(_: &Arc<str>) -> Self {
        Self::default()
    }
}

/// Writes the series of a target that is a cluster, and removes them when dropped.
#[derive(Debug)]
pub struct ClusterMetrics {
    registration: Registration<ClusterSeries>,
    metrics: Metrics,
}

impl ClusterMetrics {
    pub(super) const fn new(registration: Registration<ClusterSeries>, metrics: Metrics) -> Self {
        Self { registration, metrics }
    }

    /// Adds the series of the shard whose lowest slot is `lowest`.
    #[must_use]
    pub fn shard(&self, lowest: u16) -> ShardMetrics {
        self.metrics.shard(ShardName { target: Arc::clone(self.registration.name()), shard: lowest })
    }

    /// Records how many slots have an owner.
    pub fn slots_covered(&self, slots: u16) {
        self.registration.series().slots_covered.set(slots.into());
    }

    /// Records how many slots have an owner whose last probe succeeded.
    pub fn slots_available(&self, slots: u16) {
        self.registration.series().slots_available.set(slots.into());
    }

    /// Records how many nodes of the topology have this role.
    pub fn nodes(&self, role: Role, nodes: usize) {
        self.registration.series().nodes[role as usize].set(nodes as f64);
    }

    /// Records how many nodes are probed and have been reached.
    pub fn nodes_watched(&self, nodes: usize) {
        self.registration.series().nodes_watched.set(nodes as f64);
    }

    /// Records how many nodes should be probed, but were never reached.
    pub fn nodes_unwatched(&self, nodes: usize) {
        self.registration.series().nodes_unwatched.set(nodes as f64);
    }

    /// Records how many nodes are over the limit.
    pub fn nodes_skipped(&self, nodes: usize) {
        self.registration.series().nodes_skipped.set(nodes as f64);
    }

    /// Records that the topology differs from the previous one.
    pub fn topology_changed(&self) {
        self.registration.series().topology_changes.increment();
    }

    /// Records that the topology was asked for so many times.
    pub fn topology_refreshed(&self, result: StepResult, times: u64) {
        self.registration.series().topology_refreshes[result as usize].add(times);
    }
}
