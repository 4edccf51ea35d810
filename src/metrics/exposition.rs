//! A scrape, written while it is read: that of a thousand targets is over 20 MB, and only the part that is being sent is in
//! memory.

use std::io::{self, BufRead, Read};
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

/// How many bytes are written ahead of the reader, or slightly more.
const AHEAD: usize = 32 * 1024;

/// How many bytes are reserved for them, so that the buffer need not grow: each size up to here would be a mapping of its
/// own with musl's allocator.
const CAPACITY: usize = AHEAD + AHEAD / 2;

/// Every metric in one of the formats, families in the order of their names. Reading it never fails.
///
/// The owners are fixed at the start; each value is read when it is written.
#[derive(Debug)]
pub struct Exposition {
    owners: Snapshots,
    scheduler_delay: Arc<Histogram>,
    /// Since when the scheduler's delay has been recorded.
    started: SystemTime,
    /// The families still to be written, the last one first.
    sources: Vec<Source>,
    /// How many owners of the last of the sources have been written.
    next: usize,
    output: Output,
    /// How many bytes of the output have been read.
    read: usize,
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
        mut output: Output,
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
        output.bytes.reserve(CAPACITY);
        Self { owners, scheduler_delay, started, sources, next: 0, output, read: 0 }
    }

    /// Appends the next owner's part of the last source, or all of a source without owners. Returns whether there may
    /// be more in it.
    fn write(&mut self) -> bool {
        let owner = self.next;
        self.next += 1;
        let (owners, output) = (&self.owners, &mut self.output);
        match self.sources.last() {
            None => false,
            Some(Source::Registry(registered)) => {
                output.family(family::registered(registered)).registered(registered);
                false
            }
            Some(Source::SchedulerDelay) => {
                let mut family = output.family(definition::SCHEDULER_DELAY.into());
                family.created(self.started).histogram(&[], &self.scheduler_delay);
                false
            }
            Some(Source::Targets(definition, write)) => {
                owners.targets.write(owner, *write, &mut output.family((*definition).into()))
            }
            Some(Source::Identities(definition, write)) => {
                owners.identities.write(owner, *write, &mut output.family((*definition).into()))
            }
            Some(Source::Clusters(definition, write)) => {
                owners.clusters.write(owner, *write, &mut output.family((*definition).into()))
            }
            Some(Source::Shards(definition, write)) => {
                owners.shards.write(owner, *write, &mut output.family((*definition).into()))
            }
        }
    }

    fn write_ahead(&mut self) {
        self.output.bytes.clear();
        self.read = 0;
        while self.output.bytes.len() < AHEAD && !self.sources.is_empty() {
            if !self.write() {
                self.sources.pop();
                self.output.end();
                self.next = 0;
                if self.sources.is_empty() {
                    self.output.finish();
                }
            }
        }
        self.output.pause();
    }
}

/// Returns the families of one kind of owner.
fn families<S: Series>(source: fn(Definition, Write<S>) -> Source) -> impl Iterator<Item = Source> {
    S::FAMILIES.iter().map(move |(family, write)| source(*family, *write))
}

impl BufRead for Exposition {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.output.bytes.len() {
            self.write_ahead();
        }
        Ok(&self.output.bytes[self.read..])
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }
}

impl Read for Exposition {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(bytes)?;
        self.consume(count);
        Ok(count)
    }
}
