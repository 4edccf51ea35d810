//! A scrape: that of a thousand targets is over 20 MB.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus::proto::MetricFamily;

use super::cluster::ClusterSeries;
use super::definition::{self, Definition};
use super::family::{self, Output};
use super::histogram::Histogram;
use super::identity::IdentitySeries;
use super::owners::{Series, Snapshot, Write};
use super::shard::ShardSeries;
use super::target::TargetSeries;
use crate::buffer::Buffer;
use crate::piecewise::Pieces;

/// Every metric in one of the formats, families in the order of their names. Writing it never fails.
///
/// The owners are fixed at the start; each value is read when it is written.
#[derive(Debug)]
pub(super) struct Exposition {
    owners: Snapshots,
    scheduler_delay: Arc<Histogram>,
    /// Since when the scheduler's delay has been recorded.
    started: SystemTime,
    /// The families still to be written, the last one first.
    sources: Vec<Source>,
    /// How many owners of the last of the sources have been written.
    next: usize,
    output: Output,
}

/// The owners of each kind.
#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) targets: Snapshot<TargetSeries>,
    pub(super) identities: Snapshot<IdentitySeries>,
    pub(super) clusters: Snapshot<ClusterSeries>,
    pub(super) shards: Snapshot<ShardSeries>,
}

/// Where a family comes from.
#[derive(Debug)]
enum Source {
    Registry(MetricFamily),
    SchedulerDelay,
    Targets(Definition, Write<TargetSeries>),
    Identities(Definition, Write<IdentitySeries>),
    Clusters(Definition, Write<ClusterSeries>),
    Shards(Definition, Write<ShardSeries>),
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Self::Registry(family) => family.name(),
            Self::SchedulerDelay => definition::SCHEDULER_DELAY.name,
            Self::Targets(definition, _)
            | Self::Identities(definition, _)
            | Self::Clusters(definition, _)
            | Self::Shards(definition, _) => definition.name,
        }
    }
}

impl Exposition {
    pub(super) fn new(
        output: Output,
        registered: Vec<MetricFamily>,
        scheduler_delay: Arc<Histogram>,
        started: SystemTime,
        owners: Snapshots,
    ) -> Self {
        let mut sources: Vec<Source> = registered.into_iter().map(Source::Registry).collect();
        sources.push(Source::SchedulerDelay);
        sources.extend(families(Source::Targets));
        sources.extend(families(Source::Identities));
        sources.extend(families(Source::Clusters));
        sources.extend(families(Source::Shards));
        sources.sort_unstable_by(|one, other| other.name().cmp(one.name()));
        Self { owners, scheduler_delay, started, sources, next: 0, output }
    }

    /// Appends the next owner's part of the last source, or all of a source without owners. Returns whether there may
    /// be more in it.
    fn write_part(&mut self, out: &mut Buffer) -> bool {
        let owner = self.next;
        self.next += 1;
        let (owners, output) = (&self.owners, &mut self.output);
        match self.sources.last() {
            None => false,
            Some(Source::Registry(registered)) => {
                output.family(family::registered(registered), out).registered(registered);
                false
            }
            Some(Source::SchedulerDelay) => {
                let mut family = output.family(definition::SCHEDULER_DELAY.into(), out);
                family.created(self.started).histogram(&[], &self.scheduler_delay);
                false
            }
            Some(Source::Targets(definition, write)) => {
                owners.targets.write(owner, *write, &mut output.family((*definition).into(), out))
            }
            Some(Source::Identities(definition, write)) => {
                owners.identities.write(owner, *write, &mut output.family((*definition).into(), out))
            }
            Some(Source::Clusters(definition, write)) => {
                owners.clusters.write(owner, *write, &mut output.family((*definition).into(), out))
            }
            Some(Source::Shards(definition, write)) => {
                owners.shards.write(owner, *write, &mut output.family((*definition).into(), out))
            }
        }
    }
}

impl Pieces for Exposition {
    fn write(&mut self, out: &mut Buffer) -> io::Result<bool> {
        if !self.write_part(out) {
            self.sources.pop();
            self.output.end(out);
            self.next = 0;
        }
        if self.sources.is_empty() {
            self.output.finish(out);
        }
        Ok(!self.sources.is_empty())
    }

    fn pause(&mut self, out: &mut Buffer) {
        self.output.pause(out);
    }
}

/// Returns the families of one kind of owner.
fn families<S: Series>(source: fn(Definition, Write<S>) -> Source) -> impl Iterator<Item = Source> {
    S::FAMILIES.iter().map(move |(family, write)| source(*family, *write))
}
