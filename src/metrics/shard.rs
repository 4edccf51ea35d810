//! The series of one shard of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::definition as define;
use super::definition::Definition;
use super::label::{ROLE, SHARD, STEP, TARGET};
use super::owners::Name;
use super::value::{Counter, Gauge, Seconds, Summary};
use super::{Registration, Series, Write};
use crate::probe::{Role, Step};

/// The name of a shard: its target and its lowest slot. Shards are in the order of their slots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShardName {
    pub(super) target: Arc<str>,
    pub(super) shard: u16,
}

impl Name for ShardName {
    fn label(&self) -> &str {
        &self.target
    }
}

/// The values of one shard.
#[derive(Debug)]
pub(super) struct ShardSeries {
    /// The value of the label `shard`.
    shard: Box<str>,
    /// By [`Role`].
    roles: [RoleSeries; Role::ALL.len()],
    /// Of the primary, by [`Step`].
    step_duration: [Summary; Step::ALL.len()],
    replica_staleness: Gauge,
}

/// The values of a shard's primary, or of all its replicas.
#[derive(Debug, Default)]
struct RoleSeries {
    /// Whether there are such nodes.
    exists: AtomicBool,
    success: Gauge,
    probes: Counter,
    failures: Counter,
    unavailable: Seconds,
}

impl ShardSeries {
    /// Returns the series of `role`, which exist from now on.
    fn role(&self, role: Role) -> &RoleSeries {
        let series = &self.roles[role as usize];
        series.exists.store(true, Relaxed);
        series
    }

    /// Iterates over the roles that nodes have.
    fn roles(&self) -> impl Iterator<Item = (&'static str, &RoleSeries)> {
        let roles = Role::ALL.into_iter().map(|role| (role.as_str(), &self.roles[role as usize]));
        roles.filter(|(_, series)| series.exists.load(Relaxed))
    }
}

impl Series for ShardSeries {
    type Name = ShardName;
    const OWNER: &'static str = TARGET.name;
    const FAMILIES: &'static [(Definition, Write<Self>)] = &[
        (define::SHARD_SUCCESS, |it, target, family| {
            for (role, series) in it.roles() {
                family.gauge(&[(ROLE.name, role), (SHARD.name, &it.shard), target], &series.success);
            }
        }),
        (define::SHARD_PROBES, |it, target, family| {
            for (role, series) in it.roles() {
                family.counter(&[(ROLE.name, role), (SHARD.name, &it.shard), target], &series.probes);
            }
        }),
        (define::SHARD_FAILURES, |it, target, family| {
            for (role, series) in it.roles() {
                family.counter(&[(ROLE.name, role), (SHARD.name, &it.shard), target], &series.failures);
            }
        }),
        (define::SHARD_UNAVAILABLE, |it, target, family| {
            for (role, series) in it.roles() {
                family.seconds(&[(ROLE.name, role), (SHARD.name, &it.shard), target], &series.unavailable);
            }
        }),
        (define::SHARD_STEP_DURATION, |it, target, family| {
            for step in Step::ALL {
                let labels = [(SHARD.name, &*it.shard), (STEP.name, step.as_str()), target];
                family.summary(&labels, &it.step_duration[step as usize]);
            }
        }),
        (define::SHARD_REPLICA_STALENESS, |it, target, family| {
            family.gauge(&[(SHARD.name, &it.shard), target], &it.replica_staleness);
        }),
    ];

    fn new(name: &ShardName) -> Self {
        let series = Self {
            shard: name.shard.to_string().into(),
            roles: Default::default(),
            step_duration: Default::default(),
            replica_staleness: Gauge::default(),
        };
        // Every shard has a primary.
        series.role(Role::Primary);
        series
    }
}

/// Writes the series of one shard, and removes them when dropped.
#[derive(Debug)]
pub struct ShardMetrics(Registration<ShardSeries>);

impl ShardMetrics {
    pub(super) const fn new(registration: Registration<ShardSeries>) -> Self {
        Self(registration)
    }

    /// Records that the primary, or every replica, is up or down.
    pub fn verdict(&self, role: Role, is_up: bool) {
        self.0.series().role(role).success.set(if is_up { 1.0 } else { 0.0 });
    }

    /// Records that `ticks` ticks had this outcome.
    pub fn probe(&self, role: Role, result: Result<(), ()>, ticks: u64) {
        let series = self.0.series().role(role);
        series.probes.add(ticks);
        if result.is_err() {
            series.failures.add(ticks);
        }
    }

    /// Records that the primary, or a replica, was unavailable for another `duration`.
    pub fn unavailable(&self, role: Role, duration: Duration) {
        self.0.series().role(role).unavailable.add(duration);
    }

    /// Records the duration of a command to the primary.
    pub fn step(&self, step: Step, duration: Duration) {
        self.0.series().step_duration[step as usize].observe(duration);
    }

    /// Records for how long the slowest replica has lacked a write to the primary. `None` if no replica answers.
    pub fn replica_staleness(&self, age: Option<Duration>) {
        let series = self.0.series();
        match age {
            Some(age) => series.replica_staleness.set(age.as_secs_f64()),
            None => series.replica_staleness.clear(),
        }
    }

    /// Removes the series of replicas, for a shard that has none any more.
    pub fn no_replicas(&self) {
        let series = self.0.series();
        series.roles[Role::Replica as usize].exists.store(false, Relaxed);
        series.roles[Role::Replica as usize].success.clear();
        series.replica_staleness.clear();
    }
}
